"""`ai brains`: who can think."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import anyio
import click

from paios.base.types import BrainStatus
from paios.interfaces.cli import table
from paios.interfaces.cli.door import Door


@click.command("brains")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def brains(door: Door, as_json: bool) -> int:
    """Each brain with its version, login, quota and last error. Exits 4 if none but the librarian can answer."""
    statuses, failures = anyio.run(partial(_ask_all, door))
    if as_json:
        errors = {name: {"at": at, "message": message} for name, (at, message) in failures.items()}
        click.echo(table.as_json([{**asdict(status), "last_error": errors.get(status.name)} for status in statuses]))
    else:
        rows = [(s.name, "ready" if s.ready else "not ready", s.version or "", s.login, quota(s), s.detail) for s in statuses]
        click.echo("\n".join(table.lines(("brain", "", "version", "login", "quota used", "what"), rows)))
        for status in statuses:
            if not status.ready and status.remedy:
                click.echo(f"\n{status.name}: {status.remedy}")
            if status.name in failures:
                at, message = failures[status.name]
                click.echo(f"\n{status.name}: last error {at.astimezone():%d %b %H:%M}: {' '.join(message.split())[:200]}")
    return 0 if any(s.ready and s.name not in ("librarian", "echo") for s in statuses) else 4


async def _ask_all(door: Door) -> tuple[list[BrainStatus], dict[str, tuple[datetime, str]]]:
    from paios.app import open_house
    from paios.observability.traces import last_failures

    async with open_house(door.home, door.env) as house:
        return await house.statuses(), last_failures(house.db)


def quota(status: BrainStatus) -> str:
    """The vendor's windows, such as `5h 42 % (resets in 3 h)`."""
    words = []
    for window in status.windows:
        left = (window.resets_at - datetime.now(UTC)).total_seconds() / 3600 if window.resets_at else None
        words.append(f"{window.name} {window.used_percent:.0f} %" + (f" (resets in {left:.0f} h)" if left and left > 0 else ""))
    return ", ".join(words)
