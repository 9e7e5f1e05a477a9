"""Checks, each a round trip rather than a look at a configuration; one file a check in `checks/`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paios.base.db import Database
from paios.base.types import BrainStatus

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `remedy` is empty when all is well."""

    id: str
    status: State
    summary: str
    remediation: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks look at."""

    home: Path
    env: Mapping[str, str]
    db: Database
    statuses: Callable[[], Awaitable[list[BrainStatus]]]


Check = Callable[[Scene], Awaitable[list[Finding]]]


async def run(checks: list[Check], scene: Scene) -> list[Finding]:
    """The findings of all *checks*, in their order."""
    return [finding for check in checks for finding in await check(scene)]
