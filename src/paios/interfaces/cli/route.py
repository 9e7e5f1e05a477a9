"""`ai route`: who would do it and why; how well that is decided; and teaching it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from paios.base.errors import BadInput
from paios.base.text import clean
from paios.base.types import DOMAINS, Decision
from paios.interfaces.cli import table
from paios.interfaces.cli.door import Door
from paios.routing.measure import Judged, Measured, measure
from paios.work.route import Query, Router


class _OrText(click.Group):
    """A group whose first word may be a text to decide about instead of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["decide", *args]
        return super().parse_args(ctx, args)


@click.group("route", cls=_OrText)
def route() -> None:
    """Who would do it, and why.

    \b
    ai route "TEXT"                       the decision, its reasons and the alternatives
    ai route --batch FILE.jsonl --json    a decision a line
    """


@route.command("decide", hidden=True)
@click.argument("text", nargs=-1)
@click.option("--batch", type=click.Path(path_type=Path), help='Lines {"text": …, "images": 0}; - is standard input.')
@click.option("--first-stage", is_flag=True, help="By words alone, without the vectors of meaning.")
@click.option("--json", "as_json", is_flag=True, help="For programs; with --batch one object a line.")
@click.pass_obj
def decide(door: Door, text: tuple[str, ...], batch: Path | None, first_stage: bool, as_json: bool) -> None:
    """Decides about TEXT, or about every line of a file, and asks nobody."""
    if (batch is None) is (not text):
        raise BadInput("give a text or --batch FILE", remedy='ai route "what is the weather in Cairo?"')
    if batch is None:
        one, _ = _decided(door, [Query(clean(" ".join(text)))], first_stage)[0]
        click.echo(table.as_json(asdict(one)) if as_json else "\n".join(_told(one)))
        return
    queries = [_query(row, where) for where, row in _rows(batch)]
    for decision, us in _decided(door, queries, first_stage):
        if as_json:
            click.echo(json.dumps(_line(decision, us), ensure_ascii=False))
        else:
            click.echo(f"{decision.domain:<9} {decision.confidence:.2f}  {_first(decision)}")


@route.command("eval")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--first-stage", is_flag=True, help="By words alone, without the vectors of meaning.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def evaluate(door: Door, file: Path, first_stage: bool, as_json: bool) -> None:
    """Measures decisions against FILE: lines {"text": …, "domain": …}. Accuracy, precision, recall, confusion, calibration."""
    rows = list(_rows(file))
    expected = [_domain(row, where) for where, row in rows]
    if not rows:
        raise BadInput(f"{file} has no rows", remedy='lines such as {"text": "fix the test", "domain": "code"}')
    decided = _decided(door, [_query(row, where) for where, row in rows], first_stage)
    judged = [Judged(e, d.domain, d.confidence) for e, (d, _) in zip(expected, decided, strict=True)]  # type: ignore[arg-type]  # checked
    found = measure(judged)
    click.echo(table.as_json(asdict(found)) if as_json else "\n".join(report(found)))


@route.command("feedback")
@click.argument("trace")
@click.option("--domain", type=click.Choice(DOMAINS), help="What it is really about.")
@click.option("--good", is_flag=True, help="It was well decided.")
@click.option("--bad", is_flag=True, help="It was not.")
@click.pass_obj
def feedback(door: Door, trace: str, domain: str | None, good: bool, bad: bool) -> None:
    """Says how the decision about the request TRACE was (`last` is the newest). `ai route weights learn` learns from it."""
    from paios.base.clock import SystemClock
    from paios.base.events import Rated
    from paios.observability import traces
    from paios.observability.events import add
    from paios.observability.store import open_database

    if (domain is not None) + good + bad != 1:
        raise BadInput("say one thing: --domain NAME, --good or --bad", remedy="ai route feedback last --domain search")
    with open_database(door.home) as db:
        past = traces.find(db, trace)
        if past.domain is None:
            raise BadInput(f"nothing was decided about {past.trace[:8]}", remedy="`ai history` lists the requests")
        if past.status == "open":  # whoever serves it numbers its events, and would find the next number taken
            raise BadInput(f"{past.trace[:8]} is still at work", remedy="say it when it has ended")
        add(db, SystemClock(), past.trace, Rated(domain or past.domain, not bad))  # type: ignore[arg-type]  # of DOMAINS
    noted = f"it is {domain}" if domain else f"{past.domain} was {'right' if good else 'wrong'}"
    click.echo(f"noted for {past.trace[:8]}: {noted}")


@route.group("weights")
def weights() -> None:
    """What your corrections taught the router."""


@weights.command("learn")
@click.pass_obj
def learn(door: Door) -> int:
    """Learns from your corrections, and keeps the change only if it decides better than before."""
    from paios.base.clock import SystemClock
    from paios.base.home import make
    from paios.observability.store import open_database
    from paios.observability.traces import ratings
    from paios.routing.learn import FEWEST, Correction
    from paios.work import learning

    make(door.home)
    with open_database(door.home) as db:
        given = [Correction(r.text, r.domain, is_not=not r.is_so) for r in ratings(db)]
    done = learning.learn(door.home, given, SystemClock())
    if done is None:
        click.echo(f"{len(given)} corrections; from {FEWEST} on there is something to learn (`ai route feedback`)")
        return 1
    proposal, version = done
    click.echo(f"of {proposal.corrections} corrections {proposal.before} were right before, {proposal.after} with the change")
    click.echo(f"of {proposal.anchors} ordinary requests {proposal.anchors_before} before, {proposal.anchors_after} with it")
    click.echo(f"kept as version {version.number}; `ai route weights undo` takes it back" if version else "not kept: no gain")
    return 0 if version else 1


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def listed(door: Door, as_json: bool) -> None:
    """The versions of the weights, the one in use marked."""
    from paios.work import learning

    found = learning.versions(door.home)
    if as_json:
        click.echo(table.as_json([asdict(v) for v in found]))
        return
    rows = [
        (
            "→" if v.is_current else "",
            str(v.number),
            f"{v.at.astimezone():%d %b %Y %H:%M}" if v.at else "shipped",
            f"{v.before} → {v.after} of {v.corrections} corrections right" if v.at else "",
        )
        for v in found
    ]
    click.echo("\n".join(table.lines(("", "version", "made", "what it gained"), rows)))


@weights.command("undo")
@click.pass_obj
def undo(door: Door) -> None:
    """Takes the last change back."""
    from paios.work import learning

    number = learning.undo(door.home)
    click.echo(f"version {number} is in use" if number else "the shipped weights are in use")


# ---- deciding


def _decided(door: Door, queries: list[Query], first_stage: bool) -> list[tuple[Decision, float]]:
    async def run() -> list[tuple[Decision, float]]:
        from paios.app import open_house

        async with open_house(door.home, door.env) as house:
            router: Router = house.router
            return await anyio.to_thread.run_sync(partial(router.decide_all, queries, door.cwd, first_stage=first_stage))

    return anyio.run(run)


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's place and object; blank lines are passed over."""
    try:
        with click.open_file(str(file), encoding="utf-8-sig", errors="replace") as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                where = f"{file}, line {number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise BadInput(f"{where} is not JSON: {error}", remedy='one object a line: {"text": "…"}') from error
                if not isinstance(row, dict):
                    raise BadInput(f"{where} is not an object", remedy='one object a line: {"text": "…"}')
                yield where, row
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", remedy="check the path") from error


def _query(row: dict[str, Any], where: str) -> Query:
    text, images = row.get("text"), row.get("images", 0)
    if not isinstance(text, str):
        raise BadInput(f'{where} has no "text"', remedy='{"text": "what is in this picture?", "images": 1}')
    if not isinstance(images, int) or images < 0:
        raise BadInput(f'{where}: "images" is {images!r}, not a count', remedy='{"text": "…", "images": 1}')
    return Query(clean(text), images)


def _domain(row: dict[str, Any], where: str) -> str:
    domain = row.get("domain", row.get("expected_domain"))
    if domain not in DOMAINS:
        raise BadInput(f'{where}: "domain" is {domain!r}', remedy=f"one of {', '.join(DOMAINS)}")
    return str(domain)


# ---- telling


def _first(decision: Decision) -> str:
    """The brain that would be asked; "" if none can be."""
    return next((c.brain for c in decision.candidates if not c.why_not), "")


def _line(decision: Decision, us: float) -> dict[str, Any]:
    return {
        "domain": decision.domain,
        "brain": _first(decision) or None,
        "confidence": round(decision.confidence, 4),
        "compound": bool(decision.compound),
        "abstained": decision.abstained,
        "reasons": list(decision.reasons),
        "us": round(us),
    }


def _told(decision: Decision) -> Iterator[str]:
    brain = next((c for c in decision.candidates if not c.why_not), None)
    model = f" ({brain.model})" if brain and brain.model else ""
    yield f"{decision.domain} ({decision.confidence:.2f}) → {brain.brain + model if brain else 'nobody'}"
    yield from (f"  {reason}" for reason in decision.reasons)
    others = [f"{domain} {chance:.2f}" for domain, chance in decision.scores[1:4] if chance >= 0.01]
    if others:
        yield f"  else: {', '.join(others)}"
    rest = [c.brain for c in decision.candidates if not c.why_not][1:]
    if rest:
        yield f"  then: {', '.join(rest)}"


def report(found: Measured) -> Iterator[str]:
    """*found* as lines for a person."""
    yield f"{found.rows} rows: accuracy {found.accuracy:.3f}, expected calibration error {found.calibration_error:.3f}"
    yield ""
    body = [(d.domain, str(d.rows), _share(d.precision), _share(d.recall)) for d in found.domains]
    yield from table.lines(("domain", "rows", "precision", "recall"), body, right=frozenset(("rows", "precision", "recall")))
    yield ""
    short = [domain[:6] for domain in DOMAINS]
    rows = [(domain, *map(str, row)) for domain, row in zip(DOMAINS, found.confusion, strict=True)]
    yield from table.lines(("is \\ decided", *short), rows, right=frozenset(short))
    yield ""
    yield from table.lines(
        ("confidence", "rows", "mean", "right"),
        [(f"{b.low:.1f}–{b.low + 0.1:.1f}", str(b.rows), f"{b.confidence:.3f}", f"{b.accuracy:.3f}") for b in found.bins],
        right=frozenset(("rows", "mean", "right")),
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
