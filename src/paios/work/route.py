"""Decisions about requests with everything they rest on: the settings, the brains, the log, the encoder, what was learned.

`routing` decides and knows nobody; here the facts are gathered for it. A decision about brains' limits and the day's spending
costs two small reads.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from paios.base.clock import Clock
from paios.base.db import Database
from paios.base.types import Decision, Request
from paios.brains.brain import Brain
from paios.config.models import Models
from paios.config.settings import Settings
from paios.memory.embed import SentenceEncoder
from paios.observability import traces
from paios.observability.health import spent_today, waiting
from paios.routing import phrases, policy
from paios.routing.decide import Ask, decide
from paios.routing.model import Model, meaning

_NEAR = Decimal("0.8")  # of the day's ceiling: from there on the fast tier must do


@dataclass(frozen=True, slots=True)
class Query:
    """A prompt to be decided about without being asked."""

    text: str
    images: int = 0


@dataclass(slots=True)
class Router:
    """Decides about requests. `encoder` is None where the `vectors` extra is not installed."""

    settings: Settings
    models: Models
    brains: Mapping[str, Brain]
    known: tuple[str, ...]
    at_home: Collection[str]  # the brains that send nothing elsewhere
    db: Database
    clock: Clock
    classifier: Model
    encoder: SentenceEncoder | None = field(default=None)

    def decide(self, request: Request) -> Decision:
        """
        The decision for *request*. Blocking: the first unsure one loads the encoder, one to two seconds.

        Raises:
            BadInput: it names a brain that does not exist.
        """
        ask = Ask(
            text=request.text,
            has_image=any(a.is_image for a in request.attachments),
            brain=request.brain,
            model=request.model,
            house=self.house((request.cwd, *(a.path for a in request.attachments), *self._places_of(request.thread))),
            threshold=self.settings.routing.threshold,
            classifier=self.classifier,
        )
        if self.encoder is not None:
            ask = replace(ask, encode=self._encode, is_cheap=self.encoder.is_warm)
        return decide(ask)

    def decide_all(self, queries: Sequence[Query], cwd: Path, *, first_stage: bool = False) -> list[tuple[Decision, float]]:
        """
        A decision for each of *queries*, by both stages unless *first_stage*, and the microseconds it took: its own and its
        share of the vectors, without the loading.
        """
        vectors: dict[str, Sequence[float]] = {}
        share_us = 0.0
        if self.encoder is not None and not first_stage and queries:
            texts = list(dict.fromkeys(self._meant(query.text) for query in queries))
            self.encoder.encode(["warm up"])
            started = time.perf_counter()
            vectors = dict(zip(texts, self.encoder.encode(texts), strict=True))
            share_us = (time.perf_counter() - started) * 1e6 / len(queries)
        house = self.house((cwd,))
        threshold = self.settings.routing.threshold
        encode = vectors.__getitem__ if vectors else None
        decided = []
        for query in queries:
            started = time.perf_counter()
            ask = Ask(
                query.text, query.images > 0, None, None, house, threshold, self.classifier, encode, is_cheap=encode is not None
            )
            decision = decide(ask)
            decided.append((decision, (time.perf_counter() - started) * 1e6 + share_us))
        return decided

    def house(self, places: Sequence[Path]) -> policy.House:
        """The brains as they are at the moment, for a request that comes from and brings files of *places*."""
        disabled = {name: "switched off in paios.toml" for name in self.known if name not in self.brains}
        absent = {name: why for name, brain in self.brains.items() if (why := brain.absent())}
        now = self.clock.at()
        spent, frugal = self._money(now)
        return policy.House(
            known=self.known,
            absent={**disabled, **absent},
            table=self.models.routes,
            model_for=self.models.tiers,
            waiting=waiting(self.db, now),
            private=self._private(places),
            at_home=frozenset(self.at_home),
            spent=spent,
            frugal=frugal,
        )

    def _encode(self, text: str) -> Sequence[float]:
        assert self.encoder is not None
        vector: Sequence[float] = self.encoder.encode([text])[0]
        return vector

    def _meant(self, text: str) -> str:
        return meaning(self.classifier.read(phrases.prefix(text, self.known).rest))

    def _private(self, places: Sequence[Path]) -> str:
        for folder in self.settings.routing.private_folders:
            if any(place.resolve().is_relative_to(Path(folder).expanduser().resolve()) for place in places):
                return f"requests of {folder} stay on this machine (routing.private_folders)"
        return ""

    def _places_of(self, thread: str) -> list[Path]:
        """Where the earlier turns of *thread* came from: what was said there is handed on with it."""
        if not self.settings.routing.private_folders:
            return []
        return [Path(past.cwd) for past in traces.of_thread(self.db, thread)]

    def _money(self, now: datetime) -> tuple[str, str]:
        """Why nothing more may be spent today, and why the fast tier must do; "" where neither holds."""
        ceiling = self.settings.limits.daily_usd
        if ceiling is None:
            return "", ""
        spent = spent_today(self.db, now)
        if spent >= Decimal(str(ceiling)):
            return f"${spent:.2f} were spent today, and limits.daily_usd is {ceiling:g}; name it to ask it all the same", ""
        if spent >= Decimal(str(ceiling)) * _NEAR:
            return "", f"the fast tier: ${spent:.2f} of the {ceiling:g} of limits.daily_usd are spent"
        return "", ""
