"""Who can think, as the brains themselves say when asked."""

from __future__ import annotations

from paios.health.check import Finding, Scene

EMBEDDED = ("librarian", "echo")


async def check(scene: Scene) -> list[Finding]:
    statuses = await scene.statuses()
    findings = []
    for status in statuses:
        words = " ".join(word for word in (status.version or "", status.login, status.detail) if word)
        if status.ready:
            findings.append(Finding(f"brain.{status.name}", "ok", f"{status.name} is ready: {words}"))
        else:
            findings.append(Finding(f"brain.{status.name}", "warning", f"{status.name} is not ready: {words}", status.remedy))
    if not any(status.ready and status.name not in EMBEDDED for status in statuses):
        findings.append(
            Finding(
                "brain.any",
                "problem",
                "only the librarian can answer, from documents and without a model",
                "log in to Claude Code (`claude`) or Codex (`codex login`), set an API key, or start a local model server",
            )
        )
    return findings
