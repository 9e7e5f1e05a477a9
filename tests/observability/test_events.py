"""The event log: durable before shown, nothing lost, one end for every request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from paios.base.db import Database
from paios.base.errors import BadInput, StoreError
from paios.base.events import Accepted, Answered, Began, Bound, Event, Failed, Routed, Said, Spent
from paios.base.process import Owner
from paios.base.types import Candidate, Session, Usage, new_trace
from paios.observability import traces
from paios.observability.events import MIGRATIONS, NANO, EventLog, events_of
from paios.observability.usage import cost_of, spending
from paios.testing.clock import FakeClock
from paios.testing.until import until


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def _open(tmp_path: Path) -> Database:
    return Database(tmp_path / "db", MIGRATIONS, backups=tmp_path / "backups")


@pytest.fixture
def log(tmp_path: Path, owner: Owner) -> Iterator[EventLog]:
    log = EventLog(_open(tmp_path), FakeClock(datetime(2026, 1, 1, tzinfo=UTC)), owner.id)
    yield log
    log.close()


def _elsewhere(tmp_path: Path, trace: str) -> list[Event]:
    """What another process would find stored."""
    db = _open(tmp_path)
    found = [record.event for record in events_of(db, trace)]
    db.close()
    return found


ACCEPTED = Accepted("do it", "/w", "th-1", "cli")


async def test_a_durable_event_is_stored_when_append_returns_and_a_delta_soon_after(tmp_path: Path, log: EventLog) -> None:
    trace = new_trace()
    (record,) = await log.append(trace, ACCEPTED)
    assert record.seq == 1
    assert _elsewhere(tmp_path, trace) == [ACCEPTED]
    await log.append(trace, Said("a"))
    await log.append(trace, Said("b"))
    await until(lambda: len(_elsewhere(tmp_path, trace)) == 3)
    assert _elsewhere(tmp_path, trace)[1:] == [Said("a"), Said("b")]


async def test_deltas_before_a_durable_event_are_stored_with_it_and_in_order(tmp_path: Path, log: EventLog) -> None:
    trace = new_trace()
    sent: list[Event] = [ACCEPTED, Said("a"), Said("b"), Answered("ab", "echo", None, 5)]
    for event in sent:
        await log.append(trace, event)
    assert _elsewhere(tmp_path, trace) == sent


async def test_order_is_kept_when_the_clock_goes_backwards(tmp_path: Path, owner: Owner) -> None:
    clock = FakeClock(datetime(2026, 1, 2, tzinfo=UTC))
    log = EventLog(_open(tmp_path), clock, owner.id)
    trace = new_trace()
    await log.append(trace, ACCEPTED)
    clock.set(datetime(2026, 1, 1, tzinfo=UTC))
    await log.append(trace, Said("later, though the clock says earlier"))
    await log.append(trace, Answered("x", "echo", None, 1))
    log.close()
    db = _open(tmp_path)
    assert [type(r.event) for r in events_of(db, trace)] == [Accepted, Said, Answered]
    db.close()


async def test_a_request_of_a_dead_process_is_ended_once_with_what_had_been_said(
    tmp_path: Path, run: Path, owner: Owner
) -> None:
    dead = Owner(run)
    crashed = EventLog(_open(tmp_path), FakeClock(datetime(2026, 1, 1, tzinfo=UTC)), dead.id)
    trace = new_trace()
    for event in (ACCEPTED, Began("echo", None, 1), Said("half "), Said("an answer"), Bound(Session("echo", "s"))):
        await crashed.append(trace, event)
    log = EventLog(_open(tmp_path), FakeClock(datetime(2026, 1, 1, tzinfo=UTC)), owner.id)
    assert log.recover(run) == [], "its process is still alive"
    os.close(dead._file.fileno())  # what the kernel does when the process dies
    assert log.recover(run) == [trace]
    assert log.recover(run) == []
    *_, end = _elsewhere(tmp_path, trace)
    assert isinstance(end, Failed)
    assert (end.kind, end.said, end.brain) == ("interrupted", "half an answer", "echo")
    assert traces.find(log.db, "last").status == "failed"
    log.close()
    crashed.db.close()


async def test_projections_are_the_same_after_a_rebuild(log: EventLog) -> None:
    trace = new_trace()
    for event in (
        ACCEPTED,
        Routed("code", 0.9, (Candidate("echo", "fast"),), ("because",)),
        Began("echo", "m", 1),
        Bound(Session("echo", "s-1", Decimal("0.5"))),
        Spent("echo", "m", Usage(1, 2, 3, 4, 5), Decimal("0.000000001"), "priced"),
        Spent("echo", "odd", Usage(1), None, "unknown"),
        Answered("yes", "echo", "m", 5),
    ):
        await log.append(trace, event)
    tables = ("requests", "sessions", "spend")
    before = [log.db.read(f"SELECT * FROM {table}") for table in tables]
    assert log.rebuild() == 7
    assert [log.db.read(f"SELECT * FROM {table}") for table in tables] == before
    assert cost_of(log.db, trace) == (Usage(2, 2, 3, 4, 5), Decimal(1) / NANO, 1)
    known = traces.session(log.db, "th-1", "echo")
    assert known is not None
    assert known[0] == Session("echo", "s-1", Decimal("0.5"))


async def test_an_unknown_cost_is_counted_apart_and_never_as_nothing(log: EventLog) -> None:
    await log.append(new_trace(), ACCEPTED, Spent("x", "odd", Usage(10, output=5), None, "unknown"))
    assert spending(log.db, days=3660)[0].unpriced == 1
    assert log.db.read("SELECT cost_nano FROM spend") == [(None,)]


async def test_an_absurd_count_or_price_does_not_stop_the_log(log: EventLog) -> None:
    trace = new_trace()
    for cost in (Decimal("NaN"), Decimal("Infinity"), Decimal(10) ** 30):
        await log.append(trace, Spent("x", "odd", Usage(10**30), cost, "reported"))
    await log.append(new_trace(), ACCEPTED)
    assert [row[0] for row in log.db.read("SELECT cost_nano FROM spend")] == [None, None, 2**63 - 1]


async def test_a_trace_is_found_by_its_beginning_and_a_doubtful_one_is_not(log: EventLog) -> None:
    for trace in ("aa" + "0" * 30, "ab" + "0" * 30):
        await log.append(trace, ACCEPTED)
    assert traces.find(log.db, "AB").trace.startswith("ab")
    with pytest.raises(BadInput, match="more than one"):
        traces.find(log.db, "a")
    for absent in ("zz", "%", "", "last'"):
        with pytest.raises(BadInput, match="there is no request"):
            traces.find(log.db, absent)


# Fills the disk as far as this process is concerned: files may not grow past 300 kB.
FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
from pathlib import Path
from datetime import UTC, datetime
import anyio
from paios.base.clock import SystemClock
from paios.base.db import Database
from paios.base.errors import StoreError
from paios.base.events import Accepted, Said
from paios.observability.events import MIGRATIONS, EventLog, events_of
async def main():
    root = Path(sys.argv[1])
    log = EventLog(Database(root / "db", MIGRATIONS, backups=root), SystemClock(), "me")
    stored = 0
    try:
        for _ in range(100):
            await log.append("a" * 32, Accepted("x" * 20_000, "/w", "th", "cli") if stored == 0 else Said("y" * 20_000))
            await anyio.to_thread.run_sync(log.flush)
            stored += 1
    except StoreError as error:
        print("refused:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.close()
    print("stored:", stored, len(events_of(Database(root / "db", MIGRATIONS, backups=root), "a" * 32)))
anyio.run(main)
"""


def test_a_full_disk_is_told_and_costs_nothing_that_was_stored(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True)
    refused, stored = done.stdout.splitlines()
    assert refused.startswith("refused:")
    assert "free some disk space" in refused
    before, after = map(int, stored.removeprefix("stored: ").split())
    assert after == before + 1, "what was waiting is stored once there is room again"


async def test_a_store_that_fails_stops_the_deltas_too(tmp_path: Path, log: EventLog) -> None:
    await log.append(new_trace(), ACCEPTED)
    log.db.read("ALTER TABLE events RENAME TO hidden")
    trace = new_trace()
    with pytest.raises(StoreError):
        await log.append(trace, ACCEPTED)
    with pytest.raises(StoreError):
        await log.append(trace, Said("x"))
    log.db.read("ALTER TABLE hidden RENAME TO events")
    await log.append(trace, Answered("x", "echo", None, 1))
    assert [type(event) for event in _elsewhere(tmp_path, trace)] == [Accepted, Answered], "the refused delta was not taken"


KILLED = """
import sys
from pathlib import Path
import anyio
from paios.base.clock import SystemClock
from paios.base.db import Database
from paios.base.events import Accepted, Said, Answered
from paios.base.process import Owner
from paios.base.types import new_trace
from paios.observability.events import MIGRATIONS, EventLog
async def main():
    root = Path(sys.argv[1])
    owner = Owner(root / "run")
    log = EventLog(Database(root / "db", MIGRATIONS, backups=root), SystemClock(), owner.id)
    while True:
        trace = new_trace()
        await log.append(trace, Accepted("x", "/w", "th", "cli"))
        print("accepted", trace, flush=True)
        await log.append(trace, Said("y"))
        await log.append(trace, Answered("y", "echo", None, 1))
        print("answered", trace, flush=True)
anyio.run(main)
"""


def test_kill_9_loses_nothing_that_was_shown(tmp_path: Path, run: Path, owner: Owner) -> None:
    for after in (1, 7, 20):
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        shown = [child.stdout.readline().split() for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        shown += [line.split() for line in child.stdout.read().splitlines() if line]
        child.wait()
        log = EventLog(_open(tmp_path), FakeClock(datetime(2026, 1, 1, tzinfo=UTC)), owner.id)
        log.recover(run)
        for word, trace in (line for line in shown if len(line) == 2 and len(line[1]) == 32):
            events = [record.event for record in events_of(log.db, trace)]
            assert isinstance(events[0], Accepted)
            ends = [event for event in events if isinstance(event, (Answered, Failed))]
            assert len(ends) == 1
            assert word == "accepted" or isinstance(ends[0], Answered)
        log.close()
