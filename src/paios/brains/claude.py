"""Claude: the person's own Claude Code, driven through the Claude Agent SDK, one client a turn.

The person's settings, instructions and MCP servers apply, their permission rules do not decide: a hook that always runs
puts every tool call, a sub-agent's too, to the gate, and blocks the call should the hook itself fail. Prompts are taken
as they are written: an `@path` or `/command` in them would otherwise be carried out before any gate is asked.
What the tools are to the gate is in `claude_tools`, the words in `claude_speech`, the child in `claude_process`, what its
errors mean in `claude_errors`.
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
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio

from paios.base.clock import SystemClock
from paios.base.errors import BrainError, BrainRefused, BrainUnavailable
from paios.base.events import Bound, Spent
from paios.base.process import Owner, child_env, find_program
from paios.base.types import Attachment, BrainStatus, Reply, Session, Turn, Usage, Window
from paios.brains.brain import Emit, Gate
from paios.brains.claude_errors import LOGIN, failure_of, of_ended_child, of_retry
from paios.brains.claude_process import ChildEnded, ClaudeProcess
from paios.brains.claude_speech import Speech
from paios.brains.claude_tools import NAME, Calls, output_of
from paios.brains.history import with_history
from paios.observability import usage as tokens

if TYPE_CHECKING:
    import claude_agent_sdk as sdk

SDK = "claude_agent_sdk"
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
HOOK_S = 7 * 24 * 3600.0  # Claude Code's own limit is 60 s; how long a person may be waited for is the gate's business
STATUS_S = 5.0
SETTLE_S = 1.0
REMEMBERED = 256  # sessions whose token totals are kept, to tell a turn's from the session's

# Tools that ask or wake somebody after the turn, when its process is gone.
_BEYOND_THE_TURN = (
    "AskUserQuestion",
    "CronCreate",
    "CronDelete",
    "CronList",
    "ScheduleWakeup",
    "RemoteTrigger",
    "PushNotification",
)
_ARGUMENTS = (
    "--output-format=stream-json",
    "--input-format=stream-json",
    "--verbose",
    "--include-partial-messages",
    "--permission-prompt-tool=stdio",
    "--permission-mode=default",  # whatever mode the person's settings name: some of them skip questions
    f"--disallowedTools={','.join(_BEYOND_THE_TURN)}",
)
_VERSION = re.compile(r"(\d\S*) \(Claude Code\)")
_WINDOWS = {"five_hour": "5h", "seven_day": "weekly", "seven_day_opus": "weekly opus", "seven_day_sonnet": "weekly sonnet"}


# The SDK logs what it then raises; without a handler of the program's that would go to the terminal.
logging.getLogger(SDK).addHandler(logging.NullHandler())


class ClaudeBrain:
    """Claude Code as a brain; `binary` is the configured program, else the one on PATH, else the SDK's own."""

    def __init__(self, *, env: Mapping[str, str], owner: Owner, binary: str = "", project_settings: bool = False) -> None:
        self._env = dict(env)
        self._sources = "user,project,local" if project_settings else "user"
        self._owner = owner
        self._binary = binary
        self._windows: dict[str, Window] = {}
        self._totals: dict[str, Usage] = {}  # by session: its tokens so far

    @property
    def name(self) -> str:
        return NAME

    def absent(self) -> str:
        if importlib.util.find_spec(SDK) is None:
            return "the Claude Agent SDK is not installed"
        if self._program() is None:
            return f"there is no program {self._binary}" if self._binary else "Claude Code is not installed"
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
            detail = f"{self._program()} does not run, or is not Claude Code"
        remedy = "" if ready else LOGIN if version else "install Claude Code again, or set brains.claude.binary"
        return BrainStatus(NAME, ready, version, login, detail, remedy, tuple(self._windows.values()))

    async def aclose(self) -> None:
        """Nothing stays between turns."""

    def _install(self) -> str:
        if importlib.util.find_spec(SDK) is None:
            return "install PAIOS with its extra: pip install 'paios[claude]' (`make install` has all of them)"
        return "install Claude Code, or set brains.claude.binary"

    def _program(self) -> str | None:
        if found := find_program(NAME, self._env, self._binary):
            return found
        spec = None if self._binary else importlib.util.find_spec(SDK)
        bundled = [Path(root) / "_bundled" / "claude" for root in (spec.submodule_search_locations or ())] if spec else []
        return next((str(path) for path in bundled if path.is_file()), None)

    def _child_env(self) -> dict[str, str]:
        ours = {
            "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # they would end with the turn, half done
            "CLAUDE_CODE_MAX_RETRIES": self._env.get("CLAUDE_CODE_MAX_RETRIES", "2"),  # its default is 10: minutes
        }
        return child_env(self._env, self._owner.id, ours)

    async def _told(self, *arguments: str) -> str:
        """What the program prints for *arguments*; "" if it fails or is slow."""
        self._owner.guard()
        argv = [self._program() or NAME, *arguments]
        with anyio.move_on_after(STATUS_S):
            try:
                done = await anyio.run_process(argv, stdin=subprocess.DEVNULL, check=False, env=self._child_env())
            except OSError:  # not executable, or gone: the status says that it does not run
                return ""
            return done.stdout.decode("utf-8", "replace").strip()
        return ""

    async def _answer(self, turn: Turn, content: list[dict[str, Any]], gate: Gate, emit: Emit) -> Reply:
        await anyio.to_thread.run_sync(self._owner.guard)
        process = ClaudeProcess(self._argv(turn), self._child_env(), turn.cwd)
        try:
            await _started(process)
            # 1.1 s of CPU, while the child starts up beside it
            await anyio.to_thread.run_sync(importlib.import_module, SDK)
            return await self._talk(turn, process, content, gate, emit)
        finally:
            with anyio.CancelScope(shield=True):
                await process.close()

    async def _talk(self, turn: Turn, process: ClaudeProcess, content: list[dict[str, Any]], gate: Gate, emit: Emit) -> Reply:
        import claude_agent_sdk as sdk  # noqa: PLC0415

        ear = _Ear(turn, emit, self._totals, self._windows)
        try:
            async with anyio.create_task_group() as tasks:
                calls = ear.calls = Calls(tasks, gate, emit, cwd=turn.cwd, home=self._env.get("HOME", ""))
                client = sdk.ClaudeSDKClient(_options(sdk, calls), cast("sdk.Transport", process))
                try:
                    await _connected(client, process)
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

    def _argv(self, turn: Turn) -> list[str]:
        model = [f"--model={turn.model}"] if turn.model else []
        resume = [f"--resume={turn.session.id}"] if turn.session else []
        return [self._program() or NAME, *_ARGUMENTS, *model, *resume, *self._project(turn.cwd)]

    def _project(self, cwd: Path) -> list[str]:
        """Which settings apply. A folder's own may name hooks and MCP servers, which Claude Code starts without asking our
        gate or anybody, so without the person's word only its written instructions count: those Claude reads as a file."""
        sources = f"--setting-sources={self._sources}"
        if "project" in self._sources or not (cwd / "CLAUDE.md").is_file():
            return [sources]
        return [
            sources,
            "--append-system-prompt=CLAUDE.md in the working folder has its instructions: read it before you work on it.",
        ]


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

    def __init__(self, turn: Turn, emit: Emit, totals: dict[str, Usage], windows: dict[str, Window]) -> None:
        self.calls: Calls | None = None
        self.result: sdk.ResultMessage | None = None
        self._emit = emit
        self._totals = totals
        self._windows = windows
        self._meter = (turn.session.meter_usd if turn.session else None) or Decimal(0)
        self._fresh = turn.session is None
        self._session: Session | None = None
        self._model: str | None = turn.model
        self._speech = Speech(emit)
        self._spent = False
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
            self._session = Session(NAME, session_id, self._meter)
            await self._emit(Bound(self._session))

    async def _ended(self, result: sdk.ResultMessage) -> None:
        self.result = result
        await self._account(result)
        if result.is_error or result.subtype != "success":
            text = result.result or "; ".join(result.errors or ()) or str(result.terminal_reason or result.subtype)
            until = self._resets_at
            wait_s = None if until is None else max(0.0, (until - SystemClock().at()).total_seconds())
            raise failure_of(result.api_error_status, text, retry_after_s=wait_s)
        if result.stop_reason == "refusal":
            raise BrainRefused(NAME, result.result or "the model declined")

    async def _account(self, result: sdk.ResultMessage) -> None:
        models = cast("Mapping[str, Mapping[str, Any]]", result.model_usage or {})
        usage = self._usage(result.session_id, models) or tokens.anthropic(result.usage or {})
        if result.total_cost_usd is None or not models:
            return
        total = round(Decimal(str(result.total_cost_usd)), 9)  # a sum of floats: 0.0035039999999999997
        self._session = Session(NAME, result.session_id, total)
        await self._emit(Bound(self._session))
        if usage == Usage():
            return
        self._spent = True
        known = all(used.get("costBasis") != "unknown" for used in models.values())
        cost = max(Decimal(0), total - self._meter) if known else None
        await self._emit(Spent(NAME, self._model, usage, cost, "reported" if known else "unknown"))

    def _usage(self, session_id: str, models: Mapping[str, Mapping[str, Any]]) -> Usage | None:
        """
        The turn's tokens over all models, sub-agents and titles included, or None if that cannot be told.

        `model_usage` counts from the session's beginning, over resumes too; `usage` is the main conversation's alone.
        """
        total = sum((_of_model(used) for used in models.values()), Usage())
        before = Usage() if self._fresh else self._totals.get(session_id)
        self._totals.pop(session_id, None)
        self._totals[session_id] = total
        while len(self._totals) > REMEMBERED:
            del self._totals[next(iter(self._totals))]
        return None if before is None else total - before

    def _limits(self, info: sdk.RateLimitInfo) -> None:
        """Keeps what the vendor told of a subscription's windows; an API key has none."""
        if info.status == "rejected" and info.resets_at:
            self._resets_at = datetime.fromtimestamp(info.resets_at, UTC)
        for key, told in (info.raw.get("unifiedWindows") or {}).items():
            name = _WINDOWS.get(key, key)
            resets_at = datetime.fromtimestamp(told["resetsAt"], UTC) if told.get("resetsAt") else None
            self._windows[name] = Window(name, float(told.get("utilization") or 0) * 100, resets_at)

    async def settle(self) -> None:
        """Closes the books of a turn however it ended."""
        if self.calls is not None:
            await self.calls.abandon()
        usage = self._speech.usage
        if not self._spent and usage != Usage():
            self._spent = True
            cost = tokens.price(self._model, usage, provider="anthropic")
            await self._emit(Spent(NAME, self._model, usage, cost, "unknown" if cost is None else "priced"))

    def reply(self) -> Reply:
        if self.result is None:
            raise BrainUnavailable(NAME, "Claude Code ended without an answer", reason="broken")
        return Reply(self.result.result or "", self._model, self._session)


def _of_model(used: Mapping[str, Any]) -> Usage:
    names = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "outputTokens")
    return Usage(*(int(used.get(name) or 0) for name in names))


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
