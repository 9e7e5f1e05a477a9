"""Standard input and output without blocking the loop, and without a thread that keeps the process from ending."""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import AsyncGenerator, AsyncIterator

import anyio

PIECE = 4096  # PIPE_BUF: a pipe that polls as writable takes this much without blocking
PATIENCE_S = 2.0  # for a reader that takes nothing while we are being stopped: within 5 s all must be over


class Closed(Exception):
    """Our output goes nowhere any more. `why` is empty if its reader has gone, else what is wrong, such as a full disk."""

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why


def fill() -> None:
    """Opens /dev/null for those of the three standard streams that are closed.

    Else the next file that is opened takes the place: the answer would be written into the database.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one


def has_reader(fd: int = 1) -> bool:
    """Whether somebody can still read what is written to *fd*; of a file or a terminal always True."""
    if not _waits(fd) or os.isatty(fd):
        return True
    poll = select.poll()
    poll.register(fd, 0)  # errors and hang-ups are reported without being asked for
    return not poll.poll(0)


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


async def chunks(fd: int = 0) -> AsyncGenerator[bytes, None]:
    """What can be read from *fd* until its end. Cancellable at any time."""
    try:
        waits = _waits(fd)
    except OSError:  # closed before we began
        return
    while True:
        if waits:
            await anyio.wait_readable(fd)
        try:
            chunk = os.read(fd, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return  # the terminal was closed
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
        self._over: Closed | None = None

    async def write(self, text: str) -> None:
        """
        Writes *text* whole, also when cancelled half-way, unless the reader then takes nothing for `PATIENCE_S`.

        Raises:
            Closed: the reader has gone or gave up reading in the middle of a piece, or the file takes no more.
        """
        left = memoryview(text.encode("utf-8", errors="replace"))
        async with self._lock:
            if self._over is not None:
                raise self._over
            try:
                while left:
                    left = await self._put(left)
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await self._finish(left)
                raise

    async def line(self, text: str) -> None:
        """As `write`, with a newline."""
        await self.write(text + "\n")

    async def _finish(self, left: memoryview) -> None:
        while left:
            with anyio.move_on_after(PATIENCE_S) as patience:
                left = await self._put(left)
            if patience.cancelled_caught:
                self._over = Closed()  # half a piece went out: whatever followed would be read as its end
                return

    async def _put(self, data: memoryview) -> memoryview:
        try:
            if _waits(self._fd):
                await anyio.wait_writable(self._fd)
            return data[os.write(self._fd, data[:PIECE]) :]
        except OSError as error:
            gone = isinstance(error, (BrokenPipeError, ConnectionResetError)) or error.errno == errno.EIO  # EIO: no terminal
            self._over = Closed("" if gone else error.strerror or str(error))
            raise self._over from error
