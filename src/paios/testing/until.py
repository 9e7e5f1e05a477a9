"""Waiting for something outside this process, which tells nobody when it happens."""

from __future__ import annotations

from collections.abc import Callable

import anyio


async def until(claim: Callable[[], object], *, within_s: float = 20) -> None:
    """
    Returns once *claim* holds.

    Raises:
        TimeoutError: it does not within that time.
    """
    with anyio.fail_after(within_s):
        while not claim():  # another process: there is no event to wait for  # noqa: ASYNC110
            await anyio.sleep(0.02)
