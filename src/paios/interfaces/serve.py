"""One request from a door to its end, and how a door stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import anyio

from paios.app import House
from paios.autonomy.gate import Person
from paios.base.events import Answered, Cancelled, Failed, Recorded, Terminal
from paios.interfaces.intake import Asked, request
from paios.work.ask import Door, Show, ask


class Stop:
    """Turns Ctrl-C, SIGTERM and a closed terminal into a cancellation of the request that runs, and of those to come."""

    def __init__(self) -> None:
        self.by: Literal["you", "door"] = "you"
        self.all = False  # no further request may begin
        self._scope: anyio.CancelScope | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it the signals reach us instead of ending the process."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.everything, "you")
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.everything, "door")
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def everything(self, by: Literal["you", "door"]) -> None:
        self.all = True
        self.this(by)

    def this(self, by: Literal["you", "door"]) -> None:
        """Stops the request that runs, if one does."""
        if self._scope is not None and not self._scope.cancel_called:
            self.by = by
            self._scope.cancel()

    def watch(self, scope: anyio.CancelScope | None) -> None:
        self._scope = scope
        if scope is not None and self.all:
            scope.cancel()


async def serve(asked: Asked, house: House, stop: Stop, show: Show, person: Person | None) -> Terminal:
    """
    Serves *asked*, showing its events, and returns the terminal one.

    Raises:
        BadInput, StoreError: as `intake.request` and `work.ask.ask`.
    """
    end: list[Terminal] = []

    async def note_and_show(record: Recorded) -> None:
        if isinstance(record.event, (Answered, Failed, Cancelled)):
            end.append(record.event)
        await show(record)

    made = request(asked, house.settings.limits, house.means.clock.at())
    with anyio.CancelScope() as scope:
        stop.watch(scope)
        try:
            await ask(made, house.means, Door(note_and_show, person, lambda: stop.by))
        finally:
            stop.watch(None)
    # Stopped before it was accepted: nothing was stored, so nothing was shown.
    return end[0] if end else Cancelled(stop.by)
