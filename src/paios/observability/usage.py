"""Tokens and money in one shape for every vendor.

Anthropic counts cached tokens beside `input_tokens`; OpenAI counts them inside. Adding the two up as they come is how
dashboards end up wrong by a factor; `anthropic` and `openai` are the only places that know the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from paios.base.db import Database
from paios.base.types import Usage
from paios.observability.events import NANO

Vendor = Literal["anthropic", "openai"]


def _count(raw: Mapping[str, Any], *path: str) -> int:
    value: Any = raw
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) else 0


def anthropic(raw: Mapping[str, Any]) -> Usage:
    """A Messages API `usage` object: `input_tokens` excludes both cache counts."""
    return Usage(
        input=_count(raw, "input_tokens"),
        cached=_count(raw, "cache_read_input_tokens"),
        cache_write=_count(raw, "cache_creation_input_tokens"),
        output=_count(raw, "output_tokens"),
        reasoning=_count(raw, "output_tokens_details", "thinking_tokens"),
    )


def openai(raw: Mapping[str, Any]) -> Usage:
    """A Responses, Chat Completions or Codex `usage` object: the input count includes the cached tokens."""
    cached = max(
        _count(raw, "input_tokens_details", "cached_tokens"),
        _count(raw, "prompt_tokens_details", "cached_tokens"),
        _count(raw, "cached_input_tokens"),
    )
    total = max(_count(raw, "input_tokens"), _count(raw, "prompt_tokens"))
    return Usage(
        input=max(0, total - cached),
        cached=min(cached, total),
        output=max(_count(raw, "output_tokens"), _count(raw, "completion_tokens")),
        reasoning=max(
            _count(raw, "output_tokens_details", "reasoning_tokens"),
            _count(raw, "completion_tokens_details", "reasoning_tokens"),
            _count(raw, "reasoning_output_tokens"),
        ),
    )


def price(model: str | None, usage: Usage, *, provider: str | None = None) -> Decimal | None:
    """
    What *usage* costs in US dollars by the price table shipped with `genai-prices`, or None if it does not know *model*.

    *provider* is a genai-prices provider id ("anthropic", "openai", "google", "openrouter"); None lets it guess.
    """
    if not model:
        return None
    from genai_prices import Usage as Priced  # 0.3 s of CPU: only once a turn is over  # noqa: PLC0415
    from genai_prices import calc_price  # noqa: PLC0415

    counted = Priced(
        input_tokens=usage.input + usage.cached + usage.cache_write,
        cache_read_tokens=usage.cached,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output,
    )
    try:
        return calc_price(counted, model_ref=model, provider_id=provider).total_price
    except LookupError:
        return None


@dataclass(frozen=True, slots=True)
class Spending:
    """What one brain's model used on one day. `unpriced` counts the turns whose cost nobody knows: they are in no sum."""

    day: str  # local date, YYYY-MM-DD
    brain: str
    model: str | None
    turns: int
    usage: Usage
    cost_usd: Decimal
    unpriced: int


def spending(db: Database, *, days: int) -> list[Spending]:
    """Usage by day, brain and model over the last *days* local days, newest first."""
    rows = db.read(
        "SELECT date(at_ms / 1000, 'unixepoch', 'localtime') AS day, brain, model, count(*), sum(input), sum(cached),"
        " sum(cache_write), sum(output), sum(reasoning), coalesce(sum(cost_nano), 0), sum(cost_nano IS NULL) FROM spend"
        " WHERE day > date('now', 'localtime', ?) GROUP BY day, brain, model ORDER BY day DESC, brain, model",
        (f"-{days} days",),
    )
    return [
        Spending(day, brain, model, turns, Usage(*tokens), Decimal(nano) / NANO, unpriced)
        for day, brain, model, turns, *tokens, nano, unpriced in rows
    ]


def cost_of(db: Database, trace: str) -> tuple[Usage, Decimal, int]:
    """(tokens, known cost in US dollars, number of pieces whose cost is unknown) of one request."""
    row = db.read(
        "SELECT coalesce(sum(input), 0), coalesce(sum(cached), 0), coalesce(sum(cache_write), 0), coalesce(sum(output), 0),"
        " coalesce(sum(reasoning), 0), coalesce(sum(cost_nano), 0), coalesce(sum(cost_nano IS NULL), 0)"
        " FROM spend WHERE trace = ?",
        (trace,),
    )[0]
    return Usage(*row[:5]), Decimal(row[5]) / NANO, row[6]
