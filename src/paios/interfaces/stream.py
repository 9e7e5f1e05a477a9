"""stream-json: one JSON object a line, both ways, so that a program can hold a conversation with `ai`.

In:   {"type": "user", "text": …, "files"?, "images"?, "brain"?, "model"?, "allow"?, "timeout_s"?}
      {"type": "interrupt"}
      {"type": "answer", "approval": …, "allow": true | false, "reason"?}
Out:  {"type": "hello", "schema", "version", "thread"}, then events as `base.events.record_json` writes them,
      and {"type": "error", "kind", "message", "remedy"} for a line or a request that could not be accepted.

User turns are served in order. The end of the input lets what was accepted finish; questions open then are denied.
The schema is documented in `docs/reference/stream-json.md`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from paios import __version__
from paios.app import House
from paios.base.errors import BadInput, PaiosError, StoreError
from paios.base.events import SCHEMA, Recorded, Terminal, Waiting, record_json
from paios.base.types import Verdict
from paios.interfaces.intake import Asked
from paios.interfaces.pipes import Closed, Output, lines
from paios.interfaces.serve import Stop, serve

_FIELDS = {
    "user": {"text", "files", "images", "brain", "model", "allow", "timeout_s"},
    "interrupt": set(),
    "answer": {"approval", "allow", "reason"},
}
LONGEST_S = 1e9  # 30 years: more would overflow the timers, and infinity is no JSON
_LISTS = ("files", "images", "allow")


@dataclass
class _Talk:
    """The state of one conversation over the two pipes."""

    stop: Stop
    output: Output = field(default_factory=Output)
    answers: dict[str, MemoryObjectSendStream[Verdict]] = field(default_factory=dict)
    open: bool = True  # the input has not ended

    async def person(self, question: Waiting) -> Verdict | None:
        if not self.open:
            return None
        send, receive = anyio.create_memory_object_stream[Verdict](1)
        self.answers[question.approval] = send
        try:
            async for verdict in receive:
                return verdict
            return None  # the input ended
        finally:
            self.answers.pop(question.approval, None)
            receive.close()

    async def put(self, line: str) -> None:
        try:
            await self.output.line(line)
        except Closed as closed:
            self.stop.lose(closed)

    def hang_up(self) -> None:
        self.open = False
        for send in self.answers.values():
            send.close()


async def talk(first: Asked, house: House, stop: Stop) -> Terminal | None:
    """
    Converses until the input ends and everything is served; the last request's terminal event.

    Raises:
        BadInput: *first* has files and no text that they could go with.
        StoreError: as `serve`.
    """
    if (first.files or first.images) and not first.text:
        raise BadInput(
            "-f and -i go with a TASK, and there is none",
            remedy='name them in a line: {"type": "user", "text": …, "files": […]}',
        )
    state = _Talk(stop)
    await state.put(json.dumps({"type": "hello", "schema": SCHEMA, "version": __version__, "thread": first.thread}))
    turns_in, turns_out = anyio.create_memory_object_stream[Asked](10_000)
    if first.text:
        turns_in.send_nowait(first)
    end: Terminal | None = None
    broken: StoreError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, first, state, turns_in)
        try:
            end = await _serve_all(turns_out, house, state)
        except StoreError as error:
            broken = error  # raised below: a task group would wrap it
        tasks.cancel_scope.cancel()
    if broken is not None:
        raise broken
    return end


async def _serve_all(turns: MemoryObjectReceiveStream[Asked], house: House, state: _Talk) -> Terminal | None:
    end: Terminal | None = None

    async def show(record: Recorded) -> None:
        await state.put(record_json(record))

    async for asked in turns:
        if state.stop.all:
            break
        try:
            end = await serve(asked, house, state.stop, show, state.person)
        except BadInput as error:
            await _complain(error, state)
    return end


async def _read(first: Asked, state: _Talk, turns: MemoryObjectSendStream[Asked]) -> None:
    async with turns:
        with state.stop.coming:
            await _handle_all(first, state, turns)
    state.hang_up()


async def _handle_all(first: Asked, state: _Talk, turns: MemoryObjectSendStream[Asked]) -> None:
    async with aclosing(_objects(state)) as objects:
        async for line in objects:
            try:
                await _handle(line, first, state, turns)
            except BadInput as error:
                await _complain(error, state)


async def _handle(line: Any, first: Asked, state: _Talk, turns: MemoryObjectSendStream[Asked]) -> None:
    kind = line.get("type") if isinstance(line, dict) else None
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise BadInput(f"a line must be an object whose type is one of {', '.join(_FIELDS)}", remedy=f"got {str(line)[:200]}")
    unknown = set(line) - _FIELDS[kind] - {"type"}
    if unknown:
        raise BadInput(f"{kind} has no field {sorted(unknown)[0]!r}", remedy=f"it has {', '.join(sorted(_FIELDS[kind]))}")
    if kind == "user":
        await turns.send(_asked(line, first))
    elif kind == "interrupt":
        state.stop.this("you")
    else:
        await _answer(line, state)


def _asked(line: dict[str, Any], first: Asked) -> Asked:
    for name, value in line.items():
        good = all(isinstance(v, str) for v in value) if isinstance(value, list) else isinstance(value, str)
        if name == "timeout_s":
            good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= LONGEST_S
        if not good or isinstance(value, list) != (name in _LISTS):
            wanted = "a list of strings" if name in _LISTS else "a number above 0" if name == "timeout_s" else "a string"
            raise BadInput(f"user.{name} must be {wanted}", remedy="see docs/reference/stream-json.md")
    if "text" not in line:
        raise BadInput("user needs a text", remedy='send {"type": "user", "text": "…"}')
    # What the command line set holds for every turn that does not say otherwise; its files went with the first turn.
    base = replace(first, files=(), images=(), piped="")
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in line.items() if name != "type"}
    return replace(base, **given)


async def _answer(line: dict[str, Any], state: _Talk) -> None:
    approval, allow, reason = line.get("approval"), line.get("allow"), line.get("reason", "")
    if not isinstance(approval, str) or not isinstance(allow, bool) or not isinstance(reason, str):
        raise BadInput(
            "answer needs an approval (string) and allow (true or false)", remedy="see docs/reference/stream-json.md"
        )
    send = state.answers.pop(approval, None)
    if send is None:
        raise BadInput(f"nothing waits for an answer to {approval!r}", remedy="it was answered, timed out, or never asked")
    await send.send(Verdict(allow, "you", reason or ("you said yes" if allow else "you said no")))
    send.close()


async def _objects(state: _Talk) -> AsyncGenerator[Any, None]:
    async for line in lines():
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:  # no JSON, or nested without end
                await _complain(
                    BadInput(f"this line is no JSON ({error}): {line[:200]!r}", remedy="send one object a line"), state
                )


async def _complain(error: PaiosError, state: _Talk) -> None:
    body = {"type": "error", "kind": error.kind, "message": error.message, "remedy": error.remedy}
    await state.put(json.dumps(body, ensure_ascii=False))
