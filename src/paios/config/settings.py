"""The settings of `paios.toml`, each with a default that works, a unit and one sentence.

Plain dataclasses, so that a start without a file needs no validation library; `files.load_settings` checks a file
strictly. A setting exists if two users would set it differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Gt, Le  # pydantic reads these; has no dependencies of its own

from paios.base.types import Tier
from paios.config.checked import Must, Strict


@dataclass(frozen=True, slots=True)
class Doc:
    """The sentence about a setting, and its unit."""

    text: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Program(Strict):
    """A brain that is a program of its vendor's."""

    enabled: Annotated[bool, Doc("Whether this brain may be used at all.")] = True
    binary: Annotated[str, Doc("Path of the program; empty: the first on PATH, else the one its Python package brings.")] = ""


@dataclass(frozen=True, slots=True)
class Claude(Program):
    project_settings: Annotated[
        bool,
        Doc(
            "Let the working folder's own .claude settings and .mcp.json apply: their hooks and servers run without asking you,"
            " so only for folders you trust."
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class Gateway(Strict):
    enabled: Annotated[bool, Doc("Whether model APIs and local model servers may be used.")] = True
    discover: Annotated[
        bool, Doc("Look for Ollama, LM Studio and llama.cpp on their usual loopback ports when no model is configured.")
    ] = True


@dataclass(frozen=True, slots=True)
class Local(Strict):
    """The optional extra `local-llm`."""

    gguf: Annotated[str, Doc("Path of a GGUF model file to run in process; empty: none.")] = ""
    context: Annotated[int, Gt(0), Doc("Context window to allocate.", "tokens")] = 4096
    threads: Annotated[int, Ge(0), Doc("Threads for the model; 0: one fewer than there are cores.")] = 0


@dataclass(frozen=True, slots=True)
class Librarian(Strict):
    folders: Annotated[
        tuple[str, ...], Doc("Folders and files the librarian answers from, besides what is attached or piped in.")
    ] = ()


@dataclass(frozen=True, slots=True)
class Brains(Strict):
    claude: Claude = field(default_factory=Claude)
    codex: Program = field(default_factory=Program)
    gateway: Gateway = field(default_factory=Gateway)
    local: Local = field(default_factory=Local)
    librarian: Librarian = field(default_factory=Librarian)


@dataclass(frozen=True, slots=True)
class Limits(Strict):
    timeout_s: Annotated[float, Gt(0), Doc("How long one request may take in all.", "seconds")] = 1800.0
    silent_s: Annotated[
        float, Gt(0), Doc("How long a brain may be silent before it is given up; waiting for you does not count.", "seconds")
    ] = 300.0
    approval_s: Annotated[float, Gt(0), Doc("How long a question waits for you before it counts as no.", "seconds")] = 600.0
    attachment_bytes: Annotated[int, Gt(0), Doc("The largest file that can be attached.", "bytes")] = 10_000_000
    prompt_bytes: Annotated[int, Gt(0), Doc("The longest prompt, piped input included.", "bytes")] = 8_000_000
    daily_usd: Annotated[
        Annotated[float, Gt(0)] | None,
        Doc(
            "What may be spent in a day by the price list; from there on only brains without a price answer, and from four"
            " fifths on the fast tier. A brain you name yourself is asked all the same.",
            "US dollars",
        ),
    ] = None


def _is_folder(value: str) -> str:
    # One relative to whatever folder a request comes from would protect nothing.
    return "" if re.match(r"/|~(/|$)", value) else "a path that begins with / or ~/"


@dataclass(frozen=True, slots=True)
class Routing(Strict):
    threshold: Annotated[float, Ge(0), Le(1), Doc("Below this confidence a request counts as general.", "probability")] = 0.35
    private_folders: Annotated[
        tuple[Annotated[str, Must(_is_folder)], ...],
        Doc("Folders whose requests stay on this machine: only a local model or the librarian answers there."),
    ] = ()


@dataclass(frozen=True, slots=True)
class Settings(Strict):
    brains: Brains = field(default_factory=Brains)
    limits: Limits = field(default_factory=Limits)
    routing: Routing = field(default_factory=Routing)


def catalogue(cls: Any = Settings, prefix: str = "") -> list[tuple[str, Any, Doc]]:
    """Every setting as (dotted key, default, doc): what the reference page and `ai config show` are made from."""
    rows: list[tuple[str, Any, Doc]] = []
    hints = get_type_hints(cls, include_extras=True)
    defaults = cls()
    for f in fields(cls):
        value = getattr(defaults, f.name)
        if is_dataclass(value):
            rows += catalogue(type(value), f"{prefix}{f.name}.")
        else:
            doc = next(m for m in hints[f.name].__metadata__ if isinstance(m, Doc))
            rows.append((prefix + f.name, value, doc))
    return rows


# Keys that are no settings here, though somebody might think so, and where they belong.
ELSEWHERE: Mapping[str, str] = {
    "routing.table": "it moved to `routes` in llm-config.json",
    "routes": "it belongs into llm-config.json",
}

TIER_DEFAULT: Tier = "standard"
