"""`ai history`: the latest requests."""

from __future__ import annotations

from dataclasses import asdict

import click

from paios.interfaces.cli import table
from paios.interfaces.cli.door import Door
from paios.interfaces.terminal_text import printable


@click.command("history")
@click.option("--all", "everywhere", is_flag=True, help="Of all folders, not only this one.")
@click.option("-n", "--limit", default=20, type=click.IntRange(1, 10_000), show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def history(door: Door, everywhere: bool, limit: int, as_json: bool) -> None:
    """The latest requests of this folder, newest first, with the ids `ai trace` and `--thread` take."""
    from paios.observability import traces
    from paios.observability.store import open_database

    with open_database(door.home) as db:
        past = traces.recent(db, cwd=None if everywhere else str(door.cwd.resolve()), limit=limit)
    if as_json:
        click.echo(table.as_json([asdict(p) for p in past]))
    elif not past:
        click.echo("nothing was asked here yet" if not everywhere else "nothing was asked yet", err=True)
    else:
        rows = [
            (p.at.astimezone().strftime("%d %b %H:%M"), p.trace[:8], p.thread, p.status, p.brain or "", printable(p.text)[:300])
            for p in past
        ]
        click.echo("\n".join(table.lines(("when", "trace", "thread", "status", "brain", "task"), rows)))
