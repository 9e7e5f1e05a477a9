"""The one database of a PAIOS home, for the house and for commands that only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paios.base.db import Database
from paios.base.home import make
from paios.observability.events import MIGRATIONS


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
    make(home)
    db = database(home)
    try:
        yield db
    finally:
        db.close()
