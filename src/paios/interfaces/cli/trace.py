"""`ai trace ID`: what happened in one request, as a tree with times and costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import click

from paios.base.events import (
    Accepted,
    Acted,
    Answered,
    Began,
    Bound,
    Cancelled,
    Event,
    Failed,
    Judged,
    Metered,
    Rated,
    Recalled,
    Recorded,
    Routed,
    Said,
    Spent,
    SteppedAside,
    Thought,
    Waiting,
    record_json,
)
from paios.interfaces.cli.door import Door
from paios.interfaces.terminal_text import money, printable


@click.command("trace")
@click.argument("id", default="last")
@click.option("--json", "as_json", is_flag=True, help="The events, one a line.")
@click.pass_obj
def trace(door: Door, id: str, as_json: bool) -> None:
    """What happened in the request whose id begins with ID ("last": the newest), with times and costs."""
    from paios.observability.events import events_of
    from paios.observability.store import open_database
    from paios.observability.traces import find
    from paios.observability.usage import cost_of

    with open_database(door.home) as db:
        past = find(db, id)
        records = events_of(db, past.trace)
        usage, cost, unknown = cost_of(db, past.trace)
    if as_json:
        click.echo("\n".join(record_json(record) for record in records))
        return
    click.echo(f"trace {past.trace}  thread {past.thread}  {past.at.astimezone():%Y-%m-%d %H:%M:%S}  {past.status}")
    click.echo("\n".join(tree(records)))
    tokens = f"{usage.input:,} in, {usage.cached:,} cached, {usage.cache_write:,} written to cache, {usage.output:,} out"
    click.echo(f"total: {tokens}; {money(cost, unknown)}")


def tree(records: Iterable[Recorded]) -> Iterator[str]:
    """One line an event, in order; what a brain did is indented below it; runs of text are joined."""
    start = None
    under = False
    for record in _merged(records):
        start = start or record.at
        ms = (record.at - start).total_seconds() * 1000
        event = record.event
        if isinstance(event, (Began, SteppedAside, Answered, Failed, Cancelled)):
            under = False
        mark = "│  " if under else ""
        for number, line in enumerate(map(printable, describe(event))):
            yield f"{ms:>8.0f} ms  {mark}{line}" if number == 0 else f"{'':>13}{mark}  {line}"
        under = under or isinstance(event, Began)


def _merged(records: Iterable[Recorded]) -> Iterator[Recorded]:
    """Neighbouring deltas of one kind as one event, at the time of the first."""
    held: Recorded | None = None
    for record in records:
        if held is not None and isinstance(record.event, (Said, Thought)) and type(record.event) is type(held.event):
            held = Recorded(held.seq, held.trace, held.at, type(record.event)(_text(held.event) + record.event.text))
            continue
        if held is not None:
            yield held
        held = record
    if held is not None:
        yield held


def _text(event: Event) -> str:
    return event.text if isinstance(event, (Said, Thought)) else ""


def _short(text: str, limit: int = 160) -> str:
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= limit else f"{flat[:limit]}… ({len(text):,} characters)"


def describe(event: Event) -> Iterator[str]:
    """*event* in words: a line, and further lines below it."""
    match event:
        case Accepted():
            yield f"accepted from {event.origin}: {_short(event.text)}"
            yield from (f"with {name}" for name in event.attachments)
            if event.allow:
                yield f"allowed in advance: {', '.join(event.allow)}"
        case Routed():
            chosen = next((c.brain for c in event.candidates if not c.why_not), "nobody")
            yield f"routed: {event.domain} ({event.confidence:.0%}) → {chosen}"
            passed = (f"not {c.brain}: {c.why_not}" for c in event.candidates if c.why_not)
            yield from dict.fromkeys((*event.reasons, *passed))  # the reasons name those passed over before the chosen one
        case Recalled():
            yield f"recalled {len(event.passages)} passages"
            yield from (f"{p.source}:{p.line} ({p.score:.2f}) {_short(p.text, 80)}" for p in event.passages)
        case Began():
            how = ", its session resumed" if event.resumed else ""
            how += f", handed over {event.handed_over} messages of other brains" if event.handed_over else ""
            yield f"{event.brain}{f' ({event.model})' if event.model else ''}, attempt {event.attempt}{how}"
        case Said() | Thought():
            yield f"{'said' if isinstance(event, Said) else 'thought'}: {_short(event.text)}"
        case Acted():
            took = f" in {event.took_ms:,} ms" if event.took_ms is not None else ""
            yield f"{event.action.tool} {event.state}{took}: {_short(event.action.target)}"
            if event.output and event.state != "started":
                yield _short(event.output)
        case _:
            yield from _describe_rest(event)


def _describe_rest(event: Event) -> Iterator[str]:
    match event:
        case Waiting():
            yield f"asked you ({event.approval}): {event.reason}: {_short(event.action.target)}"
        case Judged():
            verdict = event.verdict
            said = "allowed" if verdict.allowed else "denied"
            yield f"{said} by {verdict.by}: {event.action.kind} {_short(event.action.target, 80)}"
            yield verdict.reason
        case Bound():
            yield f"session {event.session.id}"
        case Spent():
            used = event.usage
            cost = "cost unknown" if event.cost_usd is None else f"${event.cost_usd:.6f} ({event.source})"
            tokens = f"{used.input:,} in, {used.cached:,} cached, {used.output:,} out"
            yield f"spent {tokens} on {event.model or event.brain}: {cost}"
        case SteppedAside():
            yield f"stepped aside ({event.reason}): {_short(event.message)}"
        case Metered():
            yield f"{event.brain} told: {', '.join(f'{w.name} {w.used_percent:.0f} % used' for w in event.windows)}"
        case _:
            yield from _describe_end(event)


def _describe_end(event: Event) -> Iterator[str]:
    match event:
        case Answered():
            yield f"answered by {event.brain} in {event.took_ms:,} ms: {_short(event.text)}"
        case Failed():
            yield f"failed ({event.kind}): {_short(event.message)}"
            yield from ([event.remedy] if event.remedy else [])
            yield from ([f"had said: {_short(event.said)}"] if event.said else [])
        case Cancelled():
            yield f"stopped by {'you' if event.by == 'you' else 'the door closing'}"
            yield from ([f"had said: {_short(event.said)}"] if event.said else [])
        case Rated():
            yield f"you said: {'it is' if event.is_so else 'it is not'} {event.domain}"
        case _:
            yield json.dumps(str(event))
