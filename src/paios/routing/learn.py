"""What a person's corrections teach the classifier: small changes of its weights, proposed only if they help.

A change is learned by stochastic gradient descent on the logistic loss of the corrected requests, held near zero. Whether it
helps is measured by cross-validation: each correction is judged by a change that was learned without it. And it may not
unlearn: on a list of ordinary requests (`anchors.jsonl`) it must stay as good as before.
"""

from __future__ import annotations

import json
import math
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from zlib import crc32

from paios.base.types import DOMAINS, Domain
from paios.routing.features import features
from paios.routing.model import Change, Model, with_change

FEWEST = 8  # corrections; from fewer a gain cannot be told from luck
_FOLDS, _ROUNDS, _RATE, _DECAY = 4, 12, 4.0, 0.995


@dataclass(frozen=True, slots=True)
class Correction:
    """A request and what it is about, said by a person; or, with `is_not`, what it is not about."""

    text: str
    domain: Domain
    is_not: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change and what it is worth: right answers among the corrections, and among the anchors, before and after."""

    change: Change
    corrections: int
    before: int
    after: int
    anchors: int
    anchors_before: int
    anchors_after: int

    @property
    def helps(self) -> bool:
        return self.after > self.before and self.anchors_after >= self.anchors_before * 0.99


def propose(corrections: Sequence[Correction], model: Model) -> Proposal | None:
    """The change that *corrections* teach on top of *model*, the one now in use; None if there are too few."""
    if len(corrections) < FEWEST:
        return None
    after = 0
    for fold in range(_FOLDS):
        held = [c for c in corrections if _fold(c) == fold]
        changed = with_change(_taught([c for c in corrections if _fold(c) != fold], model)) if held else model
        after += sum(_is_right(c, changed) for c in held)
    change = _taught(corrections, model)
    final = with_change(change)
    return Proposal(
        change=change,
        corrections=len(corrections),
        before=sum(_is_right(c, model) for c in corrections),
        after=after,
        anchors=len(anchors()),
        anchors_before=sum(_is_right(a, model) for a in anchors()),
        anchors_after=sum(_is_right(a, final) for a in anchors()),
    )


def _taught(corrections: Sequence[Correction], model: Model) -> Change:
    """The change that makes *corrections* likelier, beginning with the one *model* has."""
    change = {bucket: list(extra) for bucket, extra in model.change.items()}
    seen = [features(model.read(c.text)) for c in corrections]
    for _ in range(_ROUNDS):
        for correction, of in zip(corrections, seen, strict=True):
            chances = model.chances(of, change)
            k = DOMAINS.index(correction.domain)
            wanted = [0.0 if i == k else p / max(1e-6, 1 - chances[k]) for i, p in enumerate(chances)]
            target = wanted if correction.is_not else [float(i == k) for i in range(len(DOMAINS))]
            buckets = set(of.buckets())
            steps = [_RATE * (t - p) / math.sqrt(len(buckets) or 1) for t, p in zip(target, chances, strict=True)]
            for bucket in buckets:
                extra = change.setdefault(bucket, [0.0] * len(DOMAINS))
                change[bucket] = [_DECAY * e + s for e, s in zip(extra, steps, strict=True)]
    return {bucket: tuple(round(e, 4) for e in extra) for bucket, extra in change.items()}


def _is_right(correction: Correction, model: Model) -> bool:
    best = model.classify(model.read(correction.text)).scores[0][0]
    return (best == correction.domain) is not correction.is_not


def _fold(correction: Correction) -> int:
    return crc32(correction.text.encode("utf-8", "replace")) % _FOLDS


@cache
def anchors() -> tuple[Correction, ...]:
    """Ordinary requests, twenty a domain and language, that the shipped model was trained on."""
    packed = pkgutil.get_data("paios.routing", "anchors.jsonl")
    assert packed is not None
    return tuple(Correction(row["text"], row["domain"]) for row in map(json.loads, packed.decode().splitlines()))
