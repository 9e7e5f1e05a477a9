"""What every command gets from the parser: where home is, and the caller's environment and folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Door:
    """`click`'s `ctx.obj`. Nothing else in the program reads `os.environ` or the current folder."""

    home: Path  # absolute; may not exist yet
    env: Mapping[str, str]
    cwd: Path
