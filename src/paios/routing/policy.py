"""From a domain to brains in order: the table, what a person chose, who cannot be tried, and who had better wait.

Does not classify, and asks nobody: everything about the brains is given in `House`. Whoever is skipped says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from paios.base.errors import BadInput
from paios.base.types import TIERS, Candidate, Domain, Tier
from paios.config.settings import TIER_DEFAULT

AT_HOME = frozenset({"local", "librarian", "echo"})  # brains that send nothing elsewhere and cost nothing
_BLIND = frozenset({"local"})  # it is not given images; the librarian says himself that he cannot look at them
_CHEAP: Tier = "fast"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person settled themselves, None where they left it open; and whether an image goes along."""

    brain: str | None = None
    model: str | None = None
    tier: Tier | None = None
    has_image: bool = False


@dataclass(frozen=True, slots=True)
class House:
    """The brains there are and how they are at the moment."""

    known: tuple[str, ...]
    absent: Mapping[str, str]  # brain → why it cannot be tried
    table: Mapping[str, tuple[str, ...]]  # domain → "brain" or "brain:tier", in order
    model_for: Mapping[tuple[str, str], str | None]  # (brain, tier) → the brain's own name of its model
    waiting: Mapping[str, str] = field(default_factory=dict)  # brain → why it had better be asked last: limits, trouble
    private: str = ""  # why this request must stay on this machine; "" if it need not
    at_home: frozenset[str] = AT_HOME  # with the gateway, where every model it may ask runs on this machine
    spent: str = ""  # why nothing more may be spent today; "" while there is money left
    frugal: str = ""  # why the fast tier must do; "" if it need not


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


def candidates(domain: Domain, choice: Choice, house: House) -> tuple[tuple[Candidate, ...], list[str]]:
    """
    The brains for *domain*, best first, and what there is to say about their order. Those that cannot be tried carry
    `why_not`. Never empty if there is a brain.

    A chosen brain stands alone: a person's choice is not silently replaced, and neither limits nor the day's ceiling keep
    it back; only privacy does. Otherwise the table's row, and if nobody of it can be tried, whoever else is there; `echo`
    only where the table names it.
    """
    row = _row(domain, house)
    if choice.brain is not None:
        tier = next((t for brain, t in row if brain == choice.brain), TIER_DEFAULT)
        return (_chosen(choice.brain, tier, choice, house),), []
    found = _distinct(_candidate(brain, tier, choice, house) for brain, tier in row)
    if all(c.why_not for c in found):
        tried = {c.brain for c in found}
        others = [(brain, tier) for brain, tier in _row("general", house) if brain not in tried]
        others += [(brain, TIER_DEFAULT) for brain in house.known if brain not in tried | {"echo"} | {b for b, _ in others}]
        found += _distinct(_candidate(brain, tier, choice, house) for brain, tier in others)
    return _ordered(found, choice, house)


def _ordered(found: list[Candidate], choice: Choice, house: House) -> tuple[tuple[Candidate, ...], list[str]]:
    """*found* with those that had better wait behind the others that think, but before the librarian, who only quotes."""
    notes = []
    thinking = [c for c in found if not c.why_not and c.brain != "librarian"]
    late = [c for c in thinking if c.brain in house.waiting]
    if late and len(late) < len(thinking):
        place = max(i for i, c in enumerate(found) if c in thinking) + 1
        found = [*(c for c in found[:place] if c not in late), *late, *found[place:]]
        notes += [f"{brain} after the others: {house.waiting[brain]}" for brain in dict.fromkeys(c.brain for c in late)]
    elif late:
        notes += [f"{c.brain}, though {house.waiting[c.brain]}" for c in late[:1]]
    if house.frugal and choice.tier is None:
        notes.append(house.frugal)
    return tuple(found), notes


def _row(domain: Domain, house: House) -> list[tuple[str, Tier]]:
    entries = house.table.get(domain) or house.table.get("general") or ()
    tiers: dict[str, Tier] = {tier: tier for tier in TIERS}
    return [(brain, tiers.get(tier, TIER_DEFAULT)) for brain, _, tier in (e.partition(":") for e in entries)]


def _candidate(brain: str, tier: Tier, choice: Choice, house: House) -> Candidate:
    if house.frugal and TIERS.index(tier) > TIERS.index(_CHEAP):
        tier = _CHEAP
    candidate = _chosen(brain, tier, choice, house)
    if not candidate.why_not and house.spent and brain not in house.at_home:
        return Candidate(brain, candidate.tier, candidate.model, house.spent)
    return candidate


def _chosen(brain: str, tier: Tier, choice: Choice, house: House) -> Candidate:
    tier = choice.tier or tier
    return Candidate(brain, tier, choice.model or house.model_for.get((brain, tier)), _why_not(brain, choice, house))


def _why_not(brain: str, choice: Choice, house: House) -> str:
    if brain not in house.known:
        return "no brain is called that"
    if house.absent.get(brain):
        return house.absent[brain]
    if house.private and brain not in house.at_home:
        return house.private
    return "it cannot look at images" if choice.has_image and brain in _BLIND else ""


def _distinct(found: Iterable[Candidate]) -> list[Candidate]:
    return list(dict.fromkeys(found))
