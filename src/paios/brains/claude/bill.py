"""What one turn of Claude cost: the vendor's running totals of the session at its end less those at its beginning.

Claude Code counts tokens and dollars from a session's first turn, over resumes too, sub-agents and titles included, and
keeps them in the session's file. A turn that ends with a result, an interrupted one too, is in them; one whose process
was killed is not, though its tokens are billed: that is priced from what was heard. So neither number is carried from
turn to turn: a resumed session is asked for its totals before the turn begins.
Knows the shapes of Claude Code's numbers, not the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from paios.base.events import Spent
from paios.base.types import Session, Usage
from paios.brains.claude.tools import NAME
from paios.observability import usage as tokens


@dataclass(frozen=True, slots=True)
class Totals:
    """What a session has used so far. `usage` None: Claude Code did not say."""

    usd: Decimal
    usage: Usage | None


_NOTHING = Totals(Decimal(0), Usage())


def totals_in(session: Mapping[str, Any] | None) -> Totals | None:
    """The totals in Claude Code's answer to `get_usage`, or None if it has none."""
    match session:
        case {"total_cost_usd": int() | float() as usd, "model_usage": dict(models)}:
            return Totals(dollars(usd), _of_models(models))
    return None


class Bill:
    """
    The bill of one turn. *before* are the session's totals at its beginning, as Claude Code told them.

    Should it not tell (before 2.1.330), the dollars are counted from `session.meter_usd`, and the tokens are those of the
    main conversation alone: then a turn's sub-agents are in its cost and not in its tokens.
    """

    def __init__(self, session: Session | None, before: Totals | None) -> None:
        if session is None:
            before = _NOTHING
        elif before is None and session.meter_usd is not None:
            before = Totals(session.meter_usd, None)
        self._before = before
        self._is_made = False

    @property
    def meter_usd(self) -> Decimal | None:
        """The session's dollars before the turn."""
        return self._before.usd if self._before else None

    def of_result(
        self, model: str | None, total_usd: float, models: Mapping[str, Mapping[str, Any]], own: Usage
    ) -> Spent | None:
        """
        What the turn spent by the totals of its result, or None if that is nothing.

        *models* is the result's `model_usage`, *own* the tokens of the turn's main conversation.
        """
        total, used = dollars(total_usd), _of_models(models)
        before = self._before
        if before and total < before.usd:  # the session's file has lost its totals: these began with the turn
            before = _NOTHING
        usage = own if before is None or before.usage is None else used - before.usage
        known = all(of_one.get("costBasis") != "unknown" for of_one in models.values())  # else it is another model's price
        if known and before is None:
            return self._priced(model, usage)
        cost = total - before.usd if known and before else None
        if usage == Usage() and not cost:
            return None
        self._is_made = True
        return Spent(NAME, model, usage, cost, "unknown" if cost is None else "reported")

    def of_heard(self, model: str | None, usage: Usage) -> Spent | None:
        """What a turn without a result spent, by the tokens that were heard of; None if it is billed already."""
        return None if self._is_made else self._priced(model, usage)

    def _priced(self, model: str | None, usage: Usage) -> Spent | None:
        if usage == Usage():
            return None
        self._is_made = True
        cost = tokens.price(model, usage, provider="anthropic")
        return Spent(NAME, model, usage, cost, "unknown" if cost is None else "priced")


def dollars(total: float) -> Decimal:
    """A total of Claude Code's to the billionth: it is a sum of floats such as 0.0035039999999999997."""
    return round(Decimal(str(total)), 9)


def _of_models(models: Mapping[str, Mapping[str, Any]]) -> Usage:
    names = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "outputTokens")
    return sum((Usage(*(int(used.get(name) or 0) for name in names)) for used in models.values()), Usage())
