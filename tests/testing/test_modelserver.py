"""The scripted model server: what every other test believes it says is what vendors' clients read."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest
import zstandard

from paios.base.types import Usage
from paios.observability import usage as spent
from paios.testing.modelserver import ModelServer
from paios.testing.scene import Call, Scene, Thinking, Words

Json = dict[str, Any]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
IN_BASE64 = base64.b64encode(PNG).decode()


@dataclass(frozen=True)
class Vendor:
    """How a client of one API asks, and where it finds words and usage."""

    name: str
    path: str
    image: Json
    whole: Callable[[Json], str]
    piece: Callable[[Json], str]
    tool: Callable[[str], Json]
    messages: str = "messages"

    def ask(self, text: str, *, stream: bool = True, model: str = "stub-model", tools: bool = True) -> Json:
        said = [{"role": "user", "content": [{"type": "input_text" if self.messages == "input" else "text", "text": text}]}]
        offered = [self.tool("mcp__kb__kb_search"), self.tool("Bash")] if tools else []
        return {"model": model, "stream": stream, self.messages: said, "tools": offered, "max_tokens": 100}


VENDORS = [
    Vendor(
        "anthropic",
        "/v1/messages",
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IN_BASE64}},
        lambda body: "".join(b["text"] for b in body["content"]),
        lambda event: event.get("delta", {}).get("text", ""),
        lambda name: {"name": name, "input_schema": {"type": "object"}},
    ),
    Vendor(
        "responses",
        "/v1/responses",
        {"type": "input_image", "image_url": f"data:image/png;base64,{IN_BASE64}"},
        lambda body: "".join(part["text"] for item in body["output"] for part in item["content"]),
        lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
        lambda name: {"type": "function", "name": name, "parameters": {"type": "object"}},
        "input",
    ),
    Vendor(
        "chat",
        "/v1/chat/completions",
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IN_BASE64}"}},
        lambda body: str(body["choices"][0]["message"]["content"]),
        lambda event: (event["choices"][0]["delta"].get("content") or "") if event.get("choices") else "",
        lambda name: {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}},
    ),
]
every_vendor = pytest.mark.parametrize("vendor", VENDORS, ids=lambda v: v.name)


@asynccontextmanager
async def client(scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=scene.url, timeout=10, trust_env=False, verify=False
    ) as made:  # TLS costs 0.1 s to set up
        yield made


async def post(scene: Scene, vendor: Vendor, body: Json) -> httpx.Response:
    async with client(scene) as http:
        return await http.post(vendor.path, json=body)


def events(stream: str) -> list[Json]:
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def words(vendor: Vendor, stream: str) -> str:
    return "".join(vendor.piece(event) for event in events(stream))


@every_vendor
async def test_each_main_request_takes_the_next_step(scene: Scene, vendor: Vendor) -> None:
    scene.says("the first answer, in several pieces").says("مرحبا 👋🏽").always("that was all")

    answers = [words(vendor, (await post(scene, vendor, vendor.ask(f"question {i}"))).text) for i in range(4)]

    assert answers == ["the first answer, in several pieces", "مرحبا 👋🏽", "that was all", "that was all"]
    assert [scene.last_user_text(i) for i in range(4)] == ["question 0", "question 1", "question 2", "question 3"]


@every_vendor
async def test_a_client_that_does_not_stream_gets_the_same_words(scene: Scene, vendor: Vendor) -> None:
    scene.says("in one piece")

    response = await post(scene, vendor, vendor.ask("hello", stream=False))

    assert vendor.whole(response.json()) == "in one piece"


@every_vendor
async def test_requests_without_tools_use_up_no_step(scene: Scene, vendor: Vendor) -> None:
    scene.says("for the main request")

    side = await post(scene, vendor, vendor.ask("write a title", tools=False))

    if vendor.name == "chat":  # plain chat clients seldom carry tools
        assert words(vendor, side.text) == "for the main request"
        return
    assert "title" in words(vendor, side.text)
    assert [seen.lines[-1].text for seen in scene.side_requests] == ["write a title"]
    assert words(vendor, (await post(scene, vendor, vendor.ask("main"))).text) == "for the main request"


async def test_everything_counts_if_the_test_says_so(scene: Scene) -> None:
    scene.says("for whoever asks").everything_counts = True

    assert words(VENDORS[0], (await post(scene, VENDORS[0], VENDORS[0].ask("hi", tools=False))).text) == "for whoever asks"


@every_vendor
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
async def test_a_refusal_has_its_status_message_and_waiting_time(scene: Scene, vendor: Vendor, status: int) -> None:
    scene.refuses(status, "not now", retry_after_s=7, times=2, code="a_code").says("now")

    first, second, third = [await post(scene, vendor, vendor.ask("hi")) for _ in range(3)]

    assert (first.status_code, second.status_code, third.status_code) == (status, status, 200)
    assert first.headers["retry-after"] == "7"
    assert first.json()["error"]["message"] == "not now"
    assert first.json()["error"]["code"] == "a_code"


@every_vendor
@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_connection_ends_in_the_middle(scene: Scene, vendor: Vendor, stream: bool) -> None:
    scene.cuts(after_chunks=2, text="twelve signs, twelve signs, and never these")
    heard = ""

    async with client(scene) as http, http.stream("POST", vendor.path, json=vendor.ask("hi", stream=stream)) as response:
        with pytest.raises(httpx.RemoteProtocolError):
            async for text in response.aiter_text():
                heard += text

    assert response.status_code == 200
    if stream:
        assert words(vendor, heard) == "twelve signs, twelve sig"


@every_vendor
async def test_a_hanging_answer_says_its_words_and_notices_that_the_client_left(scene: Scene, vendor: Vendor) -> None:
    scene.hangs("so far so good")

    with anyio.fail_after(10):
        async with client(scene) as http, http.stream("POST", vendor.path, json=vendor.ask("hi")) as response:
            heard = ""
            async for line in response.aiter_lines():
                heard += line + "\n"
                if words(vendor, heard) == "so far so good":
                    break
        await scene.left()


@every_vendor
async def test_a_hanging_answer_without_words_sends_not_even_headers(scene: Scene, vendor: Vendor) -> None:
    scene.hangs()

    async with client(scene) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(vendor.path, json=vendor.ask("hi"), timeout=httpx.Timeout(5, read=0.2))


@every_vendor
async def test_an_answer_that_was_read_to_its_end_is_not_taken_for_left(scene: Scene, vendor: Vendor) -> None:
    scene.says("all of it")

    await post(scene, vendor, vendor.ask("hi"))

    assert [seen.left for seen in scene.requests] == [False]


@every_vendor
async def test_a_garbled_answer_is_no_json(scene: Scene, vendor: Vendor) -> None:
    scene.garbles("well begun").garbles()

    streamed = await post(scene, vendor, vendor.ask("hi"))
    whole = await post(scene, vendor, vendor.ask("hi", stream=False))

    assert streamed.status_code == whole.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        events(streamed.text)
    with pytest.raises(json.JSONDecodeError):
        whole.json()


@every_vendor
async def test_an_answer_can_break_off_with_the_vendors_error_event(scene: Scene, vendor: Vendor) -> None:
    scene.breaks("half an answer", status=529)

    stream = (await post(scene, vendor, vendor.ask("hi"))).text

    assert words(vendor, stream) == "half an answer"
    last = events(stream)[-1]
    assert "scripted 529" in json.dumps(last.get("error") or last["response"]["error"])


@every_vendor
async def test_an_answer_comes_after_its_delay(scene: Scene, vendor: Vendor) -> None:
    scene.says("late", delay_s=30)

    async with client(scene) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(vendor.path, json=vendor.ask("hi"), timeout=httpx.Timeout(5, read=0.2))


async def test_an_answer_can_wait_for_another_request(scene: Scene) -> None:
    scene.says("to the first", after_requests=2).says("to the second")
    heard: list[str] = []

    async def ask(text: str) -> None:
        heard.append(words(VENDORS[0], (await post(scene, VENDORS[0], VENDORS[0].ask(text))).text))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(ask, "first")
            await scene.arrived(1)
            assert heard == []
            group.start_soon(ask, "second")

    assert sorted(heard) == ["to the first", "to the second"]


@every_vendor
async def test_request_bodies_may_be_compressed(scene: Scene, vendor: Vendor) -> None:
    plain = json.dumps(vendor.ask("س" * 500_000)).encode()
    streamed = zstandard.ZstdCompressor().compressobj()  # as Codex does: a frame that does not say how long it is
    packed = {"gzip": gzip.compress(plain), "zstd": streamed.compress(plain) + streamed.flush()}

    async with client(scene) as http:
        for encoding, body in packed.items():
            await http.post(vendor.path, content=body, headers={"content-encoding": encoding})

    assert [scene.last_user_text(i) for i in range(2)] == ["س" * 500_000] * 2


@every_vendor
async def test_images_are_seen_as_they_were_sent(scene: Scene, vendor: Vendor) -> None:
    body = vendor.ask("what is this")
    body[vendor.messages][0]["content"].append(vendor.image)

    await post(scene, vendor, body)

    assert scene.images() == [("image/png", PNG)]


@every_vendor
async def test_a_rule_answers_what_it_matches_and_nothing_else(scene: Scene, vendor: Vendor) -> None:
    scene.says("main").when(r"count the \w+").says("12")

    heard = [
        words(vendor, (await post(scene, vendor, vendor.ask(t))).text) for t in ("count the files", "go", "count the files")
    ]

    assert heard == ["12", "main", "[the script is exhausted]"]


@every_vendor
async def test_two_scenes_never_meet(model_server: ModelServer, scene: Scene, vendor: Vendor) -> None:
    other = model_server.scene(f"other {scene.url[-40:]} {vendor.name}").says("theirs")
    scene.says("ours")

    assert words(vendor, (await post(scene, vendor, vendor.ask("hi"))).text) == "ours"
    assert words(vendor, (await post(other, vendor, vendor.ask("hi"))).text) == "theirs"
    assert len(scene.requests) == len(other.requests) == 1


@every_vendor
async def test_usage_is_what_the_step_says_in_the_vendors_shape(scene: Scene, vendor: Vendor) -> None:
    scene.says("hi", usage={"input": 1_000, "cached": 500, "output": 77}).says("hi")

    bodies = [(await post(scene, vendor, vendor.ask("hi", stream=False))).json()["usage"] for _ in range(2)]

    read = spent.anthropic if vendor.name == "anthropic" else spent.openai
    assert [read(body) for body in bodies] == [Usage(input=1_000, cached=500, output=77), Usage(100, 20, output=9)]


@every_vendor
async def test_only_known_models_answer_where_they_are_named(scene: Scene, vendor: Vendor) -> None:
    scene.knows("a-model").always("hi")

    known = await post(scene, vendor, vendor.ask("hi", model="a-model"))
    unknown = await post(scene, vendor, vendor.ask("hi", model="no-such-model"))

    assert (known.status_code, unknown.status_code) == (200, 404)
    assert "no-such-model" in unknown.json()["error"]["message"]


async def test_models_are_listed_for_openai_and_ollama_clients(scene: Scene) -> None:
    scene.models = ("one", "two:4b")

    async with client(scene) as http:
        listed = (await http.get("/v1/models")).json()
        tags = (await http.get("/api/tags")).json()

    assert [m["id"] for m in listed["data"]] == [m["name"] for m in tags["models"]] == ["one", "two:4b"]
    assert [seen.kind for seen in scene.side_requests] == ["models", "tags"]


async def test_an_unknown_route_is_not_found_and_is_recorded(scene: Scene) -> None:
    async with client(scene) as http:
        assert (await http.get("/v2/else")).status_code == 404

    assert [(seen.kind, seen.path.rpartition("/")[2]) for seen in scene.side_requests] == [("other", "else")]


async def test_the_anthropic_sdk_reads_thoughts_words_calls_and_usage(scene: Scene) -> None:
    anthropic = pytest.importorskip("anthropic")
    scene.turn([Thinking("let me see"), Words("I look."), Call("~kb_search", {"q": "قهوة"})], usage=Usage(7, 5, 3, 11))

    sdk = anthropic.AsyncAnthropic(base_url=scene.url, api_key="sk-test", max_retries=0)
    tools = [VENDORS[0].tool("Bash"), VENDORS[0].tool("mcp__kb__kb_search")]
    async with sdk.messages.stream(
        model="stub-model", max_tokens=99, messages=[{"role": "user", "content": "hi"}], tools=tools
    ) as stream:
        message = await stream.get_final_message()
    await sdk.close()

    thought, said, call = message.content
    assert (thought.thinking, said.text, call.name, call.input) == (
        "let me see",
        "I look.",
        "mcp__kb__kb_search",
        {"q": "قهوة"},
    )
    assert message.stop_reason == "tool_use"
    assert spent.anthropic(message.usage.model_dump()) == Usage(7, 5, 3, 11)


async def test_the_openai_sdk_reads_a_responses_stream(scene: Scene) -> None:
    openai = pytest.importorskip("openai")
    scene.turn([Thinking("let me see"), Words("I look."), Call("~kb_search", {"q": "قهوة"})], usage=Usage(7, 5, 0, 11, 4))

    sdk = openai.AsyncOpenAI(base_url=scene.openai_url, api_key="sk-test", max_retries=0)
    async with sdk.responses.stream(model="stub-model", input="hi", tools=[VENDORS[1].tool("kb_search")]) as stream:
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()
    await sdk.close()

    thought, said, call = response.output
    assert (thought.summary[0].text, said.content[0].text) == ("let me see", "I look.")
    assert (call.name, json.loads(call.arguments)) == ("kb_search", {"q": "قهوة"})
    assert {"response.reasoning_summary_text.delta", "response.output_text.delta"} < set(kinds)
    assert spent.openai(response.usage.model_dump()) == Usage(7, 5, 0, 11, 4)


async def test_the_openai_sdk_reads_a_chat_stream(scene: Scene) -> None:
    openai = pytest.importorskip("openai")
    scene.turn([Words("I look."), Call("kb_search", {"q": "قهوة"})], usage=Usage(7, 5, 0, 11, 4))

    sdk = openai.AsyncOpenAI(base_url=scene.openai_url, api_key="sk-test", max_retries=0)
    async with sdk.chat.completions.stream(
        model="stub-model",
        messages=[{"role": "user", "content": "hi"}],
        tools=[VENDORS[2].tool("kb_search")],
        stream_options={"include_usage": True},
    ) as stream:
        done = await stream.get_final_completion()
    await sdk.close()

    message = done.choices[0].message
    assert message.content == "I look."
    assert (message.tool_calls[0].function.name, json.loads(message.tool_calls[0].function.arguments)) == (
        "kb_search",
        {"q": "قهوة"},
    )
    assert spent.openai(done.usage.model_dump()) == Usage(7, 5, 0, 11, 4)


async def test_a_tool_no_one_offered_is_said_out_loud(scene: Scene) -> None:
    scene.calls("~no_such", {})

    stream = (await post(scene, VENDORS[0], VENDORS[0].ask("hi"))).text

    assert words(VENDORS[0], stream) == "[no tool matches ~no_such; offered: mcp__kb__kb_search, Bash]"


async def test_codexs_namespaces_and_free_form_tools_are_called_as_it_expects(scene: Scene) -> None:
    scene.turn([Call("~kb_search", {"q": "x"}), Call("apply_patch", "*** Begin Patch")])
    body = VENDORS[1].ask("hi", stream=False)
    body["tools"] = [
        {"type": "namespace", "name": "mcp__kb", "tools": [{"type": "function", "name": "kb_search"}]},
        {"type": "custom", "name": "apply_patch"},
    ]

    search, patch = (await post(scene, VENDORS[1], body)).json()["output"]

    assert (search["type"], search["namespace"], search["name"]) == ("function_call", "mcp__kb", "kb_search")
    assert (patch["type"], patch["name"], patch["input"]) == ("custom_tool_call", "apply_patch", "*** Begin Patch")


async def test_tool_results_and_reminders_are_not_taken_for_the_users_words(scene: Scene) -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "12 files"}]}
    reminder = {"type": "text", "text": "<system-reminder>\nbe brief\n</system-reminder>"}
    body = VENDORS[0].ask("how many files?")
    body["messages"][0]["content"].insert(0, reminder)
    body["messages"].append({"role": "user", "content": [result]})

    await post(scene, VENDORS[0], body)

    assert scene.last_user_text() == "how many files?"
    assert scene.tool_results() == ["12 files"]
    assert "be brief" in scene.conversation()


async def test_the_command_serves_until_it_is_stopped() -> None:
    command = [sys.executable, "-m", "paios.testing.modelserver", "--always", "pong"]
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH")}
    async with await anyio.open_process(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        with anyio.fail_after(30):
            url = (await process.stdout.receive()).decode().strip()
            async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
                heard = [
                    words(VENDORS[0], (await http.post(f"{prefix}/v1/messages", json=VENDORS[0].ask("hi"))).text)
                    for prefix in ("", "/s/any")
                ]
            process.send_signal(signal.SIGINT)
            await process.wait()

    assert heard == ["pong", "pong"]
    assert process.returncode == 0
