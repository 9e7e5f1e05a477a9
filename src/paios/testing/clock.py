"""A clock that moves only when told to, also backwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """A `paios.base.clock.Clock` in the hand of a test."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), monotonic: float = 1_000.0) -> None:
        self._at = start
        self._monotonic = monotonic

    def at(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Time passes: both clocks move."""
        if seconds < 0:
            raise ValueError(f"time passes forwards, not by {seconds} s; use `set` for a wall clock that is put back")
        self._at += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set(self, at: datetime) -> None:
        """Somebody sets the wall clock; durations are unaffected."""
        self._at = at
