"""SQLite as PAIOS uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from paios.base.db import Database, Migration, library
from paios.base.errors import StoreError

WRITER = """
import sys
from pathlib import Path
from paios.base.db import Database
db = Database(Path(sys.argv[1]), [lambda c: c.execute("CREATE TABLE n (value INTEGER)")], backups=Path(sys.argv[1]).parent)
for _ in range(100):
    with db.write() as connection:
        (highest,) = connection.execute("SELECT coalesce(max(value), 0) FROM n").fetchone()
        connection.execute("INSERT INTO n VALUES (?)", (highest + 1,))
"""


def _tables(*names: str) -> list[Migration]:
    return [lambda c, name=name: c.execute(f"CREATE TABLE {name} (value INTEGER)") for name in names]  # type: ignore[misc]


def test_eight_processes_that_read_and_then_write_never_meet_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "db"
    children = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stderr=subprocess.PIPE, text=True) for _ in range(8)
    ]
    errors = [child.communicate(timeout=60)[1] for child in children]
    assert errors == [""] * 8
    db = Database(path, _tables("n"), backups=tmp_path)
    assert db.read("SELECT count(*), max(value) FROM n") == [(800, 800)]
    db.close()


def test_the_file_is_private_and_in_the_mode_this_sqlite_is_safe_with(tmp_path: Path) -> None:
    db = Database(tmp_path / "db", _tables("a"), backups=tmp_path)
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600
    assert db.read("PRAGMA journal_mode") == [("wal" if library()[2] else "delete",)]
    db.close()


def test_an_older_file_is_copied_before_it_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "db"
    first = Database(path, _tables("a"), backups=tmp_path / "backups")
    with first.write() as connection:
        connection.execute("INSERT INTO a VALUES (7)")
    first.close()
    second = Database(path, _tables("a", "b"), backups=tmp_path / "backups")
    assert second.read("SELECT value FROM a") == [(7,)]
    assert second.read("SELECT count(*) FROM b") == [(0,)]
    second.close()
    copy = Database(tmp_path / "backups" / "db.schema-1", _tables("a"), backups=tmp_path)
    assert copy.read("SELECT value FROM a") == [(7,)]
    copy.close()


def test_a_newer_programs_file_is_refused_and_kept(tmp_path: Path) -> None:
    Database(tmp_path / "db", _tables("a", "b"), backups=tmp_path).close()
    before = (tmp_path / "db").read_bytes()
    with pytest.raises(StoreError, match="newer PAIOS"):
        Database(tmp_path / "db", _tables("a"), backups=tmp_path)
    assert (tmp_path / "db").read_bytes() == before


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    db = Database(tmp_path / "db", _tables("a"), backups=tmp_path)
    with pytest.raises(ZeroDivisionError), db.write() as connection:
        connection.execute("INSERT INTO a VALUES (1)")
        _ = 1 / 0
    assert db.read("SELECT count(*) FROM a") == [(0,)]
    db.close()


def test_a_writer_that_never_lets_go_is_told_and_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paios.base.db.TICKET_S", 0.1)
    held, other = (Database(tmp_path / "db", _tables("a"), backups=tmp_path) for _ in range(2))
    with held.write(), pytest.raises(StoreError, match="written by another process"), other.write():
        pass
    with other.write() as connection:
        connection.execute("INSERT INTO a VALUES (1)")
    assert held.read("SELECT count(*) FROM a") == [(1,)]


def test_a_file_that_is_no_database_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("not a database at all, but long enough to be read as one " * 50)
    with pytest.raises(StoreError, match=r"db is damaged.*backups"):
        Database(tmp_path / "db", _tables("a"), backups=tmp_path)
