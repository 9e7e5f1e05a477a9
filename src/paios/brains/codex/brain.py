"""Codex, through the user's own `codex app-server`: one warm server, a thread for each conversation.

Every command, patch and MCP call is asked for by the server and answered by the gate, each time anew; built-in tools that
do not ask are off. The thread's permission profile backs that up from below: commands see the working folder and the
system's own files, not the rest of the disk, and with such a profile Codex asks even for `cat`, which it runs unasked under
its stock sandboxes.

Opens threads; `turn` leads the conversation, `fence` draws the limits, `server` carries the messages.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from paios.base.errors import BrainUnavailable, SessionLost
from paios.base.process import TAG, Owner, child_env, find_program
from paios.base.types import BrainStatus, Reply, Session, Turn, Window
from paios.brains.brain import Emit, Gate
from paios.brains.codex import facts, fence
from paios.brains.codex.items import NAME
from paios.brains.codex.server import MARK, AppServer, Message, RpcError, ServerGone
from paios.brains.codex.turn import Talk, opening
from paios.brains.history import with_history

OLDEST = (0, 151)  # permission profiles and the fields used here; the vendor's SDK draws the same line
START_S = 20.0  # 0.25–0.6 s measured; a cold disk has 300 MB to page in
OPEN_S = 60.0  # a thread waits for the user's MCP servers that are marked `required`
STATUS_S = 5.0
_LOST = re.compile(r"no rollout found|(thread|conversation) .*not found|invalid (session|thread) id")


class CodexBrain:
    """*env* is the environment of the caller; `binary` a configured path of the program, else the usual places."""

    name = NAME

    def __init__(self, *, env: Mapping[str, str], owner: Owner, binary: str = "") -> None:
        self._env = env
        self._owner = owner
        self._binary = binary
        self._server: AppServer | None = None
        self._program = ""
        self._note = ""
        self._starting = anyio.Lock()
        self._busy: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()  # as long as a turn holds or awaits it
        self._meters = facts.Meters()
        self._plugged: tuple[frozenset[str], list[tuple[str, str]]] = (frozenset(), [])

    def absent(self) -> str:
        return "" if self._programs() else "the program `codex` is not installed and the Python package `openai-codex` neither"

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        session = turn.session.id if turn.session else ""
        lock = self._busy.setdefault(session, anyio.Lock()) if session else anyio.Lock()
        async with lock:
            try:
                server = await self._running()
                talk = await self._open(server, turn, gate, emit)
                await talk.run(with_history(turn.text, turn.history))
                if talk.end is None:
                    raise ServerGone(server.tail())
            except ServerGone as error:
                raise BrainUnavailable(
                    NAME, f"the app-server ended in mid-turn {error.tail}".strip(), reason="killed"
                ) from error
        if talk.end.get("status") != "completed":
            trouble = talk.end.get("error") or {"message": f"the turn was {talk.end.get('status')}"}
            raise facts.problem(trouble, self._meters.last, datetime.now(UTC))
        return Reply(talk.last, talk.model, Session(NAME, talk.thread))

    async def status(self) -> BrainStatus:
        if why := self.absent():
            return BrainStatus(NAME, ready=False, detail=why, remedy="install Codex, or `paios[codex]`")
        try:
            with anyio.fail_after(STATUS_S):
                server = await self._running()
                account = await server.request("account/read")
                models = await server.request("model/list")
                windows = await self._windows(server)
        except (BrainUnavailable, RpcError, ServerGone, TimeoutError) as error:
            return BrainStatus(
                NAME, ready=False, detail=str(error) or "no answer from the app-server", remedy="run `codex doctor`"
            )
        login = facts.login(account)
        return BrainStatus(
            NAME,
            ready=login != "logged out",
            version=server.version,
            login=login,
            detail=self._note,
            remedy=facts.LOG_IN if login == "logged out" else "",
            windows=windows,
            models=tuple(str(m["id"]) for m in models.get("data", []) if not m.get("hidden")),
        )

    async def aclose(self) -> None:
        if self._server is not None:
            await self._server.stop()
            self._server = None

    # ---- the server

    def _programs(self) -> list[str]:
        """Where Codex is, the most wanted first: the configured one alone, else that on PATH and the Python package's."""
        own = find_program("codex", self._env, self._binary)
        if self._binary:
            return [own] if own else []
        spec = importlib.util.find_spec("codex_cli_bin")
        bundled = Path(spec.origin).parent / "bin" / "codex" if spec and spec.origin else None
        return [*([own] if own else []), *([str(bundled)] if bundled and bundled.is_file() else [])]

    async def _running(self) -> AppServer:
        async with self._starting:
            if self._server is None or self._server.gone.is_set():
                if self._server is not None:
                    await self.aclose()  # what the dead one started
                self._server = await self._start()
            return self._server

    async def _start(self) -> AppServer:
        await anyio.to_thread.run_sync(self._owner.guard)
        self._note = ""
        why = self.absent()
        for program in dict.fromkeys(self._programs()):
            # Profiles that are ours go with each thread; everything else is the user's own configuration.
            command = [program, "app-server", *fence.START]
            try:
                server = await self._begin(command)
            except (OSError, ServerGone, RpcError, TimeoutError) as error:
                why = f"{program} does not start: {error or type(error).__name__}"
            else:
                if _numbers(server.version) >= OLDEST:
                    self._program, self._note = program, f"{why}; using {program}" if why else ""
                    return server
                why = f"{program} is version {server.version}, older than {OLDEST[0]}.{OLDEST[1]}"
                await server.stop()
        raise BrainUnavailable(NAME, why, reason="missing" if not self._programs() else "broken", remedy="update Codex")

    async def _begin(self, command: list[str]) -> AppServer:
        """A server by *command*. Two that begin at once on a new home collide over its database (0.163): one tries again."""
        env = child_env(self._env, self._owner.id)
        for wait_s in (0.3, 1.0):
            try:
                return await AppServer.start(command, env, self._owner.id, timeout_s=START_S)
            except ServerGone as error:
                if "state runtime" not in str(error):
                    raise
                await anyio.sleep(wait_s)
        return await AppServer.start(command, env, self._owner.id, timeout_s=START_S)

    async def _windows(self, server: AppServer) -> tuple[Window, ...]:
        with suppress(RpcError):  # needs a ChatGPT login: an API key or another provider has no such windows
            self._meters.tell((await server.request("account/rateLimits/read")).get("rateLimits") or {})
        return self._meters.windows()

    # ---- a thread

    async def _open(self, server: AppServer, turn: Turn, gate: Gate, emit: Emit) -> Talk:
        with anyio.move_on_after(OPEN_S):
            try:
                theirs = (await server.request("config/read", {"cwd": str(turn.cwd)}))["config"]
                config = {**self._fence(server, turn.cwd), **fence.secrets(theirs)}
                plugged = await self._servers_of(server, fence.plugins(theirs))
                asks = {*(theirs.get("mcp_servers") or {}), *(name for _, name in plugged)}
                if asks:  # else there is nothing to read a resource of
                    config |= fence.trust(await server.request("hooks/list", {"cwds": [str(turn.cwd)]}))
                params: Message = {
                    "cwd": str(turn.cwd),
                    "approvalPolicy": "untrusted",
                    "approvalsReviewer": "user",
                    "permissions": fence.READ,
                    "config": {**config, **fence.prompts(theirs, plugged)},
                }
                if turn.model:
                    params["model"] = turn.model
                found = await (
                    self._resume(server, turn.session, params) if turn.session else server.request("thread/start", params)
                )
                thread, model = found["thread"]["id"], found.get("model")
                talk = Talk(server, turn, thread, model, gate, emit, self._meters)
                talk.asks = asks
                talk.has_price = found.get("modelProvider") == "openai" and await _pays_openai(server)
                talk.spending[thread] = facts.Spending(model, self._meters.totals.get(thread))
            except RpcError as error:
                raise opening(error) from error
            return talk
        raise BrainUnavailable(NAME, f"no thread after {OPEN_S:.0f} s; is a required MCP server stuck?", reason="silent")

    async def _resume(self, server: AppServer, session: Session, params: Message) -> Message:
        try:
            return await server.request("thread/resume", {**params, "threadId": session.id, "excludeTurns": True})
        except RpcError as error:
            if _LOST.search(error.message) is None:  # what is wrong would be wrong with a new thread too
                raise
            # Deleted, or made under another CODEX_HOME.
            raise SessionLost(NAME, f"thread {session.id} cannot be resumed: {error}") from error

    def _fence(self, server: AppServer, cwd: Path) -> Message:
        config = fence.fence(self._program, cwd)
        # A user may keep the environment from commands; these two find what a turn leaves running.
        for name, value in ((TAG, self._owner.id), (MARK, server.mark)):
            config[f"shell_environment_policy.set.{name}"] = value
        return config

    async def _servers_of(self, server: AppServer, plugins: frozenset[str]) -> list[tuple[str, str]]:
        """
        The (plugin, MCP server) pairs of *plugins*. Only the server knows them, and it starts each MCP server to tell (0.1 s
        and more): remembered until other plugins are enabled.
        """
        if plugins != self._plugged[0]:
            found = await server.request("mcpServerStatus/list", {"detail": "toolsAndAuthOnly", "limit": 1000})
            self._plugged = (plugins, [(s["pluginId"], s["name"]) for s in found["data"] if s.get("pluginId")])
        return self._plugged[1]


async def _pays_openai(server: AppServer) -> bool:
    """Whether tokens have OpenAI's list price: to the cent with an API key, as a notional figure with a subscription."""
    return facts.login(await server.request("account/read")) in ("api key", "subscription")


def _numbers(version: str) -> tuple[int, ...]:
    found = [part for part in version.split("-")[0].split(".") if part.isdigit()]
    return tuple(int(part) for part in found[:2])
