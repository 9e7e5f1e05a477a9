"""One request from a door to its end, and how a door stops it."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import anyio

from paios.app import House
from paios.autonomy.gate import Person
from paios.base.events import Answered, Cancelled, Failed, Recorded, Terminal
from paios.interfaces.intake import Asked, request
from paios.interfaces.pipes import Closed, has_reader
from paios.work.ask import Door, Show, ask

LOOK_S = 1.0  # how often it is looked whether the reader of the output is still there: a silent brain writes nothing
SHOW_S = 1.0  # for showing one event of a request that was stopped; with `pipes.PATIENCE_S` it stays below 5 s


class Stop:
    """Ends the request that runs, and those to come, when Ctrl-C, SIGTERM, a closed terminal or a lost reader says so."""

    def __init__(self) -> None:
        self.by: Literal["you", "door"] = "you"
        self.all = False  # no further request may begin
        self.lost: Closed | None = None  # the output goes nowhere
        self.coming = anyio.CancelScope()  # whoever brings further requests runs in it
        self._scope: anyio.CancelScope | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it the signals reach us instead of ending the process, and a reader of the output that leaves is noticed."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.everything, "door")
        self._look(loop)
        try:
            yield
        finally:
            self._timer.cancel()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _interrupted(self) -> None:
        if self.all:
            # Asked twice: something does not let go. The guard ends our children, the next start ends the request.
            if os.isatty(2):
                os.write(2, b"\x1b[?25h\n")  # the progress line hides the cursor
            os._exit(130)
        self.everything("you")

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.lost is None and not has_reader():
            self.lose(Closed())
        self._timer = loop.call_later(LOOK_S, self._look, loop)

    def lose(self, why: Closed) -> None:
        """The output goes nowhere: nothing more is worth doing."""
        self.lost = self.lost or why
        self.everything("door")

    def everything(self, by: Literal["you", "door"]) -> None:
        self.all = True
        self.coming.cancel()
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
        # Once it is stopped, a reader that takes nothing must not keep it from ending.
        with anyio.move_on_after(SHOW_S if scope.cancel_called else math.inf):
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
