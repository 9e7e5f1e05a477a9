"""The trained classifier: probabilities of the eight domains, with what spoke for the best of them.

Two stages. The first is linear over hashed `features`, in pure Python. The second is linear over a vector of the meaning
that somebody else computes; where one is given, the probabilities are averaged. Weights come from `training/train.py`; the
file format is in `load`. Temperature makes probabilities of scores (Guo and others 2017, "On calibration").
"""

from __future__ import annotations

import json
import math
import pkgutil
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from paios.base.text import STOP_WORDS
from paios.base.types import DOMAINS, Domain
from paios.routing import phrases
from paios.routing.features import BUCKETS, Features, features, of_word
from paios.routing.phrases import Parts

_N = len(DOMAINS)
_ASKS, _SIZE = _N, _N + 1  # further columns: whether it is a request at all, or material; and what a bucket adds to the norm
_COLUMNS = _N + 2
_LANE = 3  # bytes: sums of up to 65,000 weights of one byte do not spill into the next lane
_ROW = _LANE * _COLUMNS
_MOST_KEPT = 20_000  # words, of 150 bytes each
_ZERO = 128  # weights are stored as bytes, 128 meaning nothing

ASKED = 200  # characters of a piece of text that `asks` looks at

Vector = Sequence[float]
Change = Mapping[int, Sequence[float]]  # bucket → what to add to its eight weights


@dataclass(frozen=True, slots=True)
class Classified:
    """What a request is about. `scores` are probabilities over all eight domains, best first."""

    scores: tuple[tuple[Domain, float], ...]
    reasons: tuple[str, ...]
    staged: int = 1  # 2: a vector took part


class Model:
    """The weights, ready for use. *change* is what feedback taught on top of them."""

    def __init__(self, packed: bytes, change: Change | None = None) -> None:
        size = int.from_bytes(packed[:4], "little")
        head = json.loads(packed[4 : 4 + size])
        body = packed[4 + size :]
        self.trained: Mapping[str, object] = head["trained"]
        self.held_out: list[list[Any]] = head["held_out"]  # see `training/train.py`: how right it was on rows kept apart
        self._bias: list[float] = head["bias"]
        self._scale: float = head["scale"]
        self._size_scale: float = head["size_scale"]
        self._asks_bias: float = head["asks_bias"]
        self._asks_scale: float = head["asks_scale"]
        self._temperature: float = head["temperature"]  # of the first stage alone
        self._dense_bias: list[float] = head["dense_bias"]
        self._dense_temperature: float = head["dense_temperature"]
        self._share: float = head["dense_share"]  # of the second stage, in the mean of both
        self._dimensions: int = head["dimensions"]
        self.openers = frozenset[str](head["openers"])  # first words of requests
        self.compound: list[float] = head["compound"]  # see `compound`: a constant, then a weight for each sign
        self._joint_temperature: float = head["joint_temperature"]
        # The weights of a bucket lie in one integer, a lane for each, so that one addition adds them all.
        rows = bytearray(_ROW * BUCKETS)
        for k in range(_COLUMNS):
            rows[_LANE * k :: _ROW] = body[k * BUCKETS : (k + 1) * BUCKETS]
        self._rows = bytes(rows)
        self._words: dict[str, tuple[int, int]] = {}
        self._dense = array("f")
        self._dense.frombytes(body[_COLUMNS * BUCKETS :])
        self.change: Change = change or {}

    def classify(self, parts: Parts, vector: Vector | None = None) -> Classified:
        """
        The probabilities for a prompt taken apart, with up to three reasons. *vector* is the unit vector of its instruction.

        Any text gives an answer; the same text always the same.
        """
        seen = features(parts)
        chances = self.chances(seen)
        if vector is not None:
            second = _softmax(self._second(vector), self._dense_temperature)
            mixed = [math.log(max(1e-9, (1 - self._share) * a + self._share * b)) for a, b in zip(chances, second, strict=True)]
            chances = _softmax(mixed, self._joint_temperature)
        scores = tuple((DOMAINS[k], chances[k]) for k in sorted(range(_N), key=lambda k: (-chances[k], k)))
        reasons = self._reasons(seen, DOMAINS.index(scores[0][0]), vector is not None)
        return Classified(scores, reasons, 1 if vector is None else 2)

    def read(self, text: str) -> Parts:
        """*text* taken apart, the instruction told from what was pasted."""
        return phrases.focused(phrases.parts(text), self.asks)

    def asks(self, text: str) -> float:
        """The probability that *text*, a sentence or two, is a request to an assistant and not a piece of something pasted."""
        sums = self._sums(features(phrases.bare(text[:ASKED]), hinted=False))
        score = self._asks_bias + self._asks_scale * sums[_ASKS] / self._norm(sums)
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, score))))

    def chances(self, seen: Features, change: Change | None = None) -> list[float]:
        """The first stage's probabilities, in the order of `DOMAINS`; with another *change* than the model's own if given."""
        sums = self._sums(seen)
        norm = self._norm(sums)
        scores = [bias + self._scale * s / norm for bias, s in zip(self._bias, sums, strict=False)]
        change = self.change if change is None else change
        if change:
            for extra in (change[b] for b in seen.buckets() if b in change):
                scores = [score + e / norm for score, e in zip(scores, extra, strict=True)]
        return _softmax(scores, self._temperature)

    def _sums(self, seen: Features) -> list[int]:
        """The sum of every column over what is seen."""
        count = len(seen.named)
        total = sum([self._row(b) for b, _ in seen.named])
        for word in seen.words:
            row, n = self._word(word)
            total += row
            count += n
        lanes, zero = total.to_bytes(_ROW + 1, "little"), _ZERO * count
        sums = [int.from_bytes(lanes[_LANE * k : _LANE * k + _LANE], "little") - zero for k in range(_COLUMNS)]
        sums[_SIZE] += zero  # the only column of plain bytes
        return sums

    def _row(self, bucket: int) -> int:
        return int.from_bytes(self._rows[bucket * _ROW : bucket * _ROW + _ROW], "little")

    def _word(self, word: str) -> tuple[int, int]:
        """The sum of a word's rows, and how many they are. People use the same words again and again."""
        known = self._words.get(word)
        if known is None:
            buckets = of_word(word)
            known = (sum([self._row(b) for b in buckets]), len(buckets))
            if len(self._words) >= _MOST_KEPT:
                self._words.clear()
            self._words[word] = known
        return known

    def _norm(self, sums: Sequence[int]) -> float:
        """The length of the feature vector; 1 for one without any feature that is known."""
        return math.sqrt(self._size_scale * sums[_SIZE]) or 1.0

    def _second(self, vector: Vector) -> list[float]:
        d = self._dimensions
        return [
            bias + math.fsum(map(float.__mul__, self._dense[k * d : k * d + d], map(float, vector)))
            for k, bias in enumerate(self._dense_bias)
        ]

    def _reasons(self, seen: Features, best: int, dense: bool) -> tuple[str, ...]:
        shift, mask = 8 * _LANE * best, (1 << 8 * _LANE) - 1
        # The weights of a row sum to nothing: one alone tells how far the row leans.
        weight = {}
        for word in seen.words:
            if word in STOP_WORDS:
                continue  # "in" may tell the model something, and tells a person nothing
            row, n = self._word(word)
            weight[f"“{word}”"] = (row >> shift & mask) - _ZERO * n
        for bucket, shows in seen.named:
            if shows:
                weight[shows] = weight.get(shows, 0) + self._rows[bucket * _ROW + _LANE * best] - _ZERO
        strongest = sorted(weight, key=lambda shows: -weight[shows])[:6]
        total = sum(w for w in weight.values() if w > 0)
        telling = _distinct([shows for shows in strongest if weight[shows] > total / 20])[:3]
        domain = DOMAINS[best]
        if telling:
            return (f"{_and(telling)} → {domain}",)
        return (f"its meaning as a whole → {domain}",) if dense else (f"nothing in it stands out; most like {domain}",)


def meaning(parts: Parts) -> str:
    """What a vector is to be made of: the instruction, without what was pasted."""
    return parts.instruction[:600]


@cache
def shipped() -> Model:
    """The model of this release: read once, some milliseconds."""
    packed = pkgutil.get_data("paios.routing", "weights.bin")
    assert packed is not None
    return Model(packed)


def with_change(change: Change) -> Model:
    """The shipped model with *change* on top."""
    packed = pkgutil.get_data("paios.routing", "weights.bin")
    assert packed is not None
    return Model(packed, change)


def _softmax(scores: Sequence[float], temperature: float) -> list[float]:
    top = max(scores)
    powers = [math.exp((score - top) / temperature) for score in scores]
    total = math.fsum(powers)
    return [power / total for power in powers]


def _distinct(shown: list[str]) -> list[str]:
    """Without what another one contains: “unit test” says “test” too."""
    bare = [s.strip("“”") for s in shown]
    return [s for i, s in enumerate(shown) if not any(i != j and bare[i] in other.split() for j, other in enumerate(bare))]


def _and(clues: list[str]) -> str:
    return clues[0] if len(clues) == 1 else ", ".join(clues[:-1]) + " and " + clues[-1]
