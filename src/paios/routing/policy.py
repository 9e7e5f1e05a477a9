"""From a domain to brains in order: the table, what a person chose, and who cannot be tried.

Does not classify, and asks nobody: that a brain is absent, and why, is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from paios.base.errors import BadInput
from paios.base.types import TIERS, Candidate, Domain, Tier
from paios.config.settings import TIER_DEFAULT


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person settled themselves; None where they left it open."""

    brain: str | None = None
    model: str | None = None
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class House:
    """The brains there are and how they are set."""

    known: tuple[str, ...]
    absent: Mapping[str, str]  # brain → why it cannot be tried
    table: Mapping[str, tuple[str, ...]]  # domain → "brain" or "brain:tier", in order
    model_for: Mapping[tuple[str, str], str | None]  # (brain, tier) → the brain's own name of its model


def check_brain(name: str, known: Sequence[str]) -> None:
    """
    Nothing, if there is a brain called *name*.

    Raises:
        BadInput: there is none; names those there are and the nearest.
    """
    if name in known:
        return
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    raise BadInput(
        f"no brain is called {name[:60]!r}" + (f"; did you mean {near[0]}?" if near else ""),
        remedy=f"brains: {', '.join(known)}",
    )


def candidates(domain: Domain, choice: Choice, house: House) -> tuple[Candidate, ...]:
    """
    The brains for *domain*, best first; those that cannot be tried carry `why_not`. Never empty if there is a brain.

    A chosen brain stands alone: a person's choice is not silently replaced. Otherwise the table's row, and if nobody of
    it can be tried, whoever else is there; `echo` only where the table names it.
    """
    row = _row(domain, house)
    if choice.brain is not None:
        tier = next((t for brain, t in row if brain == choice.brain), TIER_DEFAULT)
        return (_candidate(choice.brain, tier, choice, house),)
    found = _distinct(_candidate(brain, tier, choice, house) for brain, tier in row)
    if all(c.why_not for c in found):
        tried = {c.brain for c in found}
        others = [(brain, tier) for brain, tier in _row("general", house) if brain not in tried]
        others += [(brain, TIER_DEFAULT) for brain in house.known if brain not in tried | {"echo"} | {b for b, _ in others}]
        found += _distinct(_candidate(brain, tier, choice, house) for brain, tier in others)
    return tuple(found)


def _row(domain: Domain, house: House) -> list[tuple[str, Tier]]:
    entries = house.table.get(domain) or house.table.get("general") or ()
    tiers: dict[str, Tier] = {tier: tier for tier in TIERS}
    return [(brain, tiers.get(tier, TIER_DEFAULT)) for brain, _, tier in (e.partition(":") for e in entries)]


def _candidate(brain: str, tier: Tier, choice: Choice, house: House) -> Candidate:
    tier = choice.tier or tier
    model = choice.model or house.model_for.get((brain, tier))
    return Candidate(brain, tier, model, house.absent.get(brain, "") if brain in house.known else "no brain is called that")


def _distinct(found: Iterable[Candidate]) -> list[Candidate]:
    return list(dict.fromkeys(found))
