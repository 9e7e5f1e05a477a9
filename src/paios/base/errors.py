"""What can go wrong, as the few classes that some caller acts on.

    PaiosError              a door prints it and exits with `exit_code`
    ├── BadInput            the person's words, files or options: nothing was started
    │   └── BadConfig       a configuration file: names the file, the key and the nearest valid one
    ├── NoBrain             every brain that could take the request is absent
    ├── BrainError          a brain did not finish: names the brain
    │   ├── BrainUnavailable    it could not begin or broke down; another brain may try
    │   ├── SessionLost         it has forgotten the session it was to resume: the thread can be told to it anew
    │   └── BrainRefused        it understood and said no (bad request, unknown model): trying again is no use
    ├── OutOfTime           the request took longer than its limit
    └── StoreError          the event log could not be written: nothing after this is durable

Everything else is a builtin (`ValueError` for a bad argument, `OSError` let through).
"""

from __future__ import annotations

from typing import Literal

# Why a brain is not there. `overloaded`, `limited`, `killed`, `cut` and `silent` pass with time; the others need a person.
Reason = Literal["missing", "logged_out", "limited", "overloaded", "killed", "cut", "silent", "broken"]


class PaiosError(Exception):
    """An error with a message a person can act on; `remedy` is the way out, `exit_code` what the command returns."""

    kind = "error"
    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class BadInput(PaiosError):
    """The request itself cannot be served. Nothing was stored, nothing was started."""

    kind = "bad_input"
    exit_code = 2


class BadConfig(BadInput):
    """A configuration file does not hold what it must."""

    kind = "bad_config"
    exit_code = 3


class NoBrain(PaiosError):
    """There is nobody to ask."""

    kind = "no_brain"
    exit_code = 4


class BrainError(PaiosError):
    """A brain did not finish the turn."""

    kind = "brain_failed"
    exit_code = 5

    def __init__(self, brain: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{brain}: {message}", remedy=remedy)
        self.brain = brain


class BrainUnavailable(BrainError):
    """The brain could not begin or broke down on the way; while nothing was said or done, the next one may try."""

    kind = "brain_unavailable"
    exit_code = 4

    def __init__(
        self,
        brain: str,
        message: str,
        *,
        reason: Reason,
        retry_after_s: float | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(brain, message, remedy=remedy)
        self.reason: Reason = reason
        self.retry_after_s = retry_after_s


class SessionLost(BrainError):
    """The brain no longer knows the session; nothing of the turn was done."""

    kind = "session_lost"


class BrainRefused(BrainError):
    """The brain answered that it will not do this request: an unknown model, a malformed image, a content rule."""

    kind = "brain_refused"


class OutOfTime(PaiosError):
    """The request used up its time."""

    kind = "timeout"
    exit_code = 6


class StoreError(PaiosError):
    """An event could not be stored, so the request was stopped."""

    kind = "store"
    exit_code = 7
