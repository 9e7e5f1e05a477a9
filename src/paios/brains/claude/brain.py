"""Claude: the person's own Claude Code, driven through the Claude Agent SDK, one client a turn.

The person's settings, instructions and MCP servers apply, their permission rules do not decide: a hook that always runs
puts every tool call, a sub-agent's too, to the gate, and blocks the call should the hook itself fail. Prompts are taken
as they are written: an `@path` or `/command` in them would otherwise be carried out before any gate is asked.
What the tools are to the gate is in `tools`, the words in `speech`, the money in `bill`, which program it
is in `program`, its child in `process`, what its errors mean in `errors`.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import logging
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import anyio

from paios.base.clock import SystemClock
from paios.base.errors import BrainError, BrainRefused, BrainUnavailable
from paios.base.events import Bound, Metered, Spent
from paios.base.process import Owner
from paios.base.types import Attachment, BrainStatus, Reply, Session, Turn, Window
from paios.brains.brain import Emit, Gate
from paios.brains.claude.bill import Bill, dollars, totals_in
from paios.brains.claude.errors import LOGIN, failure_of, of_ended_child, of_retry
from paios.brains.claude.process import ChildEnded, ClaudeProcess
from paios.brains.claude.program import SDK, Program
from paios.brains.claude.speech import Speech
from paios.brains.claude.tools import NAME, Calls, output_of
from paios.brains.history import with_history
from paios.observability import usage as tokens

if TYPE_CHECKING:
    import claude_agent_sdk as sdk

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
HOOK_S = 7 * 24 * 3600.0  # Claude Code's own limit is 60 s; how long a person may be waited for is the gate's business
STATUS_S = 5.0
STOP_S = 1.5  # 20 ms as a rule; without an answer the turn is billed by what was heard
SETTLE_S = 1.0

_VERSION = re.compile(r"(\d\S*) \(Claude Code\)")
_WINDOWS = {"five_hour": "5h", "seven_day": "weekly", "seven_day_opus": "weekly opus", "seven_day_sonnet": "weekly sonnet"}


# The SDK logs what it then raises; without a handler of the program's that would go to the terminal.
logging.getLogger(SDK).addHandler(logging.NullHandler())


class ClaudeBrain:
    """Claude Code as a brain; `binary` is the configured program, else the one on PATH, else the SDK's own."""

    def __init__(self, *, env: Mapping[str, str], owner: Owner, binary: str = "", project_settings: bool = False) -> None:
        self._program = Program(dict(env), owner.id, binary, project_settings)
        self._owner = owner
        self._windows: dict[str, Window] = {}

    @property
    def name(self) -> str:
        return NAME

    def absent(self) -> str:
        if importlib.util.find_spec(SDK) is None:
            return "the Claude Agent SDK is not installed"
        if self._program.path is None:
            binary = self._program.binary
            return f"there is no program {binary}" if binary else "Claude Code is not installed"
        return ""

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        if absent := self.absent():
            raise BrainUnavailable(NAME, absent, reason="missing", remedy=self._install())
        content = await _content(turn)
        return await self._answer(turn, content, gate, emit)

    async def status(self) -> BrainStatus:
        if absent := self.absent():
            return BrainStatus(NAME, ready=False, detail=absent, remedy=self._install())
        told = _VERSION.match(await self._told("--version"))
        version = told[1] if told else None
        login, detail = _login(await self._told("auth", "status"))
        ready = version is not None and login not in ("", "logged out")
        if version is None:
            detail = f"{self._program.path} does not run, or is not Claude Code"
        remedy = "" if ready else LOGIN if version else "install Claude Code again, or set brains.claude.binary"
        return BrainStatus(NAME, ready, version, login, detail, remedy, tuple(self._windows.values()))

    async def aclose(self) -> None:
        """Nothing stays between turns."""

    def _install(self) -> str:
        if importlib.util.find_spec(SDK) is None:
            return "install PAIOS with its extra: pip install 'paios[claude]' (`make install` has all of them)"
        return "install Claude Code, or set brains.claude.binary"

    async def _told(self, *arguments: str) -> str:
        """What the program prints for *arguments*; "" if it fails or is slow."""
        await anyio.to_thread.run_sync(self._owner.guard)
        argv = self._program.command(*arguments)
        with anyio.move_on_after(STATUS_S):
            try:
                done = await anyio.run_process(argv, stdin=subprocess.DEVNULL, check=False, env=self._program.env)
            except OSError:  # not executable, or gone: the status says that it does not run
                return ""
            return done.stdout.decode("utf-8", "replace").strip()
        return ""

    async def _answer(self, turn: Turn, content: list[dict[str, Any]], gate: Gate, emit: Emit) -> Reply:
        await anyio.to_thread.run_sync(self._owner.guard)
        process = ClaudeProcess(self._program.answering(turn), self._program.env, turn.cwd)
        try:
            await _started(process)
            if turn.session:
                await process.ask_totals()
            # 1.1 s of CPU, while the child starts up beside it
            await anyio.to_thread.run_sync(importlib.import_module, SDK)
            return await self._talk(turn, process, content, gate, emit)
        finally:
            with anyio.CancelScope(shield=True):
                await process.close()

    async def _talk(self, turn: Turn, process: ClaudeProcess, content: list[dict[str, Any]], gate: Gate, emit: Emit) -> Reply:
        import claude_agent_sdk as sdk  # noqa: PLC0415

        ear = _Ear(turn, emit, self._windows)
        try:
            async with anyio.create_task_group() as tasks:
                calls = ear.calls = Calls(tasks, gate, emit, cwd=turn.cwd, home=self._program.given.get("HOME", ""))
                client = sdk.ClaudeSDKClient(_options(sdk, calls), cast("sdk.Transport", process))
                try:
                    await _connected(client, process)
                    ear.bill = Bill(turn.session, totals_in(await process.totals()) if turn.session else None)
                    await _converse(client, process, content, ear)
                finally:
                    await client.disconnect()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            with anyio.move_on_after(SETTLE_S, shield=True):
                await ear.settle()
        return ear.reply()


async def _started(process: ClaudeProcess) -> None:
    try:
        await process.connect()
    except OSError as error:
        message = f"Claude Code did not start: {error.strerror}"
        raise BrainUnavailable(NAME, message, reason="broken", remedy="update Claude Code") from error


async def _connected(client: sdk.ClaudeSDKClient, process: ClaudeProcess) -> None:
    try:
        await client.connect()
    except ChildEnded as error:
        raise of_ended_child(error, process.last_result) from error
    except Exception as error:  # the SDK raises bare ones here: another brain may try
        raise BrainUnavailable(
            NAME, f"Claude Code did not start: {error}", reason="broken", remedy="update Claude Code"
        ) from error


async def _converse(client: sdk.ClaudeSDKClient, process: ClaudeProcess, content: list[dict[str, Any]], ear: _Ear) -> None:
    try:
        await client.query(_prompt(content))
        async with aclosing(cast("Any", client.receive_response())) as messages:
            async for message in messages:
                await ear.hear(message)
    except ChildEnded as error:
        raise of_ended_child(error, process.last_result) from error
    except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
        raise BrainUnavailable(NAME, "Claude Code went away", reason="killed") from error
    finally:
        if process.is_ready() and process.last_result is None:
            with anyio.move_on_after(STOP_S, shield=True):
                await _stopped(client, process, ear)


async def _stopped(client: sdk.ClaudeSDKClient, process: ClaudeProcess, ear: _Ear) -> None:
    """Has Claude Code break off the turn, so that its session knows of it and says what it cost."""
    import claude_agent_sdk as sdk  # noqa: PLC0415

    await process.stop()
    with suppress(ChildEnded, sdk.ClaudeSDKError):  # then it is billed by what was heard
        async with aclosing(cast("Any", client.receive_messages())) as messages:
            async for message in messages:
                if isinstance(message, sdk.ResultMessage):
                    return await ear.account(message)


async def _prompt(content: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    yield {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": None}


async def _content(turn: Turn) -> list[dict[str, Any]]:
    images = [await _image(image) for image in turn.images]
    return [*images, {"type": "text", "text": with_history(turn.text, turn.history)}]


async def _image(image: Attachment) -> dict[str, Any]:
    if image.media_type not in IMAGES:
        raise BrainRefused(
            NAME, f"{image.path.name} is {image.media_type}; Claude sees {', '.join(IMAGES)}", remedy="convert it to PNG"
        )
    try:
        data = await anyio.Path(image.path).read_bytes()
    except OSError as error:
        raise BrainRefused(NAME, f"{image.path} cannot be read: {error.strerror}") from error
    source = {"type": "base64", "media_type": image.media_type, "data": base64.b64encode(data).decode()}
    return {"type": "image", "source": source}


def _options(kit: Any, calls: Calls) -> sdk.ClaudeAgentOptions:
    async def before(given: Any, call_id: str | None, _context: Any) -> Any:
        call = str(given.get("tool_use_id") or call_id)
        verdict = await calls.ask(given["tool_name"], given["tool_input"], call, str(given.get("cwd") or ""))
        # Not "allow", nor no opinion: a hook of the person's or the project's settings may rewrite the arguments, and an
        # allow rule of theirs would let that pass. "ask" outdoes both and brings the final arguments to `permit`.
        word = "ask" if verdict.allowed else "deny"
        decision = {"permissionDecision": word, "permissionDecisionReason": verdict.reason}
        return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **decision}}

    async def permit(tool: str, arguments: dict[str, Any], context: Any) -> Any:
        verdict = await calls.ask(tool, arguments, str(context.tool_use_id))
        return kit.PermissionResultAllow() if verdict.allowed else kit.PermissionResultDeny(message=verdict.reason)

    always = kit.HookMatcher(matcher=None, hooks=[before], timeout=HOOK_S, on_failure="block")
    options: sdk.ClaudeAgentOptions = kit.ClaudeAgentOptions(
        can_use_tool=permit, hooks={"PreToolUse": [always]}, verbatim_prompts=True
    )
    return options


class _Ear:
    """Hears the messages of one turn and tells them as events."""

    def __init__(self, turn: Turn, emit: Emit, windows: dict[str, Window]) -> None:
        self.calls: Calls | None = None
        self.bill = Bill(turn.session, None)
        self.result: sdk.ResultMessage | None = None
        self._emit = emit
        self._windows = windows
        self._metered = False  # the vendor told its windows
        self._session: Session | None = None
        self._model: str | None = turn.model
        self._speech = Speech(emit)
        self._resets_at: datetime | None = None  # of the limit that was hit

    async def hear(self, message: sdk.Message) -> None:
        """
        Raises:
            BrainUnavailable, BrainRefused, SessionLost: the message says that the turn has failed.
        """
        import claude_agent_sdk as sdk  # noqa: PLC0415

        match message:
            case sdk.StreamEvent(parent_tool_use_id=None):
                await self._speech.hear(message.event)
            case sdk.AssistantMessage(parent_tool_use_id=None, error=None):
                await self._whole(message)
            case sdk.UserMessage(content=list(blocks)) if self.calls is not None:
                for block in blocks:
                    if isinstance(block, sdk.ToolResultBlock):
                        await self.calls.ended(block.tool_use_id, output_of(block.content), failed=bool(block.is_error))
            case sdk.SystemMessage(subtype="init"):
                await self._bound(str(message.data["session_id"]), str(message.data.get("model") or "") or self._model)
            case sdk.SystemMessage(subtype="api_retry") if error := of_retry(message.data):
                raise error
            case sdk.RateLimitEvent():
                self._limits(message.rate_limit_info)
            case sdk.ResultMessage():
                await self._ended(message)

    async def _whole(self, message: sdk.AssistantMessage) -> None:
        """A message that was not streamed: Claude Code falls back to that when streams break."""
        import claude_agent_sdk as sdk  # noqa: PLC0415

        if message.model == "<synthetic>" or self._speech.knows(message.message_id):
            return
        text = "\n\n".join(block.text for block in message.content if isinstance(block, sdk.TextBlock) and block.text)
        if text:
            await self._speech.whole(text)

    async def _bound(self, session_id: str, model: str | None) -> None:
        self._model = model
        if self._session is None or self._session.id != session_id:
            self._session = Session(NAME, session_id, self.bill.meter_usd)
            await self._emit(Bound(self._session))

    async def _ended(self, result: sdk.ResultMessage) -> None:
        self.result = result
        await self.account(result)
        if result.is_error or result.subtype != "success":
            text = result.result or "; ".join(result.errors or ()) or str(result.terminal_reason or result.subtype)
            until = self._resets_at
            wait_s = None if until is None else max(0.0, (until - SystemClock().at()).total_seconds())
            raise failure_of(result.api_error_status, text, retry_after_s=wait_s)
        if result.stop_reason == "refusal":
            raise BrainRefused(NAME, result.result or "the model declined")

    async def account(self, result: sdk.ResultMessage) -> None:
        """Tells what the turn cost, and the session's totals from which the next one counts."""
        models = cast("Mapping[str, Mapping[str, Any]]", result.model_usage or {})
        if result.total_cost_usd is None or not models:
            return
        self._session = Session(NAME, result.session_id, dollars(result.total_cost_usd))
        await self._emit(Bound(self._session))
        own = tokens.anthropic(result.usage or {})
        await self._tell(self.bill.of_result(self._model, result.total_cost_usd, models, own))

    async def _tell(self, spent: Spent | None) -> None:
        if spent is not None:
            await self._emit(spent)

    def _limits(self, info: sdk.RateLimitInfo) -> None:
        """Keeps what the vendor told of a subscription's windows; an API key has none."""
        if info.status == "rejected" and info.resets_at:
            self._resets_at = datetime.fromtimestamp(info.resets_at, UTC)
        for key, told in (info.raw.get("unifiedWindows") or {}).items():
            name = _WINDOWS.get(key, key)
            resets_at = datetime.fromtimestamp(told["resetsAt"], UTC) if told.get("resetsAt") else None
            self._windows[name] = Window(name, float(told.get("utilization") or 0) * 100, resets_at)
            self._metered = True

    async def settle(self) -> None:
        """Closes the books of a turn however it ended."""
        if self.calls is not None:
            await self.calls.abandon()
        await self._tell(self.bill.of_heard(self._model, self._speech.usage))
        if self._metered:
            await self._emit(Metered(NAME, tuple(self._windows.values())))

    def reply(self) -> Reply:
        if self.result is None:
            raise BrainUnavailable(NAME, "Claude Code ended without an answer", reason="broken")
        return Reply(self.result.result or "", self._model, self._session)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that ended the turn: the first of the gate's or the conversation's."""
    errors = [_first(e) if isinstance(e, BaseExceptionGroup) else e for e in group.exceptions]
    return next((e for e in errors if not isinstance(e, BrainError)), errors[0])


def _login(told: str) -> tuple[str, str]:
    """(login, detail) from what `claude auth status` printed; ("", "") if that was nothing we know."""
    try:
        status = json.loads(told)
    except ValueError:
        return "", "`claude auth status` did not answer"
    if not isinstance(status, dict):
        return "", "`claude auth status` did not answer"
    if not status.get("loggedIn"):
        return "logged out", ""
    method, provider = str(status.get("authMethod") or ""), str(status.get("apiProvider") or "")
    if method == "third_party":
        return provider or method, method  # "bedrock", "vertex"
    return ("api key" if "api" in method.lower() else "subscription"), method
