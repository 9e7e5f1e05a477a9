"""What people's corrections changed in the router: learned from the log, kept as numbered versions, undone on request.

A version holds the whole change against the shipped model, so that any of them can be taken up again. Files lie in
`data/routing/`: `0001.json`, `0002.json`, … and `current`, which names one; without it the shipped model decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from paios.base.clock import Clock
from paios.base.errors import BadInput, StoreError
from paios.config.files import write_whole
from paios.routing.learn import Correction, Proposal, propose
from paios.routing.model import Model, shipped, with_change


@dataclass(frozen=True, slots=True)
class Version:
    """One accepted change. Version 0 is the shipped model."""

    number: int
    at: datetime | None
    corrections: int
    before: int  # of these right before the change, after it
    after: int
    is_current: bool


def folder(home: Path) -> Path:
    """Where the versions of *home* lie."""
    return home / "data" / "routing"


def load(home: Path) -> Model:
    """
    The classifier as it is to be used: the shipped one, with the current change if there is one.

    Raises:
        StoreError: the current version cannot be read.
    """
    number = _current(home)
    return with_change({int(bucket): extra for bucket, extra in _read(home, number)["change"].items()}) if number else shipped()


def learn(home: Path, corrections: Sequence[Correction], clock: Clock) -> tuple[Proposal, Version | None] | None:
    """The change that *corrections* propose, and the version made of it if it helps; None if they are too few."""
    proposal = propose(corrections, load(home))
    if proposal is None or not proposal.helps:
        return None if proposal is None else (proposal, None)
    number = max((n for n in _numbers(home)), default=0) + 1
    at = clock.at()
    held = {
        "at": at.isoformat(),
        "for": shipped().trained,
        "on": _current(home),
        "corrections": proposal.corrections,
        "before": proposal.before,
        "after": proposal.after,
        "change": proposal.change,
    }
    write_whole(folder(home) / f"{number:04}.json", json.dumps(held).encode())
    _use(home, number)
    return proposal, Version(number, at, proposal.corrections, proposal.before, proposal.after, is_current=True)


def versions(home: Path) -> list[Version]:
    """Every version, oldest first, the shipped model among them."""
    current = _current(home)
    found = [Version(0, None, 0, 0, 0, current == 0)]
    for number in _numbers(home):
        held = _read(home, number)
        at = datetime.fromisoformat(held["at"])
        found.append(Version(number, at, held["corrections"], held["before"], held["after"], number == current))
    return found


def undo(home: Path) -> int:
    """
    Goes back to the version that the current one was learned on; its number.

    Raises:
        BadInput: the shipped model is in use.
    """
    current = _current(home)
    if not current:
        raise BadInput("there is nothing to undo: the shipped weights are in use", remedy="`ai route weights list`")
    before: int = _read(home, current)["on"]
    _use(home, before)
    return before


def _use(home: Path, number: int) -> None:
    write_whole(folder(home) / "current", f"{number}\n".encode())


def _current(home: Path) -> int:
    """The version in use. One learned on top of another release's weights is not: it would change the wrong ones."""
    try:
        text = (folder(home) / "current").read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return 0
    if not text.isdecimal():
        raise StoreError(f"{folder(home) / 'current'} holds no number", remedy="delete it: the shipped weights then decide")
    number = int(text)
    return number if number and _read(home, number)["for"] == shipped().trained else 0


def _numbers(home: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder(home).glob("[0-9][0-9][0-9][0-9].json"))


def _read(home: Path, number: int) -> dict[str, Any]:
    path = folder(home) / f"{number:04}.json"
    remedy = f"delete {folder(home) / 'current'}: the shipped weights then decide"
    try:
        held: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}", remedy=remedy) from error
    if not isinstance(held, dict) or not held.keys() >= {"at", "for", "on", "corrections", "before", "after", "change"}:
        raise StoreError(f"{path} is no version of the weights", remedy=remedy)
    return held
