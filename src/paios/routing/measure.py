"""How good decisions are: accuracy, precision and recall by domain, confusion, and whether confidence is a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paios.base.types import DOMAINS, Domain

BINS = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """One decision beside what it should have been."""

    expected: Domain
    decided: Domain
    confidence: float  # 0–1


@dataclass(frozen=True, slots=True)
class OfDomain:
    """Of one domain; a share without a base is None."""

    domain: Domain
    rows: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """The decisions of like confidence: `share` of all rows, their mean confidence and how many of them were right."""

    low: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The whole. `confusion[i][j]`: rows of domain i that were decided as j, in the order of `DOMAINS`."""

    rows: int
    accuracy: float
    calibration_error: float  # expected calibration error over ten bins of equal width (Naeini and others 2015)
    domains: tuple[OfDomain, ...]
    confusion: tuple[tuple[int, ...], ...]
    bins: tuple[Bin, ...]


def measure(judged: Sequence[Judged]) -> Measured:
    """Everything above for *judged*, which holds at least one row."""
    confusion = [[0] * len(DOMAINS) for _ in DOMAINS]
    for j in judged:
        confusion[DOMAINS.index(j.expected)][DOMAINS.index(j.decided)] += 1
    bins = _bins(judged)
    return Measured(
        rows=len(judged),
        accuracy=sum(j.expected == j.decided for j in judged) / len(judged),
        calibration_error=sum(b.rows * abs(b.confidence - b.accuracy) for b in bins) / len(judged),
        domains=tuple(_of(k, confusion) for k in range(len(DOMAINS))),
        confusion=tuple(map(tuple, confusion)),
        bins=bins,
    )


def _of(k: int, confusion: Sequence[Sequence[int]]) -> OfDomain:
    right, rows, decided = confusion[k][k], sum(confusion[k]), sum(row[k] for row in confusion)
    return OfDomain(DOMAINS[k], rows, right / decided if decided else None, right / rows if rows else None)


def _bins(judged: Sequence[Judged]) -> tuple[Bin, ...]:
    bins = []
    for n in range(BINS):
        of = [j for j in judged if min(BINS - 1, int(j.confidence * BINS)) == n]
        if of:
            right = sum(j.expected == j.decided for j in of) / len(of)
            bins.append(Bin(n / BINS, len(of), sum(j.confidence for j in of) / len(of), right))
    return tuple(bins)
