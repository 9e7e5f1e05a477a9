"""One conversation across brains: it belongs to PAIOS; a brain's own session is only a cache of it."""

from __future__ import annotations

from dataclasses import dataclass

from paios.base.db import Database
from paios.base.types import Message, Session, new_id
from paios.observability import traces

# How much of a thread a brain that does not know it is given, newest kept. About 30k tokens of English; every brain we
# drive takes that, and cutting is said in the text.
HISTORY_CHARS = 120_000


@dataclass(frozen=True, slots=True)
class Known:
    """What a brain must be told to go on with a thread."""

    session: Session | None
    history: tuple[Message, ...]  # what the session does not hold yet
    from_others: int  # messages of it that another brain said


def latest(db: Database, cwd: str) -> str | None:
    """The thread last used in this folder."""
    past = traces.recent(db, cwd=cwd, limit=1)
    return past[0].thread if past else None


def new() -> str:
    return new_id("th")


def known(db: Database, thread: str, brain: str, until: str, session_lost: bool = False) -> Known:
    """What *brain* needs to take the thread's next turn, the request *until* itself left out."""
    found = None if session_lost else traces.session(db, thread, brain)
    session, after = found if found is not None else (None, 0)
    messages: list[Message] = []
    for past in traces.of_thread(db, thread, after=after):
        if past.trace == until:
            continue
        attached = "".join(f"\n[attached: {path}]" for path in past.attachments)
        messages.append(Message("user", past.text + attached))
        if past.answer:
            messages.append(Message("assistant", past.answer, past.brain))
    kept = _tail(messages)
    return Known(session, kept, sum(m.brain not in (None, brain) for m in kept))


def _tail(messages: list[Message]) -> tuple[Message, ...]:
    kept: list[Message] = []
    room = HISTORY_CHARS
    for message in reversed(messages):
        if len(message.text) > room:
            kept.append(
                Message(message.role, f"[… earlier part left out …] {message.text[len(message.text) - room :]}", message.brain)
            )
            break
        kept.append(message)
        room -= len(message.text)
    return tuple(reversed(kept))
