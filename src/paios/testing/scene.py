"""A scene: the script of a model's answers, and a record of what it was asked.

    scene.says("pong")                                   the next main request is answered so
    scene.calls("Bash", {"command": "ls"}).says("done")  a tool call, then, once its result has come, words
    scene.when("count the files").says("12")             for a sub-agent: matched on the last user text
    scene.always("ok")                                   when the script is used up
    scene.refuses(529).forever()                         … and an error that no retry gets round

Knows neither HTTP nor a vendor's shapes: `modelserver` asks it for the next step, `anthropic` and `openai` render that.
A *main* request carries tools, is a chat completion, or met a rule; the others (titles, summaries) get a filler and use
up nothing, unless `everything_counts`.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self, TypedDict, Unpack

import anyio

from paios.base.types import Usage

Kind = Literal["anthropic", "responses", "chat", "count_tokens", "models", "tags", "other"]
Role = Literal["system", "user", "assistant", "tool"]
Ending = Literal["whole", "cut", "hang", "garbled", "error"]

USAGE = Usage(input=100, cached=20, output=9)  # what a step costs unless it says otherwise
FILLER = '{"title": "a title"}'  # side requests nearly always want a title as JSON
EXHAUSTED = "[the script is exhausted]"


class Words(NamedTuple):
    """A block of the visible answer."""

    text: str


class Thinking(NamedTuple):
    """A block of visible reasoning."""

    text: str


class Call(NamedTuple):
    """A tool call. `~regex` picks the first offered tool it matches; a plain name is used as it is, offered or not."""

    tool: str
    arguments: Mapping[str, Any] | str = "{}"  # a string goes to a free-form tool, such as Codex's apply_patch


Block = Words | Thinking | Call


class Manner(TypedDict, total=False):
    """How an answer comes."""

    delay_s: float  # before the first byte
    chunk_delay_s: float  # after each piece
    usage: Usage | Mapping[str, int] | None  # names as in `paios.base.types.Usage`; None: USAGE
    headers: Mapping[str, str]  # extra response headers
    after_requests: int  # held back until this many main requests have come to the scene


@dataclass(frozen=True, slots=True)
class Answer:
    """A step: what is said and called, and how it ends. `after_chunks` of its pieces are sent (None: all)."""

    blocks: tuple[Block, ...]
    ending: Ending = "whole"
    after_chunks: int | None = None
    usage: Usage = USAGE
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    after_requests: int = 0
    status: int = 529  # of the error, when it ends with one


@dataclass(frozen=True, slots=True)
class Refusal:
    """A step: an HTTP error in the vendor's shape. `details` go into its error object (`code`, `resets_in_seconds`, …)."""

    status: int
    message: str
    headers: Mapping[str, str]
    details: Mapping[str, Any]


Step = Answer | Refusal


class Image(NamedTuple):
    media_type: str
    data: bytes


class Line(NamedTuple):
    """One message or tool result of a conversation, whatever the vendor's shape was."""

    role: Role
    text: str
    images: tuple[Image, ...] = ()


@dataclass(slots=True)
class Seen:
    """A request as it came. `left` turns true when the client closed the connection before the answer was complete."""

    kind: Kind
    path: str
    headers: dict[str, str]  # names in lower case
    body: dict[str, Any]
    at: datetime
    lines: tuple[Line, ...] = ()
    tools: tuple[str, ...] = ()
    left: bool = False

    @property
    def model(self) -> str:
        return str(self.body.get("model") or "")

    @property
    def text(self) -> str:
        """The whole conversation, system prompt included."""
        return "\n".join(line.text for line in self.lines)

    def last(self, role: Role) -> Line | None:
        return next((line for line in reversed(self.lines) if line.role == role), None)


class Script:
    """Steps in order. Every verb appends one and returns the script."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque()
        self._default: Step | None = None

    def says(self, text: str, **manner: Unpack[Manner]) -> Self:
        return self.turn([Words(text)], **manner)

    def thinks(self, text: str, then: str = "", **manner: Unpack[Manner]) -> Self:
        """Reasoning, followed in the same answer by the words *then*."""
        return self.turn([Thinking(text), *([Words(then)] if then else [])], **manner)

    def calls(self, tool: str, arguments: Mapping[str, Any] | str, **manner: Unpack[Manner]) -> Self:
        return self.turn([Call(tool, arguments)], **manner)

    def turn(self, blocks: Iterable[Block], **manner: Unpack[Manner]) -> Self:
        """Several blocks in one answer."""
        return self._add(_answer(blocks, **manner))

    def cuts(
        self, after_chunks: int = 2, text: str = "Half an answer that stops in the middle.", **manner: Unpack[Manner]
    ) -> Self:
        """The connection is closed after *after_chunks* pieces; 0: before any."""
        return self._add(_answer([Words(text)], "cut", after_chunks, **manner))

    def hangs(self, text: str = "", **manner: Unpack[Manner]) -> Self:
        """Says *text*, then nothing more until the client leaves; without text not even the headers are sent."""
        return self._add(_answer([Words(text)] if text else [], "hang", **manner))

    def garbles(self, text: str = "", **manner: Unpack[Manner]) -> Self:
        """Status 200, and after *text* something that is no JSON."""
        return self._add(_answer([Words(text)], "garbled", **manner))

    def breaks(self, text: str = "Half an answer", status: int = 529, **manner: Unpack[Manner]) -> Self:
        """Says *text*, then the vendor's error event for *status* inside the stream."""
        return self._add(replace(_answer([Words(text)], "error", **manner), status=status))

    def refuses(
        self,
        status: int,
        message: str = "",
        retry_after_s: float | None = None,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        **details: Any,
    ) -> Self:
        """An HTTP error, *times* times over, as clients retry."""
        extra = {**(headers or {}), **({} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"})}
        self._steps.extend([Refusal(status, message or f"scripted {status}", extra, details)] * times)
        return self

    def always(self, text: str, **manner: Unpack[Manner]) -> Self:
        self._default = _answer([Words(text)], **manner)
        return self

    def forever(self) -> Self:
        """The last step is what comes from then on, once the steps before it are used up: clients retry."""
        self._default = self._steps.pop()
        return self

    def take(self) -> Step | None:
        return self._steps.popleft() if self._steps else self._default

    def clear(self) -> Self:
        """Forgets the steps not yet taken, and the default."""
        self._steps.clear()
        self._default = None
        return self

    def _add(self, step: Step) -> Self:
        self._steps.append(step)
        return self


class Scene(Script):
    """A script with its own URL prefix, so that tests sharing a server never meet. Safe to use from any thread."""

    def __init__(self, base_url: str, name: str, *, keep: bool = True) -> None:
        super().__init__()
        self.url = f"{base_url}/s/{name}" if name else base_url  # what ANTHROPIC_BASE_URL wants
        self.openai_url = f"{self.url}/v1"  # what OPENAI_BASE_URL wants
        self.requests: list[Seen] = []
        self.side_requests: list[Seen] = []
        self.everything_counts = False
        self.filler = FILLER
        self.models: tuple[str, ...] = ("stub-model", "gpt-5.5", "claude-sonnet-4-5")
        self.strict_models = False
        self._rules: list[tuple[re.Pattern[str], str, Script]] = []
        self._keep = keep
        self._lock = threading.Lock()

    def when(self, pattern: str, of: Literal["last", "first", "any"] = "last") -> Script:
        """A script of its own for requests in whose user text (the last, the first, any message) *pattern* is found."""
        rule = Script()
        self._rules.append((re.compile(pattern), of, rule))
        return rule

    def knows(self, *models: str) -> Self:
        """Lists these models, and answers a request for any other with the vendor's "not found"."""
        self.models = models
        self.strict_models = True
        return self

    def answer(self, seen: Seen) -> Step:
        """The step for a request, which is recorded; the server calls this."""
        with self._lock:
            ruled = self._by_rule(seen)
            main = ruled is not None or self.everything_counts or seen.kind == "chat" or bool(seen.tools)
            self._note(seen, main)
            if self.strict_models and seen.model not in self.models:
                return Refusal(404, f"model: {seen.model}", {}, {"code": "model_not_found"})
            if ruled is not None:
                return ruled
            return (self.take() if main else _answer([Words(self.filler)])) or _answer([Words(EXHAUSTED)])

    def note(self, seen: Seen) -> None:
        """Records a request that is no model call."""
        with self._lock:
            self._note(seen, main=False)

    def _note(self, seen: Seen, main: bool) -> None:
        if self._keep:
            (self.requests if main else self.side_requests).append(seen)

    def _by_rule(self, seen: Seen) -> Step | None:
        users = [line.text for line in seen.lines if line.role == "user"]
        for pattern, of, script in self._rules:
            texts = users if of == "any" else users[-1:] if of == "last" else users[:1]
            if any(pattern.search(t) for t in texts) and (step := script.take()):
                return step
        return None

    def last_user_text(self, i: int = -1) -> str:
        """The last thing the user said in main request *i*; tool results do not count."""
        line = self.requests[i].last("user")
        return line.text if line else ""

    def tool_results(self, i: int = -1) -> list[str]:
        """Every tool result in main request *i*, oldest first."""
        return [line.text for line in self.requests[i].lines if line.role == "tool"]

    def conversation(self, i: int = -1) -> str:
        """Every text of main request *i*, system prompt, answers and tool results included."""
        return self.requests[i].text

    def images(self, i: int = -1) -> list[Image]:
        """Every image in main request *i*."""
        return [image for line in self.requests[i].lines for image in line.images]

    async def arrived(self, count: int = 1) -> None:
        """Waits until *count* main requests have come; to be called within a `fail_after`."""
        while len(self.requests) < count:  # they come in the server's thread: no event of ours  # noqa: ASYNC110
            await anyio.sleep(0.01)

    async def left(self, i: int = -1) -> None:
        """Waits until the client of main request *i* closed the connection on an unfinished answer; within a `fail_after`."""
        while not self.requests[i].left:  # noqa: ASYNC110
            await anyio.sleep(0.01)


def pieces(text: str, size: int = 12) -> list[str]:
    """*text* as it is streamed: short pieces, at most about 200 of them."""
    size = max(size, len(text) // 200)
    return [text[i : i + size] for i in range(0, len(text), size)]


def _answer(
    blocks: Iterable[Block],
    ending: Ending = "whole",
    after_chunks: int | None = None,
    *,
    delay_s: float = 0.0,
    chunk_delay_s: float = 0.0,
    usage: Usage | Mapping[str, int] | None = None,
    headers: Mapping[str, str] | None = None,
    after_requests: int = 0,
) -> Answer:
    counted = usage if isinstance(usage, Usage) else Usage(**usage) if usage is not None else USAGE
    return Answer(tuple(blocks), ending, after_chunks, counted, delay_s, chunk_delay_s, dict(headers or {}), after_requests)
