"""What Claude Code's tools are to the gate: a tool's name and arguments become an `Action`, which is asked about once.

Links are resolved: a path that leads out of the working folder by a symbolic link is outside it.
Tools as of Claude Code 2.1.330, and the older names its predecessors used; whatever is unknown is `tool`, which a
person is asked about.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from paios.base.events import Acted
from paios.base.types import Action, ActionKind, Verdict
from paios.brains.brain import Emit, Gate

NAME = "claude"
OUTPUT_CHARS = 2_000

_PATH_OF = {  # tool → (kind, the argument that holds the path)
    "Read": ("read", "file_path"),
    "LS": ("read", "path"),
    "Grep": ("read", "path"),
    "NotebookRead": ("read", "notebook_path"),
    "Edit": ("edit", "file_path"),
    "MultiEdit": ("edit", "file_path"),
    "Write": ("edit", "file_path"),
    "NotebookEdit": ("edit", "notebook_path"),
}
_RUN = {"Bash": "command", "Monitor": "command", "BashOutput": "bash_id", "KillShell": "shell_id"}
_NETWORK = {"WebFetch": "url", "WebSearch": "query"}
# Without effect outside the turn. `Agent` and `Task` start a sub-agent, whose own calls all pass the gate one by one.
_INTERNAL = frozenset(
    {
        "TodoWrite",
        "ToolSearch",
        "EnterPlanMode",
        "ExitPlanMode",
        "StructuredOutput",
        "ReportFindings",
        "ListAgents",
        "Agent",
        "Task",
    }
    | {f"Task{verb}" for verb in ("Create", "Get", "List", "Update", "Output", "Stop")}
)
_WILD = re.compile(r"[*?\[{]")


def action_of(tool: str, arguments: Mapping[str, Any], call_id: str, *, cwd: Path, home: str = "", at: str = "") -> Action:
    """
    The action that *tool* with *arguments* is; paths are absolute, with `~` as *home* and links followed.

    *at* is where Claude's shell stands (default: *cwd*): relative paths count from there, and commands run there. For
    everything but commands the action's `cwd` stays *cwd*, so that going elsewhere makes nothing else "inside".
    """
    here = cwd / at
    kind, target = _kind_and_target(tool, arguments, here, home)
    text = json.dumps(dict(arguments), ensure_ascii=False)
    return Action(
        kind=kind, tool=tool, target=target, cwd=here if kind == "run" else cwd, brain=NAME, call_id=call_id, arguments=text
    )


def _kind_and_target(tool: str, arguments: Mapping[str, Any], cwd: Path, home: str) -> tuple[ActionKind, str]:
    if tool in _PATH_OF:
        kind, key = _PATH_OF[tool]
        return ("edit" if kind == "edit" else "read"), _resolved(_text(arguments, key), cwd, home)
    if tool == "Glob":
        return "read", _glob_root(_text(arguments, "path"), _text(arguments, "pattern"), cwd, home)
    if tool == "Monitor" and isinstance(arguments.get("ws"), Mapping):  # listens to a web socket instead of a command
        return "network", _text(arguments["ws"], "url")
    if tool in _RUN:
        command = _text(arguments, _RUN[tool])
        return "run", command if _RUN[tool] == "command" and command else f"{tool} {command}".strip()
    if tool in _NETWORK:
        return "network", _text(arguments, _NETWORK[tool])
    if tool in _INTERNAL and not arguments.get("isolation"):  # an isolated sub-agent gets a work tree: that is a change
        return "internal", tool
    return "tool", tool


def _text(arguments: Mapping[str, Any], key: str) -> str:
    value = arguments.get(key)
    return value if isinstance(value, str) else ""


def _resolved(path: str, cwd: Path, home: str) -> str:
    if home and (path == "~" or path.startswith("~/")):
        path = home + path[1:]
    return os.path.realpath(cwd / path)


def _glob_root(path: str, pattern: str, cwd: Path, home: str) -> str:
    """The folder below which everything *pattern* can find lies: its part before the first wildcard."""
    parts = pattern.split("/")
    fixed = next((i for i, part in enumerate(parts) if _WILD.search(part)), len(parts))
    if any(".." in part for part in parts[fixed:]):
        return "/"  # climbs again behind a wildcard: may lead anywhere
    head = "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else "")
    root = head if head.startswith(("/", "~")) else f"{path or '.'}/{head}"
    return _resolved(root, cwd, home)


def output_of(content: str | Sequence[Any] | None) -> str:
    """The first 2,000 characters of a tool's result; what is not text is named in brackets."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content[:OUTPUT_CHARS]
    parts = [_part(block) for block in content]
    return "\n".join(parts)[:OUTPUT_CHARS]


def _part(block: Any) -> str:
    if not isinstance(block, Mapping):
        return str(block)
    text = block.get("text")
    return text if isinstance(text, str) else f"[{block.get('type', 'data')}]"


class Calls:
    """
    The tool calls of one turn: each is put to the gate once, and told as `Acted` when it starts and when it ends.

    The SDK asks from tasks of its own. The gate, which may wait for a person, is run in the turn's task group instead:
    so an error of it ends the turn, and a cancelled turn ends the wait.
    """

    def __init__(self, tasks: TaskGroup, gate: Gate, emit: Emit, *, cwd: Path, home: str) -> None:
        self._tasks = tasks
        self._gate = gate
        self._emit = emit
        self._cwd = cwd
        self._home = home
        self._verdicts: dict[str, tuple[str, str, Verdict]] = {}
        self._running: dict[str, tuple[Action, float]] = {}

    async def ask(self, tool: str, arguments: Mapping[str, Any], call_id: str, at: str = "") -> Verdict:
        """
        The gate's verdict on a call. Asked again about the same call, the verdict of before, unless its arguments changed.

        *at* is where Claude's shell is by now; relative paths count from there.
        """
        action = action_of(tool, arguments, call_id, cwd=self._cwd, home=self._home, at=at)
        match self._verdicts.get(call_id):
            case (known_tool, known_arguments, verdict) if (known_tool, known_arguments) == (tool, action.arguments):
                return verdict
        answer: list[Verdict] = []
        done = anyio.Event()
        scope = anyio.CancelScope()

        async def judge() -> None:
            with scope:
                answer.append(await self._judged(action))
            done.set()

        self._tasks.start_soon(judge)
        try:
            await done.wait()
        finally:
            scope.cancel()  # Claude withdrew the call: nobody need be asked any more
        return answer[0]

    async def _judged(self, action: Action) -> Verdict:
        self._running[action.call_id] = (action, anyio.current_time())
        await self._emit(Acted(action, "started"))
        verdict = await self._gate(action)
        self._verdicts[action.call_id] = (action.tool, action.arguments, verdict)
        if verdict.allowed:
            self._running[action.call_id] = (action, anyio.current_time())  # waiting for a person is not its doing
        else:
            del self._running[action.call_id]
            await self._emit(Acted(action, "denied", verdict.reason[:OUTPUT_CHARS]))
        return verdict

    async def ended(self, call_id: str, output: str, *, failed: bool) -> None:
        """A call's result has come; of no account for one that never started."""
        if call_id not in self._running:
            return
        action, began = self._running.pop(call_id)
        took_ms = round((anyio.current_time() - began) * 1000)
        await self._emit(Acted(action, "failed" if failed else "done", output[:OUTPUT_CHARS], took_ms))

    async def abandon(self) -> None:
        """The turn is over: what has no result yet has failed."""
        for call_id in list(self._running):
            await self.ended(call_id, "the turn ended before it did", failed=True)
