"""What Codex says of itself: tokens counted, quota, login, and why a turn failed, in the words of the house.

Pure, like `items`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from paios.base.errors import BrainError, BrainRefused, BrainUnavailable, Reason
from paios.base.types import Usage, Window
from paios.brains.codex.items import NAME
from paios.observability import usage as tokens

# ---- counters

ACCOUNT = "codex"  # Codex's name for the limit of the whole account
THREADS = 1_000  # a thread that is forgotten has its total worked out from its first count


def usage(counted: Mapping[str, Any]) -> Usage:
    """One of the protocol's token counts. Cached and cache-writing tokens are inside its input count, as OpenAI has it."""
    seen = tokens.openai(
        {
            "input_tokens": counted.get("inputTokens", 0),
            "cached_input_tokens": counted.get("cachedInputTokens", 0),
            "output_tokens": counted.get("outputTokens", 0),
            "reasoning_output_tokens": counted.get("reasoningOutputTokens", 0),
        }
    )
    written = min(int(counted.get("cacheWriteInputTokens") or 0), seen.input)
    return replace(seen, input=seen.input - written, cache_write=written)


@dataclass(slots=True)
class Spending:
    """Tokens of one thread within one turn. The server counts per thread, over all its turns and resumes."""

    model: str | None
    before: Mapping[str, Any] | None = None  # the thread's total when the turn began, if it was told
    first: Mapping[str, Any] | None = None
    last: Mapping[str, Any] | None = None

    def note(self, counted: Mapping[str, Any], ours: bool) -> None:
        if not ours:  # a resumed thread repeats its last count, under its old turn's id
            self.before = counted["total"]
        else:
            self.first = self.first or counted
            self.last = counted

    def usage(self) -> Usage:
        """The growth of the total: repeated notices, which do occur, count once."""
        if self.last is None or self.first is None:
            return Usage()
        before = usage(self.before) if self.before else usage(self.first["total"]) - usage(self.first["last"])
        return usage(self.last["total"]) - before


@dataclass(slots=True)
class Meters:
    """The counters that outlive a turn: what each thread has used so far, of the newest thousand, and the quota."""

    totals: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    limits: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # limit → what was told of it
    _told: str = ACCOUNT  # the limit told of last

    def total(self, thread: str, total: Mapping[str, Any]) -> None:
        self.totals.pop(thread, None)
        self.totals[thread] = total
        if len(self.totals) > THREADS:
            del self.totals[next(iter(self.totals))]

    def tell(self, limits: Mapping[str, Any]) -> None:
        """Takes a snapshot of one limit. What it leaves open stays as it was: answers without such headers bring empty ones."""
        self._told = limits.get("limitId") or ACCOUNT
        told = {key: value for key, value in limits.items() if value is not None}
        self.limits[self._told] = {**self.limits.get(self._told, {}), **told}

    @property
    def last(self) -> Mapping[str, Any]:
        """The limit told of last: after a refused request that is the one it met."""
        return self.limits.get(self._told, {})

    def windows(self) -> tuple[Window, ...]:
        """The account's windows. Other limits are for single models, and say nothing of Codex as a whole."""
        return windows(self.limits.get(ACCOUNT, {}))


def windows(limits: Mapping[str, Any]) -> tuple[Window, ...]:
    """The windows in one of the protocol's rate-limit snapshots: "5h", "weekly", else their length."""
    found = []
    for raw in (limits.get("primary"), limits.get("secondary")):
        if raw:
            name = _window_name(raw.get("windowDurationMins"))
            found.append(Window(name, float(raw.get("usedPercent", 0)), _moment(raw.get("resetsAt"))))
    return tuple(found)


def _moment(seconds: int | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, ValueError, OSError):  # no year that could be meant: the provider counts otherwise
        return None


def _window_name(minutes: int | None) -> str:
    if not minutes:
        return "limit"
    if minutes == 7 * 24 * 60:
        return "weekly"
    return f"{minutes // 1440}d" if minutes % 1440 == 0 else f"{round(minutes / 60)}h"


def login(account: Mapping[str, Any]) -> str:
    """How the answer to `account/read` says Codex is logged in: "subscription", "api key", "none needed", "logged out"."""
    kind = (account.get("account") or {}).get("type")
    if kind == "chatgpt":
        return "subscription"
    if kind:
        return "api key"
    return "logged out" if account.get("requiresOpenaiAuth") else "none needed"


# ---- errors

_REASONS: dict[str, Reason] = {
    "unauthorized": "logged_out",
    "usageLimitExceeded": "limited",
    "rateLimitExceeded": "limited",
    "sessionBudgetExceeded": "limited",
    "flexUnavailable": "overloaded",
    "serverOverloaded": "overloaded",
    "internalServerError": "overloaded",
    "sandboxError": "broken",
}
_REFUSALS = {"contextWindowExceeded", "badRequest", "cyberPolicy", "misalignmentPolicyViolation", "tooManyDenials"}
_STATUS = re.compile(r"(?:unexpected status|last status:|status code) (\d{3})")
LOG_IN = "run `codex login` and try again"


def problem(error: Mapping[str, Any], limits: Mapping[str, Any], now: datetime) -> BrainError:
    """The error of a failed turn. *limits* is the last rate-limit snapshot, *now* what its reset times are compared with."""
    info = error.get("codexErrorInfo")
    kind, status = (
        (info, None)
        if not isinstance(info, dict)
        else next(iter((k, (v or {}).get("httpStatusCode")) for k, v in info.items()))
    )
    message = _plain(str(error.get("message") or "the turn failed"))
    if kind in _REFUSALS:
        return BrainRefused(NAME, message)
    if status is None and (found := _STATUS.search(str(error.get("message", "")))):
        status = int(found[1])  # `other` carries the HTTP status in its text only
    if kind == "other" and message != str(error.get("message")):
        return BrainRefused(NAME, message)  # a 400: the provider's JSON body is all there is
    reason = _REASONS.get(str(kind)) or _by_status(status, cut=kind != "other" or "stream disconnected" in message)
    if reason is None:
        return BrainRefused(NAME, message)
    return BrainUnavailable(
        NAME,
        message,
        reason=reason,
        retry_after_s=_resets_in(limits, now) if reason == "limited" else None,
        remedy=LOG_IN if reason == "logged_out" else "",
    )


def _by_status(status: int | None, *, cut: bool) -> Reason | None:
    if status is None:
        return "cut" if cut else "broken"
    if status in (401, 403):
        return "logged_out"
    if status in (402, 429):
        return "limited"
    return "overloaded" if status >= 500 else None


def _plain(message: str) -> str:
    """The vendor's own words when *message* is its JSON body."""
    found = re.search(r"\{.*\}", message, re.DOTALL)
    if found:
        try:
            body = json.loads(found[0])
        except ValueError:
            return message
        inner = body.get("error") if isinstance(body.get("error"), dict) else body
        return str(inner.get("message") or inner.get("detail") or message)
    return message


def _resets_in(limits: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds until the fullest window starts anew, if one is full."""
    full = [w for w in windows(limits) if w.used_percent >= 100 and w.resets_at]
    waits = [(w.resets_at - now).total_seconds() for w in full if w.resets_at]
    return max(0.0, max(waits)) if waits else None
