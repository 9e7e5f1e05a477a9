"""Makes a `Request` of what a person gave: cleaned text, checked files and images.

Everything wrong with it is a `BadInput` here, before anything is stored or started.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from paios.base.errors import BadInput
from paios.base.quoting import quoted
from paios.base.text import clean
from paios.base.types import ALLOWABLE, ActionKind, Attachment, Origin, Request, new_trace
from paios.config.settings import Limits

# First bytes of the image types that every vision model takes.
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


@dataclass(frozen=True, slots=True)
class Asked:
    """A task as it was typed, before it is checked."""

    text: str
    cwd: Path
    thread: str
    origin: Origin
    piped: str = ""
    brain: str | None = None
    model: str | None = None
    files: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    timeout_s: float | None = None


def request(asked: Asked, limits: Limits, at: datetime) -> Request:
    """
    *asked* as a request.

    Raises:
        BadInput: it is blank or too long, a file or image cannot be used, the folder is not there, `allow` names no action.
    """
    text = _prompt(asked, limits)
    if not asked.cwd.is_dir():
        raise BadInput(f"{asked.cwd} is not a folder", remedy="give an existing one with --cwd")
    cwd = asked.cwd.resolve()
    attachments = [_file(cwd / name, name, limits) for name in asked.files] + [_image(cwd / n, n, limits) for n in asked.images]
    return Request(
        text=text,
        cwd=cwd,
        thread=asked.thread,
        trace=new_trace(),
        at=at,
        origin=asked.origin,
        brain=asked.brain,
        model=asked.model,
        attachments=tuple(attachments),
        allow=frozenset(_kinds(asked.allow)),
        timeout_s=asked.timeout_s,
    )


def _prompt(asked: Asked, limits: Limits) -> str:
    text, piped = clean(asked.text).strip(), clean(asked.piped).strip("\n")
    if not text and not piped.strip():
        raise BadInput("there is nothing to do: the prompt is empty", remedy='try: ai "what can you do?"')
    if piped.strip():
        text = f"{text}\n\n{quoted('stdin', piped)}" if text else piped
    size = len(text.encode())
    if size > limits.prompt_bytes:
        raise BadInput(
            f"the prompt has {size:,} bytes, more than limits.prompt_bytes = {limits.prompt_bytes:,}",
            remedy="attach the text as a file with -f, or raise the limit with `ai config set`",
        )
    return text


def _kinds(names: Iterable[str]) -> Collection[ActionKind]:
    kinds: list[ActionKind] = []
    for name in (part.strip() for given in names for part in given.split(",")):
        known = next((kind for kind in ALLOWABLE if kind == name), None)
        if known is None:
            raise BadInput(f"--allow {name!r} is no kind of action", remedy=f"choose from {', '.join(ALLOWABLE)}")
        kinds.append(known)
    return kinds


def _bytes(path: Path, name: str, limits: Limits) -> bytes:
    try:
        if path.is_dir():
            raise BadInput(f"{name} is a folder", remedy="name the files in it, or run `ai` in that folder and ask about it")
        if not path.is_file():
            # also a device or a pipe, which might never end
            raise BadInput(f"there is no file {name}", remedy=f"looked at {path}")
        size = path.stat().st_size
        if size > limits.attachment_bytes:
            raise BadInput(
                f"{name} has {size:,} bytes, more than limits.attachment_bytes = {limits.attachment_bytes:,}",
                remedy="attach a part of it, or raise the limit with `ai config set`",
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise BadInput(f"{name!r} cannot be read: {error}", remedy="check its name and permissions") from error


def _file(path: Path, name: str, limits: Limits) -> Attachment:
    data = _bytes(path, name, limits)
    if _image_type(data):
        return _image(path, name, limits)
    if b"\0" in data[:65536]:
        raise BadInput(f"{name} is not a text file", remedy="attach text with -f and images with -i")
    media_type = mimetypes.guess_type(path.name)[0] or "text/plain"
    return Attachment(path, media_type if media_type.startswith("text/") else "text/plain", len(data), clean(_decoded(data)))


def _decoded(data: bytes) -> str:
    """Text of a file: UTF-8, or the Arabic and Western encodings of older Windows files, whichever reads as words."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        arabic = data.decode("cp1256", errors="replace")
        letters = sum("\u0621" <= c <= "\u064a" for c in arabic)
        return arabic if letters * 4 > len(arabic) else data.decode("cp1252", errors="replace")


def _image(path: Path, name: str, limits: Limits) -> Attachment:
    data = _bytes(path, name, limits)
    media_type = _image_type(data)
    if not media_type:
        raise BadInput(f"{name} is no PNG, JPEG, GIF or WebP image", remedy="convert it, or attach text with -f")
    return Attachment(path, media_type, len(data))


def _image_type(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((name for magic, name in _MAGIC if data.startswith(magic)), "")
