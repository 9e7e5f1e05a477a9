"""A running `codex app-server`: JSON-RPC by line over its stdin and stdout, shared by many threads at once.

Own client instead of `openai_codex.CodexClient` because that one answers approvals in its only reader thread (a person
thinking about one command would stop every other turn), builds the child's environment on top of `os.environ` (the
variables of a parent agent session would leak), accepts whatever its handler does not know, and costs 1.3 s of CPU to
import. Knows the wire, not what turns, items and approvals mean.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from paios import __version__
from paios.base.process import tagged

Message = dict[str, Any]  # one JSON-RPC message, as it comes

MARK = "PAIOS_CODEX"  # in the environment of this server and of all it starts: which of the owner's children are its own
BACKLOG = 100_000  # messages of one turn that wait for a slow listener; a turn of an hour has about 30,000
STOP_S = 2.0  # an idle server leaves within 0.1 s of losing its stdin
_NO_SUCH_METHOD = -32601
_UNHEARD = (
    "command/exec/outputDelta",
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "item/fileChange/patchUpdated",
    "process/outputDelta",
    "turn/diff/updated",
)


class ServerGone(Exception):
    """The app-server ended, however it did. `tail` is the end of what it wrote to stderr."""

    def __init__(self, tail: str = "") -> None:
        super().__init__(tail)
        self.tail = tail


class RpcError(Exception):
    """The app-server answered a request with an error."""

    def __init__(self, method: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"{method}: {error.get('message', error)}")
        self.message = str(error.get("message", ""))
        self.code = error.get("code")
        data = error.get("data")
        self.data: Mapping[str, Any] = data if isinstance(data, dict) else {}


class Call:
    """A request that was sent. May be awaited by several tasks, and again after a wait was cancelled."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._over = anyio.Event()
        self._answer: Message | None = None

    def settle(self, answer: Message | None) -> None:
        """The answer has come, or None: it never will."""
        self._answer = answer
        self._over.set()

    async def result(self) -> Message:
        """
        Raises:
            RpcError: the server refused.
            ServerGone: it ended first.
        """
        await self._over.wait()
        if self._answer is None:
            raise ServerGone()
        if "error" in self._answer:
            raise RpcError(self._method, self._answer["error"])
        result: Message = self._answer.get("result") or {}
        return result


class AppServer(asyncio.SubprocessProtocol):
    """
    Made by `start`. Messages about a thread go to whoever listens to that thread or to the one it was spawned from;
    requests nobody listens for are refused.

    A protocol of callbacks, not tasks: the server outlives the turn that happened to start it, so no turn's task group
    may own its reader.
    """

    def __init__(self) -> None:
        self.version = ""
        self.mark = os.urandom(8).hex()
        self.gone = anyio.Event()
        self._owner = ""
        self._transport: asyncio.SubprocessTransport | None = None
        self._pending: dict[int, Call] = {}
        self._ears: dict[str, MemoryObjectSendStream[Message]] = {}
        self._roots: dict[str, str] = {}  # turn → thread, of the turns we began
        self._parents: dict[str, str] = {}  # a sub-agent's thread → ours
        self._partial: list[bytes] = []
        self._stderr: deque[bytes] = deque(maxlen=40)
        self._last_id = 0

    @classmethod
    async def start(cls, command: list[str], env: Mapping[str, str], owner: str, *, timeout_s: float) -> AppServer:
        """
        A server that has shaken hands; *env* is its whole environment.

        Raises:
            OSError: the program cannot be executed.
            ServerGone: it ended at once.
            TimeoutError: it said nothing for *timeout_s*.
        """
        server = cls()
        server._owner = owner
        loop = asyncio.get_running_loop()
        with anyio.CancelScope(shield=True):  # a few milliseconds; half a start would leave a child nobody knows
            # Own session: Ctrl-C in the terminal is for us to translate into an interrupt, not for the server to die of.
            transport, _ = await loop.subprocess_exec(
                lambda: server, *command, env={**env, MARK: server.mark}, start_new_session=True
            )
            server._transport = transport
        hello = {
            "clientInfo": {"name": "paios", "title": "PAIOS", "version": __version__},
            # Permission profiles are experimental. Of a command's output and of patches their end says enough.
            "capabilities": {"experimentalApi": True, "optOutNotificationMethods": list(_UNHEARD)},
        }
        try:
            with anyio.fail_after(timeout_s):
                answer = await server.request("initialize", hello)
        except BaseException:
            await server.stop()
            raise
        server._write({"method": "initialized"})
        # "codex_app_server/0.163.0 (Debian 12; x86_64) …"; `serverInfo` came later.
        info = answer.get("serverInfo") or {}
        server.version = str(info.get("version") or str(answer.get("userAgent", "")).partition("/")[2]).split(" ")[0]
        return server

    # ---- asking and listening

    def call(self, method: str, params: Message | None = None) -> Call:
        """Sends a request. Its answer is awaited with `Call.result`."""
        call = Call(method)
        if self.gone.is_set():
            call.settle(None)
            return call
        self._last_id += 1
        self._pending[self._last_id] = call
        self._write({"id": self._last_id, "method": method, "params": params or {}})
        return call

    async def request(self, method: str, params: Message | None = None) -> Message:
        """Sends a request and awaits its answer. Raises as `Call.result`, the latter with the end of stderr."""
        try:
            return await self.call(method, params).result()
        except ServerGone as error:
            raise ServerGone(self.tail()) from error

    def answer(self, request: Message, result: Message) -> None:
        """Answers a request of the server's."""
        if not self.gone.is_set():
            self._write({"id": request["id"], "result": result})

    def refuse(self, request: Message) -> None:
        """Answers a request of the server's with an error, which counts as no."""
        if not self.gone.is_set():
            self._write({"id": request["id"], "error": {"code": _NO_SUCH_METHOD, "message": "not supported by this client"}})

    def listen(self, thread: str) -> MemoryObjectReceiveStream[Message]:
        """
        What concerns *thread* and its sub-agents from now on, in order. One listener each.

        Ends when the server does, or after `BACKLOG` messages that nobody took.
        """
        assert thread not in self._ears
        send, receive = anyio.create_memory_object_stream[Message](BACKLOG)
        self._ears[thread] = send
        if self.gone.is_set():
            send.close()
        return receive

    def mute(self, thread: str) -> None:
        """Ends what `listen` began."""
        if ear := self._ears.pop(thread, None):
            ear.close()
        self._parents = {child: parent for child, parent in self._parents.items() if parent != thread}
        self._roots = {turn: root for turn, root in self._roots.items() if root != thread}

    def tail(self) -> str:
        """The last lines it wrote to stderr."""
        return b"".join(self._stderr).decode("utf-8", "replace")[-2000:].strip()

    # ---- ending

    async def stop(self) -> None:
        """Ends the server, gently for `STOP_S`, and everything it started. Safe to call twice."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        with anyio.CancelScope(shield=True):
            if (stdin := transport.get_pipe_transport(0)) is not None:
                stdin.close()
            with anyio.move_on_after(STOP_S):
                await self.gone.wait()
            transport.close()  # kills it if it is still there
            await anyio.to_thread.run_sync(self._sweep)
            with anyio.move_on_after(STOP_S):
                await self.gone.wait()

    def _sweep(self) -> None:
        """Kills what carries our mark: commands and MCP servers survive a killed app-server."""
        import psutil  # tagged() has imported it already if there was a child  # noqa: PLC0415

        for pid in tagged(self._owner):
            with suppress(psutil.Error, ProcessLookupError, PermissionError):
                if psutil.Process(pid).environ().get(MARK) == self.mark:
                    os.kill(pid, 9)

    # ---- callbacks of the event loop

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self._stderr.append(data)
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole, self._partial = b"".join([*self._partial, line]), []
            if whole.strip():
                self._dispatch(whole)
        if rest:
            self._partial.append(rest)

    def process_exited(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self.gone.set()
        for call in self._pending.values():
            call.settle(None)
        self._pending.clear()
        for ear in self._ears.values():
            ear.close()

    def _dispatch(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            self._stderr.append(line + b"\n")  # a stray print of a library: worth keeping for the error message
            return
        if "method" not in message:
            if call := self._pending.pop(message.get("id"), None):
                call.settle(message)
            return
        params, heard = message.get("params") or {}, False
        if message["method"] == "turn/started":
            self._adopt(params["threadId"], params["turn"])
        thread = params.get("threadId") or params.get("conversationId")
        if thread is None and "id" not in message:  # about the account: everyone's business
            ears = list(self._ears.values())
        else:
            ears = [ear] if (ear := self._ears.get(self._parents.get(str(thread), str(thread)))) else []
        for ear in ears:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # that turn is over
                try:
                    ear.send_nowait(message)
                    heard = True
                except anyio.WouldBlock:
                    ear.close()
        if "id" in message and not heard:
            self.refuse(message)

    def _adopt(self, thread: str, turn: Message) -> None:
        """
        A sub-agent speaks to whoever listens to the thread its work began in, whatever its depth. Its turns name the turn
        they go back to; nothing announces its thread (`thread/started` comes for ours only).
        """
        root = turn.get("rootTurnId") or turn["id"]
        if root == turn["id"]:
            self._roots[root] = thread
        elif root in self._roots:
            self._parents[thread] = self._roots[root]

    def _write(self, message: Message) -> None:
        stdin = self._transport.get_pipe_transport(0) if self._transport is not None else None
        if stdin is not None:
            assert isinstance(stdin, asyncio.WriteTransport)
            stdin.write(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
