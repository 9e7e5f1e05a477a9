"""The folders of a PAIOS home, readable by their owner alone."""

from __future__ import annotations

from pathlib import Path

from paios.base.errors import StoreError

FOLDERS = ("data", "run", "logs", "backups")


def make(home: Path) -> None:
    """
    Makes what is missing of *home*, and closes to others what is open.

    Raises:
        StoreError: it cannot be used.
    """
    try:
        for folder in (home, *(home / name for name in FOLDERS)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o077:
                folder.chmod(0o700)
    except OSError as error:
        raise StoreError(f"{home} cannot be used: {error.strerror}", remedy="check who owns it, or set PAIOS_HOME") from error
