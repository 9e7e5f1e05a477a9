"""What the app-server's items and approval requests mean in the words of the house, and how they are answered.

Pure: from the protocol's JSON (codex-cli 0.163, `codex app-server generate-json-schema`) to our types. Fields that an
older or newer server leaves out are tolerated; a request that cannot be understood yields no action, and is declined.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from paios.base.types import Action, ActionKind
from paios.brains.codex.reads import reads, script

Item = Mapping[str, Any]
NAME = "codex"
OUTPUT_CHARS = 2_000
_RESOURCES = ("list_mcp_resources", "list_mcp_resource_templates", "read_mcp_resource")

# ---- actions


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
    where = cwd / str(item.get("cwd") or "")  # the model's choice: what counts as inside is measured from the turn's own
    arguments = {"command": line, "reason": item["reason"]} if item.get("reason") else {"command": line}
    run = Action("run", "shell", line, where, NAME, str(item.get("id", "")), _json(arguments))
    found = reads(line, where, cwd)
    return (run,) if found is None else tuple(replace(run, kind="read", target=str(path), cwd=cwd) for path in found)


def _paths(change: Mapping[str, Any]) -> list[str]:
    moved = (change.get("kind") or {}).get("move_path")
    return [str(change.get("path")), *([str(moved)] if moved else [])]


def _url(item: Item) -> str:
    asked = item.get("action") or {}
    return str(asked.get("url") or asked.get("query") or "")


def typed(params: Mapping[str, Any], cwd: Path) -> Action:
    """What was typed into a command that was still running."""
    return Action("run", "write_stdin", str(params.get("stdin") or "").strip(), cwd, NAME, str(params.get("itemId") or ""))


def unasked(item: Item, asks: Container[str]) -> bool:
    """
    Whether Codex does *item* without an approval request: what MCP servers have to read, the tools of servers outside
    *asks* (those told to ask), and the built-in tools that are switched off, should a server know no such switch.
    """
    match item.get("type"):
        case "mcpToolCall":
            return item.get("tool") in _RESOURCES or item.get("server") not in asks
        case "webSearch" | "imageView" | "imageGeneration" | "dynamicToolCall":
            return True
        case _:
            return False


def asked(method: str, params: Mapping[str, Any], item: Item, cwd: Path, *, unconfined: bool = False) -> tuple[Action, ...]:
    """
    What the approval request wants to do; *item* is what the server announced under the request's `itemId`, or empty.
    An *unconfined* command would run outside the fence, which the request itself does not tell (0.163).

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
            if not merged.get("command"):
                return ()
            found = _command(merged, cwd)
            if unconfined or params.get("additionalPermissions"):
                line = script(str(merged["command"]))
                return (replace(found[0], kind="grant", tool="shell outside the sandbox", target=line),)
            return found
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
            return (Action("grant", "request_permissions", _json(wanted), cwd, NAME, call, _json(params.get("reason") or "")),)
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
