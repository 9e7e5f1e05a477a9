"""The event log: everything that happened, in order, and the only writer of it.

`events` is canonical. `requests`, `sessions` and `spend` are projections written in the same transaction, for quick
reading; `rebuild` makes them anew from the events.

Group commit: a durable event is committed before `append` returns, together with everything waiting by then; a text delta
returns at once and is committed at most `GROUP_S` later. Readers in the process see deltas at once, because doors show
them before they are stored.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from paios.base import process
from paios.base.clock import Clock
from paios.base.db import Database
from paios.base.errors import StoreError
from paios.base.events import (
    DELTAS,
    Accepted,
    Answered,
    Began,
    Bound,
    Cancelled,
    Event,
    Failed,
    Recorded,
    Routed,
    Said,
    Spent,
    from_json,
    kind,
    to_json,
)

if TYPE_CHECKING:
    import sqlite3

GROUP_S = 0.05  # the promise of the design: a delta is stored within 50 ms


def _schema_1(connection: sqlite3.Connection) -> None:
    for statement in (
        # seq counts within a request, which one process writes, so it is known before the commit; id orders everything.
        """CREATE TABLE events (
             id INTEGER PRIMARY KEY AUTOINCREMENT, trace TEXT NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL,
             kind TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (trace, seq))""",
        *_PROJECTIONS_1,
    ):
        connection.execute(statement)


def _schema_2(connection: sqlite3.Connection) -> None:
    # What a brain told last about itself, found without reading the log: see `health`.
    connection.execute(
        f"CREATE INDEX events_health ON events (kind, json_extract(body, '$.brain'), id DESC) WHERE kind IN {HEALTH_KINDS}"
    )
    for statement in _PROJECTIONS_2:
        connection.execute(statement)


HEALTH_KINDS = "('steppedaside', 'metered')"  # a query must name them in the same words to be given the index

_PROJECTIONS_1 = (
    """CREATE TABLE requests (
         n INTEGER PRIMARY KEY AUTOINCREMENT, trace TEXT NOT NULL UNIQUE, thread TEXT NOT NULL, cwd TEXT NOT NULL,
         origin TEXT NOT NULL, owner TEXT NOT NULL, text TEXT NOT NULL,
         attachments TEXT NOT NULL, at_ms INTEGER NOT NULL, status TEXT NOT NULL,
         domain TEXT, brain TEXT, model TEXT, answer TEXT, took_ms INTEGER)""",
    "CREATE INDEX requests_open ON requests (owner) WHERE status = 'open'",
    "CREATE INDEX requests_cwd ON requests (cwd, n)",
    "CREATE INDEX requests_thread ON requests (thread, n)",
    """CREATE TABLE sessions (
         thread TEXT NOT NULL, brain TEXT NOT NULL, id TEXT NOT NULL, meter_usd TEXT, n INTEGER NOT NULL,
         PRIMARY KEY (thread, brain))""",
    # Money as whole billionths of a dollar, so that sums are exact.
    """CREATE TABLE spend (
         trace TEXT NOT NULL, at_ms INTEGER NOT NULL, brain TEXT NOT NULL, model TEXT, input INTEGER NOT NULL,
         cached INTEGER NOT NULL, cache_write INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,
         cost_nano INTEGER, source TEXT NOT NULL)""",
    "CREATE INDEX spend_trace ON spend (trace)",
    "CREATE INDEX spend_at ON spend (at_ms)",
)
_PROJECTIONS_2 = ("CREATE INDEX requests_answered ON requests (brain, n) WHERE status = 'answered'",)

MIGRATIONS = (_schema_1, _schema_2)
NANO = Decimal(1_000_000_000)
_LARGEST = 2**63 - 1  # what SQLite holds: an absurd count of a model server must not stop the log

Row = tuple[str, int, int, str, str]  # trace, seq, at_ms, kind, body


class EventLog:
    """Appends events of requests that *owner* serves; see the module for what is durable when."""

    def __init__(self, db: Database, clock: Clock, owner: str) -> None:
        self.db = db
        self._clock = clock
        self._owner = owner
        self._seqs: dict[str, int] = {}
        self._pending: deque[tuple[Row, Event]] = deque()
        self._commit = threading.Lock()
        self._waiting = threading.Event()
        self._closing = threading.Event()
        self._failure: StoreError | None = None
        self._flusher = threading.Thread(target=self._flush_deltas, name="paios-events", daemon=True)
        self._flusher.start()

    async def append(self, trace: str, *events: Event) -> list[Recorded]:
        """
        Stores *events* in order, in one transaction, and returns them with their places.

        Raises:
            StoreError: they could not be stored, or deltas before them could not.
        """
        only_deltas = all(isinstance(event, DELTAS) for event in events)
        if only_deltas and self._failure is not None:
            raise self._failure
        recorded = [self._record(trace, event) for event in events]
        if only_deltas:
            self._waiting.set()
        else:
            await to_thread.run_sync(self.flush)
        if isinstance(events[-1], (Answered, Failed, Cancelled)):
            self._seqs.pop(trace, None)
        return recorded

    def _record(self, trace: str, event: Event) -> Recorded:
        seq = self._seqs.get(trace, 0) + 1
        self._seqs[trace] = seq
        at = self._clock.at()
        self._pending.append(((trace, seq, int(at.timestamp() * 1000), kind(event), to_json(event)), event))
        return Recorded(seq, trace, at, event)

    def flush(self) -> None:
        """Commits what is waiting. Blocking."""
        with self._commit:
            batch = list(self._pending)
            if not batch:
                return
            try:
                self._store(batch)
            except StoreError as error:
                self._failure = error  # the batch stays: should there be room again, the next flush stores it
                raise
            self._failure = None
            for _ in batch:
                self._pending.popleft()

    def _store(self, batch: list[tuple[Row, Event]]) -> None:
        with self.db.write() as connection:
            connection.executemany(
                "INSERT INTO events (trace, seq, at_ms, kind, body) VALUES (?, ?, ?, ?, ?)", [row for row, _ in batch]
            )
            for row, event in batch:
                _project(connection, row, event, self._owner)

    def _flush_deltas(self) -> None:
        while self._waiting.wait() and not self._closing.is_set():
            self._waiting.clear()
            self._closing.wait(GROUP_S)
            try:
                self.flush()
            except StoreError:
                continue  # kept in _failure: the next append raises it to the request

    def close(self) -> None:
        """
        Stores what is waiting and ends the flusher. Blocking.

        Raises:
            StoreError: the last deltas could not be stored.
        """
        self._closing.set()
        self._waiting.set()
        self._flusher.join()
        try:
            self.flush()
        finally:
            self.db.close()

    def recover(self, run: Path) -> list[str]:
        """
        Ends every open request whose process is gone with `Failed(interrupted)`; their traces. Blocking.

        Safe with several processes at it: the status is looked at again inside the transaction.
        """
        owners = [row[0] for row in self.db.read("SELECT DISTINCT owner FROM requests WHERE status = 'open'")]
        ended: list[str] = []
        for owner in owners:
            if owner == self._owner or not process.is_dead(run, owner):
                continue
            process.reap(run, [owner])
            with self.db.write() as connection:
                rows = connection.execute("SELECT trace FROM requests WHERE status = 'open' AND owner = ?", (owner,)).fetchall()
                for (trace,) in rows:
                    self._end_interrupted(connection, trace)
                    ended.append(trace)
        return ended

    def _end_interrupted(self, connection: sqlite3.Connection, trace: str) -> None:
        stored = connection.execute("SELECT seq, kind, body FROM events WHERE trace = ? ORDER BY seq", (trace,)).fetchall()
        events = [from_json(body) for _, name, body in stored if name in ("said", "began")]
        event = Failed(
            "interrupted",
            "PAIOS was stopped while this was running",
            remedy="ask again with `ai -c`; what had been said is kept",
            brain=next((e.brain for e in reversed(events) if isinstance(e, Began)), None),
            said=said(events),
        )
        row = (trace, stored[-1][0] + 1, int(self._clock.at().timestamp() * 1000), kind(event), to_json(event))
        connection.execute("INSERT INTO events (trace, seq, at_ms, kind, body) VALUES (?, ?, ?, ?, ?)", row)
        _project(connection, row, event, self._owner)

    def rebuild(self) -> int:
        """Makes the projections anew from the events; how many events were read. Blocking."""
        with self.db.write() as connection:
            owners = dict(connection.execute("SELECT trace, owner FROM requests").fetchall())
            for table in ("requests", "sessions", "spend"):
                connection.execute(f"DROP TABLE {table}")  # a constant of this file
            for statement in (*_PROJECTIONS_1, *_PROJECTIONS_2):
                connection.execute(statement)
            rows = connection.execute("SELECT trace, seq, at_ms, kind, body FROM events ORDER BY id").fetchall()
            for row in rows:
                _project(connection, row, from_json(row[4]), owners.get(row[0], ""))
            return len(rows)


def said(events: list[Event]) -> str:
    """The text said so far by the brain that had the turn last."""
    text = ""
    for event in events:
        if isinstance(event, Began):
            text = ""
        elif isinstance(event, Said):
            text += event.text
    return text


Projector = Callable[["sqlite3.Connection", str, int, Any, str], None]


def add(db: Database, clock: Clock, trace: str, event: Event) -> None:
    """Stores *event* behind the others of a request that has ended. Blocking."""
    with db.write() as connection:
        (last,) = connection.execute("SELECT max(seq) FROM events WHERE trace = ?", (trace,)).fetchone()
        row = (trace, (last or 0) + 1, int(clock.at().timestamp() * 1000), kind(event), to_json(event))
        connection.execute("INSERT INTO events (trace, seq, at_ms, kind, body) VALUES (?, ?, ?, ?, ?)", row)


def _project(connection: sqlite3.Connection, row: Row, event: Event, owner: str) -> None:
    projector = _PROJECTORS.get(type(event))
    if projector is not None:
        projector(connection, row[0], row[2], event, owner)


def _accepted(connection: sqlite3.Connection, trace: str, at_ms: int, event: Accepted, owner: str) -> None:
    connection.execute(
        "INSERT INTO requests (trace, thread, cwd, origin, owner, text, attachments, at_ms, status)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open')",
        (trace, event.thread, event.cwd, event.origin, owner, event.text, json.dumps(event.attachments), at_ms),
    )


def _routed(connection: sqlite3.Connection, trace: str, at_ms: int, event: Routed, owner: str) -> None:
    connection.execute("UPDATE requests SET domain = ? WHERE trace = ?", (event.domain, trace))


def _began(connection: sqlite3.Connection, trace: str, at_ms: int, event: Began, owner: str) -> None:
    connection.execute("UPDATE requests SET brain = ?, model = ? WHERE trace = ?", (event.brain, event.model, trace))


def _bound(connection: sqlite3.Connection, trace: str, at_ms: int, event: Bound, owner: str) -> None:
    # n says up to which request the session knows the thread. It moves on only once the brain has answered: a brain that
    # is bound and then steps aside has not been told what the next one answers.
    meter = event.session.meter_usd
    connection.execute(
        "INSERT INTO sessions (thread, brain, id, meter_usd, n) SELECT thread, ?, ?, ?, 0 FROM requests WHERE trace = ?"
        " ON CONFLICT (thread, brain) DO UPDATE SET n = CASE WHEN id = excluded.id THEN n ELSE 0 END,"
        " id = excluded.id, meter_usd = excluded.meter_usd",
        (event.session.brain, event.session.id, None if meter is None else str(meter), trace),
    )


def _knows(connection: sqlite3.Connection, trace: str, brain: str | None) -> None:
    """The brain's session knows the thread up to this request."""
    connection.execute(
        "UPDATE sessions SET n = r.n FROM requests r WHERE r.trace = ? AND sessions.thread = r.thread AND sessions.brain = ?",
        (trace, brain),
    )


def _spent(connection: sqlite3.Connection, trace: str, at_ms: int, event: Spent, owner: str) -> None:
    used = event.usage
    connection.execute(
        "INSERT INTO spend VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(trace, at_ms, event.brain, event.model),
            *(min(n, _LARGEST) for n in (used.input, used.cached, used.cache_write, used.output, used.reasoning)),
            _nano(event.cost_usd),
            event.source,
        ),
    )


def _nano(cost_usd: Decimal | None) -> int | None:
    """Whole billionths of a dollar; None for what is no sum of money, such as a vendor's NaN."""
    if cost_usd is None or not cost_usd.is_finite():
        return None
    return min(int(cost_usd * NANO), _LARGEST)


def _answered(connection: sqlite3.Connection, trace: str, at_ms: int, event: Answered, owner: str) -> None:
    connection.execute(
        "UPDATE requests SET status = 'answered', answer = ?, brain = ?, model = ?, took_ms = ? WHERE trace = ?",
        (event.text, event.brain, event.model, event.took_ms, trace),
    )
    _knows(connection, trace, event.brain)


def _ended(connection: sqlite3.Connection, trace: str, at_ms: int, event: Failed | Cancelled, owner: str) -> None:
    connection.execute(
        "UPDATE requests SET status = ?, answer = ?, took_ms = ? WHERE trace = ?",
        (kind(event), event.said, event.took_ms, trace),
    )
    if event.said.strip():
        _knows(connection, trace, event.brain)


_PROJECTORS: dict[type, Projector] = {
    Accepted: _accepted,
    Routed: _routed,
    Began: _began,
    Bound: _bound,
    Spent: _spent,
    Answered: _answered,
    Failed: _ended,
    Cancelled: _ended,
}


def events_of(db: Database, trace: str) -> list[Recorded]:
    """The stored events of one request, in order."""
    return [
        Recorded(seq, trace, datetime.fromtimestamp(at_ms / 1000, UTC), from_json(body))
        for seq, at_ms, body in db.read("SELECT seq, at_ms, body FROM events WHERE trace = ? ORDER BY seq", (trace,))
    ]
