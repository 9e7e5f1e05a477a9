"""Where everything is kept: the folders of a PAIOS home and its database, for the house and for commands that only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paios.base.db import Database
from paios.base.errors import StoreError
from paios.observability.events import MIGRATIONS

FOLDERS = ("data", "run", "logs", "backups")


def make_home(home: Path) -> None:
    """
    The folders of a PAIOS home, readable by their owner alone.

    Raises:
        StoreError: they cannot be made.
    """
    try:
        for folder in (home, *(home / name for name in FOLDERS)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o077:
                folder.chmod(0o700)
    except OSError as error:
        raise StoreError(f"{home} cannot be used: {error.strerror}", remedy="check who owns it, or set PAIOS_HOME") from error


def database(home: Path) -> Database:
    """
    The database of *home*, made if it is not there. Blocking.

    Raises:
        StoreError: it cannot be opened; see `Database`.
    """
    return Database(home / "data" / "paios.db", MIGRATIONS, backups=home / "backups")


@contextmanager
def open_database(home: Path) -> Iterator[Database]:
    """The database alone, for commands that only read."""
    make_home(home)
    db = database(home)
    try:
        yield db
    finally:
        db.close()
