"""Text that is safe and readable on a terminal."""

from __future__ import annotations

import re
from decimal import Decimal

_CONTROL = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """*text* without escape sequences and control characters, which could rewrite what a person sees.

    Newlines, tabs and right-to-left marks stay.
    """
    return _CONTROL.sub("", text)


def money(cost_usd: Decimal, unknown: int) -> str:
    """A sum in dollars that says when parts of it are not known; never "$0" for what nobody knows."""
    if unknown and not cost_usd:
        return "cost unknown"
    return f"${cost_usd:.4f}" + (f" and {unknown} unknown" if unknown else "")
