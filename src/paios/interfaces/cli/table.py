"""Plain tables: aligned columns, cut to the terminal, no colour; a list of objects for programs."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any


def width(text: str) -> int:
    """Columns *text* takes in a terminal: combining marks none, wide characters two."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def lines(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[str] = frozenset()) -> list[str]:
    """The table as lines. Columns named in *right* are numbers; the last column is cut to fit a terminal."""
    table = [head, *(tuple(" ".join(cell.split()) for cell in row) for row in rows)]
    widths = [max(width(row[i]) for row in table) for i in range(len(head))]
    room = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 10_000
    out = []
    for row in table:
        cells = []
        for name, cell, size in zip(head, row, widths, strict=True):
            pad = " " * (size - width(cell))
            cells.append(pad + cell if name in right else cell + pad)
        line = "  ".join(cells).rstrip()
        out.append(line if width(line) <= room else _cut(line, room - 1) + "…")
    return out


def _cut(line: str, room: int) -> str:
    """As much of *line* as takes *room* columns."""
    for end, taken in enumerate(accumulate(map(width, line))):
        if taken > room:
            return line[:end]
    return line


def as_json(value: Any) -> str:
    """*value* for programs: indented, non-ASCII kept."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
