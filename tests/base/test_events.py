"""The JSON forms of events."""

from __future__ import annotations

import dataclasses
import types
import typing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from paios.base.events import KINDS, Acted, Event, Metered, Said, Spent, from_json, to_json
from paios.base.types import Action, Usage, Window

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Anything that fits *hint*."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(_values, args))
    if origin is tuple:
        return st.lists(_values(args[0]), max_size=2).map(tuple)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{f.name: _values(hints[f.name]) for f in dataclasses.fields(hint)})
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT,
        int: st.integers(),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
        type(None): st.none(),
        Decimal: st.decimals(allow_nan=False, allow_infinity=False),
        datetime: st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])),
        Path: TEXT.filter(lambda t: "\0" not in t).map(Path),
    }
    return plain[hint]


@given(st.one_of(*(_values(cls) for cls in KINDS.values())))
def test_every_event_comes_back_from_json_as_it_was(event: Event) -> None:
    assert from_json(to_json(event)) == event


def test_the_json_of_an_action_and_of_a_cost() -> None:
    action = Action("run", "Bash", "ls", Path("/w"), "claude", "c1")
    assert to_json(Acted(action, "done", "out", 3)) == snapshot(
        '{"type":"acted","action":{"kind":"run","tool":"Bash","target":"ls","cwd":"/w","brain":"claude","call_id":"c1","arguments":""},"state":"done","output":"out","took_ms":3}'
    )
    assert to_json(Spent("codex", "m", Usage(1, 2, 3, 4, 5), Decimal("0.000001"), "priced")) == snapshot(
        '{"type":"spent","brain":"codex","model":"m","usage":{"input":1,"cached":2,"cache_write":3,"output":4,"reasoning":5},"cost_usd":"0.000001","source":"priced"}'
    )


def test_the_json_of_a_time_is_iso_8601() -> None:
    resets_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    metered = Metered("codex", (Window("5h", 97.0, resets_at), Window("weekly", 20.0)))
    assert from_json(to_json(metered)) == metered
    assert to_json(metered) == snapshot(
        '{"type":"metered","brain":"codex","windows":[{"name":"5h","used_percent":97.0,"resets_at":"2026-01-02T03:04:05+00:00"},{"name":"weekly","used_percent":20.0,"resets_at":null}]}'
    )


def test_a_newer_programs_fields_are_ignored_and_a_missing_one_is_named() -> None:
    assert from_json('{"type":"said","text":"x","later":1}') == Said("x")
    with pytest.raises(ValueError, match="no event"):
        from_json('{"type":"said"}')
    with pytest.raises(ValueError, match="no event"):
        from_json('{"type":"never heard of"}')
