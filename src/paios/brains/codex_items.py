"""What the app-server's items and approval requests mean in the words of the house, and how they are answered.

Pure: from the protocol's JSON (codex-cli 0.163, `codex app-server generate-json-schema`) to our types. Fields that an
older or newer server leaves out are tolerated; a request that cannot be understood yields no action, and is declined.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from paios.base.types import Action, ActionKind

Item = Mapping[str, Any]
NAME = "codex"
OUTPUT_CHARS = 2_000
READ, EDIT = "paios-read", "paios-edit"  # our permission profiles
_GUARDED = (".git", ".codex", ".agents", ".aws")  # folders Codex write-protects inside a writable workspace

# ---- actions

# Programs that only read whatever their arguments are, but for the options named: those run or write something.
_READERS: dict[str, re.Pattern[str] | None] = {
    **dict.fromkeys(
        ("cat", "head", "tail", "nl", "wc", "ls", "pwd", "stat", "file", "grep", "egrep", "fgrep", "echo", "true"), None
    ),
    "rg": re.compile(r"--(pre|hostname-bin|search-zip)\b|-[a-zA-Z]*z"),
    "find": re.compile(r"-(exec|execdir|ok|okdir|delete|fprint|fprint0|fprintf|fls)$"),
    "sed": re.compile(r"(?!-n$|[0-9$,]+p$)(-|.*[^\w./-])"),  # only `sed -n 3,9p file`
}
_SHELLS = {"bash", "sh", "zsh", "dash"}
_RUNS_MORE = re.compile(r"[<>`$\n\\(){}#]|(?<!&)&(?!&)")  # redirections, substitutions, background, subshells, comments


def script(command: str) -> str:
    """The line inside `/bin/bash -lc '…'`, which Codex wraps round every command; *command* itself if it is none."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if len(words) == 3 and Path(words[0]).name in _SHELLS and words[1] in ("-c", "-lc"):
        return words[2]
    return command


def reads(line: str, cwd: Path) -> tuple[Path, ...] | None:
    """
    What *line* can read, if reading is provably all it does: the folder *cwd* and every path outside it that it names,
    links followed. None if it may do more; a needless None only means that the gate sees a command instead of a path.
    """
    if _RUNS_MORE.search(line):
        return None
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return None
    outside: list[Path] = []
    program, first = "", True
    for word in words:
        if set(word) <= set(";|&"):
            first = True
        elif first:
            if word not in _READERS:
                return None
            program, first = word, False
        elif (never := _READERS[program]) is not None and never.match(word):
            return None
        elif (path := _place(word, cwd)) is not None:
            outside.append(path)
    return (*outside, cwd) if words else None


def _place(word: str, cwd: Path) -> Path | None:
    """The path *word* may name, if that lies outside *cwd*. An option's value counts too: `-f/etc/passwd`."""
    if word.startswith("-"):
        slash = word.find("/")
        if slash < 0:
            return None
        word = word[slash:]
    if word.startswith("~"):
        return Path(word)  # whose home it is the gate decides; it is none of ours
    try:
        path = (cwd / word).resolve()
    except (OSError, ValueError, RuntimeError):
        return None  # no path at all: too long for one, say
    return None if path.is_relative_to(cwd.resolve()) else path


def actions(item: Item, cwd: Path) -> tuple[Action, ...]:
    """What *item* does: one action each for the files of a patch and the paths of a read, none if it acts on nothing."""

    def action(kind: ActionKind, tool: str, target: str, arguments: object, where: Path = cwd) -> Action:
        return Action(kind, tool, target, where, NAME, str(item.get("id", "")), _json(arguments))

    match item.get("type"):
        case "commandExecution":
            return _command(item, cwd)
        case "fileChange":
            changed = item.get("changes") or []
            return tuple(action("edit", "apply_patch", path, c.get("diff", "")) for c in changed for path in _paths(c))
        case "mcpToolCall":
            return (
                action(
                    "tool",
                    f"{item.get('server')}.{item.get('tool')}",
                    f"{item.get('server')}.{item.get('tool')}",
                    item.get("arguments"),
                ),
            )
        case "dynamicToolCall":
            return (action("tool", str(item.get("tool")), str(item.get("tool")), item.get("arguments")),)
        case "webSearch":
            return (action("network", "web_search", str(item.get("query") or _url(item)), item.get("action")),)
        case "imageView":
            return (action("read", "view_image", str(item.get("path")), ""),)
        case "imageGeneration":
            return (action("tool", "image_generation", "image_generation", item.get("revisedPrompt") or ""),)
        case "collabAgentToolCall":
            return (action("internal", str(item.get("tool")), str(item.get("tool")), item.get("prompt") or ""),)
        case _:
            return ()


def _command(item: Item, cwd: Path) -> tuple[Action, ...]:
    line = script(str(item.get("command") or ""))
    where = Path(str(item.get("cwd") or cwd))
    arguments = {"command": line, "reason": item["reason"]} if item.get("reason") else {"command": line}
    run = Action("run", "shell", line, where, NAME, str(item.get("id", "")), _json(arguments))
    found = reads(line, where) if where.is_relative_to(cwd) else None
    return (run,) if found is None else tuple(replace(run, kind="read", target=str(path)) for path in found)


def _paths(change: Mapping[str, Any]) -> list[str]:
    moved = (change.get("kind") or {}).get("move_path")
    return [str(change.get("path")), *([str(moved)] if moved else [])]


def _url(item: Item) -> str:
    asked = item.get("action") or {}
    return str(asked.get("url") or asked.get("query") or "")


def typed(params: Mapping[str, Any], cwd: Path) -> Action:
    """What was typed into a command that was still running."""
    return Action("run", "write_stdin", str(params.get("stdin") or "").strip(), cwd, NAME, str(params.get("itemId") or ""))


def asked(method: str, params: Mapping[str, Any], item: Item, cwd: Path) -> tuple[Action, ...]:
    """
    What the approval request wants to do; *item* is what the server announced under the request's `itemId`, or empty.

    Empty if it cannot be told: such a request must be declined.
    """
    call = str(params.get("itemId") or "")
    match method:
        case "item/commandExecution/requestApproval":
            network = params.get("networkApprovalContext")
            if network:
                url = f"{network.get('protocol')}://{network.get('host')}"
                return (Action("network", "shell", url, cwd, NAME, call, _json(params.get("command") or "")),)
            merged = {"type": "commandExecution", **item, **{k: v for k, v in params.items() if v is not None}, "id": call}
            return _command(merged, cwd) if merged.get("command") else ()
        case "item/fileChange/requestApproval":
            root = params.get("grantRoot")
            more = (Action("edit", "apply_patch", str(root), cwd, NAME, call),) if root else ()
            edits = actions(item, cwd)
            return (*edits, *more) if edits else ()
        case "mcpServer/elicitation/request":
            # Only the approval of a tool call has no blanks to fill in; any other form needs a person at a form.
            meta = params.get("_meta") or {}
            if meta.get("codex_approval_kind") != "mcp_tool_call":
                return ()
            tool = f"{params.get('serverName')}.{meta.get('tool_name') or item.get('tool') or _quoted(params)}"
            return (
                Action("tool", tool, tool, cwd, NAME, call or str(item.get("id", "")), _json(meta.get("tool_params") or {})),
            )
        case "item/permissions/requestApproval":
            wanted = params.get("permissions") or {}
            return (Action("tool", "request_permissions", _json(wanted), cwd, NAME, call, _json(params.get("reason") or "")),)
        case _:
            return ()


def _quoted(params: Mapping[str, Any]) -> str:
    found = re.search(r'tool "([^"]+)"', str(params.get("message", "")))
    return found[1] if found else "?"


def reply(method: str, params: Mapping[str, Any], allowed: bool) -> dict[str, Any] | None:
    """The answer to a request of the server's, for this once and never for the session; None: refuse as unknown."""
    match method:
        case "item/commandExecution/requestApproval" | "item/fileChange/requestApproval":
            return {"decision": "accept" if allowed else "decline"}
        case "mcpServer/elicitation/request":
            return {"action": "accept", "content": {}} if allowed else {"action": "decline"}
        case "item/permissions/requestApproval":
            return {"permissions": params.get("permissions") if allowed else {}, "scope": "turn"}
        case "item/tool/requestUserInput":
            return {"answers": {}}
        case "item/tool/call":
            return {"contentItems": [], "success": False}
        case "applyPatchApproval" | "execCommandApproval":
            return {"decision": "denied"}
        case _:
            return None


def ended(item: Item) -> tuple[Literal["done", "failed", "denied"], str, int | None]:
    """How a completed item went: state, the first of its output, milliseconds."""
    status = str(item.get("status") or "completed")
    state: Literal["done", "failed", "denied"] = (
        "done" if status == "completed" else "denied" if status == "declined" else "failed"
    )
    if item.get("type") == "mcpToolCall":
        error, result = item.get("error") or {}, item.get("result") or {}
        text = str(error.get("message") or "") or "\n".join(str(c.get("text", "")) for c in result.get("content") or [])
    else:
        text = str(item.get("aggregatedOutput") or item.get("savedPath") or "")
    took = item.get("durationMs")
    return state, text[:OUTPUT_CHARS], took if isinstance(took, int) else None


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ---- the fence


def fence(program: str, cwd: Path, *, read_only: bool) -> dict[str, Any]:
    """
    The part of a thread's parameters that confines its commands: to reading, or changing, *cwd*, without network.

    `:minimal` is what programs need of the system. Codex runs itself again inside its sandbox, so the folder of *program*
    must be readable too. A profile that cannot read everything is also what makes Codex ask before it reads anything.
    """
    file = Path(program).resolve()
    own = file.parent.parent if file.parent.name == "bin" else file.parent
    if file.suffix == ".js":  # npm: a script in …/@openai/codex/bin starts the program in a sibling package
        own = file.parents[2]
    common = {":minimal": "read", str(own): "read"}
    # Codex guards these by mounting over them, and under a profile that is not built in (0.163) leaves empty folders behind
    # where there were none: a `.git` in everyone's folder. Those that exist stay guarded.
    free = {name: "write" for name in _GUARDED if not (cwd / name).exists()}
    workspace = {".": "write", **free}
    profiles = {
        READ: {"filesystem": {**common, ":workspace_roots": {".": "read"}}},
        EDIT: {"filesystem": {**common, ":workspace_roots": workspace, ":tmpdir": "write", ":slash_tmp": "write"}},
    }
    name = READ if read_only else EDIT
    # Profiles without a default are an error, even where one is chosen by name.
    return {"permissions": name, "config": {"permissions": profiles, "default_permissions": name}}
