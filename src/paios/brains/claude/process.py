"""The `claude` child of one turn, as the transport the Agent SDK talks through.

The SDK's own transport adds our whole environment to the child's, so what a parent session left there (its id, its
sockets) would reach it, and closes in up to 15 s. This one gives the child exactly the environment it is told, ends it
within 4 s, and then whatever the child had started, found by a tag in the environment (a shell that Claude runs a
command in has its own process group). Two things are asked of the child besides what the SDK asks: a session's totals
before the turn, and to stop. Knows nothing of turns.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
from anyio.abc import Process

TAG = "PAIOS_TURN"
GRACE_S = 2.0  # after a result the child still writes its session file: 0.1–0.4 s seen
HURRY_S = 0.2  # without one nobody waits for it
TOTALS_S = 1.0  # they come within 10 ms, unless Claude Code asks the vendor for a subscription's limits, too
STDERR_CHARS = 2_000


class ChildEnded(Exception):
    """The child ended by itself, not with 0. `code` is negative when a signal killed it."""

    def __init__(self, code: int, stderr: str) -> None:
        super().__init__(f"claude ended with {code}" + (f": {stderr}" if stderr else ""))
        self.code = code
        self.stderr = stderr


class ClaudeProcess:
    """A `claude_agent_sdk.Transport`, by shape: the SDK is too slow to import for a base class."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._argv = list(argv)
        self._turn = os.urandom(8).hex()
        self._env = {**env, TAG: self._turn, "PWD": str(cwd)}
        self._cwd = cwd
        self._process: Process | None = None
        self._stderr = tempfile.TemporaryFile()  # a file, so that nobody has to drain it  # noqa: SIM115
        self._writing = anyio.Lock()
        self.last_result: dict[str, Any] | None = None  # once it is there, `close` is patient
        self._totals: Mapping[str, Any] | None = None
        self._told = anyio.Event()

    async def connect(self) -> None:
        """Starts the child. The SDK calls it again when it is there: then nothing happens."""
        if self._process is not None:
            return
        self._process = await anyio.open_process(
            self._argv,
            stdin=PIPE,
            stdout=PIPE,
            stderr=self._stderr,
            env=self._env,
            cwd=self._cwd,
            start_new_session=True,  # Ctrl-C in the terminal is ours to act on
        )

    async def ask_totals(self) -> None:
        """Asks for what the session has used so far. To be called first, so that the answer is there when it is wanted."""
        # Detached: a prompt need not wait for the answer. Without the behaviors: they are a scan of all sessions.
        await self._request("paios-totals", {"subtype": "get_usage", "skip_behaviors": True, "detached": True})

    async def totals(self) -> Mapping[str, Any] | None:
        """The answer to `ask_totals`; None if it does not come within a second, or the child does not know the question."""
        with anyio.move_on_after(TOTALS_S):
            await self._told.wait()
        return self._totals

    async def stop(self) -> None:
        """Asks the child to break off the turn: it then ends with a result, within 20 ms as a rule."""
        await self._request("paios-stop", {"subtype": "interrupt"})

    async def _request(self, name: str, request: Mapping[str, Any]) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the child is gone: whoever reads it is told
            await self.write(json.dumps({"type": "control_request", "request_id": name, "request": request}) + "\n")

    async def write(self, data: str) -> None:
        async with self._writing:
            if self._process is None or self._process.stdin is None:
                raise anyio.ClosedResourceError
            await self._process.stdin.send(data.encode("utf-8", "replace"))

    async def end_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(anyio.BrokenResourceError, BrokenPipeError):  # it was faster
                await self._process.stdin.aclose()

    def is_ready(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """
        The child's messages until it ends.

        Raises:
            ChildEnded: it ended with anything but 0.
        """
        process = self._process
        assert process is not None and process.stdout is not None
        pending: list[bytes] = []
        async for chunk in process.stdout:
            *lines, tail = chunk.split(b"\n")
            for line in lines:
                pending.append(line)
                message = _message(b"".join(pending))
                pending = []
                if message is not None and not self._is_ours(message):
                    yield message
            pending.append(tail)
        self._told.set()
        code = await process.wait()
        if code != 0:
            raise ChildEnded(code, self.stderr())

    def _is_ours(self, message: dict[str, Any]) -> bool:
        """Keeps what is for us; whether that is all it is for."""
        match message:
            case {"type": "result"}:
                self.last_result = message
            case {"type": "control_response", "response": {"request_id": "paios-totals", **answer}}:
                response = answer.get("response")
                self._totals = response.get("session") if isinstance(response, dict) else None
                self._told.set()
                return True
            case {"type": "control_response", "response": {"request_id": "paios-stop"}}:
                return True
        return False

    def stderr(self) -> str:
        """The last 2,000 characters of what the child complained of."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), STDERR_CHARS, max(0, size - STDERR_CHARS)).decode("utf-8", "replace").strip()

    async def close(self) -> None:
        """Ends the child and all it has started. Called by the SDK from a shielded scope; every wait is bounded."""
        process, self._process = self._process, None
        if process is None:
            self._stderr.close()
            return
        if process.stdin is not None:
            with suppress(anyio.BrokenResourceError, BrokenPipeError):
                await process.stdin.aclose()
        with anyio.move_on_after(HURRY_S if self.last_result is None else GRACE_S):
            await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await anyio.to_thread.run_sync(_kill_tagged, self._turn)
        with anyio.move_on_after(1):
            await process.wait()
            await process.aclose()
        self._stderr.close()


def _message(line: bytes) -> dict[str, Any] | None:
    """A line's message; None for what is none: some builds write notes of their sandbox between."""
    if not line.lstrip().startswith(b"{"):
        return None
    message = json.loads(line)
    return message if isinstance(message, dict) else None


def _kill_tagged(turn: str) -> None:
    import psutil  # 40 ms, and only needed once a child ran  # noqa: PLC0415

    for _ in range(3):  # one may fork while we look
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # gone meanwhile, or not ours to read
                if process.environ().get(TAG) == turn and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
