"""Finds model servers that run on this machine: Ollama, LM Studio, llama.cpp, on their usual loopback ports.

A port is a model server if it answers the list of models in that server's own shape; many other programs sit on 8080.
Speaks HTTP/1.0, so that an answer ends with its connection and is never chunked: no HTTP library is needed.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio

from paios.brains.gateway.endpoint import Endpoint, Kind, is_loopback

log = logging.getLogger(__name__)

LIMIT_S = 0.5  # for all servers together
_KNOCK_S = 0.015  # per port; a refused connection on loopback takes 0.1 ms
_LARGEST = 4_000_000  # bytes; a list of a thousand models is 0.3 MB
_NO_CHAT = ("embed", "rerank")  # in the names of models that cannot answer


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server of a kind is to be looked for."""

    name: str
    kind: Kind
    port: int
    path: str
    host: str = "127.0.0.1"


PLACES = (
    Place("ollama", "ollama", 11434, "/api/tags"),
    Place("lmstudio", "openai-compatible", 1234, "/v1/models"),
    Place("llamacpp", "openai-compatible", 8080, "/v1/models"),
)


def places(env: Mapping[str, str], defaults: tuple[Place, ...] = PLACES) -> tuple[Place, ...]:
    """The places to look at: *defaults*, with Ollama where `OLLAMA_HOST` says; none outside loopback."""
    host = env.get("OLLAMA_HOST", "").strip()
    looked = [_moved(place, host) if host and place.kind == "ollama" else place for place in defaults]
    return tuple(place for place in looked if place is not None and is_loopback(place.host))


def is_any_open(where: tuple[Place, ...]) -> bool:
    """Whether something listens on one of the ports: milliseconds, and no proof that it is a model server."""
    for place in where:
        with suppress(OSError), socket.create_connection((place.host, place.port), timeout=_KNOCK_S):
            return True
    return False


async def discover(where: tuple[Place, ...], *, limit_s: float = LIMIT_S) -> tuple[Endpoint, ...]:
    """The model servers that answered within *limit_s*, in the order of *where*, each with at least one model."""
    found: dict[str, tuple[str, ...]] = {}

    async def look(place: Place) -> None:
        with suppress(OSError, ValueError, anyio.BrokenResourceError):  # nobody there, or no model server: both are usual
            found[place.name] = _models(place.kind, await _get(place))

    with anyio.move_on_after(limit_s):
        async with anyio.create_task_group() as group:
            for place in where:
                group.start_soon(look, place)
    log.debug("model servers on this machine: %s", found)
    return tuple(Endpoint(p.name, p.kind, _url(p), models=found[p.name]) for p in where if found.get(p.name))


def _moved(place: Place, host: str) -> Place | None:
    """Ollama at `host`, `host:port`, `:port` or a URL; 0.0.0.0 is where it listens, so it is on loopback too."""
    try:
        parts = urlsplit(host if "://" in host else f"//{host}")
        port = parts.port or place.port
    except ValueError:
        return None
    name = parts.hostname or place.host
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)
    return Place(place.name, place.kind, port, place.path, name) if parts.scheme in ("", "http") else None


def _url(place: Place) -> str:
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"http://{host}:{place.port}" + ("" if place.kind == "ollama" else "/v1")


async def _get(place: Place) -> object:
    """The JSON at the place. Raises OSError or ValueError if there is none."""
    request = f"GET {place.path} HTTP/1.0\r\nHost: {place.host}:{place.port}\r\nAccept: application/json\r\n\r\n"
    answer = b""
    async with await anyio.connect_tcp(place.host, place.port) as stream:
        await stream.send(request.encode("ascii"))
        with suppress(anyio.EndOfStream):
            while len(answer) < _LARGEST:
                answer += await stream.receive()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split()
    if len(status) < 2 or not status[0].startswith(b"HTTP/") or status[1] != b"200":
        raise ValueError(f"no list of models at {place.host}:{place.port}")
    return json.loads(body)


def _models(kind: Kind, answer: object) -> tuple[str, ...]:
    """The names in a list of models. Raises ValueError if *answer* is something else."""
    key, name = ("models", "name") if kind == "ollama" else ("data", "id")
    rows: Any = answer.get(key) if isinstance(answer, dict) and (kind == "ollama" or answer.get("object") == "list") else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get(name), str) for row in rows):
        raise ValueError("an answer, but no list of models")
    names = [row[name] for row in rows]
    return tuple(n for n in names if not any(word in n.lower() for word in _NO_CHAT))
