"""The Anthropic Messages API as a server speaks it.

Source: docs.claude.com, API reference, "Messages" and "Streaming messages"; what Claude Code 2.1 and the Python SDK accept.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from paios.base.types import Usage
from paios.testing.dialect import Dialect, Frame, Json, Tool, arguments, new_id, resolve, sse
from paios.testing.scene import Answer, Call, Image, Line, Refusal, Role, Thinking, Words, pieces

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant"}  # Claude Code sends "system" within messages, too


def _tools(body: Json) -> list[Tool]:
    return [Tool(str(t.get("name"))) for t in body.get("tools") or ()]


def _lines(body: Json) -> Iterator[Line]:
    if body.get("system"):
        yield Line("system", _text(body["system"]))
    for message in body.get("messages") or ():
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        own = [b for b in blocks if b.get("type") != "tool_result" and not _is_reminder(b)]
        for block in blocks:
            if block.get("type") == "tool_result":
                inner = block.get("content") or ""
                yield Line("tool", _text(inner), _images([] if isinstance(inner, str) else inner))
            elif _is_reminder(block):
                yield Line("system", block["text"])
        if own:
            yield Line(_ROLES.get(message["role"], "system"), _text(own), _images(own))


def _is_reminder(block: Json) -> bool:
    """Whether Claude Code put this beside what the user said."""
    return block.get("type") == "text" and block["text"].startswith("<system-reminder>")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(b["text"] if b.get("type") == "text" else json.dumps(b.get("input")) for b in content if _speaks(b))


def _speaks(block: Json) -> bool:
    return block.get("type") in ("text", "tool_use")


def _images(blocks: list[Json]) -> tuple[Image, ...]:
    sources = [b["source"] for b in blocks if b.get("type") == "image"]
    return tuple(Image(s["media_type"], base64.b64decode(s["data"])) for s in sources if s.get("type") == "base64")


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }


def _whole(answer: Answer, body: Json) -> Json:
    content: list[Json] = []
    for block in resolve(answer.blocks, _tools(body)):
        match block:
            case Words(text):
                content.append({"type": "text", "text": text})
            case Thinking(text):
                content.append({"type": "thinking", "thinking": text, "signature": "c2lnbmVk"})
            case (Tool() as tool, Call() as call):
                content.append(
                    {"type": "tool_use", "id": new_id("toolu_"), "name": tool.name, "input": json.loads(arguments(call))}
                )
    return {
        "id": new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": content,
        "stop_reason": "tool_use" if any(c["type"] == "tool_use" for c in content) else "end_turn",
        "stop_sequence": None,
        "usage": _usage(answer.usage),
    }


def _stream(answer: Answer, body: Json) -> Iterator[Frame]:
    message = _whole(answer, body)
    opening = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield _frame("message_start", message=opening)
    for index, block in enumerate(message["content"]):
        empty, deltas = _deltas(block)
        yield _frame("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield _frame("content_block_delta", True, index=index, delta=delta)
        yield _frame("content_block_stop", index=index)
    yield _frame(
        "message_delta",
        delta={"stop_reason": message["stop_reason"], "stop_sequence": None},
        usage={"output_tokens": message["usage"]["output_tokens"]},
    )
    yield _frame("message_stop")


def _deltas(block: Json) -> tuple[Json, list[Json]]:
    """A content block as it opens, and the deltas that fill it."""
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in pieces(block["text"])]
    if block["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": p} for p in pieces(block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signed]
    raw = json.dumps(block["input"], ensure_ascii=False)
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": p} for p in pieces(raw, 200)]


def _frame(kind: str, piece: bool = False, **data: Any) -> Frame:
    return Frame(sse({"type": kind, **data}, event=kind), piece)


def _error(refusal: Refusal) -> Json:
    error = {"type": _ERRORS.get(refusal.status, "api_error"), "message": refusal.message, **refusal.details}
    return {"type": "error", "error": error, "request_id": new_id("req_")}


def _break_off(refusal: Refusal) -> Frame:
    return Frame(sse(_error(refusal), event="error"))


MESSAGES = Dialect("anthropic", _tools, _lines, _whole, _stream, _error, _break_off)
