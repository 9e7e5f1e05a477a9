"""How the brains are at the moment and what was spent today, by the log: what routing asks before it chooses.

Never asks a brain. What came last is decided by the order of the log; the wall clock only says how long ago it was, and as
it may have been put forward or back in between, what it says is believed within bounds: nobody is held back for ever.
Costs the same however long the log is: the newest event of each brain is looked up in an index of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import TypeVar

from paios.base.db import Database
from paios.base.events import Metered, SteppedAside, from_json
from paios.base.types import Window
from paios.observability.events import HEALTH_KINDS, NANO

NEARLY_USED = 95.0  # percent: from there on a turn of some length may be the one that meets the limit
LONGEST_S = 31 * 24 * 3600.0  # no vendor's window is longer than a month; a longer wait is a mistake of somebody's clock

# Reason of a SteppedAside → for how many seconds it counts, and its words. `missing` is told by the brain itself.
_RESTS = {
    "limited": (600.0, "it had reached a limit"),  # where the vendor did not say for how long
    "logged_out": (120.0, "it was logged out"),
    "overloaded": (60.0, "it was overloaded"),
    "silent": (120.0, "it fell silent"),
    "cut": (120.0, "its connection was cut"),
    "broken": (120.0, "it broke down"),
    "killed": (120.0, "it was killed"),
}

E = TypeVar("E", SteppedAside, Metered)


def waiting(db: Database, now: datetime) -> dict[str, str]:
    """
    Brain → why it had better not be asked first at the moment, in words for a person and local time.

    Either its vendor said that a window of its quota is all but used up, or it stepped aside a short while ago and has not
    answered since.
    """
    found: dict[str, str] = {}
    for aside, at, trace in _last(db, SteppedAside):
        why = _rests(aside, at, now)
        if why and not _has_answered_since(db, aside.brain, trace):
            found[aside.brain] = why
    for metered, _, _ in _last(db, Metered):
        if why := _used_up(metered.windows, now):
            found[metered.brain] = why
    return found


def spent_today(db: Database, now: datetime) -> Decimal:
    """The known cost in US dollars since local midnight. What nobody knows the price of is not in it."""
    today = now.astimezone().date()
    begin, end = (datetime.combine(day, time.min).astimezone() for day in (today, today + timedelta(days=1)))
    # Dollars and the rest apart: two absurd prices together would be more than an integer holds.
    dollars, nano = db.read(
        "SELECT coalesce(sum(cost_nano / ?1), 0), coalesce(sum(cost_nano % ?1), 0) FROM spend WHERE at_ms >= ?2 AND at_ms < ?3",
        (int(NANO), int(begin.timestamp() * 1000), int(end.timestamp() * 1000)),
    )[0]
    return Decimal(dollars) + Decimal(nano) / NANO


def _last(db: Database, cls: type[E]) -> Iterator[tuple[E, datetime, str]]:
    """The last event of that kind of each brain, with when and in which request it was."""
    brain = ""
    while rows := db.read(
        "SELECT json_extract(body, '$.brain') AS brain, at_ms, trace, body FROM events"
        f" WHERE kind IN {HEALTH_KINDS} AND kind = ? AND brain > ? ORDER BY brain, id DESC LIMIT 1",
        (cls.__name__.lower(), brain),
    ):
        brain, at_ms, trace, body = rows[0]
        event = from_json(body)
        assert isinstance(event, cls)
        yield event, datetime.fromtimestamp(at_ms / 1000, UTC), trace


def _has_answered_since(db: Database, brain: str, trace: str) -> bool:
    """Whether *brain* has answered the request of *trace* or a later one."""
    return bool(
        db.read(
            "SELECT 1 FROM requests WHERE status = 'answered' AND brain = ?"
            " AND n >= (SELECT n FROM requests WHERE trace = ?) LIMIT 1",
            (brain, trace),
        )
    )


def _rests(aside: SteppedAside, at: datetime, now: datetime) -> str:
    rest_s, words = _RESTS.get(aside.reason, (0.0, ""))
    told_s = aside.retry_after_s if aside.reason == "limited" else None
    if told_s is not None:
        rest_s = min(told_s, LONGEST_S)
    age_s = (now - at).total_seconds()  # below 0 if the clock was put back meanwhile
    if not abs(age_s) < rest_s:  # not `>=`: a vendor's NaN is no wait
        return ""
    if told_s is not None:
        return f"it said at {_clock(at, now)}: try again in {_span(rest_s)}"
    return f"{words} {_ago(age_s)}"


def _used_up(windows: tuple[Window, ...], now: datetime) -> str:
    """Of the windows that are all but used up, the one that stays so the longest, in words."""
    latest = now + timedelta(seconds=LONGEST_S)
    full = [(w.resets_at, w) for w in windows if w.used_percent >= NEARLY_USED and w.resets_at and now < w.resets_at <= latest]
    if not full:
        return ""
    resets_at, window = max(full, key=lambda pair: pair[0])
    return f"its {window.name} window is {window.used_percent:.0f} % used; it resets at {_clock(resets_at, now)}"


def _clock(at: datetime, now: datetime) -> str:
    """`14:30`, on another day than today `14:30 on 27 Nov`."""
    at, now = at.astimezone(), now.astimezone()
    return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%H:%M} on {at.day} {at:%b}"


def _ago(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "just now"
    return "a minute ago" if minutes == 1 else f"{minutes} minutes ago"


def _span(seconds: float) -> str:
    """In the largest unit of which there are at least one and a half, so that it is never just one."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{round(seconds / length)} {unit}"
    return f"{max(1, round(seconds))} s"
