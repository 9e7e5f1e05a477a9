"""The hall: opens the rooms in order, gives each what it uses, closes them in reverse."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from paios.base.clock import Clock, SystemClock
from paios.base.db import Database
from paios.base.errors import StoreError
from paios.base.home import make
from paios.base.process import Owner, reap
from paios.base.types import BrainStatus
from paios.brains.brain import Brain
from paios.brains.claude.brain import ClaudeBrain
from paios.brains.codex.brain import CodexBrain
from paios.brains.echo import EchoBrain
from paios.brains.gateway.brain import GatewayBrain
from paios.brains.gateway.endpoint import Endpoint, endpoints_from_env
from paios.brains.gateway.vendors import is_forwarded
from paios.brains.librarian.brain import LibrarianBrain
from paios.brains.local import LocalBrain
from paios.config.files import load_settings
from paios.config.models import MODELS, Models, load_models
from paios.config.settings import Settings
from paios.memory.embed import SentenceEncoder, is_installed
from paios.observability import store
from paios.observability.events import EventLog
from paios.routing import policy
from paios.routing.model import Model, shipped
from paios.work import learning
from paios.work.ask import Means
from paios.work.route import Router

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class House:
    """Everything a door needs to serve requests."""

    means: Means
    db: Database
    settings: Settings
    models: Models
    router: Router
    interrupted: tuple[str, ...]  # requests of processes that died, ended at this start

    async def statuses(self) -> list[BrainStatus]:
        """What each brain says of itself, all asked at once, in the order of `KNOWN`."""
        found: dict[str, BrainStatus] = {}

        async def ask_one(brain: Brain) -> None:
            found[brain.name] = await brain.status()

        async with anyio.create_task_group() as tasks:
            for brain in self.means.brains.values():
                tasks.start_soon(ask_one, brain)
        return [found[name] for name in self.means.brains]


@asynccontextmanager
async def open_house(
    home: Path,
    env: Mapping[str, str],
    *,
    clock: Clock | None = None,
    settings: Settings | None = None,
    models: Models | None = None,
) -> AsyncIterator[House]:
    """
    The whole house on *home*. Requests that a dead process left open are ended first. *settings* and *models* are read
    from their files unless given.

    Raises:
        BadConfig: a configuration file is wrong.
        StoreError: *home* or the database cannot be used.
    """
    clock = clock or SystemClock()
    make(home)
    settings = settings or load_settings(home)
    models = models or load_models(home, env)
    run = home / "run"
    db = await to_thread.run_sync(store.database, home)
    owner = Owner(run)
    log = EventLog(db, clock, owner.id)
    brains: dict[str, Brain] = {}
    try:
        interrupted = await to_thread.run_sync(log.recover, run)
        await to_thread.run_sync(reap, run)
        brains = make_brains(settings, models, env, owner)
        encoder = SentenceEncoder() if is_installed() else None
        at_home = {*policy.AT_HOME, *(("gateway",) if _is_local(_endpoints(models, env)) else ())}
        router = Router(settings, models, brains, KNOWN, at_home, db, clock, _classifier(home), encoder)
        yield House(Means(log, brains, router.decide, settings.limits, clock), db, settings, models, router, tuple(interrupted))
    finally:
        with anyio.CancelScope(shield=True):
            for brain in brains.values():
                with anyio.move_on_after(5):
                    await brain.aclose()
            try:
                await to_thread.run_sync(log.close)
            finally:
                await to_thread.run_sync(owner.close)  # last: from then on another process may end what we left open


def make_brains(settings: Settings, models: Models, env: Mapping[str, str], owner: Owner) -> dict[str, Brain]:
    """The enabled brains by name."""
    s = settings.brains
    brains: list[Brain] = []
    if s.claude.enabled:
        brains.append(ClaudeBrain(env=env, owner=owner, binary=s.claude.binary, project_settings=s.claude.project_settings))
    if s.codex.enabled:
        brains.append(CodexBrain(env=env, owner=owner, binary=s.codex.binary))
    if s.gateway.enabled:
        endpoints = _endpoints(models, env)
        brains.append(GatewayBrain(env=env, owner=owner, endpoints=endpoints, discover=s.gateway.discover))
    brains.append(LocalBrain(gguf=s.local.gguf, context=s.local.context, threads=s.local.threads))
    brains.append(LibrarianBrain(folders=tuple(Path(f).expanduser() for f in s.librarian.folders)))
    brains.append(EchoBrain())
    return {brain.name: brain for brain in brains}


def _endpoints(models: Models, env: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """What the person configured, then the keys of the environment, then what another program's file lends."""
    made = [(e.source, Endpoint(e.name, e.kind, e.base_url, e.key, e.models, e.key_from)) for e in models.endpoints]
    own = [endpoint for source, endpoint in made if source == MODELS]
    lent = [endpoint for source, endpoint in made if source != MODELS]
    return (*own, *endpoints_from_env(env), *lent)


KNOWN = ("claude", "codex", "gateway", "local", "librarian", "echo")


def _classifier(home: Path) -> Model:
    """The router's model as corrections changed it; the shipped one if that change cannot be read, which `ai doctor` tells."""
    try:
        return learning.load(home)
    except StoreError as error:
        log.warning("%s; %s", error.message, error.remedy)
        return shipped()


def _is_local(endpoints: Collection[Endpoint]) -> bool:
    """Whether every model API that is set up is a server on this machine that does not pass its models on to a cloud."""
    return all(endpoint.is_own and not any(map(is_forwarded, endpoint.models)) for endpoint in endpoints)
