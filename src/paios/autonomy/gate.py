"""The gate: one function asked about every tool action.

Reading inside the working folder is allowed, and so is a brain's own bookkeeping. Everything else is asked of the person
and denied when nobody can answer. `--allow edit,run` widens it for one request, edits outside the working folder and
grants excepted. There is no mode that skips it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from paios.base.events import Judged, Waiting
from paios.base.types import ALLOWABLE, Action, ActionKind, Verdict, new_id

Tell = Callable[[Waiting | Judged], Awaitable[None]]
# Puts the question to the person. None means that nobody can answer (any more).
Person = Callable[[Waiting], Awaitable[Verdict | None]]


def rule(action: Action, allow: frozenset[ActionKind]) -> Verdict | None:
    """What the rules alone say of *action*, or None if a person has to be asked."""
    if action.kind == "internal":
        return Verdict(True, "rule", "the brain's own bookkeeping")
    if action.kind == "read" and _inside(action.target, action.cwd):
        return Verdict(True, "rule", "reading inside the working folder")
    # Allowed edits stay in the folder: elsewhere lie the settings and hooks of the very programs that act here.
    if action.kind in allow and action.kind != "grant" and (action.kind != "edit" or _inside(action.target, action.cwd)):
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

    async def __call__(self, action: Action) -> Verdict:
        """Whether *action* may happen. Stored before it is returned."""
        verdict = rule(action, self._allow)
        if verdict is not None:
            await self._tell(Judged(action, verdict))
            return verdict
        if self._person is None:
            verdict = Verdict(
                False, "nobody", f"needs your consent to {_want(action)}, and nobody is here to give it{_hint(action)}"
            )
            await self._tell(Judged(action, verdict))
            return verdict
        async with self._one_at_a_time:
            return await self._ask(action, self._person)

    async def _ask(self, action: Action, person: Person) -> Verdict:
        question = Waiting(new_id("a"), action, f"{action.brain} wants to {_want(action)}")
        await self._tell(question)
        verdict: Verdict | None = None
        with anyio.move_on_after(self._approval_s) as waiting:
            verdict = await person(question)
        if verdict is None:
            late = f"no answer within {self._approval_s:g} s"
            verdict = Verdict(False, "nobody", late if waiting.cancelled_caught else "nobody is left to answer")
        await self._tell(Judged(action, verdict, question.approval))
        return verdict


_WANTS = {
    "read": "read outside the working folder",
    "edit": "change a file",
    "run": "run a command",
    "network": "use the network",
    "grant": "have wider permissions",
}


def _want(action: Action) -> str:
    if action.kind == "edit" and not _inside(action.target, action.cwd):
        return "change a file outside the working folder"
    return _WANTS.get(action.kind, "use a tool")


def _hint(action: Action) -> str:
    in_advance = action.kind in ALLOWABLE and (action.kind != "edit" or _inside(action.target, action.cwd))
    return f"; --allow {action.kind} gives it" if in_advance else ""
