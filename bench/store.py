"""What storing an event costs: one that must be durable, deltas in groups, and 16 processes at once."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import sys
import time
from pathlib import Path

import anyio

from bench.lab import Case, Lab, Table, Topic, ms
from paios.base.clock import SystemClock
from paios.base.db import Database, library
from paios.base.events import Accepted, Answered, Event, Said
from paios.base.types import new_trace
from paios.observability.events import MIGRATIONS, EventLog

DURABLE, DELTAS, WRITERS, EACH = 1_000, 20_000, 16, 200
GATE = "gate"


def measure(lab: Lab) -> Topic:
    folder = lab.root / "store"
    folder.mkdir()
    rows = [
        _row("bare SQLite: one INSERT, one commit", DURABLE, *_bare(folder / "bare.db")),
        _row("one durable event", DURABLE, *anyio.run(_durable, folder / "durable.db", DURABLE)),
        _row("a delta, in groups of 50 ms", DELTAS, *anyio.run(_deltas, folder / "deltas.db")),
        _row("16 processes at once, durable", WRITERS * EACH, *_crowd(lab, folder / "crowd.db")),
    ]
    method = (
        "CPU of the process (of all of them for the 16), wall time of the whole by the number of events. Durable: committed "
        f"before the call returns. WAL, synchronous NORMAL; SQLite from {library()[0]}."
    )
    return Topic("Storing an event", method, [Table("By event", ("what", "events", "CPU", "wall", "events/s"), rows)])


def _row(name: str, events: int, cpu_s: float, wall_s: float) -> tuple[str, ...]:
    return name, f"{events:,}", ms(cpu_s / events), ms(wall_s / events), f"{events / wall_s:,.0f}"


def _bare(path: Path) -> tuple[float, float]:
    sqlite = importlib.import_module(library()[0])  # the one that our own database uses
    connection = sqlite.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, trace TEXT, seq INTEGER, body TEXT, UNIQUE (trace, seq))")
    cpu, wall = time.process_time(), time.perf_counter()
    for seq in range(DURABLE):
        connection.execute("INSERT INTO events (trace, seq, body) VALUES ('t', ?, 'some words')", (seq,))
    used = time.process_time() - cpu, time.perf_counter() - wall
    connection.close()
    return used


async def _durable(path: Path, count: int) -> tuple[float, float]:
    return await _append(path, [Accepted(f"task {i}", "/", "th-1", "cli") for i in range(count)], one_trace=False)


async def _deltas(path: Path) -> tuple[float, float]:
    end = Answered("done", "echo", None, 1)
    return await _append(path, [Accepted("task", "/", "th-1", "cli"), *[Said("a word ")] * DELTAS, end], one_trace=True)


async def _append(path: Path, events: list[Event], *, one_trace: bool) -> tuple[float, float]:
    """CPU and wall seconds until the last of *events* is stored; each begins a request of its own unless *one_trace*."""
    log = EventLog(Database(path, MIGRATIONS, backups=path.parent), SystemClock(), "bench")
    traces = [new_trace()] * len(events) if one_trace else [new_trace() for _ in events]
    cpu, wall = time.process_time(), time.perf_counter()
    for trace, event in zip(traces, events, strict=True):
        await log.append(trace, event)
    await anyio.to_thread.run_sync(log.close)
    return time.process_time() - cpu, time.perf_counter() - wall


def _crowd(lab: Lab, path: Path) -> tuple[float, float]:
    """CPU of all and wall time from the first append to the last; all begin at once."""
    Database(path, MIGRATIONS, backups=path.parent).close()
    told = []

    def writer() -> None:
        case = Case("writer", [sys.executable, "-m", "bench.store", str(path)], env={**lab.env, "PYTHONPATH": str(_ROOT)})
        told.append(json.loads(lab.run(case).output))

    async def all_at_once() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(WRITERS):
                tasks.start_soon(anyio.to_thread.run_sync, writer)
            with anyio.fail_after(60):
                while len(list(path.parent.glob("ready-*"))) < WRITERS:  # noqa: ASYNC110  # other processes: no event of ours
                    await anyio.sleep(0.02)
            fcntl.flock(gate, fcntl.LOCK_UN)

    with (path.parent / GATE).open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        anyio.run(all_at_once)
    db = Database(path, MIGRATIONS, backups=path.parent)
    stored = db.read("SELECT count(*) FROM events")[0][0]
    db.close()
    if stored != WRITERS * EACH:
        raise RuntimeError(f"{stored} events are stored of {WRITERS * EACH}")
    return sum(t["cpu_s"] for t in told), max(t["end"] for t in told) - min(t["begin"] for t in told)


_ROOT = Path(__file__).parents[1]


def write(path: Path) -> None:
    """One of the 16: tells what it used, as JSON. Its times are of the machine's monotonic clock, which all of them share."""
    (path.parent / f"ready-{os.getpid()}").touch()
    with (path.parent / GATE).open() as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)  # until all are ready
    begin = time.monotonic()
    cpu_s, _ = anyio.run(_durable, path, EACH)
    print(json.dumps({"cpu_s": cpu_s, "begin": begin, "end": time.monotonic()}))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
