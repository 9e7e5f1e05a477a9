"""Claude's stream of one turn as `Said` and `Thought`, each word told once.

When a stream breaks, Claude Code asks the model again and streams the new answer from its first word. What it repeats
of the broken one is swallowed; from where it differs it is told as a paragraph of its own.
Knows the Messages API's stream events, not the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from paios.base.events import Said, Thought
from paios.base.types import Usage
from paios.brains.brain import Emit
from paios.observability import usage as tokens


class Speech:
    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._said = False  # anything in this turn
        self._paragraph = False  # the next word begins one
        self._complete = True  # the message that began last has ended as it should
        self._text = ""  # of this message so far
        self._before = ""  # of the broken message that this one repeats, as far as it was told
        self._message = ""
        self._usage: dict[str, Usage] = {}

    @property
    def usage(self) -> Usage:
        """The tokens of the messages that began, broken ones included; of the unfinished one what is known so far."""
        return sum(self._usage.values(), Usage())

    def knows(self, message_id: str | None) -> bool:
        return message_id in self._usage

    async def hear(self, event: Mapping[str, Any]) -> None:
        """Takes one raw stream event of the main conversation."""
        match event:
            case {"type": "message_start", "message": {"id": str(message_id), "usage": dict(usage)}}:
                self._message = message_id
                self._usage[message_id] = tokens.anthropic(usage)
                self._begin()
            case {"type": "message_delta", "delta": dict(delta), "usage": dict(usage)} if self._message:
                # Not `message_stop`: Claude Code makes one up for a broken stream.
                self._complete = delta.get("stop_reason") is not None
                self._usage[self._message] = replace(self._usage[self._message], output=tokens.anthropic(usage).output)
            case {"type": "content_block_start", "content_block": {"type": "text"}}:
                self._paragraph = True
            case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": str(text)}} if text:
                await self._say(text)
            case {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": str(text)}} if text:
                await self._emit(Thought(text))

    async def whole(self, text: str) -> None:
        """Takes a text that was not streamed."""
        self._begin()
        self._paragraph = True
        await self._say(text)
        self._complete = True

    def _begin(self) -> None:
        """A message begins; after a broken one it says the same thing again."""
        self._before = "" if self._complete else max(self._before, self._text, key=len)
        self._text = ""
        self._complete = False

    async def _say(self, text: str) -> None:
        if self._paragraph and self._text:
            text = f"\n\n{text}"  # within the message
        first = not self._text
        self._paragraph = False
        self._text += text
        if self._before.startswith(self._text):
            return
        if self._before and self._text.startswith(self._before):
            text, first = self._text[len(self._before) :], False
        elif self._before:
            text, first = self._text, True
        self._before = ""
        await self._emit(Said(f"\n\n{text}" if first and self._said else text))
        self._said = True
