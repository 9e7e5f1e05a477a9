"""`ai usage`: tokens and money."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

import click

from paios.interfaces.cli import table
from paios.interfaces.cli.door import Door
from paios.interfaces.terminal_text import money


@click.command("usage")
@click.option("--days", default=30, type=click.IntRange(1, 3660), show_default=True, help="How far back, today included.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def usage(door: Door, days: int, as_json: bool) -> None:
    """Tokens and money by day, brain and model. A cost nobody knows is said so and is in no sum."""
    from paios.observability.store import open_database
    from paios.observability.usage import spending

    with open_database(door.home) as db:
        rows = spending(db, days=days)
    if as_json:
        click.echo(table.as_json([asdict(row) for row in rows]))
        return
    if not rows:
        click.echo("nothing was used yet", err=True)
        return
    head = ("day", "brain", "model", "turns", "input", "cached", "written", "output", "cost")
    body = [
        (
            *(row.day, row.brain, row.model or "", str(row.turns)),
            *(f"{n:,}" for n in (row.usage.input, row.usage.cached, row.usage.cache_write, row.usage.output)),
            money(row.cost_usd, row.unpriced),
        )
        for row in rows
    ]
    click.echo("\n".join(table.lines(head, body, right=frozenset(head[3:]))))
    total = sum((row.cost_usd for row in rows), Decimal(0))
    click.echo(f"\nlast {days} days: {money(total, sum(row.unpriced for row in rows))}")
