"""One turn of a Codex thread, from its first message to its end: what is heard, asked, said, counted and broken off.

Does not know how a thread is opened (`brain`), nor how messages travel (`server`).
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from paios.base.errors import BrainRefused, BrainUnavailable
from paios.base.events import Acted, Bound, Metered, Said, Spent, Thought
from paios.base.types import Action, Session, Turn, Usage
from paios.brains.brain import Emit, Gate
from paios.brains.codex import facts, items
from paios.brains.codex.fence import EDIT, READ
from paios.brains.codex.rollout import is_confined
from paios.brains.codex.server import AppServer, Call, Message, RpcError, ServerGone
from paios.observability.usage import price

NAME = items.NAME
INTERRUPT_S = 3.0

Ear = MemoryObjectReceiveStream[Message]


@dataclass(slots=True)
class Talk:
    """A turn in progress."""

    server: AppServer
    turn: Turn
    thread: str
    model: str | None
    gate: Gate
    emit: Emit
    meters: facts.Meters
    asks: Container[str] = ()  # the MCP servers whose tools are asked for
    has_price: bool = False  # whether OpenAI's list price is what the tokens cost
    end: Message | None = None  # the finished turn
    last: str = ""  # the last whole message
    spending: dict[str, facts.Spending] = field(default_factory=dict)
    _started: Call | None = None  # turn/start
    _turn_id: str = ""
    _said: dict[str, str] = field(default_factory=dict)  # of each message, what was emitted
    _offline: int = 0  # times the server said it waits for the network
    _open: dict[str, Message] = field(default_factory=dict)  # items begun and not ended
    _owners: dict[str, str] = field(default_factory=dict)  # item → the thread it runs in
    _judged: dict[str, bool] = field(default_factory=dict)  # item → the gate's answer
    _typing: list[str] = field(default_factory=list)  # commands that input was asked and allowed for
    _active: dict[str, str] = field(default_factory=dict)  # thread → its running turn; sub-agents have threads of their own
    _rollouts: dict[str, Path | None] = field(default_factory=dict)  # thread → its transcript
    _metered: bool = False  # the vendor told its windows
    _vetoed: Action | None = None  # what Codex had begun unasked and the gate did not allow

    async def run(self, text: str) -> None:
        """
        The whole turn; `end` and `last` tell how it ended.

        Raises:
            BrainRefused, BrainUnavailable: it could not begin, or went on where the gate said no.
            ServerGone: the server ended in between.
        """
        ear = self.server.listen(self.thread)
        try:
            await self.emit(Bound(Session(NAME, self.thread)))
            params: Message = {
                "threadId": self.thread,
                "input": [
                    {"type": "text", "text": text},
                    *({"type": "localImage", "path": str(image.path)} for image in self.turn.images),
                ],
                # Again, because a thread that is still loaded ignores what `thread/resume` says of these.
                "cwd": str(self.turn.cwd),
                "approvalPolicy": "untrusted",
                "permissions": READ if self.turn.read_only else EDIT,
            }
            if self.turn.model:
                params["model"] = self.turn.model
            self._started = self.server.call("turn/start", params)
            try:
                await self._follow(ear)
                await self._close_open()
            finally:
                if self.end is None or self._active:
                    await self._break_off(ear)
                with anyio.move_on_after(1, shield=True):
                    await self._spend()
                    await self._meter()
        finally:
            self.server.mute(self.thread)
            ear.close()
        if self._vetoed is not None:
            raise BrainRefused(NAME, f"{self._vetoed.target} was denied, and Codex can only be stopped from going on with it")
        if self.end is None and not self.server.gone.is_set():
            raise BrainUnavailable(NAME, "more came than could be taken in", reason="broken")

    # ---- listening

    async def _follow(self, ear: Ear) -> None:
        """Handles what comes until the turn is over. Approvals wait beside it, so that the rest of the turn goes on."""
        assert self._started is not None
        try:
            self._turn_id = (await self._started.result())["turn"]["id"]
        except RpcError as error:
            self.end = {"status": "failed"}
            raise opening(error) from error
        try:
            async with anyio.create_task_group() as asking:
                async for message in ear:
                    if "id" in message:
                        asking.start_soon(self._answer, message)
                    elif message["method"] == "item/commandExecution/terminalInteraction":
                        asking.start_soon(self._typed, message["params"])
                    else:
                        await self._hear(message)
                        if message["method"] == "item/started" and items.unasked(message["params"]["item"], self.asks):
                            asking.start_soon(self._veto, message["params"])
                    if self.end is not None:
                        break
                asking.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # a gate or a door that failed: to its caller as it was raised
                raise group.exceptions[0] from None
            raise

    async def _hear(self, message: Message) -> None:
        params = message.get("params") or {}
        await self._count(message)
        main = params.get("threadId") == self.thread
        match message["method"]:
            case "item/agentMessage/delta" if main:
                await self._say(params["itemId"], params["delta"])
            case "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" if main:
                await self.emit(Thought(params["delta"]))
            case "item/reasoning/summaryPartAdded" if main and params.get("summaryIndex"):
                await self.emit(Thought("\n\n"))
            case "item/started":
                self._open[params["item"]["id"]] = params["item"]
                self._owners[params["item"]["id"]] = params["threadId"]
                for action in items.actions(params["item"], self.turn.cwd):
                    await self.emit(Acted(action, "started"))
            case "item/completed":
                await self._complete(params["item"], main)
            case "error" if main and "waiting for network" in params["error"]["message"]:
                self._offline += 1
                if self._offline > 1:  # after 5 s; it would go on for ever
                    details = params["error"].get("additionalDetails") or params["error"]["message"]
                    raise BrainUnavailable(NAME, f"no connection to the model: {details}", reason="cut")
            case "turn/completed" if main:
                self.end = params["turn"]

    async def _say(self, item: str, text: str) -> None:
        if item not in self._said:
            if self._said and text:
                await self.emit(Said("\n\n"))  # messages between tool calls are paragraphs of one answer
            self._said[item] = ""
        self._said[item] += text
        if text:
            await self.emit(Said(text))

    async def _complete(self, item: Message, main: bool) -> None:
        if item["type"] == "agentMessage" and main:
            said = self._said.get(item["id"], "")
            if item["text"].startswith(said) and item["text"] != said:
                await self._say(item["id"], item["text"].removeprefix(said))
            self.last = item["text"]
        begun = self._open.pop(item["id"], None)
        state, output, took_ms = items.ended(item)
        if self._judged.get(item["id"]) is False and state != "done":
            state = "denied"
        # The action as it began: its reads are resolved anew otherwise, after the command may have moved things.
        for action in items.actions(begun or item, self.turn.cwd):
            if begun is None:
                await self.emit(Acted(action, "started"))
            await self.emit(Acted(action, state, output, took_ms))

    async def _close_open(self) -> None:
        """Ends the actions Codex leaves without an end: a command stopped by the sandbox. Those in the background go on."""
        for thread in {self._owners[item] for item in self._open}:
            running = set()
            with suppress(RpcError), anyio.move_on_after(INTERRUPT_S):
                found = await self.server.request("thread/backgroundTerminals/list", {"threadId": thread})
                running = {terminal["itemId"] for terminal in found.get("data") or []}
            for item in [i for i in self._open if self._owners[i] == thread and i not in running]:
                for action in items.actions(self._open.pop(item), self.turn.cwd):
                    await self.emit(Acted(action, "denied" if self._judged.get(item) is False else "failed"))

    # ---- asking

    async def _answer(self, request: Message) -> None:
        method, params = request["method"], request.get("params") or {}
        item = self._open.get(str(params.get("itemId"))) or self._mcp_item(params)
        confined = method != "item/commandExecution/requestApproval" or await self._is_confined(params)
        actions = items.asked(method, params, item, self.turn.cwd, unconfined=not confined)
        allowed = bool(actions)
        for action in actions:
            allowed = allowed and (await self.gate(action)).allowed
        if params.get("kind") == "writeStdin" and allowed:
            self._typing.append(params["itemId"])
        elif item:
            self._judged[item["id"]] = allowed
        result = items.reply(method, params, allowed)
        if result is None:
            self.server.refuse(request)
        else:
            self.server.answer(request, result)

    async def _is_confined(self, params: Message) -> bool:
        if params.get("kind") == "writeStdin" or params.get("networkApprovalContext"):
            return True  # about a command that was judged when it began
        thread = str(params.get("threadId"))
        if thread not in self._rollouts:
            try:
                path = (await self.server.request("thread/read", {"threadId": thread}))["thread"].get("path")
            except RpcError:
                path = None  # as for a thread that is not kept: it cannot be told
            self._rollouts[thread] = Path(path) if path else None
        return await is_confined(self._rollouts[thread], str(params.get("itemId")))

    def _mcp_item(self, params: Message) -> Message:
        """The MCP call an elicitation is about: it names the server and repeats the arguments, but not the call."""
        wanted = (params.get("_meta") or {}).get("tool_params")
        for item in self._open.values():
            if item["type"] == "mcpToolCall" and item["server"] == params.get("serverName") and item.get("arguments") == wanted:
                return item
        return {}

    async def _typed(self, params: Message) -> None:
        """
        Codex asks before it types into a running command only if the sandbox has changed since that began (0.163), so the
        gate hears of the rest when it has been typed: if it says no, the command is ended before it is given more.
        """
        action = items.typed(params, self.turn.cwd)
        if not action.target:
            return  # only a look at its output
        await self.emit(Acted(action, "started"))
        allowed = params["itemId"] in self._typing
        if allowed:
            self._typing.remove(params["itemId"])
        try:
            allowed = allowed or (await self.gate(action)).allowed
        finally:  # also when the turn ends before the gate has answered
            with anyio.move_on_after(INTERRUPT_S, shield=True), suppress(ServerGone, RpcError):
                if not allowed:
                    await self.server.request("thread/backgroundTerminals/clean", {"threadId": params["threadId"]})
                await self.emit(Acted(action, "done" if allowed else "denied"))

    async def _veto(self, params: Message) -> None:
        """Asks about what Codex has begun unasked. After a no nothing can be undone, but the turn goes no further."""
        for action in items.actions(params["item"], self.turn.cwd):
            if self._vetoed is None and not (await self.gate(action)).allowed:
                self._vetoed = action
                self._judged[params["item"]["id"]] = False
                with suppress(RpcError):  # it is over already
                    await self.server.request("turn/interrupt", {"threadId": self.thread, "turnId": self._turn_id})

    # ---- ending and counting

    async def _break_off(self, ear: Ear) -> None:
        """
        Ends what still runs of a turn that nobody listens to any more: the turn itself if it is not over, sub-agents, and
        with a turn broken off its commands. The server is killed if it will not.
        """
        assert self._started is not None
        server = self.server
        with anyio.CancelScope(shield=True), suppress(ServerGone, RpcError, anyio.EndOfStream):
            with anyio.move_on_after(INTERRUPT_S):
                if self.end is None:
                    self._active[self.thread] = (await self._started.result())["turn"]["id"]
                for thread, turn in tuple(self._active.items()):
                    with suppress(RpcError):  # it ended in between
                        await server.request("turn/interrupt", {"threadId": thread, "turnId": turn})
                while self._active:
                    message = await ear.receive()
                    await self._count(message)
                    if "id" in message:
                        server.refuse(message)
                if self.end is None:
                    for thread in self.spending:
                        await server.request("thread/backgroundTerminals/clean", {"threadId": thread})
                return
            await server.stop()
        if server.gone.is_set():
            await server.stop()  # what it started outlives it

    async def _count(self, message: Message) -> None:
        params = message.get("params") or {}
        match message["method"]:
            case "thread/tokenUsage/updated":
                thread = params["threadId"]
                spending = self.spending.setdefault(thread, facts.Spending(self.model))
                spending.note(params["tokenUsage"], ours=thread != self.thread or params["turnId"] == self._turn_id)
                self.meters.total(thread, params["tokenUsage"]["total"])
            case "turn/started":
                self._active[params["threadId"]] = params["turn"]["id"]
            case "turn/completed":
                self._active.pop(params["threadId"], None)
            case "model/rerouted":
                self.spending[params["threadId"]].model = params.get("toModel")
            case "account/rateLimits/updated":
                told = params.get("rateLimits") or {}
                self.meters.tell(told)
                self._metered = self._metered or bool(facts.windows(told))

    async def _spend(self) -> None:
        for spending in self.spending.values():
            used = spending.usage()
            if used != Usage():
                cost = None
                if self.has_price:
                    cost = await anyio.to_thread.run_sync(partial(price, spending.model, used, provider="openai"))
                await self.emit(Spent(NAME, spending.model, used, cost, "unknown" if cost is None else "priced"))

    async def _meter(self) -> None:
        if self._metered and (windows := self.meters.windows()):
            await self.emit(Metered(NAME, windows))


def opening(error: RpcError) -> BrainRefused | BrainUnavailable:
    """Why a thread or turn could not be opened: -32600 is our words, anything else the server's trouble."""
    if error.code in (-32600, -32602):
        return BrainRefused(NAME, error.message)
    return BrainUnavailable(NAME, error.message, reason="broken")
