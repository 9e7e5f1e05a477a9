"""A brain without a model: it repeats what it is told, or follows the script it finds in it.

For demos, dry runs and tests: every way a turn can go is driven through the real doors, with no vendor and no network.
Lines that begin with one of these words are obeyed, in order; all others are repeated.

    #say TEXT               says it, in word-sized deltas
    #think TEXT             the same as visible reasoning
    #read PATH              asks the gate, then really reads the file
    #edit PATH              asks the gate, then only reports that it would have edited
    #run COMMAND            … run; likewise #fetch URL (network) and #tool NAME (any other tool)
    #sleep SECONDS          is silent for so long
    #fail REASON MESSAGE    ends the turn: REASON is one of `paios.base.errors.Reason`, `refused`, or `bug` (an error nobody
                            expected); `limited=30` and the like add seconds to wait before trying again
    #spend INPUT OUTPUT COST    counts these tokens and dollars instead of words; COST `?` is a cost nobody knows
    #history                says how many earlier messages it was given, and which
    #images                 says how many images it was given, with their types and sizes

Remembers nothing: its session is a name. Tokens are counted in words and free of charge.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NoReturn, get_args

import anyio
from anyio import to_thread

from paios import __version__
from paios.base.errors import BrainError, BrainRefused, BrainUnavailable, Reason
from paios.base.events import Acted, Bound, Said, Spent, Thought
from paios.base.types import Action, ActionKind, BrainStatus, Reply, Session, Turn, Usage, new_id
from paios.brains.brain import Emit, Gate

_DELTAS = 400  # at most about so many a message: a megabyte is not said word by word
_SHOWN = 2_000  # characters of output in an `Acted`
_MODEL = "echo"
_REASONS: dict[str, Reason] = {reason: reason for reason in get_args(Reason)}
_ACTIONS: dict[str, ActionKind] = {"read": "read", "edit": "edit", "run": "run", "fetch": "network", "tool": "tool"}


class EchoBrain:
    """The echo. *name* lets it stand in for any brain; with a *script* it follows that and ignores what it is told."""

    def __init__(self, name: str = "echo", *, script: str = "", delay_s: float = 0.0) -> None:
        self.name = name
        self._script = script
        self._delay_s = delay_s  # after each delta

    def absent(self) -> str:
        return ""

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        if turn.model not in (None, _MODEL):
            raise BrainRefused(self.name, f"unknown model {turn.model!r}; there is only {_MODEL!r}")
        session = Session(self.name, turn.session.id if turn.session else new_id("echo"))
        await emit(Bound(session))
        performance = _Performance(self.name, turn, gate, emit, self._delay_s)
        try:
            for word, rest in _lines(self._script or turn.text):
                await performance.obey(word, rest)
        except BrainError:
            await emit(performance.spent())
            raise
        await emit(performance.spent())
        return Reply("".join(performance.said), _MODEL, session)

    async def status(self) -> BrainStatus:
        return BrainStatus(self.name, True, __version__, "none needed", "repeats what it is told", models=(_MODEL,))

    async def aclose(self) -> None:
        """Nothing to end."""


@dataclass(slots=True)
class _Performance:
    """One turn under way."""

    name: str
    turn: Turn
    gate: Gate
    emit: Emit
    delay_s: float
    said: list[str] = field(default_factory=list)
    spend: tuple[Usage, Decimal | None] | None = None

    async def obey(self, word: str, rest: str) -> None:
        if word in _ACTIONS:
            await self._act(word, rest)
        else:
            await _VERBS[word](self, rest)

    async def say(self, text: str) -> None:
        for delta in _deltas(f"\n{text}" if self.said else text):
            self.said.append(delta)
            await self.emit(Said(delta))
            await anyio.sleep(self.delay_s)

    async def think(self, text: str) -> None:
        for delta in _deltas(text):
            await self.emit(Thought(delta))
            await anyio.sleep(self.delay_s)

    async def sleep(self, seconds: str) -> None:
        await anyio.sleep(float(seconds))

    async def history(self, _: str) -> None:
        earlier = self.turn.history
        await self.say("\n".join([f"{len(earlier)} earlier messages", *(f"{m.role}: {m.text}" for m in earlier)]))

    async def images(self, _: str) -> None:
        images = self.turn.images
        await self.say("\n".join([f"{len(images)} images", *(f"{i.media_type} {i.size_bytes}" for i in images)]))

    async def spends(self, numbers: str) -> None:
        tokens_in, tokens_out, cost = numbers.split()
        self.spend = Usage(input=int(tokens_in), output=int(tokens_out)), None if cost == "?" else Decimal(cost)

    async def fail(self, how: str) -> NoReturn:
        reason, _, message = how.partition(" ")
        reason, _, wait = reason.partition("=")
        message = message or "told to fail"
        if reason == "refused":
            raise BrainRefused(self.name, message)
        if reason == "bug":
            raise RuntimeError(message)
        raise BrainUnavailable(
            self.name, message, reason=_REASONS.get(reason, "broken"), retry_after_s=float(wait) if wait else None
        )

    async def _act(self, word: str, target: str) -> None:
        arguments = json.dumps({"target": target}, ensure_ascii=False)
        if word in ("read", "edit"):
            target = _absolute(target, self.turn.cwd)
        action = Action(_ACTIONS[word], word, target, self.turn.cwd, self.name, new_id("call"), arguments)
        await self.emit(Acted(action, "started"))
        verdict = await self.gate(action)
        if not verdict.allowed:
            await self.emit(Acted(action, "denied", verdict.reason))
            return
        begun = time.monotonic()
        try:
            output = await to_thread.run_sync(_head, target) if word == "read" else f"the echo would now {word} {target}"
        except OSError as error:
            await self.emit(Acted(action, "failed", str(error), _ms(begun)))
            return
        await self.emit(Acted(action, "done", output, _ms(begun)))

    def spent(self) -> Spent:
        if self.spend:
            usage, cost = self.spend
            return Spent(self.name, _MODEL, usage, cost, "unknown" if cost is None else "reported")
        heard = len(self.turn.text.split()) + sum(len(m.text.split()) for m in self.turn.history)
        usage = Usage(input=heard, output=len("".join(self.said).split()))
        return Spent(self.name, _MODEL, usage, Decimal(0), "free")


_VERBS: dict[str, Callable[[_Performance, str], Awaitable[None]]] = {
    "say": _Performance.say,
    "think": _Performance.think,
    "sleep": _Performance.sleep,
    "history": _Performance.history,
    "images": _Performance.images,
    "spend": _Performance.spends,
    "fail": _Performance.fail,
}
_LINE = re.compile(rf"#({'|'.join([*_ACTIONS, *_VERBS])})\b[ \t]*(.*)")


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The script in *text* as (word, rest); what lies between the words' lines is one `say`, verbatim."""
    plain: list[str] = []
    scripted = False
    for line in text.split("\n"):
        found = _LINE.fullmatch(line.rstrip("\r"))
        if found is None:
            plain.append(line)
            continue
        scripted = True
        if "".join(plain).strip():
            yield "say", "\n".join(plain)
        plain = []
        yield found[1], found[2]
    if "".join(plain).strip() or not scripted:
        yield "say", "\n".join(plain)


def _deltas(text: str) -> Iterator[str]:
    """*text* in pieces of a word, or of several if it is long; joined they are *text*."""
    words = re.findall(r"\s*\S+|\s+$", text)
    size = 1 + len(words) // _DELTAS
    return ("".join(words[i : i + size]) for i in range(0, len(words), size))


def _absolute(path: str, cwd: Path) -> str:
    return str((cwd / Path(path).expanduser()).resolve())


def _head(path: str) -> str:
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        return file.read(_SHOWN)


def _ms(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
