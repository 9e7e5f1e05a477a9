"""`ai doctor`: check that everything works."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import anyio
import click

from paios.base.errors import BadConfig
from paios.health.check import Finding
from paios.interfaces.cli import table
from paios.interfaces.cli.door import Door

_MARK = {"ok": "✓", "warning": "!", "problem": "✗"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="For programs: id, status, summary, remediation.")
@click.option("--rebuild", is_flag=True, help="Make the tables of requests, sessions and spending anew from the event log.")
@click.pass_obj
def doctor(door: Door, as_json: bool, rebuild: bool) -> int:
    """Checks the configuration, the storage and every brain, and tells how to mend what is wrong. Exits 1 on a problem."""
    findings = anyio.run(partial(_check, door, rebuild))
    if as_json:
        click.echo(table.as_json([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{_MARK[finding.status]} {finding.summary}")
            if finding.remediation:
                click.echo(f"    {finding.remediation}")
    return 1 if any(finding.status == "problem" for finding in findings) else 0


async def _check(door: Door, rebuild: bool) -> list[Finding]:
    from paios.app import open_house
    from paios.config.settings import Settings
    from paios.health.check import Scene, run
    from paios.health.checks import ALL

    findings = []
    settings = None
    try:
        from paios.config.files import load_settings

        settings = load_settings(door.home)
        findings.append(Finding("config.valid", "ok", "the configuration is valid"))
    except BadConfig as error:
        # The other checks still help: they run with the defaults.
        settings = Settings()
        findings.append(Finding("config.valid", "problem", error.message, error.remedy))
    async with open_house(door.home, door.env, settings=settings) as house:
        if rebuild:
            count = await anyio.to_thread.run_sync(house.means.log.rebuild)
            findings.append(Finding("store.rebuild", "ok", f"made anew from {count:,} events"))
        if house.interrupted:
            summary = f"{len(house.interrupted)} requests had been interrupted; they are marked so"
            findings.append(Finding("store.interrupted", "warning", summary, "`ai history` shows them"))
        return findings + await run(ALL, Scene(door.home, door.env, house.db, house.statuses))
