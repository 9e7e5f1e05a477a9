"""The time, as something that can be handed in: `at()` for people, `monotonic()` for durations.

The wall clock may jump, also backwards; nothing is ordered by it and no duration is computed from it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def at(self) -> datetime:
        """The wall time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from some moment in the past; never goes back."""
        ...


class SystemClock:
    def at(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
