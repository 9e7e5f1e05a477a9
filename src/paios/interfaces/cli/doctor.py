"""`ai doctor`: check that everything works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import click

from paios.base.errors import BadConfig, StoreError
from paios.health.check import Finding
from paios.interfaces.cli import table
from paios.interfaces.cli.door import Door
from paios.interfaces.terminal_text import printable

if TYPE_CHECKING:
    from paios.config.models import Models
    from paios.config.settings import Settings

T = TypeVar("T")

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
            click.echo(f"{_MARK[finding.status]} {printable(finding.summary)}")
            if finding.remediation:
                click.echo(f"    {printable(finding.remediation)}")
    return 1 if any(finding.status == "problem" for finding in findings) else 0


async def _check(door: Door, rebuild: bool) -> list[Finding]:
    from paios.config.files import load_settings
    from paios.config.models import Models, load_models
    from paios.config.settings import Settings

    findings: list[Finding] = []
    # With a broken file the other checks still help: they run with the defaults.
    settings = _valid(lambda: load_settings(door.home), Settings(), "settings", findings)
    models = _valid(lambda: load_models(door.home, door.env), Models.default(), "models", findings)
    try:
        return findings + await _look(door, settings, models, rebuild)
    except StoreError as error:
        return [*findings, Finding("store.open", "problem", error.message, error.remedy)]


def _valid(load: Callable[[], T], otherwise: T, name: str, findings: list[Finding]) -> T:
    try:
        loaded = load()
    except BadConfig as error:
        findings.append(Finding(f"config.{name}", "problem", error.message, error.remedy))
        return otherwise
    findings.append(Finding(f"config.{name}", "ok", f"the configuration of {name} is valid"))
    return loaded


async def _look(door: Door, settings: Settings, models: Models, rebuild: bool) -> list[Finding]:
    from paios.app import open_house
    from paios.health.check import Scene, run
    from paios.health.checks import ALL

    findings = []
    async with open_house(door.home, door.env, settings=settings, models=models) as house:
        if rebuild:
            count = await anyio.to_thread.run_sync(house.means.log.rebuild)
            findings.append(Finding("store.rebuild", "ok", f"made anew from {count:,} events"))
        if house.interrupted:
            summary = f"{len(house.interrupted)} requests had been interrupted; they are marked so"
            findings.append(Finding("store.interrupted", "warning", summary, "`ai history` shows them"))
        return findings + await run(ALL, Scene(door.home, door.env, house.db, house.statuses))
