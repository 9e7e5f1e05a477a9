"""What a test hands to a brain: a gate that notes what it was asked, and an `emit` that notes what it heard."""

from __future__ import annotations

from collections.abc import Set
from typing import TypeVar

import anyio

from paios.base.events import Acted, Event, Said, Spent, Thought
from paios.base.types import Action, ActionKind, Usage, Verdict

E = TypeVar("E")


class Asked:
    """A gate: allows every action, none, or those of the given kinds. `internal` is always allowed, as by the real one."""

    def __init__(self, allow: Set[ActionKind] | bool = True) -> None:
        self.allow = allow
        self.actions: list[Action] = []

    async def __call__(self, action: Action) -> Verdict:
        self.actions.append(action)
        allowed = self.allow if isinstance(self.allow, bool) else action.kind in self.allow
        if allowed or action.kind == "internal":
            return Verdict(True, "rule", "the test allows it")
        return Verdict(False, "nobody", "the test denies it")

    def of(self, kind: ActionKind) -> list[Action]:
        return [a for a in self.actions if a.kind == kind]


class Heard:
    """An `emit`: keeps the events in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = anyio.Event()

    async def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()
        self._news = anyio.Event()

    async def first(self, kind: type[E]) -> E:
        """Waits for an event of that kind; to be called within a `fail_after`."""
        while not (found := self.of(kind)):
            await self._news.wait()
        return found[0]

    def of(self, kind: type[E]) -> list[E]:
        return [e for e in self.events if isinstance(e, kind)]

    @property
    def said(self) -> str:
        return "".join(e.text for e in self.of(Said))

    @property
    def thought(self) -> str:
        return "".join(e.text for e in self.of(Thought))

    @property
    def acts(self) -> list[tuple[str, str, str]]:
        """(kind, target, state) of every `Acted`, in order."""
        return [(e.action.kind, e.action.target, e.state) for e in self.of(Acted)]

    @property
    def usage(self) -> Usage:
        """All that was spent, added up."""
        return sum((e.usage for e in self.of(Spent)), Usage())
