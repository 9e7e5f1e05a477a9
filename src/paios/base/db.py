"""SQLite as PAIOS uses it: one library per process, WAL, IMMEDIATE transactions behind a ticket, numbered migrations.

`busy_timeout` alone does not help a transaction that reads before it writes: with 8 writers 93 % of them fail at once with
SQLITE_BUSY. `BEGIN IMMEDIATE` cures that, and a `flock` ticket taken first makes writers queue instead of poll (16
processes: no error and twice the throughput). Raw connections instead of SQLAlchemy Core, because `ai` runs the path in
its own process in this release and importing SQLAlchemy costs more CPU (0.35 s) than the whole of an echo request.

WAL is used only with SQLite ≥ 3.51.3: earlier ones can corrupt a WAL database when a checkpoint and a writer race. With
an older library the rollback journal is used, which is slower and safe; `ai doctor` says so.
"""

from __future__ import annotations

import fcntl
import sqlite3 as stdlib_sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paios.base.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        from pysqlite3 import dbapi2 as sqlite3
    except ImportError:
        sqlite3 = stdlib_sqlite3

SAFE_WAL = (3, 51, 3)
TICKET_S = 10.0  # a writer holds it for milliseconds, a rebuild for seconds; a stopped process for ever
TICKET_POLL_S = 0.001
Migration = Callable[["sqlite3.Connection"], None]


def library() -> tuple[str, str, bool]:
    """(package, SQLite version, whether its WAL is safe) of the SQLite this process uses."""
    return sqlite3.__name__.split(".")[0], sqlite3.sqlite_version, sqlite3.sqlite_version_info >= SAFE_WAL


class Database:
    """One database file. Reads and writes may come from any thread, one at a time."""

    def __init__(self, path: Path, migrations: Sequence[Migration], *, backups: Path) -> None:
        """
        Opens *path*, creating it (0600) if absent, and brings it up to the last of *migrations*.

        Raises:
            StoreError: not a database, not readable, no room, or written by a newer PAIOS.
        """
        self.path = path
        self._lock = threading.RLock()
        try:
            path.touch(0o600)
            ticket = path.with_name(path.name + ".ticket")
            ticket.touch(0o600)
            self._ticket = ticket.open("w")
            # isolation_level None: transactions are ours alone to begin and end
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
            self._connection.execute("PRAGMA busy_timeout = 5000")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(migrations, backups)
        except (sqlite3.Error, OSError) as error:
            raise _explained(error, path) from error

    def _migrate(self, migrations: Sequence[Migration], backups: Path) -> None:
        if self._version() > len(migrations):
            raise StoreError(
                f"{self.path} was written by a newer PAIOS (schema {self._version()}, this one knows {len(migrations)})",
                remedy="update PAIOS, or set PAIOS_HOME to another folder",
            )
        if self._version() == len(migrations):
            self._tune()
            return
        # The mode can only be changed while nobody writes, so it is done once, by whoever creates the file.
        with self._ticketed():
            self._tune()
            if 0 < self._version() < len(migrations):
                self._copy_to(backups / f"{self.path.name}.schema-{self._version()}")
            for number, migrate in enumerate(migrations, 1):
                if number > self._version():
                    self._connection.execute("BEGIN IMMEDIATE")
                    migrate(self._connection)
                    self._connection.execute(f"PRAGMA user_version = {number}")
                    self._connection.execute("COMMIT")

    def _tune(self) -> None:
        wanted = "wal" if library()[2] else "delete"
        if self._connection.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
            self._connection.execute(f"PRAGMA journal_mode = {wanted}")
        # NORMAL under WAL survives every crash of ours; a power cut may cost the last commits, never the database.
        self._connection.execute(f"PRAGMA synchronous = {'NORMAL' if wanted == 'wal' else 'FULL'}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _copy_to(self, target: Path) -> None:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.unlink(missing_ok=True)
        self._connection.execute("VACUUM INTO ?", (str(target),))
        target.chmod(0o600)

    @contextmanager
    def _ticketed(self) -> Iterator[None]:
        deadline = time.monotonic() + TICKET_S
        while True:
            try:
                fcntl.flock(self._ticket, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    remedy = "another PAIOS holds it: wait for it, or end it if it hangs (`ps` shows it)"
                    raise StoreError(f"{self.path} is being written by another process", remedy=remedy) from None
                time.sleep(TICKET_POLL_S)
        try:
            yield
        finally:
            fcntl.flock(self._ticket, fcntl.LOCK_UN)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """
        A transaction that holds the write lock from its start. Blocking: call it in a worker thread.

        Raises:
            StoreError: it could not be committed; nothing of it is stored.
        """
        with self._lock:
            try:
                with self._ticketed():
                    self._connection.execute("BEGIN IMMEDIATE")
                    try:
                        yield self._connection
                        self._connection.execute("COMMIT")
                    except BaseException:
                        if self._connection.in_transaction:
                            self._connection.execute("ROLLBACK")
                        raise
            except (sqlite3.Error, OSError) as error:
                raise _explained(error, self.path) from error

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """
        The rows of a SELECT.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise _explained(error, self.path) from error

    def check(self) -> list[str]:
        """What SQLite's own integrity check finds wrong; empty when all is well."""
        return [str(row[0]) for row in self.read("PRAGMA quick_check") if row[0] != "ok"]

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._ticket.close()


def _explained(error: Exception, path: Path) -> StoreError:
    """*error* of SQLite or the system as ours, with the way out that fits."""
    text = str(error)
    if "full" in text or "disk I/O" in text or "No space" in text or "File too large" in text:
        return StoreError(f"{path} could not be written: {text}", remedy="free some disk space; what was stored before is safe")
    if "not a database" in text or "malformed" in text:
        return StoreError(f"{path} is damaged: {text}", remedy="move it away, or bring back a copy from the backups folder")
    if "unable to open" in text or "readonly" in text or isinstance(error, PermissionError):
        return StoreError(f"{path} cannot be opened for writing: {text}", remedy="check who owns the folder, or set PAIOS_HOME")
    return StoreError(f"{path}: {text}", remedy="run `ai doctor`")
