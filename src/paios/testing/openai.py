"""The OpenAI Responses and Chat Completions APIs as a server speaks them.

Source: platform.openai.com, API reference; what Codex 0.163 and the Python SDK accept. Responses carry Codex's own
additions: tools in a namespace, tools that take free text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from paios.base.types import Usage
from paios.testing.dialect import Dialect, Frame, Json, Tool, arguments, data_url, new_id, resolve, sse
from paios.testing.scene import Answer, Call, Image, Line, Refusal, Role, Thinking, Words, pieces

_ERRORS = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}
_CREATED = 1_767_225_600  # seconds since 1970; nobody reads it


def _error(refusal: Refusal) -> Json:
    code = "invalid_api_key" if refusal.status == 401 else None
    return {
        "error": {
            "message": refusal.message,
            "type": _ERRORS.get(refusal.status, "server_error"),
            "param": None,
            "code": code,
            **refusal.details,
        }
    }


# --- Responses


def _tools(body: Json) -> list[Tool]:
    items = body.get("input") or ()
    # Codex's small model (0.163) is told of its tools in the conversation, not beside it.
    told = [tool for item in items if isinstance(item, dict) for tool in item.get("tools") or ()]
    found: list[Tool] = []
    for tool in [*(body.get("tools") or ()), *told]:
        if tool.get("type") == "namespace":
            found += [Tool(t["name"], tool["name"], t.get("type") == "custom") for t in tool.get("tools", ())]
        else:
            found.append(Tool(str(tool.get("name") or tool.get("type")), None, tool.get("type") == "custom"))
    return found


def _lines(body: Json) -> Iterator[Line]:
    if body.get("instructions"):
        yield Line("system", str(body["instructions"]))
    items = body.get("input") or ()
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        kind = item.get("type", "message")
        if kind == "message":
            yield Line(_role(item), *_content(item.get("content")))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            yield Line("tool", *_content(item.get("output")))
        elif kind in ("function_call", "custom_tool_call"):
            yield Line("assistant", str(item.get("arguments") or item.get("input") or ""))


def _role(message: Json) -> Role:
    role = message.get("role")
    return role if role in ("user", "assistant", "tool") else "system"  # "developer" among others


def _content(content: Any) -> tuple[str, tuple[Image, ...]]:
    """Text and images of a message or tool output, in either API's shape."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else json.dumps(content or ""), ()
    texts: list[str] = []
    images: list[Image] = []
    for part in content:
        url = part.get("image_url")
        if url:
            images += data_url(url["url"] if isinstance(url, dict) else url)
        elif "text" in part:
            texts.append(part["text"])
    return "\n".join(texts), tuple(images)


def _usage(usage: Usage) -> Json:
    read = usage.input + usage.cached + usage.cache_write
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": read + usage.output,
    }


def _whole(answer: Answer, body: Json) -> Json:
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": _CREATED,
        "status": "completed",
        "model": body.get("model"),
        "output": [_item(block) for block in resolve(answer.blocks, _tools(body))],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(answer.usage),
    }


def _item(block: Any) -> Json:
    match block:
        case Words(text):
            part = {"type": "output_text", "text": text, "annotations": []}
            return {"type": "message", "id": new_id("msg_"), "role": "assistant", "status": "completed", "content": [part]}
        case Thinking(text):
            return {"type": "reasoning", "id": new_id("rs_"), "summary": [{"type": "summary_text", "text": text}]}
        case (Tool() as tool, Call() as call):
            common = {"call_id": new_id("call_"), "name": tool.name, "status": "completed"}
            if tool.free_form:
                return {"type": "custom_tool_call", "id": new_id("ctc_"), "input": arguments(call), **common}
            named = {"namespace": tool.namespace} if tool.namespace else {}
            return {"type": "function_call", "id": new_id("fc_"), "arguments": arguments(call), **common, **named}
    raise TypeError(f"no block: {block!r}")


def _stream(answer: Answer, body: Json) -> Iterator[Frame]:
    response = _whole(answer, body)
    events = _events(response)
    for number, (kind, piece, data) in enumerate(events):
        yield Frame(sse({"type": kind, "sequence_number": number, **data}, event=kind), piece)


def _events(response: Json) -> Iterator[tuple[str, bool, Json]]:
    unfinished = {**response, "status": "in_progress", "output": [], "usage": None}
    yield "response.created", False, {"response": unfinished}
    yield "response.in_progress", False, {"response": unfinished}
    for index, item in enumerate(response["output"]):
        where = {"item_id": item["id"], "output_index": index}
        yield "response.output_item.added", False, {"output_index": index, "item": _opened(item)}
        if item["type"] == "message":
            yield from _message_events(item["content"][0], {**where, "content_index": 0})
        elif item["type"] == "reasoning":
            yield from _summary_events(item["summary"][0], {**where, "summary_index": 0})
        elif item["type"] == "function_call":
            for p in pieces(item["arguments"], 200):
                yield "response.function_call_arguments.delta", True, {**where, "delta": p}
            yield (
                "response.function_call_arguments.done",
                False,
                {**where, "name": item["name"], "arguments": item["arguments"]},
            )
        else:
            yield "response.custom_tool_call_input.delta", True, {**where, "delta": item["input"]}
            yield "response.custom_tool_call_input.done", False, {**where, "input": item["input"]}
        yield "response.output_item.done", False, {"output_index": index, "item": item}
    yield "response.completed", False, {"response": response}


def _opened(item: Json) -> Json:
    """An output item as it is announced, before it is filled."""
    empty: dict[str, Json] = {
        "message": {"content": [], "status": "in_progress"},
        "reasoning": {"summary": []},
        "function_call": {"arguments": "", "status": "in_progress"},
        "custom_tool_call": {"input": "", "status": "in_progress"},
    }
    return {**item, **empty[item["type"]]}


def _message_events(part: Json, where: Json) -> Iterator[tuple[str, bool, Json]]:
    yield "response.content_part.added", False, {**where, "part": {**part, "text": ""}}
    for p in pieces(part["text"]):
        yield "response.output_text.delta", True, {**where, "delta": p, "logprobs": []}
    yield "response.output_text.done", False, {**where, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", False, {**where, "part": part}


def _summary_events(part: Json, where: Json) -> Iterator[tuple[str, bool, Json]]:
    yield "response.reasoning_summary_part.added", False, {**where, "part": {**part, "text": ""}}
    for p in pieces(part["text"]):
        yield "response.reasoning_summary_text.delta", True, {**where, "delta": p}
    yield "response.reasoning_summary_text.done", False, {**where, "text": part["text"]}
    yield "response.reasoning_summary_part.done", False, {**where, "part": part}


def _failed(refusal: Refusal) -> Frame:
    code = refusal.details.get("code") or ("rate_limit_exceeded" if refusal.status == 429 else "server_is_overloaded")
    response = {"id": new_id("resp_"), "object": "response", "created_at": _CREATED, "status": "failed", "output": []}
    data = {"type": "response.failed", "response": {**response, "error": {"code": code, "message": refusal.message}}}
    return Frame(sse(data, event="response.failed"))


RESPONSES = Dialect("responses", _tools, _lines, _whole, _stream, _error, _failed)


# --- Chat Completions


def _chat_tools(body: Json) -> list[Tool]:
    return [Tool(str((t.get("function") or t.get("custom") or {}).get("name"))) for t in body.get("tools") or ()]


def _chat_lines(body: Json) -> Iterator[Line]:
    for message in body.get("messages") or ():
        text, images = _content(message.get("content"))
        calls = [c["function"]["arguments"] for c in message.get("tool_calls") or () if "function" in c]
        yield Line(_role(message), "\n".join([text, *calls]), images)


def _chat_usage(usage: Usage) -> Json:
    read = usage.input + usage.cached + usage.cache_write
    return {
        "prompt_tokens": read,
        "completion_tokens": usage.output,
        "total_tokens": read + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _chat_whole(answer: Answer, body: Json) -> Json:
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    calls: list[Json] = []
    for block in resolve(answer.blocks, _chat_tools(body)):
        match block:
            case Words(text):
                message["content"] = (message["content"] or "") + text
            case Thinking(text):
                message["reasoning_content"] = text  # as DeepSeek, Ollama and llama.cpp have it; OpenAI itself shows none
            case (Tool() as tool, Call() as call):
                function = {"name": tool.name, "arguments": arguments(call)}
                calls.append({"id": new_id("call_"), "type": "function", "function": function})
    finish = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": {**message, **({"tool_calls": calls} if calls else {})}, "finish_reason": finish}
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": _CREATED,
        "model": body.get("model"),
        "choices": [{**choice, "logprobs": None}],
        "usage": _chat_usage(answer.usage),
    }


def _chat_stream(answer: Answer, body: Json) -> Iterator[Frame]:
    whole = _chat_whole(answer, body)
    message, finish = whole["choices"][0]["message"], whole["choices"][0]["finish_reason"]
    head = {k: whole[k] for k in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def chunk(delta: Json, finish: str | None = None) -> str:
        return sse({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield Frame(chunk({"role": "assistant", "content": ""}))
    for p in pieces(message.get("reasoning_content") or ""):
        yield Frame(chunk({"reasoning_content": p}), True)
    for p in pieces(message["content"] or ""):
        yield Frame(chunk({"content": p}), True)
    for index, call in enumerate(message.get("tool_calls", ())):
        yield Frame(chunk({"tool_calls": [{"index": index, **call}]}), True)
    yield Frame(chunk({}, finish))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield Frame(sse({**head, "choices": [], "usage": whole["usage"]}))
    yield Frame("data: [DONE]\n\n")


def _chat_break_off(refusal: Refusal) -> Frame:
    return Frame(sse(_error(refusal)))


CHAT = Dialect("chat", _chat_tools, _chat_lines, _chat_whole, _chat_stream, _error, _chat_break_off)
