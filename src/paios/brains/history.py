"""A thread's earlier messages as plain text, for a brain whose own session does not know them.

Every vendor's prompt takes text, few take foreign history; one form for all keeps a thread's words the same whichever
brain continues it. Knows no brain and no vendor.
"""

from __future__ import annotations

from paios.base.quoting import quoted
from paios.base.types import Message

_OPENING = "What was said in this conversation so far, for context; the request follows below."


def with_history(text: str, history: tuple[Message, ...]) -> str:
    """
    *text* with the *history* before it, oldest first and clearly apart from it; *text* itself if there is none.

    *text* always comes last and unchanged. A message that contains a tag of ours cannot end the block early.
    """
    if not history:
        return text
    return f"{transcript(history)}\n\n{text}"


def transcript(history: tuple[Message, ...]) -> str:
    """The messages as one delimited block that says what it is; "" if there are none."""
    if not history:
        return ""
    said = (f"{_speaker(message)}:\n{message.text}" for message in history)
    return quoted("earlier_conversation", "\n\n".join((_OPENING, *said)))


def _speaker(message: Message) -> str:
    if message.role == "user":
        return "User"
    return f"Assistant ({message.brain})" if message.brain else "Assistant"
