"""Putting a stranger's text into a prompt so that it stays between its tags.

A file that contains `</file>` must not be able to end its own quotation and go on in the person's voice.
"""

from __future__ import annotations

import re

_TAGS = re.compile(r"<(/?)(?=(?:file|stdin|earlier_conversation)\b)", re.IGNORECASE)


def quoted(tag: str, text: str, **attributes: str) -> str:
    """*text* between `<tag …>` and `</tag>`; tags of ours inside it are made harmless by a visible `<\\`."""
    named = "".join(f' {name}="{_attribute(value)}"' for name, value in attributes.items())
    return f"<{tag}{named}>\n{inert(text)}\n</{tag}>"


def inert(text: str) -> str:
    """*text* with the tags that PAIOS gives a meaning to broken up; all else is kept."""
    return _TAGS.sub(r"<\\\1", text)


def _attribute(value: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", " ", value).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
