"""The path of a request, with echoes standing in for the brains."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from paios.base.clock import SystemClock
from paios.base.db import Database
from paios.base.errors import SessionLost
from paios.base.events import (
    Accepted,
    Acted,
    Answered,
    Began,
    Cancelled,
    Event,
    Failed,
    Judged,
    Recorded,
    Routed,
    Said,
    SteppedAside,
    Terminal,
    Waiting,
)
from paios.base.process import Owner
from paios.base.types import Candidate, Decision, Reply, Request, Turn, Verdict, new_trace
from paios.brains.brain import Brain, Emit, Gate
from paios.brains.echo import EchoBrain
from paios.config.settings import Limits
from paios.observability import traces
from paios.observability.events import MIGRATIONS, EventLog, events_of
from paios.work.ask import Door, Means, Show, ask

TERMINAL = (Answered, Failed, Cancelled)


@dataclass
class Stage:
    """A house of echoes, and what its door was shown."""

    log: EventLog
    cwd: Path
    shown: list[Event] = field(default_factory=list)
    limits: Limits = field(default_factory=lambda: Limits(timeout_s=20, silent_s=20, approval_s=20))
    person: Any = None
    watch: Callable[[Event], None] = lambda event: None
    show: Show | None = None

    async def ask(self, text: str, *brains: Brain, thread: str = "th-1", allow: frozenset[Any] = frozenset()) -> Terminal:
        self.trace = new_trace()
        self.shown.clear()  # of an earlier request
        request = Request(text, self.cwd, thread, self.trace, datetime.now(UTC), allow=allow)
        candidates = tuple(Candidate(b.name, "standard", None, b.absent()) for b in brains)
        decision = Decision(text, "general", 1.0, candidates, ("for the test",))
        means = Means(self.log, {b.name: b for b in brains}, lambda r: decision, self.limits, SystemClock())
        return await ask(request, means, Door(self.show or self._show, self.person))

    async def _show(self, record: Recorded) -> None:
        if not isinstance(record.event, Said):
            stored = [r.event for r in events_of(self.log.db, record.trace)]
            assert record.event in stored, "shown before it was stored"
        self.shown.append(record.event)
        self.watch(record.event)
        await anyio.lowlevel.checkpoint()

    def of(self, kind: Any) -> list[Any]:
        return [event for event in self.shown if isinstance(event, kind)]

    def stored(self) -> list[Event]:
        self.log.flush()
        return [r.event for r in events_of(self.log.db, self.trace)]


@pytest.fixture
async def stage(tmp_path: Path, owner: Owner, cwd: Path) -> AsyncIterator[Stage]:
    log = EventLog(Database(tmp_path / "db", MIGRATIONS, backups=tmp_path), SystemClock(), owner.id)
    stage = Stage(log, cwd)
    yield stage
    stored = stage.stored()
    assert stored == stage.shown, "what is stored is what was shown, in that order"
    assert [isinstance(event, TERMINAL) for event in stored] == [False] * (len(stored) - 1) + [True]
    log.close()


class Absent(EchoBrain):
    def absent(self) -> str:
        return "not installed"


async def test_an_answer_is_accepted_routed_said_and_ended(stage: Stage) -> None:
    end = await stage.ask("hello there", EchoBrain("a"))
    assert isinstance(end, Answered)
    assert (end.text, end.brain) == ("hello there", "a")
    assert [type(e) for e in stage.shown[:3]] == [Accepted, Routed, Began]


@pytest.mark.parametrize("reason", ["overloaded", "logged_out", "limited=30", "killed", "cut", "missing"])
async def test_an_unavailable_brain_hands_over_to_the_next(stage: Stage, reason: str) -> None:
    end = await stage.ask("hi", EchoBrain("a", script=f"#fail {reason} no luck"), EchoBrain("b"))
    assert isinstance(end, Answered)
    assert end.brain == "b"
    (aside,) = stage.of(SteppedAside)
    assert (aside.brain, aside.reason, aside.retry_after_s) == ("a", reason.split("=")[0], 30.0 if "=" in reason else None)
    assert [b.attempt for b in stage.of(Began)] == [1, 2]


async def test_once_something_was_said_no_other_brain_starts_over(stage: Stage) -> None:
    end = await stage.ask("hi", EchoBrain("a", script="#say half an\n#fail cut gone"), EchoBrain("b"))
    assert isinstance(end, Failed)
    assert (end.kind, end.brain, end.said.strip()) == ("brain_unavailable", "a", "half an")
    assert len(stage.of(Began)) == 1


async def test_once_something_was_done_no_other_brain_starts_over(stage: Stage) -> None:
    (stage.cwd / "f").write_text("x")
    end = await stage.ask("hi", EchoBrain("a", script="#read f\n#fail cut gone"), EchoBrain("b"))
    assert isinstance(end, Failed)
    assert len(stage.of(Began)) == 1


async def test_a_refusal_is_not_carried_to_another_brain(stage: Stage) -> None:
    end = await stage.ask("hi", EchoBrain("a", script="#fail refused bad image"), EchoBrain("b"))
    assert isinstance(end, Failed)
    assert (end.kind, end.message) == ("brain_refused", "a: bad image")


async def test_absent_brains_are_passed_over_and_nobody_left_is_said_with_the_way_out(stage: Stage) -> None:
    assert isinstance(await stage.ask("hi", Absent("a"), EchoBrain("b")), Answered)
    end = await stage.ask("hi", Absent("a"), Absent("b"))
    assert isinstance(end, Failed)
    assert (end.kind, end.remedy) == ("no_brain", "`ai doctor` tells what each one needs")
    assert "a: not installed; b: not installed" in end.message


async def test_the_last_brains_failure_is_the_requests(stage: Stage) -> None:
    end = await stage.ask("hi", EchoBrain("a", script="#fail cut one"), EchoBrain("b", script="#fail logged_out two"))
    assert isinstance(end, Failed)
    assert (end.brain, end.message) == ("b", "b: two")


async def test_an_error_nobody_expected_ends_the_request_and_no_more(stage: Stage) -> None:
    end = await stage.ask("hi", EchoBrain("a", script="#say x\n#fail bug"))
    assert isinstance(end, Failed)
    assert end.kind == "error"
    assert "inside PAIOS" in end.message


async def test_a_request_that_takes_too_long_is_ended_with_what_was_said(stage: Stage) -> None:
    stage.limits = replace(stage.limits, timeout_s=0.2)
    end = await stage.ask("hi", EchoBrain("a", script="#say before\n#sleep 60"))
    assert isinstance(end, Failed)
    assert (end.kind, end.said.strip()) == ("timeout", "before")


async def test_a_silent_brain_hands_over(stage: Stage) -> None:
    stage.limits = replace(stage.limits, silent_s=0.2)
    end = await stage.ask("hi", EchoBrain("a", script="#sleep 60"), EchoBrain("b"))
    assert isinstance(end, Answered)
    assert end.brain == "b"
    assert stage.of(SteppedAside)[0].reason == "silent"


async def test_waiting_for_a_person_is_not_silence(stage: Stage) -> None:
    async def slowly(question: Waiting) -> Verdict:
        await anyio.sleep(0.5)
        return Verdict(True, "you", "yes")

    stage.limits, stage.person = replace(stage.limits, silent_s=0.2), slowly
    end = await stage.ask("hi", EchoBrain("a", script="#run make\n#say done"), EchoBrain("b"))
    assert isinstance(end, Answered)
    assert end.brain == "a"
    assert [j.verdict.allowed for j in stage.of(Judged)] == [True]


async def test_a_question_nobody_answers_in_time_is_a_no(stage: Stage) -> None:
    async def never(question: Waiting) -> Verdict | None:
        await anyio.sleep(math.inf)
        return None

    stage.limits, stage.person = replace(stage.limits, approval_s=0.1), never
    await stage.ask("hi", EchoBrain("a", script="#run make"))
    (judged,) = stage.of(Judged)
    assert (judged.verdict.allowed, judged.verdict.by) == (False, "nobody")
    assert [a.state for a in stage.of(Acted)][-1] == "denied"


async def test_stopping_the_door_cancels_and_keeps_what_was_said(stage: Stage) -> None:
    with anyio.CancelScope() as scope:
        stage.watch = lambda event: scope.cancel() if isinstance(event, Said) else None
        await stage.ask("hi", EchoBrain("a", script="#say one\n#sleep 60"))
    assert scope.cancelled_caught
    (end,) = stage.of(Cancelled)
    assert (end.by, end.brain) == ("you", "a")
    assert end.said.strip() == "one"


async def test_stopping_just_as_it_is_answered_leaves_one_end(stage: Stage) -> None:
    with anyio.CancelScope() as scope:
        stage.watch = lambda event: scope.cancel() if isinstance(event, Answered) else None
        await stage.ask("hi", EchoBrain("a"))
    assert len([e for e in stage.stored() if isinstance(e, TERMINAL)]) == 1


class Listener(EchoBrain):
    """Keeps the turns it was given."""

    def __init__(self, name: str, script: str = "") -> None:
        super().__init__(name, script=script)
        self.turns: list[Turn] = []

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        self.turns.append(turn)
        return await super().think(turn, gate, emit)


async def test_a_thread_goes_on_with_another_brain_which_is_told_only_what_it_does_not_know(stage: Stage) -> None:
    a, b = Listener("a"), Listener("b")
    for text, brain in (("one", a), ("two", b), ("three", a)):
        await stage.ask(text, brain)
    assert a.turns[0].session is None
    assert [m.text for m in b.turns[0].history] == ["one", "one"]
    assert [(m.text, m.brain) for m in a.turns[1].history] == [("two", None), ("two", "b")]
    assert a.turns[1].session is not None
    (began,) = stage.of(Began)
    assert (began.resumed, began.handed_over) == (True, 1)


async def test_a_brain_that_stepped_aside_is_told_later_what_the_other_one_answered(stage: Stage) -> None:
    a, b = Listener("a", script="#fail overloaded busy"), Listener("b")
    await stage.ask("one", a, b)
    well = Listener("a")
    await stage.ask("two", well)
    assert [m.text for m in well.turns[0].history] == ["one", "one"]
    assert well.turns[0].session is not None


async def test_a_slow_reader_is_not_a_silent_brain(stage: Stage) -> None:
    async def slow(record: Recorded) -> None:
        if isinstance(record.event, Said):
            await anyio.sleep(0.5)
        await Stage._show(stage, record)

    stage.show = slow
    stage.limits = replace(stage.limits, silent_s=0.2)
    assert isinstance(await stage.ask("hi", EchoBrain("a", script="#say one two")), Answered)


async def test_stopping_while_the_first_event_is_shown_still_ends_the_request(stage: Stage) -> None:
    with anyio.CancelScope() as scope:
        stage.watch = lambda event: scope.cancel() if isinstance(event, Accepted) else None
        await stage.ask("hi", EchoBrain("a"))
    assert isinstance(stage.stored()[-1], Cancelled)
    stage.shown[:] = stage.stored()  # Routed was stored with Accepted; it need not have been shown


class Forgetful(Listener):
    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        if turn.session is not None:
            self.turns.append(turn)
            raise SessionLost(self.name, "never heard of it")
        return await super().think(turn, gate, emit)


async def test_a_brain_that_forgot_its_session_is_told_the_whole_thread(stage: Stage) -> None:
    brain = Forgetful("a")
    await stage.ask("one", brain)
    end = await stage.ask("two", brain)
    assert isinstance(end, Answered)
    assert [(t.session is None, [m.text for m in t.history]) for t in brain.turns] == [
        (True, []),
        (False, []),
        (True, ["one", "one"]),
    ]


async def test_a_denied_action_does_not_keep_the_next_brain_from_trying(stage: Stage) -> None:
    end = await stage.ask("hi", EchoBrain("a", script="#run make\n#fail cut gone"), EchoBrain("b"))
    assert isinstance(end, Answered)
    assert end.brain == "b"


async def test_threads_do_not_mix(stage: Stage) -> None:
    a = Listener("a")
    await stage.ask("one", a, thread="th-1")
    await stage.ask("two", a, thread="th-2")
    assert (a.turns[1].history, a.turns[1].session) == ((), None)
    assert [past.text for past in traces.of_thread(stage.log.db, "th-2")] == ["two"]
