"""Codex, through the user's own `codex app-server`: one warm server, a thread for each conversation.

Every command, patch and MCP call with effects is asked for by the server and answered by the gate, each time anew. The
thread's permission profile backs that up from below: commands see the working folder and the system's own files, not the
rest of the disk, and with such a profile Codex asks even for `cat`, which it runs unasked under its stock sandboxes.

Does not know what the vendor's items mean (`codex_items`) nor how messages travel (`codex_server`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from paios.base.errors import BrainRefused, BrainUnavailable, SessionLost
from paios.base.events import Acted, Bound, Said, Spent, Thought
from paios.base.process import TAG, Owner, child_env, find_program
from paios.base.types import BrainStatus, Reply, Session, Turn, Usage, Window
from paios.brains import codex_facts as facts
from paios.brains import codex_items as items
from paios.brains.brain import Emit, Gate
from paios.brains.codex_server import MARK, AppServer, Call, Message, RpcError, ServerGone
from paios.brains.history import with_history
from paios.observability.usage import price

NAME = items.NAME
OLDEST = (0, 151)  # permission profiles and the fields used here; the vendor's SDK draws the same line
START_S = 20.0  # 0.25–0.6 s measured; a cold disk has 300 MB to page in
OPEN_S = 60.0  # a thread waits for the user's MCP servers that are marked `required`
INTERRUPT_S = 3.0
STATUS_S = 5.0


@dataclass(slots=True)
class _Talk:
    """A turn in progress."""

    turn: Turn
    thread: str
    model: str | None
    gate: Gate
    emit: Emit
    started: Call | None = None  # turn/start
    turn_id: str = ""
    end: Message | None = None  # the finished turn
    said: dict[str, str] = field(default_factory=dict)  # of each message, what was emitted
    last: str = ""  # the last whole message
    offline: int = 0  # times the server said it waits for the network
    open: dict[str, Message] = field(default_factory=dict)  # items begun and not ended
    judged: dict[str, bool] = field(default_factory=dict)  # item id → the gate's answer
    typing: list[str] = field(default_factory=list)  # commands that input was asked and allowed for
    active: dict[str, str] = field(default_factory=dict)  # thread → its running turn; sub-agents have threads of their own
    spending: dict[str, facts.Spending] = field(default_factory=dict)


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
        self._busy: dict[str, anyio.Lock] = {}
        self._totals: dict[str, Mapping[str, Any]] = {}
        self._limits: Message = {}

    def absent(self) -> str:
        return "" if self._programs() else "the program `codex` is not installed and the Python package `openai-codex` neither"

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        session = turn.session.id if turn.session else ""
        async with self._busy.setdefault(session, anyio.Lock()) if session else anyio.Lock():
            try:
                server = await self._running()
                thread, model, text = await self._open(server, turn)
                talk = _Talk(turn, thread, model, gate, emit)
                talk.spending[thread] = facts.Spending(model, self._totals.get(thread))
                return await self._converse(server, talk, text)
            except ServerGone as error:
                raise BrainUnavailable(
                    NAME, f"the app-server ended in mid-turn {error.tail}".strip(), reason="killed"
                ) from error

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
            # No --config: profiles that are ours go with each thread, everything else is the user's own configuration.
            command = [program, "app-server"]
            try:
                server = await AppServer.start(command, child_env(self._env, self._owner.id), self._owner.id, timeout_s=START_S)
            except (OSError, ServerGone, RpcError, TimeoutError) as error:
                why = f"{program} does not start: {error or type(error).__name__}"
            else:
                if _numbers(server.version) >= OLDEST:
                    self._program, self._note = program, f"{why}; using {program}" if why else ""
                    return server
                why = f"{program} is version {server.version}, older than {OLDEST[0]}.{OLDEST[1]}"
                await server.stop()
        raise BrainUnavailable(NAME, why, reason="missing" if not self._programs() else "broken", remedy="update Codex")

    async def _windows(self, server: AppServer) -> tuple[Window, ...]:
        with suppress(RpcError):  # needs a ChatGPT login: an API key or another provider has no such windows
            self._limits = (await server.request("account/rateLimits/read")).get("rateLimits") or {}
        return facts.windows(self._limits)

    # ---- a thread

    async def _open(self, server: AppServer, turn: Turn) -> tuple[str, str | None, str]:
        """The thread to talk in, its model and what to say."""
        params: Message = {
            "cwd": str(turn.cwd),
            "approvalPolicy": "untrusted",
            "approvalsReviewer": "user",
            **self._fence(server, turn),
        }
        if turn.model:
            params["model"] = turn.model
        text = with_history(turn.text, turn.history)
        with anyio.move_on_after(OPEN_S):
            try:
                if turn.session is not None:
                    found = await self._resume(server, turn.session, params)
                else:
                    found = await server.request("thread/start", params)
            except RpcError as error:
                raise _opening(error) from error
            return found["thread"]["id"], found.get("model"), text
        raise BrainUnavailable(NAME, f"no thread after {OPEN_S:.0f} s; is a required MCP server stuck?", reason="silent")

    async def _resume(self, server: AppServer, session: Session, params: Message) -> Message:
        try:
            return await server.request("thread/resume", {**params, "threadId": session.id, "excludeTurns": True})
        except RpcError as error:  # "no rollout found": deleted, or made under another CODEX_HOME
            raise SessionLost(NAME, f"thread {session.id} cannot be resumed: {error}") from error

    def _fence(self, server: AppServer, turn: Turn) -> Message:
        fence = items.fence(self._program, turn.cwd, read_only=turn.read_only)
        # A user may keep the environment from commands; these two find what a turn leaves running.
        for name, value in ((TAG, self._owner.id), (MARK, server.mark)):
            fence["config"][f"shell_environment_policy.set.{name}"] = value
        return fence

    # ---- a turn

    async def _converse(self, server: AppServer, talk: _Talk, text: str) -> Reply:
        turn = talk.turn
        ear = server.listen(talk.thread)
        try:
            await talk.emit(Bound(Session(NAME, talk.thread)))
            params: Message = {
                "threadId": talk.thread,
                "input": [{"type": "text", "text": text}, *({"type": "localImage", "path": str(i.path)} for i in turn.images)],
                # Again, because a thread that is still loaded ignores what `thread/resume` says of these.
                "cwd": str(turn.cwd),
                "approvalPolicy": "untrusted",
                "permissions": items.READ if turn.read_only else items.EDIT,
            }
            if turn.model:
                params["model"] = turn.model
            talk.started = server.call("turn/start", params)
            try:
                await self._follow(server, talk, ear)
            finally:
                if talk.end is None or talk.active:
                    await self._break_off(server, talk, ear)
                with anyio.move_on_after(1, shield=True):
                    await self._spend(talk)
        finally:
            server.mute(talk.thread)
            ear.close()
        if talk.end is None:
            raise ServerGone(server.tail())
        if talk.end.get("status") != "completed":
            error = talk.end.get("error") or {"message": f"the turn was {talk.end.get('status')}"}
            raise facts.problem(error, self._limits, datetime.now(UTC))
        return Reply(talk.last, talk.model, Session(NAME, talk.thread))

    async def _follow(self, server: AppServer, talk: _Talk, ear: MemoryObjectReceiveStream[Message]) -> None:
        """Handles what comes until the turn is over. Approvals wait beside it, so that the rest of the turn goes on."""
        assert talk.started is not None
        try:
            talk.turn_id = (await talk.started.result())["turn"]["id"]
        except RpcError as error:
            talk.end = {"status": "failed"}
            raise _opening(error) from error
        try:
            async with anyio.create_task_group() as asking:
                async for message in ear:
                    if "id" in message:
                        asking.start_soon(self._answer, server, talk, message)
                    elif message["method"] == "item/commandExecution/terminalInteraction":
                        asking.start_soon(self._typed, server, talk, message["params"])
                    else:
                        await self._hear(talk, message)
                    if talk.end is not None:
                        break
                asking.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # a gate or a door that failed: to its caller as it was raised
                raise group.exceptions[0] from None
            raise

    async def _break_off(self, server: AppServer, talk: _Talk, ear: MemoryObjectReceiveStream[Message]) -> None:
        """
        Ends what still runs of a turn that nobody listens to any more: the turn itself if it is not over, sub-agents, and
        with a turn broken off its commands. The server is killed if it will not.
        """
        assert talk.started is not None
        with anyio.CancelScope(shield=True), suppress(ServerGone, RpcError, anyio.EndOfStream):
            with anyio.move_on_after(INTERRUPT_S):
                if talk.end is None:
                    talk.active[talk.thread] = (await talk.started.result())["turn"]["id"]
                for thread, turn in tuple(talk.active.items()):
                    with suppress(RpcError):  # it ended in between
                        await server.request("turn/interrupt", {"threadId": thread, "turnId": turn})
                while talk.active:
                    message = await ear.receive()
                    await self._count(talk, message)
                    if "id" in message:
                        server.refuse(message)
                if talk.end is None:
                    for thread in talk.spending:
                        await server.request("thread/backgroundTerminals/clean", {"threadId": thread})
                return
            await server.stop()
        if server.gone.is_set():
            await server.stop()  # what it started outlives it

    async def _answer(self, server: AppServer, talk: _Talk, request: Message) -> None:
        method, params = request["method"], request.get("params") or {}
        item = talk.open.get(str(params.get("itemId"))) or _mcp_item(talk, params)
        actions = items.asked(method, params, item, talk.turn.cwd)
        allowed = bool(actions)
        for action in actions:
            allowed = allowed and (await talk.gate(action)).allowed
        if params.get("kind") == "writeStdin" and allowed:
            talk.typing.append(params["itemId"])
        elif item:
            talk.judged[item["id"]] = allowed
        result = items.reply(method, params, allowed)
        if result is None:
            server.refuse(request)
        else:
            server.answer(request, result)

    async def _typed(self, server: AppServer, talk: _Talk, params: Message) -> None:
        """
        Codex asks before it types into a running command only if the sandbox has changed since that began (0.163), so the
        gate hears of the rest when it has been typed: if it says no, the command is ended before it is given more.
        """
        action = items.typed(params, talk.turn.cwd)
        if not action.target:
            return  # only a look at its output
        await talk.emit(Acted(action, "started"))
        allowed = params["itemId"] in talk.typing
        if allowed:
            talk.typing.remove(params["itemId"])
        try:
            allowed = allowed or (await talk.gate(action)).allowed
        finally:  # also when the turn ends before the gate has answered
            with anyio.move_on_after(INTERRUPT_S, shield=True), suppress(ServerGone, RpcError):
                if not allowed:
                    await server.request("thread/backgroundTerminals/clean", {"threadId": params["threadId"]})
                await talk.emit(Acted(action, "done" if allowed else "denied"))

    async def _hear(self, talk: _Talk, message: Message) -> None:
        params = message.get("params") or {}
        await self._count(talk, message)
        main = params.get("threadId") == talk.thread
        match message["method"]:
            case "item/agentMessage/delta" if main:
                await self._say(talk, params["itemId"], params["delta"])
            case "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" if main:
                await talk.emit(Thought(params["delta"]))
            case "item/reasoning/summaryPartAdded" if main and params.get("summaryIndex"):
                await talk.emit(Thought("\n\n"))
            case "item/started":
                talk.open[params["item"]["id"]] = params["item"]
                for action in items.actions(params["item"], talk.turn.cwd):
                    await talk.emit(Acted(action, "started"))
            case "item/completed":
                await self._complete(talk, params["item"], main)
            case "error" if main and "waiting for network" in params["error"]["message"]:
                talk.offline += 1
                if talk.offline > 1:  # after 5 s; it would go on for ever
                    details = params["error"].get("additionalDetails") or params["error"]["message"]
                    raise BrainUnavailable(NAME, f"no connection to the model: {details}", reason="cut")
            case "turn/completed" if main:
                talk.end = params["turn"]

    async def _say(self, talk: _Talk, item: str, text: str) -> None:
        if item not in talk.said:
            if talk.said and text:
                await talk.emit(Said("\n\n"))  # messages between tool calls are paragraphs of one answer
            talk.said[item] = ""
        talk.said[item] += text
        if text:
            await talk.emit(Said(text))

    async def _complete(self, talk: _Talk, item: Message, main: bool) -> None:
        if item["type"] == "agentMessage" and main:
            said = talk.said.get(item["id"], "")
            if item["text"].startswith(said) and item["text"] != said:
                await self._say(talk, item["id"], item["text"].removeprefix(said))
            talk.last = item["text"]
        begun = talk.open.pop(item["id"], None)
        state, output, took_ms = items.ended(item)
        if talk.judged.get(item["id"]) is False and state != "done":
            state = "denied"
        # The action as it began: its reads are resolved anew otherwise, after the command may have moved things.
        for action in items.actions(begun or item, talk.turn.cwd):
            if begun is None:
                await talk.emit(Acted(action, "started"))
            await talk.emit(Acted(action, state, output, took_ms))

    async def _count(self, talk: _Talk, message: Message) -> None:
        params = message.get("params") or {}
        match message["method"]:
            case "thread/tokenUsage/updated":
                thread = params["threadId"]
                spending = talk.spending.setdefault(thread, facts.Spending(talk.model))
                spending.note(params["tokenUsage"], ours=thread != talk.thread or params["turnId"] == talk.turn_id)
                self._totals[thread] = params["tokenUsage"]["total"]
            case "turn/started":
                talk.active[params["threadId"]] = params["turn"]["id"]
            case "turn/completed":
                talk.active.pop(params["threadId"], None)
            case "model/rerouted":
                talk.spending[params["threadId"]].model = params.get("toModel")
            case "account/rateLimits/updated":
                self._limits = params.get("rateLimits") or self._limits

    async def _spend(self, talk: _Talk) -> None:
        for spending in talk.spending.values():
            used = spending.usage()
            if used != Usage():
                cost = await anyio.to_thread.run_sync(partial(price, spending.model, used, provider="openai"))
                await talk.emit(Spent(NAME, spending.model, used, cost, "unknown" if cost is None else "priced"))


def _mcp_item(talk: _Talk, params: Message) -> Message:
    """The MCP call an elicitation is about: it names the server and repeats the arguments, but not the call."""
    wanted = (params.get("_meta") or {}).get("tool_params")
    for item in talk.open.values():
        if item["type"] == "mcpToolCall" and item["server"] == params.get("serverName") and item.get("arguments") == wanted:
            return item
    return {}


def _numbers(version: str) -> tuple[int, ...]:
    found = [part for part in version.split("-")[0].split(".") if part.isdigit()]
    return tuple(int(part) for part in found[:2])


def _opening(error: RpcError) -> BrainRefused | BrainUnavailable:
    """Why a thread or turn could not be opened: -32600 is our words, anything else the server's trouble."""
    if error.code in (-32600, -32602):
        return BrainRefused(NAME, error.message)
    return BrainUnavailable(NAME, error.message, reason="broken")
