"""The gate: one function asked about every tool action.

Reading inside the working folder is allowed, and so is a brain's own bookkeeping. Everything else is asked of the person
and denied when nobody can answer. `--allow edit,run` widens it for one request. There is no mode that skips it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from paios.base.events import Judged, Waiting
from paios.base.types import Action, ActionKind, Verdict, new_id

Tell = Callable[[Waiting | Judged], Awaitable[None]]
# Puts the question to the person. None means that nobody can answer (any more).
Person = Callable[[Waiting], Awaitable[Verdict | None]]


def rule(action: Action, allow: frozenset[ActionKind]) -> Verdict | None:
    """What the rules alone say of *action*, or None if a person has to be asked."""
    if action.kind == "internal":
        return Verdict(True, "rule", "the brain's own bookkeeping")
    if action.kind == "read" and _inside(action.target, action.cwd):
        return Verdict(True, "rule", "reading inside the working folder")
    if action.kind in allow:
        return Verdict(True, "rule", f"you allowed {action.kind} for this request")
    return None


def _inside(target: str, folder: Path) -> bool:
    """Whether the path, with all links followed, lies in *folder*."""
    try:
        return (folder / Path(target)).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL in the name, a link that leads to itself: not inside
        return False


class Gate:
    """The gate of one request. Questions are put one at a time, in the order they come up."""

    def __init__(self, allow: frozenset[ActionKind], person: Person | None, tell: Tell, *, approval_s: float) -> None:
        self._allow = allow
        self._person = person
        self._tell = tell
        self._approval_s = approval_s
        self._one_at_a_time = anyio.Lock()
        self.waiting = 0  # questions a person has not answered yet

    async def __call__(self, action: Action) -> Verdict:
        """Whether *action* may happen. Stored before it is returned."""
        verdict = rule(action, self._allow)
        if verdict is not None:
            await self._tell(Judged(action, verdict))
            return verdict
        if self._person is None:
            reason = f"{action.kind} needs your consent and nobody is here to give it; --allow {action.kind} gives it"
            verdict = Verdict(False, "nobody", reason)
            await self._tell(Judged(action, verdict))
            return verdict
        self.waiting += 1
        try:
            async with self._one_at_a_time:
                return await self._ask(action, self._person)
        finally:
            self.waiting -= 1

    async def _ask(self, action: Action, person: Person) -> Verdict:
        question = Waiting(new_id("a"), action, _why(action))
        await self._tell(question)
        verdict: Verdict | None = None
        with anyio.move_on_after(self._approval_s):
            verdict = await person(question)
        if verdict is None:
            verdict = Verdict(False, "nobody", f"no answer within {self._approval_s:g} s")
        await self._tell(Judged(action, verdict, question.approval))
        return verdict


def _why(action: Action) -> str:
    if action.kind == "read":
        return f"{action.brain} wants to read outside the working folder"
    verb = {"edit": "change a file", "run": "run a command", "network": "use the network"}.get(action.kind, "use a tool")
    return f"{action.brain} wants to {verb}"
