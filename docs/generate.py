"""Writes the reference pages that are made from the code: `python docs/generate.py`, in CI with `--check`."""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from paios.base.errors import PaiosError, Reason
from paios.base.events import KINDS, SCHEMA, Terminal
from paios.config.models import Models
from paios.config.settings import catalogue
from paios.interfaces.cli import main as parser

FOLDER = Path(__file__).parent / "reference"

HEAD = """\
# Settings

<!-- Written by docs/generate.py from src/paios/config/settings.py; change it there. -->

Everything is kept in one folder, `~/.paios`, or where the environment variable `PAIOS_HOME` points. `ai config path` prints it.
Every file is optional. An unknown key or a value of the wrong kind is an error that names the nearest valid key; nothing is
ignored. `ai config validate` lists all problems, `ai config show` every value in effect and where it comes from.

## `paios.toml`

| key | default | unit | meaning |
|---|---|---|---|
"""

TAIL = """
`ai config set limits.timeout_s 600` changes one key and keeps your comments; with `--dry-run` it only shows the change.
`ai config restore` brings back the last good version, `ai config restore --list` lists the last ten.

## `llm-config.json`

Which brains are asked for what, which model a brain uses at which tier, and the model APIs that the gateway may call. `routes`
has for each domain the brains to try in order, as `brain` or `brain:tier`; a domain left out keeps its default. A brain that a
tier leaves out keeps its default, `null` is the program's own default. A gateway model is `endpoint/model`. A key is never
written here: it is `env:NAME`, a variable of your environment, or `profile:ID`, a profile of `auth-profiles.json`; an endpoint
without `key` uses the profiles of the provider of its name.

```json llm-config.json
{
  "version": 1,
  "endpoints": {
    "mistral": {"kind": "openai-compatible", "base_url": "https://api.mistral.ai/v1", "key": "env:MISTRAL_API_KEY"},
    "work": {"kind": "anthropic", "key": "profile:anthropic:work", "models": ["claude-sonnet-5-5"]}
  },
  "tiers": {
    "fast": {"claude": "haiku", "gateway": "mistral/mistral-small-latest"},
    "deep": {"gateway": "work/claude-sonnet-5-5"}
  },
  "routes": {
    "code": ["claude:deep", "codex", "librarian"]
  }
}
```

Kinds are `openai`, `anthropic`, `google`, `openrouter`, `openai-compatible` (needs `base_url`) and `ollama`. Tiers are
`instant`, `fast`, `standard`, `deep` and `premium`; a brain without one is asked at
`standard`. Without the file the routes are:

@routes@

## `auth-profiles.json`

Keys and tokens, mode 600; a file that other users may read is closed to them with a warning. `order` names the profiles of
a provider to use, first to last; without it the `last_good` one is tried first. Expired ones are skipped. A `key` of
`keyring:SERVICE` is read from the system's keyring (user: the profile's id) if the package `keyring` is installed.
OpenClaw's names (`lastGood`, `usageStats`, `expires`, `clientId`, `token`) are understood.

```json auth-profiles.json
{
  "version": 1,
  "profiles": {
    "anthropic:work": {"type": "api_key", "provider": "anthropic", "key": "keyring:anthropic"},
    "mistral:me": {"type": "token", "provider": "mistral", "access": "…", "expires_at_ms": 1893456000000}
  },
  "order": {"anthropic": ["anthropic:work"]},
  "last_good": {"mistral": "mistral:me"}
}
```

## OpenClaw

The model providers of an existing `~/.openclaw/openclaw.json` are endpoints too, named `openclaw-<provider>`. That file is
only read. What cannot be used is listed by `ai config validate`.
"""


def settings() -> str:
    """`settings.md`: every key of `paios.toml` from its dataclass, and the two JSON files."""
    lines = [f"| `{key}` | {_toml(default)} | {doc.unit} | {_cell(doc.text)} |" for key, default, doc in catalogue()]
    return HEAD + "\n".join(lines) + "\n" + TAIL.replace("@routes@", _routes())


def _routes() -> str:
    rows = [f"| `{domain}` | {_toml(brains)} |" for domain, brains in Models.default().routes.items()]
    return "\n".join(["| domain | default |", "|---|---|", *rows])


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "`[" + ", ".join(json.dumps(v) for v in value) + "]`"
    return f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- commands.md -------------------------------------------------------------------------------------------------

COMMANDS = """\
# Commands

<!-- Written by docs/generate.py from the commands' own help; change it in src/paios/interfaces/cli/. -->

What each command prints for `--help`. What the exit codes mean is in [exit-codes.md](exit-codes.md).
"""


def commands() -> str:
    """`commands.md`: the help of `ai` and of every command and subcommand."""
    parts = [COMMANDS, "## `ai`\n", _fenced(parser.HELP)]
    for name in parser.COMMANDS:
        command = parser._load(name)
        parts += _help(command, f"ai {name}")
    return "\n".join(parts)


def _help(command: click.Command, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, terminal_width=88)
    yield f"## `{name}`\n"
    yield _fenced(command.get_help(context))
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _help(found, f"{name} {inner}")


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


# --- events.md ---------------------------------------------------------------------------------------------------

ENDS = ", ".join(f"`{cls.__name__.lower()}`" for cls in typing.get_args(Terminal))

EVENTS = f"""\
# Events

<!-- Written by docs/generate.py from src/paios/base/events.py and base/types.py; change it there. -->

What `--json`, `--stream-json` and `ai trace --json` print, one object a line; how a conversation goes is in
[stream-json.md](stream-json.md). This is schema {SCHEMA}: fields and events may be added within it, never renamed or removed,
so a program should pass over what it does not know.

Every event begins with these four:

| field | type | meaning |
|---|---|---|
| `seq` | integer | Its place within the request, from 1, without gaps. |
| `trace` | string | The request's id: 32 hexadecimal digits. |
| `at` | string | When it happened: ISO 8601, UTC. |
| `type` | string | Which of the events below it is. |

A request's events come in this order, and exactly one of {ENDS} ends them:

```text
accepted, routed, (began, work*, steppedaside?)*, end
work: recalled | said | thought | acted | waiting | judged | bound | spent | metered
```
"""

RECORDS = """\
## Objects within events
"""


def events() -> str:
    """`events.md`: every event and the objects within it, from their dataclasses."""
    parts = [EVENTS]
    inner: dict[str, type] = {}
    for name, cls in KINDS.items():
        parts.append(_shape(f"## `{name}`", cls, inner))
    parts.append(RECORDS)
    for name, cls in list(inner.items()):
        parts.append(_shape(f"### {name}", cls, inner))
    return "\n".join(parts)


def _shape(title: str, cls: Any, inner: dict[str, type]) -> str:
    lines = [title, ""]
    if cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}("):  # what dataclass writes where there is none
        lines += [inspect.cleandoc(cls.__doc__), ""]
    lines += ["| field | type | meaning |", "|---|---|---|"]
    hints = typing.get_type_hints(cls)
    said = dict(re.findall(r"^    (\w+): [^#\n]*#\s*(.+)$", inspect.getsource(cls), re.MULTILINE))
    for field in fields(cls):
        default = "" if field.default is MISSING else f" (else `{_json(field.default)}`)"
        lines.append(
            f"| `{field.name}` | {_cell(_type(hints[field.name], inner))}{default} | {_cell(said.get(field.name, ''))} |"
        )
    return "\n".join(lines) + "\n"


_PLAIN: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    Decimal: "string, a decimal number",
    Path: "string, a path",
    datetime: "string, ISO 8601, UTC",
    type(None): "null",
}


def _type(hint: Any, inner: dict[str, type]) -> str:
    """*hint* as JSON has it; the dataclasses it mentions go into *inner*."""
    arguments = typing.get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if is_dataclass(hint) and isinstance(hint, type):
        inner[hint.__name__] = hint
        return f"object: [{hint.__name__}](#{hint.__name__.lower()})"
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f"`{_json(value)}`" for value in arguments)
    if typing.get_origin(hint) is tuple:
        return f"list of {_type(arguments[0], inner)}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_type(argument, inner) for argument in arguments)
    raise TypeError(f"no JSON type is known for {hint!r}")


def _json(value: object) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


# --- exit-codes.md -----------------------------------------------------------------------------------------------

EXITS = """\
# Errors and exit codes

<!-- Written by docs/generate.py from src/paios/base/errors.py; change it there. -->

An error is printed as what is wrong and, below it, the way out; both go to stderr. With `--json` or `--stream-json` it is an
object on stdout: a `failed` event if the request had begun, else `{"type": "error", "kind": …, "message": …, "remedy": …}`.

| exit code | kind | meaning |
|---|---|---|
| 0 |  | Answered. |
"""

EXITS_MORE = """\
| 1 | `interrupted` | PAIOS itself was killed while this was running; the next start writes this ending. |
| 1 | `bug` | An error inside PAIOS; the message names the file with the details. |
| 130 |  | Stopped, with Ctrl-C, by a signal, or by the `interrupt` of stream-json. |
| 141 |  | Whoever read the output went away. |

`ai brains` returns 4 if no brain but the librarian is ready, `ai doctor` 1 if it found a problem.

## Why a brain is unavailable

The `reason` of a [`steppedaside`](events.md#steppedaside) event is one of {reasons}.
[Fix a brain](../how-to/fix-a-brain.md) says what to do about each.
"""


def exit_codes() -> str:
    """`exit-codes.md`: the tree of errors with their kinds and exit codes."""
    rows = [
        f"| {e.exit_code} | `{e.kind}` | {_cell(_first_line(e))} |"
        for e in sorted(_tree(PaiosError), key=lambda e: e.exit_code)
    ]
    reasons = ", ".join(f"`{reason}`" for reason in typing.get_args(Reason))
    return EXITS + "\n".join(rows) + "\n" + EXITS_MORE.replace("{reasons}", reasons)


def _tree(cls: type[PaiosError]) -> Iterator[type[PaiosError]]:
    yield cls
    for inner in cls.__subclasses__():
        yield from _tree(inner)


def _first_line(cls: type) -> str:
    if cls is PaiosError:
        return "Anything else that went wrong."
    return inspect.cleandoc(cls.__doc__ or "").split("\n", 1)[0]


# --- all of them -------------------------------------------------------------------------------------------------

PAGES = {"settings.md": settings, "commands.md": commands, "events.md": events, "exit-codes.md": exit_codes}


def main(args: list[str]) -> int:
    """Writes the pages, or with `--check` says which are not as they would be written (exit code 1 if one is not)."""
    stale = 0
    for name, page in PAGES.items():
        path = FOLDER / name
        if path.is_file() and path.read_text(encoding="utf-8") == page():
            continue
        if "--check" in args:
            print(f"{path} is out of date: run `python docs/generate.py`", file=sys.stderr)
            stale = 1
        else:
            path.write_text(page(), encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
