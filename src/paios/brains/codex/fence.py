"""How a thread is set up so that nothing happens without the gate: its permission profile, and what must be asked.

Everything goes with the thread's own parameters; the person's configuration files are neither written nor replaced, and
what is not named here stays theirs. Pure, like `items`; option names as of codex-cli 0.163.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

READ, EDIT = "paios-read", "paios-edit"  # our permission profiles
_GUARDED = (".git", ".codex", ".agents", ".aws")  # folders Codex write-protects inside a writable workspace

# Tools that never ask: a picture anywhere on the disk, the web through the vendor, the apps of a ChatGPT account. And goals:
# with one set, the server goes on with turns of its own after ours, for ever, at the person's cost.
_OFF = {
    "web_search": "disabled",
    "features.view_image": False,
    "features.image_generation": False,
    "features.apps": False,
    "features.remote_plugin": False,
    "features.goals": False,
}
# An entry that may not be read keeps Codex (0.163) from running a command again outside the sandbox, unasked, when the sandbox
# stopped it. The path must not exist, nor lie in a folder that is writable: there an empty file would be left behind.
_NOWHERE = "/nonexistent/paios"
# Reading what an MCP server offers as a resource is not asked about either, and no setting takes it away. So a hook of ours
# refuses it before it happens; the words are what the model hears. It goes with the server's start, so that the server can
# tell its hash, and with each thread, where it works.
_REFUSAL = "echo 'Resources of MCP servers cannot be read here: nobody is asked about it. Use its tools.' >&2; exit 2"
_RESOURCES = ".*mcp_resource.*"
_HOOK = {"matcher": _RESOURCES, "hooks": [{"type": "command", "command": _REFUSAL}]}
START = ("--config", f'hooks.PreToolUse=[{{matcher="{_RESOURCES}",hooks=[{{type="command",command="{_REFUSAL}"}}]}}]')
_SECRET = ("*KEY*", "*SECRET*", "*TOKEN*", "*PASSW*", "*CREDENTIAL*")
_POLICY = "shell_environment_policy"


def fence(program: str, cwd: Path) -> dict[str, Any]:
    """
    The part of a thread's configuration that confines its commands: to reading, or changing, *cwd*, without network.

    `:minimal` is what programs need of the system. Codex runs itself again inside its sandbox, so the folder of *program*
    must be readable too. A profile that cannot read everything is also what makes Codex ask before it reads anything.

    Every thread opens with READ, and each turn names its own profile: one that opens with a writable folder makes Codex note
    that folder as trusted in the person's configuration, where a repository's own servers and hooks then run unasked.
    """
    file = Path(program).resolve()
    own = file.parent.parent if file.parent.name == "bin" else file.parent
    if file.suffix == ".js":  # npm: a script in …/@openai/codex/bin starts the program in a sibling package
        own = file.parents[2]
    common = {":minimal": "read", str(own): "read", _NOWHERE: "deny"}
    # Codex guards these by mounting over them, and under a profile that is not built in (0.163) leaves empty folders behind
    # where there were none: a `.git` in everyone's folder. Those that exist stay guarded.
    free = {name: "write" for name in _GUARDED if not (cwd / name).exists()}
    workspace = {".": "write", **free}
    profiles = {
        READ: {"filesystem": {**common, ":workspace_roots": {".": "read"}}},
        EDIT: {"filesystem": {**common, ":workspace_roots": workspace, ":tmpdir": "write", ":slash_tmp": "write"}},
    }
    # Profiles without a default are an error, even where one is chosen by name.
    return {"permissions": profiles, "default_permissions": READ, **_OFF}


def secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps keys and tokens from commands, unless the person's *config* says which variables they get."""
    theirs = config.get(_POLICY) or {}
    if any(value for name, value in theirs.items() if name != "set") or theirs.get("ignore_default_excludes") is False:
        return {}
    return {f"{_POLICY}.ignore_default_excludes": False, f"{_POLICY}.exclude": list(_SECRET)}


def plugins(config: Mapping[str, Any]) -> frozenset[str]:
    """The ids of the plugins that *config* may load."""
    if (config.get("features") or {}).get("plugins") is False:
        return frozenset()
    return frozenset(name for name, plugin in (config.get("plugins") or {}).items() if plugin.get("enabled", True))


def prompts(config: Mapping[str, Any], plugged: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """
    Makes every tool of every MCP server ask. Left alone, a tool that calls itself read-only does not, nor one the person
    approved for another program's sake. *plugged* are the (plugin, server) pairs that plugins bring.
    """
    servers = config.get("mcp_servers") or {}
    found: dict[str, Any] = {"mcp_servers": {name: _prompt(server) for name, server in servers.items()}} if servers else {}
    for plugin, name in plugged:
        theirs = ((config.get("plugins") or {}).get(plugin) or {}).get("mcp_servers") or {}
        of_plugin = found.setdefault("plugins", {}).setdefault(plugin, {"mcp_servers": {}})
        of_plugin["mcp_servers"][name] = _prompt(theirs.get(name) or {})
    return found


def trust(listed: Mapping[str, Any]) -> dict[str, Any]:
    """
    Makes Codex run the hook of START: it runs none whose exact wording nobody approved. *listed* is its answer to `hooks/list`.

    Other hooks keep the trust they have. Where the person switched hooks off, the gate can only ask once reading has begun.
    """
    hooks = [hook for entry in listed.get("data") or [] for hook in entry.get("hooks") or []]
    ours = [hook for hook in hooks if hook.get("source") == "sessionFlags" and hook.get("command") == _REFUSAL]
    state = {hook["key"]: {"trusted_hash": hook["currentHash"]} for hook in ours}
    return {"hooks": {"PreToolUse": [_HOOK], "state": state}} if ours else {}


def _prompt(server: Mapping[str, Any]) -> dict[str, Any]:
    tools = {name: {"approval_mode": "prompt"} for name in server.get("tools") or {}}
    return {"default_tools_approval_mode": "prompt", **({"tools": tools} if tools else {})}
