"""Everything that can happen to a request, as one closed union with a JSON form.

    Accepted → Routed → (Began → work* → SteppedAside?)* → end
    work = Recalled | Said | Thought | Acted | Waiting | Judged | Bound | Spent | Metered
    end = Answered | Failed | Cancelled, exactly one; Rated may follow, long after

The JSON form is `{"type": "said", …fields…}`; the schema is documented in `docs/reference/stream-json.md` and its
version is `SCHEMA`. Fields may be added within a version; they are never renamed or removed.
"""

from __future__ import annotations

import json
import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

from paios.base.types import Action, Candidate, Domain, Passage, Session, Usage, Verdict, Window

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is stored and will end in exactly one terminal event."""

    text: str
    cwd: str
    thread: str
    origin: str
    brain: str | None = None
    model: str | None = None
    attachments: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Routed:
    """Who should do it. `text` is left out: it is the request's, less its prefix."""

    domain: Domain
    confidence: float
    candidates: tuple[Candidate, ...]
    reasons: tuple[str, ...]
    abstained: bool = False  # nothing was sure enough, so it counts as general
    compound: tuple[Domain, ...] = ()  # the domains of the two tasks, if two are asked


@dataclass(frozen=True, slots=True)
class Recalled:
    """Passages put before the brain, or cited by it."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Began:
    """A brain was given the turn. `attempt` counts from 1 over all brains of the request."""

    brain: str
    model: str | None
    attempt: int
    resumed: bool = False
    handed_over: int = 0  # messages of the thread it was given because another brain had said them


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the answer. Pieces of one turn, joined, are what was said."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of the brain's visible reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Acted:
    """A tool call: once when it starts, once when it ends."""

    action: Action
    state: Literal["started", "done", "failed", "denied"]
    output: str = ""  # the first 2,000 characters
    took_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A person is asked whether an action may happen."""

    approval: str
    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The gate's verdict on an action. `approval` is set when a person was asked."""

    action: Action
    verdict: Verdict
    approval: str | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """The brain's own session for this thread, so that a later turn, or one after a crash, can resume it."""

    session: Session


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens and money of one piece of work. A cost nobody knows is None, never 0."""

    brain: str
    model: str | None
    usage: Usage
    cost_usd: Decimal | None
    source: Literal["reported", "priced", "free", "unknown"]  # the vendor's figure, our price table, no charge, not known


@dataclass(frozen=True, slots=True)
class Metered:
    """A vendor's rate-limit windows as it last told them."""

    brain: str
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class SteppedAside:
    """A brain could not take the turn and had said and done nothing: the next one tries."""

    brain: str
    reason: str
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    text: str
    brain: str
    model: str | None
    took_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The request ended without an answer. `said` keeps what the brain had said by then."""

    kind: str
    message: str
    remedy: str = ""
    brain: str | None = None
    said: str = ""
    took_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    by: Literal["you", "door"]  # asked to stop, or the door was closed
    said: str = ""
    brain: str | None = None
    took_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Rated:
    """What a person said of the decision, after the end: that the request is about `domain`, or that it is not."""

    domain: Domain
    is_so: bool


Terminal = Answered | Failed | Cancelled
Work = Recalled | Said | Thought | Acted | Waiting | Judged | Bound | Spent | Metered
Event = Accepted | Routed | Began | Work | SteppedAside | Terminal | Rated
DELTAS = (Said, Thought)  # group-committed; everything else is durable before it is shown

KINDS: dict[str, type[Event]] = {cls.__name__.lower(): cls for cls in typing.get_args(Event)}


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the log. `seq` orders; `at` is the wall clock, which may go backwards."""

    seq: int
    trace: str
    at: datetime
    event: Event


def kind(event: Event) -> str:
    """The event's name in JSON, such as `steppedaside`."""
    return type(event).__name__.lower()


def to_json(event: Event) -> str:
    """The event as one line of JSON, non-ASCII kept, lone surrogates impossible (doors clean their input)."""
    return json.dumps({"type": kind(event), **_plain_fields(event)}, ensure_ascii=False, separators=(",", ":"))


def from_json(line: str) -> Event:
    """
    The event in *line*. Unknown fields are ignored, so an older program reads a newer log.

    Raises:
        ValueError: the line is no event of ours, or lacks a field.
    """
    data = json.loads(line)
    try:
        event: Event = _build(KINDS[data["type"]], data)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no event: {line[:200]!r} ({error!r})") from error
    return event


def record_json(record: Recorded) -> str:
    """A recorded event as one line: `{"seq", "trace", "at", "type", …}`."""
    head = {"seq": record.seq, "trace": record.trace, "at": record.at.astimezone(UTC).isoformat(), "type": kind(record.event)}
    return json.dumps({**head, **_plain_fields(record.event)}, ensure_ascii=False, separators=(",", ":"))


def _plain_fields(value: Any) -> dict[str, Any]:
    return {name: _plain(getattr(value, name)) for name in _names(value.__class__)}


@cache
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, (Decimal, Path)):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return _plain_fields(value)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _build(cls: Any, data: dict[str, Any]) -> Any:
    hints = _hints(cls)
    return cls(**{name: _revive(hints[name], data[name]) for name in _names(cls) if name in data})


def _revive(hint: Any, value: Any) -> Any:
    """*value* as *hint* says: the reverse of `_plain` for the shapes the union uses."""
    if value is None:
        return None
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _revive(next(arm for arm in typing.get_args(hint) if arm is not type(None)), value)
    if typing.get_origin(hint) is tuple:
        return tuple(_revive(typing.get_args(hint)[0], v) for v in value)
    if hint in (Decimal, Path):
        return hint(value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    return _build(hint, value) if is_dataclass(hint) else value
