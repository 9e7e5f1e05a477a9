"""The answer as a person sees it: text to stdout as it comes, everything about it to stderr.

Colours and the progress line only where there is a terminal; `NO_COLOR` is kept. Control characters of a model's text
never reach the terminal: an escape sequence could rewrite what the person sees.
"""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from paios.app import House
from paios.autonomy.gate import Person
from paios.base.events import (
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
    Spent,
    SteppedAside,
    Terminal,
    Thought,
    Waiting,
    record_json,
)
from paios.base.types import Verdict
from paios.interfaces.intake import Asked
from paios.interfaces.pipes import Closed, Output, chunks
from paios.interfaces.serve import Stop, serve
from paios.interfaces.terminal_text import literal, money, printable
from paios.observability.usage import cost_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

CHARS_A_TOKEN = 4  # English; Arabic is nearer 3. Only until the brain tells its count
Styled = str | tuple[str, str]  # words, or words and their style


async def show(asked: Asked, house: House, stop: Stop, *, as_json: bool) -> Terminal:
    """Serves *asked* and shows it; events as JSON lines if *as_json*."""
    view: _Json | _Terminal = _Json(stop) if as_json else _Terminal(house, stop)
    try:
        return await serve(asked, house, stop, view.show, view.person)
    finally:
        view.close()


class _Json:
    person = None  # events go to a program, and --stream-json is the way to answer from one

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._output = Output()

    async def show(self, record: Recorded) -> None:
        try:
            await self._output.line(record_json(record))
        except Closed as closed:
            self._stop.lose(closed)

    def close(self) -> None:
        """Nothing to put away."""


class _Tty:
    """The person at the terminal, also when stdin is a pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def open(cls) -> _Tty | None:
        """None if nobody is there: no controlling terminal, or the messages go elsewhere."""
        if not os.isatty(2):
            return None
        with suppress(OSError):
            # macOS cannot wait for /dev/tty (kqueue), but for the device behind it.
            path = os.ttyname(2) if sys.platform == "darwin" else "/dev/tty"
            return cls(os.open(path, os.O_RDWR | os.O_NOCTTY))
        return None

    def forget(self) -> None:
        """Drops what was typed so far: it cannot be the answer to a question that was not yet asked."""
        with suppress(termios.error):
            termios.tcflush(self.fd, termios.TCIFLUSH)

    async def line(self) -> str | None:
        """What is typed next; empty for Ctrl-D, None if the terminal was closed."""
        async with aclosing(chunks(self.fd)) as typed:
            async for chunk in typed:
                return chunk.decode("utf-8", errors="replace").strip()
        try:
            termios.tcgetattr(self.fd)
        except termios.error:
            return None
        return ""

    def close(self) -> None:
        os.close(self.fd)


@contextmanager
def _if_heard() -> Iterator[None]:
    """Messages that nobody reads any more are dropped; what becomes of the request is decided elsewhere."""
    try:
        yield
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)  # for what is still buffered, too: else the interpreter's exit code tells of it


class _Terminal:
    """Text to stdout; the rest, a progress line included, to stderr."""

    def __init__(self, house: House, stop: Stop) -> None:
        self._house = house
        self._stop = stop
        self._output = Output()
        self._on_screen = os.isatty(1)
        self._rich: Console | None = None
        if os.isatty(2):
            from rich.console import Console  # noqa: PLC0415  # 70 ms, and only for a terminal

            self._rich = Console(stderr=True, highlight=False, markup=False)
        self._tty = _Tty.open()
        self.person: Person | None = self._ask if self._tty is not None else None
        self._live: Live | None = None
        self._spinner: Spinner | None = None
        self._began = house.means.clock.monotonic()
        self._doing = ""
        self._midline = False
        self._tokens = 0  # as the brain tells them, which is at the end of a piece of work
        self._heard = 0  # characters since: what the tokens are estimated from until then
        self._route = ""

    async def _ask(self, question: Waiting) -> Verdict | None:
        assert self._tty is not None
        self._progress(None)
        await self._break()
        action = question.action
        self._tty.forget()
        self._note(("? ", "bold yellow"), f"{question.reason}: ", (literal(action.target, at_most=2000), "bold"))
        if action.kind in ("tool", "edit", "grant") and action.arguments:
            self._note(("  " + literal(action.arguments, at_most=2000), "dim"))  # the target alone does not tell what happens
        self._note(f"  in {literal(str(action.cwd))}   yes, no, or why not: ", end="")
        try:
            answer = await self._tty.line()
        except anyio.get_cancelled_exc_class():
            self._note("")  # what comes next begins a line
            raise
        if answer is None:
            self._stop.everything("door")
            await anyio.sleep_forever()  # until that arrives here: no verdict, neither yes nor no
            raise AssertionError("unreachable: it was cancelled")
        self._progress(action.brain)
        if answer.lower() in ("y", "yes", "نعم"):
            return Verdict(True, "you", "you said yes")
        why = "" if answer.lower() in ("", "n", "no", "لا") else f": {answer}"
        return Verdict(False, "you", f"you said no{why}")

    async def show(self, record: Recorded) -> None:
        try:
            await self._show(record.event, record.trace)
        except Closed as closed:
            self._stop.lose(closed)

    async def _show(self, event: Event, trace: str) -> None:
        match event:
            case Thought(text):
                self._heard += len(text)
            case Said(text):
                self._heard += len(text)
                self._progress(None)
                await self._write(printable(text) if self._on_screen else text)
            case Routed():
                self._route = f"{event.domain} {event.confidence:.0%}"
            case Began():
                self._progress(f"{event.brain} {event.model or ''}")
            case Spent():
                used = event.usage
                self._tokens += used.input + used.cached + used.cache_write + used.output
                self._heard = 0
            case Acted():
                await self._break()
                self._acted(event)
            case Judged() if event.verdict.by == "nobody":
                self._note(("not allowed: ", "yellow"), literal(event.action.target, at_most=200), f" ({event.verdict.reason})")
            case SteppedAside():
                self._note((printable(event.message), "yellow"), "; trying the next brain")
            case Answered() | Failed() | Cancelled():
                self._progress(None)
                await self._break(last=True)
                self._ended(event, trace)

    async def _write(self, text: str) -> None:
        if text:
            await self._output.write(text)
            self._midline = not text.endswith("\n")

    async def _break(self, *, last: bool = False) -> None:
        """Ends the line on stdout before something else is shown; into a pipe only at the very end."""
        if self._midline and (last or self._on_screen):
            await self._write("\n")

    def _acted(self, event: Acted) -> None:
        target = literal(event.action.target.split("\n")[0])[:120]
        if event.state == "started":
            self._progress(f"{event.action.brain} · {event.action.tool} {target}")
        elif event.action.kind != "internal" and self._rich is not None:
            took = f" ({event.took_ms / 1000:.1f} s)" if event.took_ms is not None else ""
            mark: Styled = {"done": ("✓ ", "green"), "failed": ("✗ ", "red"), "denied": ("– ", "yellow")}[event.state]
            self._note(mark, (f"{event.action.tool} {target}{took}", "dim"))
            self._progress(event.action.brain)

    def _ended(self, event: Terminal, trace: str) -> None:
        if isinstance(event, Failed):
            self._note((f"ai: {printable(event.message)}", "red"))
            if event.remedy:
                self._note(f"    {printable(event.remedy)}")
        elif isinstance(event, Cancelled):
            self._note(("ai: stopped", "yellow"))
        if self._rich is not None:
            self._note((self._facts(event, trace), "dim"))

    def _facts(self, event: Terminal, trace: str) -> str:
        usage, cost, unknown = cost_of(self._house.db, trace)
        model = event.model if isinstance(event, Answered) and event.model else ""
        tokens = f"{usage.input + usage.cached + usage.cache_write:,} in {usage.output:,} out"
        took = f"{(event.took_ms or 0) / 1000:.1f} s"
        facts = (event.brain or "no brain", model, self._route, tokens, money(cost, unknown), took, f"ai trace {trace[:8]}")
        return " · ".join(fact for fact in facts if fact)

    def _note(self, *parts: Styled, end: str = "\n") -> None:
        with _if_heard():
            if self._rich is not None:
                from rich.text import Text  # noqa: PLC0415  # as above

                self._rich.print(Text.assemble(*parts), end=end, soft_wrap=True)
            elif sys.stderr is not None:  # it is None if it was closed when we were started
                sys.stderr.write("".join(part if isinstance(part, str) else part[0] for part in parts) + end)
                sys.stderr.flush()

    def _progress(self, doing: str | None) -> None:
        """Shows what is being done, with the time and tokens so far; None takes the line away."""
        if self._rich is None:
            return
        if doing is None:
            live, self._live = self._live, None
            if live is not None:
                with _if_heard():
                    live.stop()
            return
        self._doing = doing
        if self._live is None:
            from rich.live import Live  # noqa: PLC0415  # as above
            from rich.spinner import Spinner  # noqa: PLC0415

            self._spinner = Spinner("dots")
            self._live = Live(console=self._rich, get_renderable=self._frame, transient=True, refresh_per_second=8)
            with _if_heard():
                self._live.start()

    def _frame(self) -> Spinner:
        assert self._spinner is not None
        elapsed = self._house.means.clock.monotonic() - self._began
        count = self._tokens + self._heard // CHARS_A_TOKEN
        tokens = f" · {'about ' if self._heard else ''}{count:,} tokens" if count else ""
        self._spinner.update(text=f"{self._doing.strip()} · {elapsed:.0f} s{tokens}")
        return self._spinner

    def close(self) -> None:
        """Takes the progress line away and lets go of the terminal."""
        self._progress(None)
        if self._tty is not None:
            self._tty.close()
