"""Whom the router had better ask later, and what the day has cost, as the log tells it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from paios.base.db import Database
from paios.base.events import Accepted, Answered, Began, Event, Metered, Spent, SteppedAside
from paios.base.process import Owner
from paios.base.types import Usage, Window, new_trace
from paios.observability.events import MIGRATIONS, EventLog
from paios.observability.health import spent_today, waiting
from paios.testing.clock import FakeClock

NOON = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)  # by the clock on the wall
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _three_hours_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-3")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def log(tmp_path: Path, owner: Owner, clock: FakeClock) -> Iterator[EventLog]:
    log = EventLog(Database(tmp_path / "db", MIGRATIONS, backups=tmp_path), clock, owner.id)
    yield log
    log.close()


async def _request(log: EventLog, *events: Event) -> None:
    await log.append(new_trace(), Accepted("do it", "/w", "th-1", "cli"), *events)


def _aside(brain: str = "claude", reason: str = "overloaded", retry_after_s: float | None = None) -> SteppedAside:
    return SteppedAside(brain, reason, f"{brain}: no", retry_after_s)


def _metered(used: float, resets_at: datetime | None, name: str = "5h", brain: str = "codex") -> Metered:
    return Metered(brain, (Window(name, used, resets_at),))


ANSWERED = Answered("yes", "claude", None, 5)


# ---- windows


async def test_a_brain_waits_while_a_window_is_all_but_used_up(log: EventLog, clock: FakeClock) -> None:
    await _request(log, _metered(97.4, NOON + 2.5 * HOUR))
    expected = {"codex": "its 5h window is 97 % used; it resets at 14:30"}
    assert waiting(log.db, clock.at()) == expected
    clock.advance(2.5 * 3600 - 1)
    assert waiting(log.db, clock.at()) == expected
    clock.advance(1)
    assert waiting(log.db, clock.at()) == {}


async def test_only_what_a_vendor_told_last_counts_and_each_brains_own(log: EventLog) -> None:
    await _request(log, _metered(99, NOON + HOUR), _metered(10, NOON + HOUR, brain="claude"))
    await _request(log, _metered(94.9, NOON + HOUR), _metered(95, NOON + HOUR, brain="claude"))
    assert waiting(log.db, NOON) == {"claude": "its 5h window is 95 % used; it resets at 13:00"}


async def test_of_several_full_windows_the_last_to_reset_is_named_with_its_day(log: EventLog) -> None:
    windows = (Window("5h", 100, NOON + HOUR), Window("weekly", 98, NOON + 73 * HOUR), Window("monthly", 40, NOON + 90 * HOUR))
    await _request(log, Metered("codex", windows))
    assert waiting(log.db, NOON) == {"codex": "its weekly window is 98 % used; it resets at 13:00 on 7 May"}


@pytest.mark.parametrize(
    "resets_at", [None, NOON, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC), NOON + timedelta(days=60)]
)
async def test_a_reset_nobody_can_mean_holds_nobody_back(log: EventLog, resets_at: datetime | None) -> None:
    await _request(log, _metered(100, resets_at))
    assert waiting(log.db, NOON) == {}


async def test_an_answer_does_not_empty_a_window(log: EventLog) -> None:
    await _request(log, _metered(97, NOON + HOUR, brain="claude"), _aside("claude"))
    await _request(log, ANSWERED)
    assert waiting(log.db, NOON) == {"claude": "its 5h window is 97 % used; it resets at 13:00"}


# ---- stepping aside


@pytest.mark.parametrize(
    ("reason", "retry_after_s", "after_s", "words"),
    [
        ("overloaded", None, 45, "it was overloaded a minute ago"),
        ("overloaded", None, 60, None),
        ("logged_out", None, 0, "it was logged out just now"),
        ("logged_out", None, 120, None),
        ("silent", None, 119, "it fell silent 2 minutes ago"),
        ("cut", None, 61, "its connection was cut a minute ago"),
        ("broken", None, 61, "it broke down a minute ago"),
        ("killed", None, 61, "it was killed a minute ago"),
        ("killed", None, 120, None),
        ("missing", None, 0, None),
        ("something newer", None, 0, None),
        ("limited", None, 599, "it had reached a limit 10 minutes ago"),
        ("limited", None, 600, None),
        ("limited", 20, 19, "it said at 12:00: try again in 20 s"),
        ("limited", 20, 20, None),
        ("limited", 600, 61, "it said at 12:00: try again in 10 minutes"),
        ("limited", 7200, 3600, "it said at 12:00: try again in 2 hours"),
        ("limited", 4 * 86_400, 86_400, "it said at 12:00 on 4 May: try again in 4 days"),
        ("limited", 0, 0, None),
        ("limited", -5, 0, None),
        ("limited", float("nan"), 0, None),
        ("limited", float("inf"), 60, "it said at 12:00: try again in 31 days"),
        ("overloaded", 7200, 90, None),  # only of a limit does a vendor know when it ends
    ],
)
async def test_how_long_a_brain_waits_after_stepping_aside_goes_by_the_reason(
    log: EventLog, clock: FakeClock, reason: str, retry_after_s: float | None, after_s: float, words: str | None
) -> None:
    await _request(log, _aside("claude", reason, retry_after_s), Answered("yes", "codex", None, 5))
    clock.advance(after_s)
    assert waiting(log.db, clock.at()) == ({} if words is None else {"claude": words})


async def test_a_brain_that_has_answered_since_does_not_wait(log: EventLog) -> None:
    await _request(log, ANSWERED)
    await _request(log, _aside(), Answered("yes", "codex", None, 5))
    await _request(log, Answered("yes", "codex", None, 5))
    await _request(log, Began("claude", None, 1))  # asked again, and not done yet
    assert list(waiting(log.db, NOON)) == ["claude"]
    await _request(log, ANSWERED)
    assert waiting(log.db, NOON) == {}
    await _request(log, _aside())
    assert list(waiting(log.db, NOON)) == ["claude"]


async def test_only_the_last_time_a_brain_stepped_aside_counts(log: EventLog, clock: FakeClock) -> None:
    await _request(log, _aside("claude", "limited", 3600), _aside("codex", "limited", 3600))
    clock.advance(60)
    await _request(log, _aside("claude", "cut"))
    clock.advance(600)
    assert waiting(log.db, clock.at()) == {"codex": "it said at 12:00: try again in 60 minutes"}


async def test_a_clock_that_is_put_back_keeps_nobody_waiting_for_ever(log: EventLog, clock: FakeClock) -> None:
    clock.set(NOON + timedelta(days=365))
    await _request(log, _aside("claude"), _metered(100, clock.at() + HOUR))
    assert list(waiting(log.db, clock.at())) == ["claude", "codex"]
    clock.set(NOON)
    assert waiting(log.db, clock.at()) == {}
    await _request(log, _aside("gateway"))
    clock.set(NOON - timedelta(seconds=30))
    assert waiting(log.db, clock.at()) == {"gateway": "it was overloaded just now"}
    await _request(log, Answered("yes", "gateway", None, 5))
    assert waiting(log.db, clock.at()) == {}, "later in the log, though earlier by the clock"


# ---- money


def _spent(cost: str | None) -> Spent:
    return Spent("codex", "m", Usage(1), None if cost is None else Decimal(cost), "unknown" if cost is None else "priced")


async def test_what_was_spent_today_begins_at_local_midnight(log: EventLog, clock: FakeClock) -> None:
    midnight = NOON - 12 * HOUR
    for at, cost in (
        (midnight - timedelta(milliseconds=1), "8"),
        (midnight, "0.25"),
        (NOON, "0.000000001"),
        (NOON, None),
        (midnight + 24 * HOUR - timedelta(milliseconds=1), "1"),
        (midnight + 24 * HOUR, "16"),  # the clock was ahead of itself
    ):
        clock.set(at)
        await _request(log, _spent(cost))
    assert spent_today(log.db, NOON) == Decimal("1.250000001")
    assert spent_today(log.db, NOON + 13 * HOUR) == 16, "it is tomorrow here, and not yet in Greenwich"
    assert spent_today(log.db, NOON - 48 * HOUR) == 0


async def test_absurd_prices_add_up_all_the_same(log: EventLog) -> None:
    for _ in range(3):
        await _request(log, _spent("1e30"))
    await _request(log, _spent("Infinity"))
    assert spent_today(log.db, NOON) == 3 * Decimal(2**63 - 1) / 10**9


# ---- the log


async def test_a_log_of_the_first_schema_is_brought_up_and_answers(tmp_path: Path, owner: Owner, clock: FakeClock) -> None:
    old = EventLog(Database(tmp_path / "db", MIGRATIONS[:1], backups=tmp_path), clock, owner.id)
    await _request(old, _spent("0.5"), _aside("claude"), _metered(97, NOON + HOUR))
    old.close()
    log = EventLog(Database(tmp_path / "db", MIGRATIONS, backups=tmp_path / "backups"), clock, owner.id)
    expected = {"claude": "it was overloaded just now", "codex": "its 5h window is 97 % used; it resets at 13:00"}
    assert (waiting(log.db, NOON), spent_today(log.db, NOON)) == (expected, Decimal("0.5"))
    assert log.rebuild() == 4
    assert (waiting(log.db, NOON), spent_today(log.db, NOON)) == (expected, Decimal("0.5"))
    fresh = Database(tmp_path / "fresh", MIGRATIONS, backups=tmp_path)
    shape = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
    assert log.db.read(shape) == fresh.read(shape), "whatever the way to it, the schema is the same"
    fresh.close()
    log.close()


async def test_the_work_does_not_grow_with_the_log(log: EventLog) -> None:
    await _request(log, _aside("claude", "limited", 86_400))
    await _request(log, _metered(97, NOON + HOUR))
    few = _steps(log.db, lambda: (waiting(log.db, NOON), spent_today(log.db, NOON)))
    events, body = [], '{"type":"metered","brain":"local","windows":[]}'
    with log.db.write() as connection:
        for n in range(3_000):
            trace = new_trace()
            connection.execute(
                "INSERT INTO requests (trace, thread, cwd, origin, owner, text, attachments, at_ms, status, brain)"
                " VALUES (?, 'th', '/', 'cli', 'o', 'x', '[]', 0, 'answered', 'local')",
                (trace,),
            )
            connection.execute("INSERT INTO spend VALUES (?, ?, 'local', NULL, 1, 0, 0, 0, 0, 1, 'priced')", (trace, n))
            events += [(trace, 1, "said", '{"type":"said","text":"x"}'), (trace, 2, "metered", body)]
        connection.executemany("INSERT INTO events (trace, seq, at_ms, kind, body) VALUES (?, ?, 0, ?, ?)", events)
    many = _steps(log.db, lambda: (waiting(log.db, NOON), spent_today(log.db, NOON)))
    assert list(waiting(log.db, NOON)) == ["claude", "codex"]
    assert many < few + 100, "one more brain to look up"


def _steps(db: Database, work: Callable[[], object]) -> int:
    """How many instructions of its virtual machine SQLite takes for *work*."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    db._connection.set_progress_handler(count, 1)
    try:
        work()
    finally:
        db._connection.set_progress_handler(None, 1)
    return taken
