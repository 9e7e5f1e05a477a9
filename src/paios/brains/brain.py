"""The Brain protocol: what the path asks of anything that thinks.

A turn *pushes* its events through `emit` instead of being an async generator: cancel scopes and task groups of the
vendors' SDKs must be left in the task that entered them, which a generator that is abandoned half-way cannot promise
(PEP 789). Cancelling the task that runs `think` cancels the turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from paios.base.events import Event
from paios.base.types import Action, BrainStatus, Reply, Turn, Verdict

Emit = Callable[[Event], Awaitable[None]]
Gate = Callable[[Action], Awaitable[Verdict]]


class Brain(Protocol):
    """
    Something that answers turns. One instance serves many turns, also at once; making one costs nothing.

    `think` emits `Said` and `Thought` deltas, `Acted` twice for each tool call, `Bound` as soon as its session can be
    resumed, `Spent` at least once if a model was called (also when the turn then fails), and
    `Metered` when the vendor told its rate limits. It asks *gate* before each
    action and obeys. It returns when the turn is over; the reply's text is the brain's last message.

    Raises (from `think`):
        BrainUnavailable: not installed, logged out, limited, overloaded, killed, connection cut.
        SessionLost: `turn.session` is not known to the vendor any more.
        BrainRefused: the vendor rejected this very request.

    When cancelled, `think` leaves no child process and returns within 5 s.
    """

    @property
    def name(self) -> str: ...

    def absent(self) -> str:
        """Why this brain cannot even be tried (nothing installed, no model configured), or "": a few milliseconds, no I/O
        beyond looking for files."""
        ...

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply: ...

    async def status(self) -> BrainStatus:
        """How the brain is, from its own status calls; never raises, at most a few seconds, makes no model call."""
        ...

    async def aclose(self) -> None:
        """Ends warm sessions and children. Called once."""
        ...
