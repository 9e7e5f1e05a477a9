"""The path of a request: accept, route, think, end.

Exactly one terminal event, whatever happens. Every event is stored before the door sees it, text deltas within 50 ms.
The next brain tries only while nothing has been said and nothing done. Doors stop a request by cancelling its task.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import anyio
from anyio import to_thread

from paios.autonomy.gate import Gate, Person
from paios.base.clock import Clock
from paios.base.errors import BrainError, BrainUnavailable, NoBrain, OutOfTime, PaiosError, SessionLost, StoreError
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
from paios.base.quoting import quoted
from paios.base.types import Candidate, Decision, Request, Turn
from paios.brains.brain import Brain
from paios.config.settings import Limits
from paios.observability.events import EventLog
from paios.work import threads

log = logging.getLogger(__name__)

Show = Callable[[Recorded], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Means:
    """What the path uses, packed in `app.py`."""

    log: EventLog
    brains: Mapping[str, Brain]
    decide: Callable[[Request], Decision]
    limits: Limits
    clock: Clock


@dataclass(frozen=True, slots=True)
class Door:
    """Where the request came in: how it sees events, who answers questions, and who stopped it if it is stopped."""

    show: Show
    person: Person | None = None
    stopped_by: Callable[[], Literal["you", "door"]] = lambda: "you"


async def ask(request: Request, means: Means, door: Door) -> Terminal:
    """
    Serves *request* to its end and returns its terminal event, which the door has been shown by then.

    Raises:
        BadInput: it names a brain that does not exist; nothing was stored.
        StoreError: the log cannot be written; the request was stopped.
    """
    decision = await to_thread.run_sync(means.decide, request)  # an unsure one may load the encoder
    story = _Story(request, means, door)
    routed = Routed(
        *(decision.domain, decision.confidence, decision.candidates, decision.reasons), decision.abstained, decision.compound
    )
    limit_s = request.timeout_s or means.limits.timeout_s
    try:
        await story.tell(_accepted(request), routed)
        with anyio.move_on_after(limit_s):
            return await story.end(await _think(request, decision, means, story))
        remedy = "ask for less at once, or raise limits.timeout_s (--timeout for one request)"
        return await story.fail(OutOfTime(f"not done within {limit_s:g} s", remedy=remedy))
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await story.end(Cancelled(door.stopped_by(), story.said, story.brain, story.took_ms()))
        raise
    except StoreError:
        raise  # nothing can be stored, so nothing more can be promised
    except PaiosError as error:
        return await story.fail(error)
    except Exception as error:
        # The task's root: whatever a brain or we got wrong ends as a stored failure, not as a lost request.
        log.exception("request %s broke", request.trace)
        return await story.fail(PaiosError(f"an error inside PAIOS: {error!r}", remedy="`ai doctor` may tell more"))


async def _think(request: Request, decision: Decision, means: Means, story: _Story) -> Answered:
    """The answer of the first candidate that can give one."""
    ready = [candidate for candidate in decision.candidates if not candidate.why_not]
    if not ready:
        tried = "; ".join(f"{c.brain}: {c.why_not}" for c in decision.candidates)
        raise NoBrain(f"no brain can take this ({tried})", remedy="`ai doctor` tells what each one needs")
    for attempt, candidate in enumerate(ready, 1):
        try:
            return await _turn(request, decision, candidate, attempt, means, story)
        except BrainUnavailable as error:
            if story.touched or attempt == len(ready):
                raise
            await story.tell(SteppedAside(error.brain, error.reason, str(error), error.retry_after_s))
    raise AssertionError("unreachable: the last candidate's error was raised")


async def _turn(
    request: Request, decision: Decision, candidate: Candidate, attempt: int, means: Means, story: _Story
) -> Answered:
    known = await to_thread.run_sync(threads.known, means.log.db, request.thread, candidate.brain, request.trace)
    story.brain = candidate.brain
    try:
        return await _think_once(request, decision, candidate, attempt, known, means, story)
    except SessionLost as error:
        log.info("%s: telling the thread anew", error)
        known = await to_thread.run_sync(threads.known, means.log.db, request.thread, candidate.brain, request.trace, True)
        return await _think_once(request, decision, candidate, attempt, known, means, story)


async def _think_once(
    request: Request,
    decision: Decision,
    candidate: Candidate,
    attempt: int,
    known: threads.Known,
    means: Means,
    story: _Story,
) -> Answered:
    turn = Turn(
        text=with_sources(decision.text, request),
        cwd=request.cwd,
        trace=request.trace,
        model=request.model or candidate.model,
        images=tuple(a for a in request.attachments if a.is_image),
        sources=tuple(a for a in request.attachments if not a.is_image),
        history=known.history,
        session=known.session,
        # With a person to ask, a yes must be able to work; each action is put to the gate all the same.
        read_only=story.door.person is None and not request.allow & {"edit", "run"},
    )
    await story.tell(Began(candidate.brain, turn.model, attempt, known.session is not None, known.from_others))
    gate = Gate(request.allow, story.door.person, story.tell, approval_s=means.limits.approval_s)
    with story.listening(means.limits.silent_s) as silence:
        reply = await means.brains[candidate.brain].think(turn, gate, story.tell)
        return Answered(reply.text, candidate.brain, reply.model or turn.model, story.took_ms())
    assert silence.cancelled_caught
    message = f"said nothing for {means.limits.silent_s:g} s"
    raise BrainUnavailable(candidate.brain, message, reason="silent", remedy="try again, or raise limits.silent_s")


class _Story:
    """The events of one request: stored, then shown; and what is known of it so far."""

    def __init__(self, request: Request, means: Means, door: Door) -> None:
        self.door = door
        self.brain: str | None = None
        self.said = ""
        self.touched = False  # something was said or done: no other brain may start over
        self._request = request
        self._means = means
        self._began = means.clock.monotonic()
        self._over: Terminal | None = None
        self._busy: set[str] = set()  # open questions and running tools: while there is one, silence is not counted
        self._silence = anyio.CancelScope()
        self._silent_s = math.inf

    def listening(self, silent_s: float) -> anyio.CancelScope:
        """A scope that is cancelled once a brain has told nothing for *silent_s*, is not acting and waits for nobody."""
        self._silence, self._silent_s = anyio.move_on_after(silent_s), silent_s
        self._busy.clear()
        return self._silence

    async def tell(self, *events: Event) -> None:
        # Shielded: a cancellation that comes now must not leave it open whether these are stored.
        with anyio.CancelScope(shield=True):
            recorded = await self._means.log.append(self._request.trace, *events)
        for record in recorded:
            self._note(record.event)
            self._silence.deadline = math.inf  # a slow reader is not a silent brain
            await self.door.show(record)
        self._silence.deadline = math.inf if self._busy else anyio.current_time() + self._silent_s

    def _note(self, event: Event) -> None:
        match event:
            case Said(text):
                self.said += text
                self.touched = self.touched or bool(text.strip())
            case Acted(action, state):
                # "started" comes before the gate is asked; a denied action changed nothing.
                self.touched = self.touched or (state in ("done", "failed") and action.kind != "internal")
                (self._busy.add if state == "started" else self._busy.discard)(action.call_id)
            case Waiting(approval):
                self._busy.add(approval)
            case Judged(action, verdict, approval):
                self.touched = self.touched or (verdict.allowed and action.kind != "internal")
                self._busy.discard(approval or "")
            case Began():
                self.said = ""

    async def end(self, event: Terminal) -> Terminal:
        """Ends the request with *event*, unless a cancellation came just after it had ended: then it stays as it was."""
        if self._over is None:
            self._over = event
            await self.tell(event)
        return self._over

    async def fail(self, error: PaiosError) -> Terminal:
        brain = error.brain if isinstance(error, BrainError) else self.brain
        return await self.end(Failed(error.kind, error.message, error.remedy, brain, self.said, self.took_ms()))

    def took_ms(self) -> int:
        return int((self._means.clock.monotonic() - self._began) * 1000)


def _accepted(request: Request) -> Accepted:
    return Accepted(
        text=request.text,
        cwd=str(request.cwd),
        thread=request.thread,
        origin=request.origin,
        brain=request.brain,
        model=request.model,
        attachments=tuple(str(a.path) for a in request.attachments),
        allow=tuple(sorted(request.allow)),
    )


def with_sources(text: str, request: Request) -> str:
    """The prompt with the attached text files after it, each between lines that name it."""
    files = (quoted("file", a.text, path=str(a.path)) for a in request.attachments if a.text is not None)
    return "\n\n".join((text, *files))
