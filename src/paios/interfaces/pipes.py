"""Standard input and output without blocking the loop, and without a thread that keeps the process from ending."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator

import anyio

PIECE = 4096  # PIPE_BUF: a pipe that polls as writable takes this much without blocking


class Closed(Exception):
    """Whoever read our output has gone."""


def is_fed(fd: int = 0) -> bool:
    """Whether something is piped or redirected into *fd*."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _waits(fd: int) -> bool:
    """Whether *fd* can be waited for; files and /dev/null are always ready and cannot."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


async def chunks(fd: int = 0) -> AsyncIterator[bytes]:
    """What can be read from *fd* until its end. Cancellable at any time."""
    try:
        waits = _waits(fd)
    except OSError:  # closed before we began
        return
    while True:
        if waits:
            await anyio.wait_readable(fd)
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            return
        yield chunk


async def lines(fd: int = 0) -> AsyncIterator[str]:
    """The lines of *fd* as text; bytes that are not UTF-8 become U+FFFD."""
    rest: list[bytes] = []  # joined once a line, so that one line of many MB does not cost its square
    async for chunk in chunks(fd):
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for piece in others:
            yield b"".join(rest).decode("utf-8", errors="replace")
            rest = [piece]
    if any(rest):
        yield b"".join(rest).decode("utf-8", errors="replace")


class Output:
    """Writes whole pieces in the order of the calls, however slow the reader is."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._lock = anyio.Lock()

    async def write(self, text: str) -> None:
        """
        Writes *text* whole, also when cancelled half-way, unless the reader then takes nothing for 2 s.

        Raises:
            Closed: the reader has gone.
        """
        left = memoryview(text.encode("utf-8", errors="replace"))
        async with self._lock:
            try:
                while left:
                    left = await self._put(left)
            except anyio.get_cancelled_exc_class():
                with anyio.move_on_after(2, shield=True):
                    while left:
                        left = await self._put(left)
                raise

    async def line(self, text: str) -> None:
        """As `write`, with a newline."""
        await self.write(text + "\n")

    async def _put(self, data: memoryview) -> memoryview:
        try:
            if _waits(self._fd):
                await anyio.wait_writable(self._fd)
            return data[os.write(self._fd, data[:PIECE]) :]
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error
