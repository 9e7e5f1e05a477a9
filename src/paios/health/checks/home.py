"""The home folder and its files are private."""

from __future__ import annotations

from paios.health.check import Finding, Scene

PRIVATE = ("paios.toml", "llm-config.json", "auth-profiles.json", "data/paios.db")


async def check(scene: Scene) -> list[Finding]:
    paths = (scene.home, *(scene.home / name for name in PRIVATE))
    findings = [
        Finding("home.private", "warning", f"others on this machine can read {path}", f"chmod go-rwx {path}")
        for path in paths
        if path.exists() and path.stat().st_mode & 0o077
    ]
    return findings or [Finding("home.private", "ok", f"{scene.home} is yours alone")]
