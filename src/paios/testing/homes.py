"""Homes for the vendors' real programs: everything they read and write under one folder, their only model a scene.

Nothing of the caller's environment is passed on, so no login, proxy or parent session of this machine is ever used.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from paios.testing.scene import Scene

KEY = "sk-test-0000000000000000000000000000000000000000"
CODEX_MODEL = "gpt-5.5"  # Codex knows its metadata, and it has a list price

_CODEX = """\
model = "{model}"
model_provider = "scripted"
approval_policy = "on-request"
sandbox_mode = "read-only"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
plugins = false            # else it looks for a plugin repository on the network
daemon_auto_start = false  # else a daemon stays behind

[model_providers.scripted]
name = "scripted"
base_url = "{url}"
env_key = "STUB_KEY"
wire_api = "responses"
supports_websockets = false
request_max_retries = 0
stream_max_retries = 0

[projects."{cwd}"]
trust_level = "trusted"
"""


def agent_env(tmp: Path, scene: Scene, cwd: Path | None = None) -> dict[str, str]:
    """
    A scrubbed environment in which `claude`, `codex` and PAIOS itself talk to *scene* and live under *tmp*.

    *cwd* is trusted by Codex (default: `tmp/work`). Programs that are not installed are simply not on its PATH.
    """
    home, programs, scratch, paios = tmp / "home", tmp / "bin", tmp / "scratch", tmp / "paios"
    claude, codex = home / ".claude", home / ".codex"
    for folder in (claude, codex, programs, scratch):
        folder.mkdir(parents=True, exist_ok=True)
    paios.mkdir(mode=0o700, exist_ok=True)
    config = _CODEX.format(model=CODEX_MODEL, url=scene.openai_url, cwd=cwd or tmp / "work")
    (codex / "config.toml").write_text(config, encoding="utf-8")
    for name, path in (("claude", bundled_claude()), ("codex", bundled_codex())):
        if path and not (programs / name).exists():
            (programs / name).symlink_to(path)
    return {
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": str(scratch),
        "PAIOS_HOME": str(paios),
        "CLAUDE_CONFIG_DIR": str(claude),
        "CLAUDE_CODE_TMPDIR": str(scratch),
        "CODEX_HOME": str(codex),
        "ANTHROPIC_BASE_URL": scene.url,
        "ANTHROPIC_API_KEY": KEY,
        "STUB_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    }


def bundled_claude() -> Path | None:
    """The `claude` that the Claude Agent SDK brings, found without importing it."""
    return _inside("claude_agent_sdk", "_bundled/claude")


def bundled_codex() -> Path | None:
    """The `codex` that openai-codex brings, found without importing it."""
    return _inside("codex_cli_bin", "bin/codex")


def _inside(package: str, path: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    found = [Path(root) / path for root in (spec.submodule_search_locations or ())] if spec else []
    return next((p for p in found if p.is_file()), None)
