"""Reading what happened: requests, their threads and sessions. Never writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from paios.base.db import Database
from paios.base.errors import BadInput
from paios.base.types import Domain, Session

_COLUMNS = "n, trace, thread, cwd, origin, text, attachments, at_ms, status, domain, brain, model, answer, took_ms"


@dataclass(frozen=True, slots=True)
class Past:
    """One request as it is known so far. `status` is open, answered, failed or cancelled."""

    n: int
    trace: str
    thread: str
    cwd: str
    origin: str
    text: str
    attachments: tuple[str, ...]
    at: datetime
    status: str
    domain: str | None
    brain: str | None
    model: str | None
    answer: str | None  # what was said by then, if it failed
    took_ms: int | None


def _past(row: Sequence[Any]) -> Past:
    n, trace, thread, cwd, origin, text, attachments, at_ms, *rest = row
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return Past(n, trace, thread, cwd, origin, text, tuple(json.loads(attachments)), at, *rest)


def recent(db: Database, *, cwd: str | None = None, limit: int = 20) -> list[Past]:
    """The newest requests first, of one folder or of all."""
    where, parameters = ("WHERE cwd = ?", [cwd]) if cwd is not None else ("", [])
    return [
        _past(row) for row in db.read(f"SELECT {_COLUMNS} FROM requests {where} ORDER BY n DESC LIMIT ?", (*parameters, limit))
    ]


def of_thread(db: Database, thread: str, *, after: int = 0) -> list[Past]:
    """The requests of a thread, oldest first, with `n` above *after*."""
    return [
        _past(row) for row in db.read(f"SELECT {_COLUMNS} FROM requests WHERE thread = ? AND n > ? ORDER BY n", (thread, after))
    ]


def find(db: Database, prefix: str) -> Past:
    """
    The request whose trace begins with *prefix*; "last" is the newest.

    Raises:
        BadInput: there is none, or more than one.
    """
    if prefix == "last":
        rows = db.read(f"SELECT {_COLUMNS} FROM requests ORDER BY n DESC LIMIT 1")
    else:
        wanted = prefix.lower().replace("%", "").replace("_", "")
        rows = db.read(f"SELECT {_COLUMNS} FROM requests WHERE trace LIKE ? || '%' LIMIT 2", (wanted,)) if wanted else []
    if not rows:
        raise BadInput(f"there is no request {prefix!r}", remedy="`ai history` lists them")
    if len(rows) > 1:
        raise BadInput(f"more than one request begins with {prefix!r}", remedy="give more of its id")
    return _past(rows[0])


def session(db: Database, thread: str, brain: str) -> tuple[Session, int] | None:
    """The brain's own session for a thread, and the `n` of the last request it took part in."""
    rows = db.read("SELECT id, meter_usd, n FROM sessions WHERE thread = ? AND brain = ?", (thread, brain))
    if not rows:
        return None
    id_, meter, n = rows[0]
    return Session(brain, id_, None if meter is None else Decimal(meter)), n


def last_failures(db: Database) -> dict[str, tuple[datetime, str]]:
    """For each brain the last time it stepped aside or failed, and its words."""
    rows = db.read(
        "SELECT json_extract(body, '$.brain'), at_ms, json_extract(body, '$.message') FROM events"
        " WHERE kind IN ('steppedaside', 'failed') AND json_extract(body, '$.brain') IS NOT NULL ORDER BY id DESC LIMIT 200"
    )
    failures: dict[str, tuple[datetime, str]] = {}
    for brain, at_ms, message in rows:
        failures.setdefault(brain, (datetime.fromtimestamp(at_ms / 1000, UTC), message))
    return failures


@dataclass(frozen=True, slots=True)
class Rating:
    """What a person said a request is about, or is not about."""

    text: str
    domain: Domain
    is_so: bool


def ratings(db: Database) -> list[Rating]:
    """The last word on each request that a person said something of, oldest first."""
    rows = db.read(
        "SELECT r.text, json_extract(e.body, '$.domain'), json_extract(e.body, '$.is_so') FROM events e"
        " JOIN requests r ON r.trace = e.trace WHERE e.id IN (SELECT max(id) FROM events WHERE kind = 'rated' GROUP BY trace)"
        " ORDER BY e.id"
    )
    return [Rating(text, domain, bool(is_so)) for text, domain, is_so in rows]
