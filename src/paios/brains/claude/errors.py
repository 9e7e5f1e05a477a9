"""What Claude Code's ways to fail mean to us: every one of them is one of our `BrainError`s."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from paios.base.errors import BrainError, BrainRefused, BrainUnavailable, SessionLost
from paios.brains.claude.process import ChildEnded
from paios.brains.claude.tools import NAME

LOGIN = "run `claude` and log in, then try again"
PATIENCE_S = 10.0  # Claude Code waits as long as the vendor asks; another brain need not

_LOST = re.compile(r"No conversation found", re.IGNORECASE)
_LOGGED_OUT = re.compile(r"run /login|not logged in|invalid api key|authentication[_ ]error|OAuth token", re.IGNORECASE)
_LIMITED = re.compile(r"(usage|session|weekly|rate|5-hour|opus) limit|hit your .*limit|credit balance", re.IGNORECASE)
_CUT = re.compile(r"connection|ECONN|socket|network|fetch failed|timed? ?out|stream", re.IGNORECASE)


def failure_of(status: int | None, text: str, *, retry_after_s: float | None = None) -> BrainError:
    """The error for a result that is one; *status* is the HTTP status of the model call, if there was one."""
    if _LOST.search(text):
        return SessionLost(NAME, text)
    if status in (401, 403) or (status is None and _LOGGED_OUT.search(text)):
        return BrainUnavailable(NAME, text, reason="logged_out", remedy=LOGIN)
    if status == 429 or _LIMITED.search(text):
        return BrainUnavailable(NAME, text, reason="limited", retry_after_s=retry_after_s)
    if status is not None and status >= 500:
        return BrainUnavailable(NAME, text, reason="overloaded")
    if status == 408 or (status is None and _CUT.search(text)):
        return BrainUnavailable(NAME, text, reason="cut")
    if status is not None and status >= 400:
        return BrainRefused(NAME, text)
    return BrainUnavailable(NAME, text, reason="broken")


def of_ended_child(error: ChildEnded, result: Mapping[str, Any] | None) -> BrainError:
    """The error for a child that ended before the turn did."""
    if error.code < 0 or error.code in (128 + 9, 128 + 15):
        return BrainUnavailable(NAME, f"Claude Code was killed (exit {error.code})", reason="killed")
    text = error.stderr or str(error)
    if result is None:
        return failure_of(None, text)
    status = result.get("api_error_status")
    errors = "; ".join(str(e) for e in result.get("errors") or ())
    return failure_of(status if isinstance(status, int) else None, str(result.get("result") or errors or text))


def of_retry(data: Mapping[str, Any]) -> BrainUnavailable | None:
    """The error if Claude Code is about to wait longer for its next try than is worth it, else None."""
    delay_ms = data.get("retry_delay_ms")
    if not isinstance(delay_ms, (int, float)) or delay_ms <= PATIENCE_S * 1000:
        return None
    limited = data.get("error_status") == 429
    return BrainUnavailable(
        NAME,
        f"asked to wait {delay_ms / 1000:.0f} s ({data.get('error') or 'no reason given'})",
        reason="limited" if limited else "overloaded",
        retry_after_s=delay_ms / 1000,
    )
