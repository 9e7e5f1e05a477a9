"""Text that is safe and readable on a terminal."""

from __future__ import annotations

import re
from decimal import Decimal

_CONTROL = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# Control characters but newline and tab; marks that change the direction of what follows; characters of no width.
_HIDING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def printable(text: str) -> str:
    """*text* without escape sequences and control characters, which could rewrite what a person sees.

    Newlines, tabs and right-to-left marks stay.
    """
    return _CONTROL.sub("", text)


def literal(text: str, *, at_most: int = 1000) -> str:
    """*text* as it is, for a person who has to consent to it: what could hide or reorder a part of it is spelled out."""
    shown = _HIDING.sub(lambda found: found[0].encode("unicode_escape").decode(), text[:at_most])
    return shown if len(text) <= at_most else f"{shown} … and {len(text) - at_most:,} more characters"


def money(cost_usd: Decimal, unknown: int) -> str:
    """A sum in dollars that says when parts of it are not known; never "$0" for what nobody knows."""
    if unknown and not cost_usd:
        return "cost unknown"
    return f"${cost_usd:.4f}" + (f" and {unknown} unknown" if unknown else "")
