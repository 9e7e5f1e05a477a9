"""`llm-config.json`: who is asked first for what, with which model at which tier, and the APIs the gateway may call.

Without the file the aliases of the vendors' own programs are used, which follow their newest models. Knows nothing of
prices (observability) and calls nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import MinLen

from paios.base.clock import SystemClock
from paios.base.types import DOMAINS, TIERS
from paios.config.checked import Must, Strict, bad, check, one_of, parse_json
from paios.config.credentials import PROFILES, Profiles, load_profiles
from paios.config.files import read, way_out
from paios.config.openclaw import Kind, OpenClaw, load_openclaw
from paios.config.settings import Brains

MODELS = "llm-config.json"
BRAINS = ("claude", "codex", "gateway")

# Endpoints the gateway knows without this file, from well-known environment keys or by looking on loopback.
BUILT_IN = ("openai", "anthropic", "google", "openrouter", "ollama", "lmstudio", "llamacpp")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _is_url(value: str) -> str:
    return "" if re.match(r"https?://[^/\s]", value) else "an address that begins with http:// or https://"


def _is_reference(value: str) -> str:
    return (
        ""
        if re.fullmatch(r"env:[A-Za-z_]\w*|profile:.+", value)
        else (f"env:NAME or profile:ID; the key itself belongs into {PROFILES} or the environment")
    )


def _is_name(value: str) -> str:
    return "" if _NAME.fullmatch(value) else "letters, digits, dots, dashes and underscores"


def _is_route(value: str) -> str:
    brain, colon, tier = value.partition(":")
    known = [*(f.name for f in fields(Brains)), "echo"]
    if brain not in known:
        return f"`brain` or `brain:tier`, and brain {one_of(brain, known)}"
    return f"`brain` or `brain:tier`, and tier {one_of(tier, TIERS)}" if colon and tier not in TIERS else ""


def _is_filled(brains: tuple[str, ...]) -> str:
    return "" if brains else "a list of at least one brain"


def _is_domain(value: str) -> str:
    return "" if value in DOMAINS else one_of(value, DOMAINS)


def _is_api_model(value: str) -> str:
    name, slash, model = value.partition("/")
    return "" if name and slash and model else "endpoint/model, such as openrouter/qwen/qwen3-coder"


@dataclass(frozen=True, slots=True)
class _Endpoint(Strict):
    kind: Kind
    base_url: Annotated[str, Must(_is_url)] | None = None
    key: Annotated[str, Must(_is_reference)] | None = None
    models: tuple[Annotated[str, MinLen(1)], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice(Strict):
    """The models of one tier; None: the program's own default, for the gateway the first model it finds."""

    claude: Annotated[str, MinLen(1)] | None = None
    codex: Annotated[str, MinLen(1)] | None = None
    gateway: Annotated[str, Must(_is_api_model)] | None = None


@dataclass(frozen=True, slots=True)
class Tiers(Strict):
    # `claude --model` takes these aliases. Codex has none, so only its small model is named (`codex debug models`, 0.163).
    instant: Choice = Choice(claude="haiku")
    fast: Choice = Choice(claude="haiku", codex="gpt-6-luna")
    standard: Choice = Choice(claude="sonnet")
    deep: Choice = Choice(claude="opus")
    premium: Choice = Choice(claude="opus")


_Route = Annotated[tuple[Annotated[str, Must(_is_route)], ...], Must(_is_filled)]

_STANDARD = ("claude:standard", "gateway:standard", "codex:standard", "local", "librarian")
_SMALL = ("gateway:instant", "claude:fast", "codex:fast", "local", "librarian")
_ROUTES: Mapping[str, tuple[str, ...]] = {
    "code": ("codex:standard", "claude:standard", "gateway:standard", "local", "librarian"),
    "creative": ("claude:premium", "gateway:premium", "codex:premium", "local", "librarian"),
    "analysis": ("claude:deep", "gateway:deep", "codex:deep", "local", "librarian"),
    "vision": ("gateway:standard", "claude:standard", "codex:standard"),  # the other two cannot look at images
    "system": _SMALL,
    "schedule": _SMALL,
    "search": _STANDARD,
    "general": _STANDARD,
}


@dataclass(frozen=True, slots=True)
class _File(Strict):
    version: Literal[1]
    endpoints: dict[Annotated[str, Must(_is_name)], _Endpoint] = field(default_factory=dict)
    tiers: Tiers = field(default_factory=Tiers)
    routes: dict[Annotated[str, Must(_is_domain)], _Route] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    A model API. The first six fields are those of the gateway's own `Endpoint`, in its order.

    `reference` is what the file says about the key (`env:NAME`, `profile:ID`); `key_from` where it was found, and if it
    was not found, `no_key` says why. A server on loopback does not mind.
    """

    name: str
    kind: Kind
    base_url: str | None = None
    key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    key_from: str = ""
    reference: str | None = None
    no_key: str = ""
    source: str = MODELS


@dataclass(frozen=True, slots=True)
class Models:
    """The checked file, with OpenClaw's providers as further endpoints. `openclaw` is None if there is none.

    `tiers` maps (brain, tier) to a model; None is the brain's own default, which for the gateway is the first it finds.
    `routes` has for each of the eight domains the brains to try in order, at least one, as `brain` or `brain:tier`.
    """

    endpoints: tuple[Endpoint, ...]
    tiers: Mapping[tuple[str, str], str | None]
    routes: Mapping[str, tuple[str, ...]]
    openclaw: OpenClaw | None = None

    @staticmethod
    def default() -> Models:
        """What applies without any file."""
        return Models((), _by_brain(Tiers()), _ROUTES)


def load_models(home: Path, env: Mapping[str, str], at: datetime | None = None) -> Models:
    """
    The models of *home*, with the providers of the OpenClaw in *env*'s HOME as endpoints `openclaw-<provider>`.

    Keys are looked up in *env* and among the profiles that have not expired *at* (None: now).

    Raises:
        BadConfig: every problem of `llm-config.json`, or of `auth-profiles.json`, which it refers to.
    """
    profiles = load_profiles(home)
    openclaw = load_openclaw(Path(env["HOME"])) if env.get("HOME") else None
    path = home / MODELS
    text = read(path)
    if text is None:
        models = replace(Models.default(), endpoints=tuple(_passed_through(openclaw)), openclaw=openclaw)
    else:
        models = parse_models(text, path, profiles=profiles, openclaw=openclaw)
    at = at or SystemClock().at()
    return replace(models, endpoints=tuple(_with_key(e, env, profiles, at) for e in models.endpoints))


def parse_models(text: str, path: Path, *, profiles: Profiles | None, openclaw: OpenClaw | None = None) -> Models:
    """
    *text* as models, keys not yet looked up; *path* is only named in errors. With None for *profiles* references to
    them are not checked.

    Raises:
        BadConfig: every problem of *text*.
    """
    remedy = way_out(path)
    data = parse_json(text, path, remedy=remedy)
    file = check(_File, data, path, remedy=remedy, hide=True)  # a key pasted into the wrong place must not be quoted
    endpoints = [Endpoint(name, e.kind, e.base_url, models=e.models, reference=e.key) for name, e in file.endpoints.items()]
    endpoints += [e for e in _passed_through(openclaw) if e.name not in file.endpoints]
    problems = [*_dangling(file.tiers, endpoints), *_incomplete(endpoints)]
    if profiles is not None:
        problems += _no_profile(endpoints, profiles)
    if problems:
        raise bad(path, problems, remedy=remedy)
    return Models(tuple(endpoints), _by_brain(_with_defaults(file.tiers, data)), {**_ROUTES, **file.routes}, openclaw)


def _with_key(endpoint: Endpoint, env: Mapping[str, str], profiles: Profiles, at: datetime) -> Endpoint:
    """
    *endpoint* with the key its reference names, else with one of the profiles of the provider of its name.

    At the vendor's own address the profiles of its kind will do too; a key is never sent to another address unasked.
    """
    how, _, name = (endpoint.reference or "").partition(":")
    if endpoint.key:
        return endpoint
    if how == "env":
        found = env.get(name) or None
        return replace(endpoint, key=found, key_from=name, no_key="" if found else f"{name} is not set")
    if how == "profile":
        key = profiles.key_of(name, at)
    else:
        key = profiles.key_for(endpoint.name, at)
        if not key.secret and not endpoint.base_url:
            key = profiles.key_for(endpoint.kind, at)
    return replace(endpoint, key=key.secret, key_from=key.profile or "", no_key="" if key.secret else "; ".join(key.skipped))


def _by_brain(tiers: Tiers) -> dict[tuple[str, str], str | None]:
    return {(brain, tier): getattr(getattr(tiers, tier), brain) for brain in BRAINS for tier in TIERS}


def _with_defaults(tiers: Tiers, data: object) -> Tiers:
    """*tiers* where a brain that the file leaves out keeps its default; an explicit null is kept."""
    given = data.get("tiers", {}) if isinstance(data, dict) else {}
    default = Tiers()
    merged = {}
    for tier in TIERS:
        left_out = [b for b in BRAINS if b not in given.get(tier, {})]
        choice: Choice = getattr(tiers, tier)
        merged[tier] = replace(choice, **{b: getattr(getattr(default, tier), b) for b in left_out})
    return Tiers(**merged)


def _dangling(tiers: Tiers, endpoints: list[Endpoint]) -> Iterator[str]:
    known = list(dict.fromkeys([*(e.name for e in endpoints), *BUILT_IN]))
    for tier in fields(tiers):
        choice: Choice = getattr(tiers, tier.name)
        name = (choice.gateway or "").partition("/")[0]
        if name and name not in known:
            yield f"tiers.{tier.name}.gateway names the endpoint {name}, which does not exist; must be {one_of(name, known)}"


def _incomplete(endpoints: list[Endpoint]) -> Iterator[str]:
    for e in endpoints:
        if e.kind == "openai-compatible" and not e.base_url:
            yield f"endpoints.{e.name} is openai-compatible and must have a base_url"


def _no_profile(endpoints: list[Endpoint], profiles: Profiles) -> Iterator[str]:
    for e in endpoints:
        how, _, id = (e.reference or "").partition(":")
        if how == "profile" and id not in profiles.profiles:
            known = one_of(id, profiles.profiles) if profiles.profiles else f"in {PROFILES}, which has none"
            yield f"endpoints.{e.name}.key names the profile {id}, which does not exist; must be {known}"


def _passed_through(openclaw: OpenClaw | None) -> Iterator[Endpoint]:
    for p in openclaw.providers if openclaw else ():
        key_from = f"openclaw.json, provider {p.id}" if p.secret else ""
        yield Endpoint(f"openclaw-{p.id}", p.kind, p.base_url, p.secret, p.models, key_from, p.key, source="openclaw.json")
