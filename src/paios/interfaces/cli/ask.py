"""`ai "TASK"`: the door of people. Reads what is piped in, shows the answer as it comes, asks before actions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from paios.base.errors import (
    BadConfig,
    BadInput,
    BrainError,
    BrainRefused,
    BrainUnavailable,
    NoBrain,
    OutOfTime,
    PaiosError,
    SessionLost,
    StoreError,
)
from paios.base.events import Answered, Cancelled, Failed, Terminal
from paios.interfaces import pipes
from paios.interfaces.cli.door import Door
from paios.interfaces.intake import Asked

if TYPE_CHECKING:
    from paios.app import House

_ERRORS = (BadInput, BadConfig, NoBrain, BrainError, BrainUnavailable, BrainRefused, SessionLost, OutOfTime, StoreError)
_EXIT = {error.kind: error.exit_code for error in _ERRORS}


@click.command("ask", context_settings={"ignore_unknown_options": False})
@click.argument("task", nargs=-1)
@click.option("-f", "--file", "files", multiple=True, metavar="PATH", help="Attach a text file.", type=click.Path())
@click.option("-i", "--image", "images", multiple=True, metavar="PATH", help="Attach an image.", type=click.Path())
@click.option("-c", "--continue", "resume", is_flag=True, help="Go on with the last conversation of this folder.")
@click.option("--thread", metavar="ID", help="Go on with that conversation.")
@click.option("--brain", metavar="NAME", help="Who should do it: claude, codex, gateway, local, librarian, echo.")
@click.option("--model", metavar="NAME", help="A model of that brain.")
@click.option("--allow", multiple=True, metavar="KINDS", help="Let it act without asking: edit,run,network,read,tool.")
@click.option("--cwd", metavar="FOLDER", type=click.Path(path_type=Path), help="Work there instead of here.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Give up after that long."
)
@click.option("--json", "as_json", is_flag=True, help="Print one event a line.")
@click.option("--stream-json", "stream_json", is_flag=True, help="Talk JSON both ways.")
@click.pass_obj
def ask(door: Door, /, **given: Any) -> int:
    """Do TASK with the brain that fits it best.

    What is piped in and the attached files go with it. Exit codes: see `ai --help`.
    """
    pipes.fill()
    return anyio.run(partial(_serve, door, given))


async def _serve(door: Door, given: dict[str, Any]) -> int:
    from paios.app import open_house
    from paios.base import home
    from paios.config.files import load_settings
    from paios.interfaces import serve, stream, terminal

    if given["timeout_s"] is not None and not given["timeout_s"] <= stream.LONGEST_S:  # nor not a number
        raise BadInput(f"--timeout {given['timeout_s']:g} is no time to wait", remedy="give seconds, such as --timeout 600")
    home.make(door.home)
    settings = load_settings(door.home)
    asked = await _asked(door, given, settings.limits.prompt_bytes)
    stop = serve.Stop()
    with stop.listening():
        async with open_house(door.home, door.env, settings=settings) as house:
            asked = replace(asked, thread=_thread(house, asked.cwd, given))
            talk = stream.talk if given["stream_json"] else partial(terminal.show, as_json=given["as_json"])
            end = await talk(asked, house, stop)
    if stop.lost is None:
        return exit_code(end)
    if not stop.lost.why:
        return 141  # as a program that SIGPIPE ends
    click.echo(f"ai: the answer could not be written to standard output: {stop.lost.why}", err=True)
    click.echo("    write it elsewhere; what was said is kept: `ai trace` shows it", err=True)
    return PaiosError.exit_code


async def _asked(door: Door, given: dict[str, Any], most_bytes: int) -> Asked:
    return Asked(
        text=" ".join(given["task"]),
        cwd=(door.cwd / given["cwd"]) if given["cwd"] else door.cwd,
        thread="",
        origin="stream" if given["stream_json"] else "cli",
        piped="" if given["stream_json"] or not pipes.is_fed() else await _piped(most_bytes),
        brain=given["brain"],
        model=given["model"],
        files=given["files"],
        images=given["images"],
        allow=given["allow"],
        timeout_s=given["timeout_s"],
    )


def _thread(house: House, cwd: Path, given: dict[str, Any]) -> str:
    """The conversation to go on with, or a new one."""
    from paios.observability import traces
    from paios.work import threads

    if given["thread"]:
        if not traces.of_thread(house.db, given["thread"]):
            raise BadInput(f"there is no conversation {given['thread']!r}", remedy="`ai history` lists them")
        return str(given["thread"])
    if given["resume"]:
        latest = threads.latest(house.db, str(cwd.resolve()))
        if latest is None:
            raise BadInput(f"there is no conversation in {cwd} to go on with", remedy="leave -c out to start one")
        return latest
    return threads.new()


def exit_code(end: Terminal | None) -> int:
    """What the command returns for the last request's end; 0 if there was none."""
    match end:
        case Answered() | None:
            return 0
        case Cancelled():
            return 130
        case Failed(kind):
            return _EXIT.get(kind, PaiosError.exit_code)


async def _piped(most_bytes: int) -> str:
    """Standard input to its end, or to where it is more than can be asked: the intake then says so."""
    data = bytearray()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_say_that_it_waits)
        async for chunk in pipes.chunks():
            data += chunk
            if len(data) > most_bytes:
                break
        tasks.cancel_scope.cancel()
    return data.decode("utf-8", errors="replace")


async def _say_that_it_waits() -> None:
    await anyio.sleep(2)
    click.echo("ai: reading standard input to its end … (use `< /dev/null` if there is none)", err=True)
