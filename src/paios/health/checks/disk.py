"""There is room to write."""

from __future__ import annotations

import shutil

from paios.health.check import Finding, Scene

LOW_BYTES = 500_000_000  # a day of heavy use writes some tens of MB; backups and a vendor's update need the rest


async def check(scene: Scene) -> list[Finding]:
    free = shutil.disk_usage(scene.home).free
    if free < LOW_BYTES:
        return [Finding("disk.free", "warning", f"only {free / 1e6:.0f} MB are free at {scene.home}", "free some disk space")]
    return [Finding("disk.free", "ok", f"{free / 1e9:.0f} GB free")]
