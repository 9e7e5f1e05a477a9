"""The gateway's own tools: look at files, search them, write one, run a command. Each asks the gate first.

A tool answers the model in words, also when it was denied or failed: the model can then do something else. What it
gives back is bounded, and the path that the gate is asked about is the one that is opened: absolute, symlinks resolved.
Knows no vendor and no model library.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import Literal, TypeVar

import anyio
from anyio.abc import Process

from paios.base.events import Acted
from paios.base.process import Owner, child_env
from paios.base.types import Action, ActionKind, new_id
from paios.brains.brain import Emit, Gate
from paios.brains.keys import without_keys

READ_BYTES = 200_000
OUTPUT_BYTES = 30_000
ENTRIES = 1_000
MATCHES = 200
COMMAND_S = 120.0
SEARCH_S = 20.0
_SHOWN = 2_000  # characters of an output that go into the event

T = TypeVar("T")

# A process of its own: Python's `re` cannot be interrupted and holds the interpreter while it backtracks.
# Hidden files are left out: nobody expects `.env` and `.git` in a search, though inside the working folder the gate lets
# both be read. So are links: they may lead out of the folder that the gate was asked about.
_SEARCH = """
import json, os, re, sys
root, text, is_regex, name, most = json.loads(sys.argv[1])
wanted = re.compile(text if is_regex else re.escape(text))
named = re.compile(name)
skipped = {'node_modules', '__pycache__', 'venv', 'dist', 'build', 'target'}
def files():
    if not os.path.isdir(root):
        yield root
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(d for d in inner if d not in skipped and not d.startswith('.'))
        for n in sorted(names):
            path = os.path.join(folder, n)
            if not n.startswith('.') and named.match(n) and not os.path.islink(path) and os.path.isfile(path):
                yield path
found = 0
for path in files():
    try:
        with open(path, 'rb') as file:
            data = file.read(2_000_000)
    except OSError:
        continue
    if b'\\0' in data[:8000]:
        continue
    for number, line in enumerate(data.decode('utf-8', 'replace').splitlines(), 1):
        if wanted.search(line):
            found += 1
            if found > most:
                sys.stdout.write(f'... more than {most} matches\\n')
                sys.exit()
            sys.stdout.buffer.write(f'{path}:{number}: {line[:300]}\\n'.encode('utf-8', 'replace'))
"""


class ToolFailed(Exception):
    """The tool was allowed and could not do it; its text is for the model."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one turn. `read_file` and the others are what the model calls; their docstrings are what it reads."""

    cwd: Path
    brain: str
    gate: Gate
    emit: Emit
    env: Mapping[str, str]
    owner: Owner
    keys: frozenset[str] = field(default=frozenset(), repr=False)  # of model vendors: no command is given them
    command_s: float = COMMAND_S

    async def list_files(self, path: str = ".") -> str:
        """List what is in a folder; folders end with a slash.

        Args:
            path: The folder, absolute or relative to the working folder.
        """
        target = await self._resolve(path)
        return await self._do("read", "list_files", str(target), {"path": path}, lambda: _in_thread(lambda: _listed(target)))

    async def read_file(self, path: str, first_line: int = 1, last_line: int = 0) -> str:
        """Read a text file, or some of its lines.

        Args:
            path: The file, absolute or relative to the working folder.
            first_line: The first line to read; the file's first is 1.
            last_line: The last line to read; 0 for the end of the file.
        """
        target = await self._resolve(path)
        arguments = {"path": path, "first_line": first_line, "last_line": last_line}
        return await self._do(
            "read", "read_file", str(target), arguments, lambda: _in_thread(lambda: _lines(target, first_line, last_line))
        )

    async def search_files(self, text: str, path: str = ".", regex: bool = False, names: str = "*") -> str:
        """Find lines in the text files of a folder; hidden files are left out.

        Args:
            text: What to find.
            path: The folder or file, absolute or relative to the working folder.
            regex: Whether `text` is a Python regular expression; otherwise it is found as it stands.
            names: Only in files whose name matches this pattern, such as `*.py`.
        """
        target = await self._resolve(path)
        arguments = {"text": text, "path": path, "regex": regex, "names": names}
        return await self._do(
            "read", "search_files", str(target), arguments, lambda: self._searched(target, text, regex, names)
        )

    async def write_file(self, path: str, content: str) -> str:
        """Write a text file, replacing what was in it; folders on the way are made.

        Args:
            path: The file, absolute or relative to the working folder.
            content: All of the file's new text.
        """
        target = await self._resolve(path)
        arguments = {"path": path, "content": content}
        return await self._do("edit", "write_file", str(target), arguments, lambda: _in_thread(lambda: _write(target, content)))

    async def run_command(self, command: str) -> str:
        """Run a shell command in the working folder; returns its exit code and output.

        Args:
            command: The command line, for /bin/sh. It gets no input and has two minutes.
        """
        return await self._do("run", "run_command", command, {"command": command}, lambda: self._ran(command))

    async def _do(
        self,
        kind: ActionKind,
        tool: str,
        target: str,
        arguments: Mapping[str, object],
        work: Callable[[], Awaitable[str]],
    ) -> str:
        """Asks, does, reports: two events, whatever happens."""
        told = json.dumps(arguments, ensure_ascii=False)
        action = Action(kind, tool, target, self.cwd, self.brain, new_id("call"), told)
        began = anyio.current_time()

        async def end(state: Literal["done", "failed", "denied"], output: str) -> None:
            await self.emit(Acted(action, state, output[:_SHOWN], round((anyio.current_time() - began) * 1000)))

        await self.emit(Acted(action, "started"))
        verdict = await self.gate(action)
        if not verdict.allowed:
            await end("denied", verdict.reason)
            return f"denied: {verdict.reason}"
        began = anyio.current_time()  # waiting for a person is not the tool's time
        try:
            output = await work()
        except (ToolFailed, OSError) as error:  # a file that is not there is an answer, too
            output = f"failed: {error}"
            await end("failed", output)
            return output
        except BaseException:
            with anyio.move_on_after(1, shield=True):
                await end("failed", "interrupted")
            raise
        await end("done", output)
        return output

    async def _resolve(self, path: str) -> Path:
        """The path as it really is, before anyone is asked about it."""
        if path == "~" or path.startswith("~/"):
            path = self.env.get("HOME", "~") + path[1:]
        return await _in_thread(lambda: Path(os.path.realpath(self.cwd / path.replace("\0", ""))))

    async def _searched(self, target: Path, text: str, regex: bool, names: str) -> str:
        import fnmatch  # noqa: PLC0415  (2 ms, and only here)

        told = json.dumps([str(target), text, regex, fnmatch.translate(names), MATCHES])
        ended = await self._child([sys.executable, "-I", "-S", "-c", _SEARCH, told], SEARCH_S)
        if ended.code is None:
            raise ToolFailed(f"the search took more than {SEARCH_S:.0f} s: name a smaller folder or simpler text")
        if ended.code != 0:
            raise ToolFailed(ended.output.strip().splitlines()[-1] if ended.output.strip() else "the search broke off")
        return ended.output or "no match"

    async def _ran(self, command: str) -> str:
        ended = await self._child(["/bin/sh", "-c", command], self.command_s)
        if ended.code is None:
            raise ToolFailed(f"stopped after {self.command_s:.0f} s\n{ended.output}")
        return f"exit code {ended.code}\n{ended.output}"

    async def _child(self, command: Sequence[str], limit_s: float) -> _Ended:
        """Runs *command* as the head of its own process group, which is gone when this returns or is cancelled."""
        await _in_thread(self.owner.guard)
        process = await anyio.open_process(
            list(command),
            stdin=DEVNULL,
            stderr=STDOUT,
            cwd=self.cwd,
            env=child_env(without_keys(self.env, values=self.keys), self.owner.id),
            start_new_session=True,
        )
        kept = _Kept(OUTPUT_BYTES)
        try:
            with anyio.move_on_after(limit_s):
                async with anyio.create_task_group() as group:
                    group.start_soon(_drain, process, kept)
                    await process.wait()
                    # What it left in the background may hold the pipe open: its last words get half a second.
                    group.cancel_scope.deadline = anyio.current_time() + 0.5
            return _Ended(process.returncode, kept.text())
        finally:
            with suppress(ProcessLookupError, PermissionError):  # nobody left in the group; macOS says so by EPERM
                os.killpg(process.pid, signal.SIGKILL)
            with anyio.move_on_after(2, shield=True):
                await process.aclose()


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int | None  # None: it was stopped
    output: str


class _Kept:
    """The first and the last half of a long output."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = b""
        self._tail = b""
        self._left_out = 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        tail = self._tail + data[room:]
        self._tail = tail[-self._half :]
        self._left_out += len(tail) - len(self._tail)

    def text(self) -> str:
        gap = f"\n… {self._left_out:,} bytes left out …\n".encode() if self._left_out else b""
        return (self._head + gap + self._tail).decode("utf-8", "replace")


async def _drain(process: Process, kept: _Kept) -> None:
    assert process.stdout is not None
    with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):  # the group was killed
        async for data in process.stdout:
            kept.add(data)


async def _in_thread(work: Callable[[], T]) -> T:
    """Short blocking work on files; one that hangs (a network folder) is left behind when the turn is cancelled."""
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


def _listed(folder: Path) -> str:
    with os.scandir(folder) as entries:
        names = sorted(f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name for e in entries)
    more = f"\n… and {len(names) - ENTRIES:,} more" if len(names) > ENTRIES else ""
    return "\n".join(names[:ENTRIES]) + more or "(empty)"


def _open(path: Path) -> int:
    """*path* for reading, if it is a plain file: a link put there since the question is refused, a pipe would hang."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ToolFailed(f"{path} is no plain file")
    return handle


def _lines(path: Path, first: int, last: int) -> str:
    """The lines of a text file, at most READ_BYTES of them, with a word on what is missing."""
    taken: list[bytes] = []
    size = 0
    with os.fdopen(_open(path), "rb") as file:
        if b"\0" in file.read(8_000):
            raise ToolFailed(f"{path} is no text file")
        file.seek(0)
        number = 0
        while line := file.readline(READ_BYTES):
            number += 1
            if number < first:
                continue
            if last and number > last:
                break
            if size + len(line) > READ_BYTES:
                taken.append(line[: READ_BYTES - size])
                taken.append(f"\n… cut off in line {number}: ask for the lines from there".encode())
                break
            taken.append(line)
            size += len(line)
    return b"".join(taken).decode("utf-8", "replace")


def _write(path: Path, content: str) -> str:
    """Replaces the file in one step, keeping its mode: a reader sees the old text or the new. A new one's is by the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode if path.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        raise ToolFailed(f"{path} is no plain file")
    beside = path.with_name(new_id(f".{path.name[:50]}"))
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # only this way does the umask count
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="") as file:
            if mode is not None:  # before the text is in it: the old one may be private
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return f"wrote {len(content.encode('utf-8', 'replace')):,} bytes to {path}"
