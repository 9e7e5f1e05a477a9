"""What the server needs of a vendor: reading its requests, and writing answers, streams and errors in its shapes."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from paios.testing.scene import Answer, Block, Call, Image, Kind, Line, Refusal, Words

Json = dict[str, Any]


class Frame(NamedTuple):
    """One server-sent event. `piece` marks those that carry a piece of the answer."""

    text: str
    piece: bool = False


class Tool(NamedTuple):
    """A tool as it was offered. Codex groups some under a namespace, and has some that take free text."""

    name: str
    namespace: str | None = None
    free_form: bool = False

    @property
    def full(self) -> str:
        return f"{self.namespace}__{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Dialect:
    kind: Kind
    tools: Callable[[Json], list[Tool]]
    lines: Callable[[Json], Iterator[Line]]
    whole: Callable[[Answer, Json], Json]  # the answer as one object; the tool calls in it are resolved
    stream: Callable[[Answer, Json], Iterator[Frame]]
    error: Callable[[Refusal], Json]
    break_off: Callable[[Refusal], Frame]  # the error inside a stream


def resolve(blocks: Iterable[Block], offered: list[Tool]) -> Iterator[Words | tuple[Tool, Call] | Block]:
    """Blocks with each call bound to an offered tool; a `~regex` that finds none becomes words that say so."""
    for block in blocks:
        if not isinstance(block, Call):
            yield block
        elif not block.tool.startswith("~"):
            yield next((t for t in offered if block.tool in (t.name, t.full)), Tool(block.tool)), block
        elif hit := next((t for t in offered if re.search(block.tool[1:], t.full)), None):
            yield hit, block
        else:
            yield Words(f"[no tool matches {block.tool}; offered: {', '.join(t.full for t in offered)}]")


def arguments(call: Call) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)


def new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(12)


def sse(data: Mapping[str, Any], *, event: str = "") -> str:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"


def data_url(url: str) -> tuple[Image, ...]:
    """The image in a `data:` URL; one elsewhere is not fetched."""
    found = re.fullmatch(r"data:([^;,]+);base64,(.*)", url, re.DOTALL)
    return (Image(found[1], base64.b64decode(found[2])),) if found else ()
