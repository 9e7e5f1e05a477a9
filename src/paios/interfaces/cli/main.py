"""The parser: knows the names of the commands and nothing they need, so that `ai --help` costs a bare Python.

`ai WORDS` is a command if the first word names one, else a task.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from paios import __version__

# name → (module under this package, one line of help)
COMMANDS = {
    "ask": ("ask", "do a task (the word may be left out)"),
    "history": ("history", "the latest requests of this folder"),
    "trace": ("trace", "what happened in one request, with times and costs"),
    "route": ("route", "who would do it, and why; measure and teach that"),
    "usage": ("usage", "tokens and money by brain, model and day"),
    "brains": ("brains", "who can think: version, login, quota, last error"),
    "doctor": ("doctor", "check that everything works, and how to mend it"),
    "config": ("config", "show, check, change and restore the settings"),
    "completion": ("completion", "print the completion script for your shell"),
}

HELP = f"""\
Usage: ai [OPTIONS] "TASK"        do a task
       ai COMMAND [OPTIONS]       one of the commands below

The best brain for the task answers: Claude Code, Codex, a model API, a local model, or,
with none of them, the librarian from your own documents.

Examples:
  ai "why does this test fail?" -f tests/test_login.py
  git diff | ai "review this change"
  ai -c "and now in Arabic"
  ai @claude "plan the migration"        ai @fast "what is 17 % of 1,240?"

Options:
  -f, --file PATH       attach a text file (repeatable)
  -i, --image PATH      attach an image (repeatable)
  -c, --continue        go on with the last conversation of this folder
  --thread ID           go on with that conversation
  --brain NAME          claude, codex, gateway, local, librarian or echo
  --model NAME          a model of that brain
  --allow KINDS         let it act without asking: edit,run,network,read,tool
  --cwd FOLDER          work there instead of here
  --timeout SECONDS     give up after that long
  --json                print one event a line
  --stream-json         talk JSON both ways (docs/reference/stream-json.md)
  --version             print the version
  -h, --help            print this

Commands:
{chr(10).join(f"  {name:<12} {line}" for name, (_, line) in COMMANDS.items())}

`ai COMMAND --help` tells more. Exit codes: 0 answered, 1 failed, 2 bad input, 3 bad
configuration, 4 no brain, 5 the brain failed, 6 out of time, 7 storage, 130 stopped.
"""


def home_of(env: Mapping[str, str]) -> Path:
    """Where everything is kept: PAIOS_HOME, or `~/.paios`."""
    return Path(env.get("PAIOS_HOME") or "~/.paios").expanduser().absolute()


def run(argv: Sequence[str]) -> int:
    """Runs `ai` with *argv* and returns its exit code."""
    env = dict(os.environ)
    if "_AI_COMPLETE" in env:
        return _complete(env)
    if argv and argv[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if argv and argv[0] in ("-V", "--version"):
        print(f"paios {__version__}")
        return 0
    if not argv and sys.stdin.isatty():
        print(HELP, end="")
        return 2
    command, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("ask", argv)
    _refuse_misspelt(argv)
    return _call(command, list(rest), env)


def _refuse_misspelt(argv: Sequence[str]) -> None:
    """A lone word that is almost a command is no task worth sending to a model."""
    if len(argv) != 1 or not argv[0].isalpha() or argv[0] in COMMANDS:
        return
    from difflib import get_close_matches

    near = get_close_matches(argv[0], COMMANDS, n=1, cutoff=0.75)
    if near:
        print(f"ai: there is no command {argv[0]!r}; did you mean `ai {near[0]}`?", file=sys.stderr)
        print(f"    To ask it as a question: ai ask {argv[0]}", file=sys.stderr)
        sys.exit(2)


def _call(name: str, args: list[str], env: dict[str, str]) -> int:
    import click

    from paios.base.errors import PaiosError
    from paios.interfaces.cli.door import Door

    command = _load(name)
    try:
        door = Door(home=home_of(env), env=env, cwd=_cwd(env))
        result = command.main(args, prog_name=f"ai {name}", standalone_mode=False, obj=door)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        return _complain("bad_input", error.format_message(), f"see `ai {name} --help`", 2, args)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except PaiosError as error:
        return _complain(error.kind, error.message, error.remedy, error.exit_code, args)
    except BrokenPipeError:
        # The reader went away (`ai history | head`): nothing is wrong, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            return _complain("bug", f"an error inside PAIOS: {error!r}", f"the details are in {_keep(home_of(env))}", 1, args)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain("output", f"the output could not be written: {error.strerror}", "write it elsewhere", 1, args)
    except Exception as error:  # noqa: BLE001  # the outermost door: kept for whoever mends it, told in one line
        details = _keep(home_of(env))
        return _complain("bug", f"an error inside PAIOS: {error!r}", f"the details are in {details}", 1, args)


def _keep(home: Path) -> str:
    """Writes the traceback of the error being handled to the logs; where it is."""
    import time
    import traceback

    path = home / "logs" / f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        traceback.print_exc()  # nowhere to keep it: the person sees it whole
        return "the lines above"
    return str(path)


def _cwd(env: Mapping[str, str]) -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # the folder was deleted under the shell
        return Path(env.get("PWD", "/"))


def _complain(kind: str, message: str, remedy: str, code: int, args: list[str]) -> int:
    """The error for people on stderr, or for programs on stdout when JSON was asked for."""
    if "--json" in args or "--stream-json" in args:
        import json

        print(json.dumps({"type": "error", "kind": kind, "message": message, "remedy": remedy}, ensure_ascii=False), flush=True)
    else:
        print(f"ai: {message}", file=sys.stderr)
        if remedy:
            print(f"    {remedy}", file=sys.stderr)
    return code


def _load(name: str):  # type: ignore[no-untyped-def]  # click is not imported up here
    from importlib import import_module

    return getattr(import_module(f"paios.interfaces.cli.{COMMANDS[name][0]}"), name)


def _complete(env: dict[str, str]) -> int:
    import click

    commands = {name: _load(name) for name in COMMANDS}
    group = click.Group("ai", commands=commands, params=commands["ask"].params[1:])  # `ai --brain …`: the word ask left out
    group.main([], prog_name="ai", complete_var="_AI_COMPLETE")
    return 0
