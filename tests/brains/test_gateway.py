"""The gateway on the scripted model server, through the vendors' real SDKs; local servers are real servers on free ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from paios.base.errors import BrainRefused, BrainUnavailable
from paios.base.events import Acted, Said, Spent
from paios.base.process import Owner, tagged
from paios.base.types import Attachment, Message, Reply, Turn, Usage, new_trace
from paios.brains.gateway.brain import ABSENT, GatewayBrain
from paios.brains.gateway.discover import Place, discover, places
from paios.brains.gateway.endpoint import Endpoint, Kind, endpoints_from_env
from paios.brains.gateway.http import proxies
from paios.brains.gateway.vendors import cost
from paios.testing.modelserver import ModelServer
from paios.testing.recorders import Asked, Heard
from paios.testing.scene import Call, Scene, Words

MODELS: dict[Kind, str] = {
    "anthropic": "claude-sonnet-5-5",
    "openai": "gpt-5.1",
    "openrouter": "openai/gpt-5.1",
    "openai-compatible": "some-model",
    "ollama": "qwen3:4b",
}
KINDS = pytest.mark.parametrize("kind", MODELS)
VENDORS = pytest.mark.parametrize("kind", ["anthropic", "openai", "openai-compatible"])
PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"


def endpoint(scene: Scene, kind: Kind, *, name: str = "mine") -> Endpoint:
    url = scene.url if kind in ("anthropic", "ollama") else scene.openai_url
    return Endpoint(name, kind, url, "sk-test", (MODELS[kind],), "MY_KEY")


class House:
    """A gateway brain on one scene, and what it heard and asked."""

    def __init__(self, scene: Scene, owner: Owner, cwd: Path, gate: Asked, events: Heard) -> None:
        scene.everything_counts = True
        self.scene, self.owner, self.cwd, self.gate, self.events = scene, owner, cwd, gate, events
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
        self.brain = self.brain_on()

    def brain_on(self, *endpoints: Endpoint, look_at: tuple[Place, ...] = ()) -> GatewayBrain:
        self.brain = GatewayBrain(env=self.env, owner=self.owner, endpoints=endpoints, discover=bool(look_at), look_at=look_at)
        return self.brain

    async def ask(self, kind: Kind, text: str = "hello", *, events: Heard | None = None, **more: object) -> Reply:
        self.brain_on(endpoint(self.scene, kind))
        return await self.think(text, events=events, **more)

    async def think(self, text: str = "hello", *, events: Heard | None = None, **more: object) -> Reply:
        turn = replace(Turn(text, self.cwd, new_trace()), **more)  # type: ignore[arg-type]  # a test's own words
        with anyio.fail_after(60):  # the first turn imports for seconds on a busy machine
            try:
                return await self.brain.think(turn, self.gate, events or self.events)
            finally:
                await self.brain.aclose()


@pytest.fixture
def house(scene: Scene, owner: Owner, cwd: Path, gate: Asked, events: Heard) -> House:
    return House(scene, owner, cwd, gate, events)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


# --- answers


@KINDS
async def test_a_model_of_each_kind_of_api_answers_in_pieces(house: House, kind: Kind) -> None:
    house.scene.thinks("Let me see.", "The answer, in more than one piece.")
    reply = await house.ask(kind)
    assert reply == Reply("The answer, in more than one piece.", f"mine/{MODELS[kind]}")
    assert house.events.said == reply.text and len(house.events.of(Said)) > 1
    assert house.events.thought == "Let me see."
    assert house.scene.requests[0].model == MODELS[kind]
    key = house.scene.requests[0].headers.get("x-api-key") or house.scene.requests[0].headers["authorization"]
    assert key.removeprefix("Bearer ") == "sk-test"


@VENDORS
async def test_earlier_messages_are_given_as_messages(house: House, kind: Kind) -> None:
    house.scene.says("blue")
    history = (Message("user", "my colour is blue"), Message("assistant", "noted", "claude"))
    await house.ask(kind, "which colour?", history=history)
    lines = [(line.role, line.text) for line in house.scene.requests[0].lines if line.role != "system"]
    assert lines == [("user", "my colour is blue"), ("assistant", "noted"), ("user", "which colour?")]


@VENDORS
async def test_an_image_reaches_the_model_unchanged(house: House, kind: Kind) -> None:
    house.scene.says("a picture")
    (house.cwd / "a.png").write_bytes(PNG)
    await house.ask(kind, "what is it?", images=(Attachment(house.cwd / "a.png", "image/png", len(PNG)),))
    assert [(image.media_type, image.data) for image in house.scene.images()] == [("image/png", PNG)]


async def test_an_image_that_is_gone_is_refused_before_a_model_is_asked(house: House) -> None:
    with pytest.raises(BrainRefused, match=r"gone\.png"):
        await house.ask("openai", images=(Attachment(house.cwd / "gone.png", "image/png", 1),))
    assert house.scene.requests == []


# --- usage and cost


async def test_anthropics_cached_tokens_are_counted_beside_the_input_and_priced_each_at_their_rate(house: House) -> None:
    told = Usage(input=1000, cached=2000, cache_write=400, output=100)
    house.scene.says("ok", usage=told)
    await house.ask("anthropic")
    # Sonnet 5.5 a million tokens: $2 in, $0.10 from the cache, $2.50 into it, $10 out.
    price = Decimal("0.0020") + Decimal("0.0002") + Decimal("0.0010") + Decimal("0.0010")
    assert house.events.of(Spent) == [Spent("gateway", "mine/claude-sonnet-5-5", told, price, "priced")]


async def test_openais_cached_tokens_are_taken_out_of_the_input(house: House) -> None:
    told = Usage(input=1000, cached=2000, output=100, reasoning=40)
    house.scene.says("ok", usage=told)  # the server says input_tokens 3000, of them 2000 cached
    await house.ask("openai")
    # GPT-5.1 a million tokens: $1.25 in, $0.125 from the cache, $10 out.
    price = Decimal("0.00125") + Decimal("0.00025") + Decimal("0.00100")
    assert house.events.of(Spent) == [Spent("gateway", "mine/gpt-5.1", told, price, "priced")]


async def test_a_server_on_this_machine_costs_nothing(house: House) -> None:
    told = Usage(input=70, cached=30, output=12, reasoning=3)
    house.scene.says("ok", usage=told)
    await house.ask("ollama")
    assert house.events.of(Spent) == [Spent("gateway", "mine/qwen3:4b", told, Decimal(0), "free")]


async def test_a_model_ollama_forwards_to_its_cloud_has_a_cost_nobody_knows(house: House) -> None:
    house.scene.says("ok")
    house.brain_on(replace(endpoint(house.scene, "ollama"), models=("gpt-oss:120b-cloud",)))
    await house.think()
    assert [(e.cost_usd, e.source) for e in house.events.of(Spent)] == [(None, "unknown")]


@pytest.mark.parametrize(
    ("asked", "model", "is_known"),
    [
        (Endpoint("o", "openai", key="k"), "gpt-5.1", True),
        (Endpoint("o", "openai", key="k"), "gpt-nobody-has-heard-of", False),
        (Endpoint("g", "openai-compatible", "https://api.deepseek.com"), "deepseek-chat", True),
        (Endpoint("x", "openai-compatible", "https://models.example.org/v1"), "gpt-5.1", False),
        (Endpoint("l", "ollama", "http://192.168.1.9:11434"), "qwen3:4b", False),
    ],
)
def test_a_price_is_that_of_whoever_serves_the_model_or_unknown(asked: Endpoint, model: str, is_known: bool) -> None:
    paid = cost(asked, model, Usage(input=1000, output=1000))
    assert paid is None if not is_known else paid is not None and paid > 0


@VENDORS
async def test_the_model_calls_of_one_turn_are_added_up(house: House, kind: Kind) -> None:
    house.scene.calls("list_files", {}, usage=Usage(input=100, output=5)).says("empty", usage=Usage(input=120, output=7))
    await house.ask(kind)
    assert [e.usage for e in house.events.of(Spent)] == [Usage(input=220, output=12)]


# --- tools


@VENDORS
async def test_an_allowed_tool_acts_and_its_result_goes_back(house: House, kind: Kind) -> None:
    (house.cwd / "a.txt").write_text("one\ntwo\nthree\n")
    house.scene.turn([Words("I look."), Call("read_file", {"path": "a.txt", "first_line": 2})]).says("two and three")
    reply = await house.ask(kind)
    assert house.scene.tool_results() == ["two\nthree\n"]
    assert house.events.acts == [("read", str(house.cwd / "a.txt"), "started"), ("read", str(house.cwd / "a.txt"), "done")]
    assert house.events.of(Acted)[1].took_ms is not None
    assert house.events.said == "I look.\n\ntwo and three" and reply.text == "two and three"


@VENDORS
async def test_a_denied_tool_does_nothing_and_the_model_is_told_why(house: House, kind: Kind) -> None:
    house.gate.allow = {"read"}
    house.scene.calls("write_file", {"path": "b.txt", "content": "x"}).calls("run_command", {"command": "touch c.txt"})
    house.scene.says("I may not.")
    reply = await house.ask(kind)
    assert reply.text == "I may not."
    assert house.scene.tool_results() == ["denied: the test denies it"] * 2
    assert list(house.cwd.iterdir()) == []
    assert [e.state for e in house.events.of(Acted)] == ["started", "denied"] * 2


async def test_the_gate_is_asked_about_the_file_a_link_leads_to(house: House, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    (house.cwd / "harmless.txt").symlink_to(tmp_path / "secret")
    (house.cwd / "inner").symlink_to(tmp_path)
    house.gate.allow = False
    house.scene.calls("read_file", {"path": "harmless.txt"}).calls("write_file", {"path": "inner/../secret", "content": ""})
    house.scene.calls("read_file", {"path": "~/harmless.txt"}).says("no")
    await house.ask("openai-compatible")
    outside = str(tmp_path.parent / "secret")  # `inner/..` is the parent of where the link leads
    assert [a.target for a in house.gate.actions] == [str(tmp_path / "secret"), outside, str(tmp_path / "secret")]


async def test_files_are_listed_searched_and_written(house: House) -> None:
    (house.cwd / "src").mkdir()
    (house.cwd / "src" / "a.py").write_text("x = 1\nneedle(2)\n")
    (house.cwd / "b.txt").write_text("needle+\n")
    (house.cwd / ".env").write_text("needle+ and a secret\n")
    scene = house.scene
    scene.calls("list_files", {})
    scene.calls("search_files", {"text": "needle+"}).calls(
        "search_files", {"text": r"needle\(\d\)", "regex": True, "names": "*.py"}
    )
    scene.calls("write_file", {"path": "new/c.txt", "content": "سلام\n"}).says("done")
    await house.ask("openai")
    listed, literal, regex, wrote = scene.tool_results()
    assert listed == ".env\nb.txt\nsrc/"
    assert literal == f"{house.cwd}/b.txt:1: needle+\n"
    assert regex == f"{house.cwd}/src/a.py:2: needle(2)\n"
    assert wrote == f"wrote 9 bytes to {house.cwd}/new/c.txt"
    assert (house.cwd / "new" / "c.txt").read_text() == "سلام\n"


async def test_a_tool_that_fails_says_so_to_the_model(house: House) -> None:
    (house.cwd / "picture").write_bytes(b"\0\1\2")
    scene = house.scene
    scene.calls("read_file", {"path": "none.txt"}).calls("read_file", {"path": "picture"}).calls(
        "list_files", {"path": "picture"}
    )
    scene.calls("search_files", {"text": "(", "regex": True}).says("a pity")
    await house.ask("openai")
    results = scene.tool_results()
    assert all(r.startswith("failed: ") for r in results) and len(results) == 4
    assert "No such file" in results[0] and "no text file" in results[1] and "error" in results[3]
    assert [e.state for e in house.events.of(Acted)] == ["started", "failed"] * 4


async def test_what_tools_give_back_is_bounded(house: House) -> None:
    (house.cwd / "long.txt").write_text("".join(f"line {i}\n" for i in range(60_000)))
    many = f"{sys.executable} -c \"print('a' * 100_000 + 'the end')\""
    house.scene.calls("read_file", {"path": "long.txt"}).calls("run_command", {"command": many}).says("long")
    await house.ask("openai")
    read, ran = house.scene.tool_results()
    assert 190_000 < len(read) < 201_000 and "cut off in line" in read[-60:]
    assert 29_000 < len(ran) < 31_000 and ran.startswith("exit code 0\naaa") and ran.rstrip().endswith("the end")
    assert max(len(e.output) for e in house.events.of(Acted)) == 2_000


async def test_a_command_has_our_tag_and_not_the_variables_of_a_session(house: House) -> None:
    house.env |= {"CLAUDECODE": "1", "MY_OWN": "kept"}
    house.scene.calls("run_command", {"command": "pwd; env; exit 3"}).says("done")
    await house.ask("openai")
    lines = house.scene.tool_results()[0].splitlines()
    assert lines[:2] == ["exit code 3", str(house.cwd)]
    assert f"PAIOS_OWNER={house.owner.id}" in lines and "MY_OWN=kept" in lines
    assert not any(line.startswith("CLAUDECODE") for line in lines)


async def test_a_command_is_not_given_the_keys_to_models(house: House) -> None:
    named = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY", "HF_TOKEN")
    house.env |= dict.fromkeys((*named, "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "GROQ_API_KEY"), "a-secret")
    house.env |= {"MY_OWN": "kept", "GITHUB_TOKEN": "kept", "GOOGLE_MAPS_API_KEY": "kept", "MODEL_PASS": "sk-test"}
    house.scene.calls("run_command", {"command": "env"}).says("done")
    await house.ask("openai")
    lines = house.scene.tool_results()[0].splitlines()
    assert {"MY_OWN=kept", "GITHUB_TOKEN=kept", "GOOGLE_MAPS_API_KEY=kept"} <= set(lines)
    assert not any("a-secret" in line for line in lines)
    assert not any(line.startswith("MODEL_PASS") for line in lines)  # the endpoint's key, under a name of the person's


async def test_a_written_file_keeps_its_mode_and_a_new_one_has_that_of_the_umask(house: House) -> None:
    (house.cwd / "private.txt").touch(mode=0o600)
    (house.cwd / "script.sh").touch()
    (house.cwd / "script.sh").chmod(0o755)
    for name in ("private.txt", "script.sh", "new.txt", "folder/new.txt"):
        house.scene.calls("write_file", {"path": name, "content": "text"})
    house.scene.says("done")
    before = os.umask(0o077)
    try:
        await house.ask("openai")
    finally:
        os.umask(before)
    modes = {str(p.relative_to(house.cwd)): oct(p.stat().st_mode & 0o777) for p in house.cwd.rglob("*") if p.is_file()}
    assert modes == {"private.txt": "0o600", "script.sh": "0o755", "new.txt": "0o600", "folder/new.txt": "0o600"}


async def test_what_a_command_leaves_in_the_background_is_ended_with_it(house: House) -> None:
    house.scene.calls("run_command", {"command": "sleep 600 & echo started"}).says("done")
    await house.ask("openai")
    assert house.scene.tool_results() == ["exit code 0\nstarted\n"]
    assert len(tagged(house.owner.id)) == 0


async def test_wrong_arguments_and_unknown_tools_are_put_right_by_the_model(house: House) -> None:
    house.scene.calls("no_such_tool", {}).calls("read_file", {"paht": "a"}).says("sorry")
    reply = await house.ask("openai")
    assert reply.text == "sorry" and house.gate.actions == []


async def test_a_model_that_cannot_call_tools_is_asked_without_them(house: House) -> None:
    house.scene.refuses(400, "registry.ollama.ai/library/tiny does not support tools").says("plain words")
    reply = await house.ask("ollama")
    assert reply.text == "plain words"
    assert [bool(r.tools) for r in house.scene.requests] == [True, False]


# --- failures


@VENDORS
@pytest.mark.parametrize(
    ("status", "reason", "requests"),
    [(401, "logged_out", 1), (403, "logged_out", 1), (429, "limited", 1), (500, "overloaded", 3)],
)
async def test_an_http_error_becomes_a_reason(house: House, kind: Kind, status: int, reason: str, requests: int) -> None:
    house.scene.refuses(status, "the vendor's own words", retry_after_s=60 if status == 429 else None).forever()
    with pytest.raises(BrainUnavailable, match="the vendor's own words") as caught:
        await house.ask(kind)
    assert caught.value.reason == reason
    assert caught.value.retry_after_s == (60 if status == 429 else None)
    assert ("MY_KEY" in caught.value.remedy) == (status in (401, 403))
    assert len(house.scene.requests) == requests
    assert house.events.events == []


@VENDORS
async def test_an_overload_that_passes_is_not_noticed(house: House, kind: Kind) -> None:
    house.scene.refuses(529, times=2).says("here I am")
    assert (await house.ask(kind)).text == "here I am"


async def test_a_short_limit_is_waited_for_as_long_as_the_vendor_says(house: House) -> None:
    house.scene.refuses(429, retry_after_s=1).says("here I am")
    assert (await house.ask("openai")).text == "here I am"
    first, second = house.scene.requests
    assert (second.at - first.at).total_seconds() >= 1


async def test_used_up_credit_is_a_limit_that_no_retry_lifts(house: House) -> None:
    house.scene.refuses(429, "You exceeded your current quota", code="insufficient_quota").forever()
    with pytest.raises(BrainUnavailable, match="credit") as caught:
        await house.ask("openai")
    assert (caught.value.reason, len(house.scene.requests)) == ("limited", 1)


@VENDORS
async def test_a_bad_request_is_refused_and_sent_once(house: House, kind: Kind) -> None:
    house.scene.refuses(400, "max_tokens is too large").forever()
    with pytest.raises(BrainRefused, match="max_tokens is too large"):
        await house.ask(kind)
    assert len(house.scene.requests) == 1


@VENDORS
async def test_a_model_the_vendor_does_not_know_is_refused_and_the_known_ones_named(house: House, kind: Kind) -> None:
    house.scene.knows("another")
    with pytest.raises(BrainRefused, match=f"known: {MODELS[kind]}"):
        await house.ask(kind, model="mine/gpt-0")


@KINDS
async def test_a_connection_cut_mid_answer_is_said_and_never_asked_again(house: House, kind: Kind) -> None:
    house.scene.cuts(after_chunks=2).forever()
    with pytest.raises(BrainUnavailable) as caught:
        await house.ask(kind)
    assert caught.value.reason == "cut"
    assert house.events.said == "Half an answer that stop"
    assert len(house.scene.requests) == 1
    assert len(house.events.of(Spent)) == 1  # a model was called


@VENDORS
async def test_a_connection_cut_before_the_answer_is_tried_again(house: House, kind: Kind) -> None:
    house.scene.cuts(after_chunks=0).says("here I am")
    assert (await house.ask(kind)).text == "here I am"


@VENDORS
@pytest.mark.parametrize("text", ["some words and", ""])
async def test_a_garbled_answer_is_never_taken_for_a_whole_one(house: House, kind: Kind, text: str) -> None:
    house.scene.garbles(text).forever()
    with pytest.raises(BrainUnavailable) as caught:
        await house.ask(kind)
    assert caught.value.reason == "cut"
    assert house.events.said == text


@VENDORS
async def test_an_error_inside_the_stream_keeps_its_meaning(house: House, kind: Kind) -> None:
    house.scene.breaks(status=529).forever()
    with pytest.raises(BrainUnavailable) as caught:
        await house.ask(kind)
    assert (caught.value.reason, len(house.scene.requests)) == ("overloaded", 1)


async def test_a_server_that_is_gone_is_a_cut_connection(house: House) -> None:
    house.brain_on(Endpoint("mine", "openai-compatible", f"http://127.0.0.1:{free_port()}/v1", None, ("m",)))
    with pytest.raises(BrainUnavailable) as caught:
        await house.think()
    assert caught.value.reason == "cut"


# --- cancelling


@VENDORS
async def test_cancelling_closes_the_connection(house: House, kind: Kind) -> None:
    house.scene.hangs("a beginning")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(partial(house.ask, kind))
            await house.events.first(Said)
            group.cancel_scope.cancel()
        await house.scene.left()
    assert len(house.events.of(Spent)) == 1


async def test_cancelling_ends_the_command_and_its_children(house: House) -> None:
    house.scene.calls("run_command", {"command": "sleep 600 & touch begun; sleep 600"})
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(partial(house.ask, "openai"))
            while not (house.cwd / "begun").exists():  # made by a process outside: no event of ours  # noqa: ASYNC110
                await anyio.sleep(0.01)
            assert len(tagged(house.owner.id)) >= 2
            group.cancel_scope.cancel()
        while tagged(house.owner.id):  # noqa: ASYNC110  (the kernel takes a moment)
            await anyio.sleep(0.01)
    assert [e.state for e in house.events.of(Acted)] == ["started", "failed"]


# --- which model


async def test_without_a_name_the_first_model_of_the_first_endpoint_that_has_one_is_asked(house: House) -> None:
    keyless = Endpoint("keyless", "openai", None, None, ("gpt-5.1",))
    empty = replace(endpoint(house.scene, "openai", name="empty"), models=())
    house.scene.says("ok")
    house.brain_on(keyless, empty, endpoint(house.scene, "anthropic"))
    assert (await house.think()).model == "mine/claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("wanted", "model"),
    [
        ("mine/some-model", "some-model"),
        ("mine/vendor/with/slashes", "vendor/with/slashes"),
        ("mine", "some-model"),
        ("some-model", "some-model"),
        ("org/other-model", "org/other-model"),
    ],
)
async def test_a_name_is_split_at_the_first_slash(house: House, wanted: str, model: str) -> None:
    house.scene.says("ok")
    house.brain_on(replace(endpoint(house.scene, "openai-compatible"), models=("some-model", "org/other-model")))
    reply = await house.think(model=wanted)
    assert (reply.model, house.scene.requests[0].model) == (f"mine/{model}", model)


async def test_an_unknown_endpoint_is_refused_and_the_known_models_named(house: House) -> None:
    house.brain_on(endpoint(house.scene, "openai"))
    with pytest.raises(BrainRefused, match=r"nobody/x.*known: mine/gpt-5\.1"):
        await house.think(model="nobody/x")


async def test_an_endpoint_without_models_is_asked_what_it_has(house: House) -> None:
    house.scene.models = ("its-own",)
    house.scene.says("ok")
    house.brain_on(replace(endpoint(house.scene, "openai-compatible"), models=()))
    assert (await house.think()).model == "mine/its-own"


async def test_an_endpoint_without_its_key_asks_for_one(house: House) -> None:
    house.brain_on(Endpoint("openai", "openai", None, None, ("gpt-5.1",)))
    with pytest.raises(BrainUnavailable, match="set a key for openai") as caught:
        await house.think(model="openai/gpt-5.1")
    assert caught.value.reason == "logged_out"


def test_well_known_keys_in_the_environment_are_endpoints() -> None:
    env = {"OPENAI_API_KEY": "o", "ANTHROPIC_API_KEY": "a", "GOOGLE_API_KEY": "g", "ANTHROPIC_BASE_URL": "http://proxy/"}
    found = endpoints_from_env(env)
    assert [(e.name, e.kind, e.key, e.key_from) for e in found] == [
        ("anthropic", "anthropic", "a", "ANTHROPIC_API_KEY"),
        ("openai", "openai", "o", "OPENAI_API_KEY"),
        ("google", "google", "g", "GOOGLE_API_KEY"),
    ]
    assert found[0].url == "http://proxy" and found[1].url == "https://api.openai.com/v1"
    assert "'o'" not in repr(found) and endpoints_from_env({"OPENAI_API_KEY": ""}) == ()
    (own,) = endpoints_from_env({"OPENAI_API_KEY": "o", "OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"})
    assert (own.kind, own.models) == ("openai-compatible", ())


def test_the_models_we_name_by_default_are_known_and_priced() -> None:
    env = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY"), "k")
    unpriced = [m for e in endpoints_from_env(env) for m in e.models if cost(e, m, Usage(input=10, output=10)) is None]
    assert unpriced == []


# --- local servers


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    """A server on a free port that gives every connection the same bytes."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield int(listener.extra(SocketAttribute.local_port))
        group.cancel_scope.cancel()


def near(port: int, *, kind: Kind = "ollama", name: str = "ollama") -> Place:
    return Place(name, kind, port, "/api/tags" if kind == "ollama" else "/v1/models")


@pytest.mark.parametrize("kind", ["ollama", "openai-compatible"])
async def test_a_model_server_on_this_machine_is_found_and_asked(house: House, kind: Kind) -> None:
    with ModelServer() as server:
        scene = server.scene()  # at the root, where a real one is
        scene.everything_counts = True
        scene.models = ("nomic-embed-text", "qwen3:4b")
        scene.says("from here")
        house.brain_on(look_at=(near(free_port(), name="nobody"), near(int(server.url.rpartition(":")[2]), kind=kind)))
        assert house.brain.absent() == ""
        reply = await house.think()
    assert reply == Reply("from here", "ollama/qwen3:4b")  # not the one that only embeds
    assert [(e.cost_usd, e.source) for e in house.events.of(Spent)] == [(Decimal(0), "free")]


async def test_a_local_model_that_is_not_there_is_refused_and_the_others_named(house: House) -> None:
    with ModelServer() as server:
        server.scene().models = ("qwen3:4b",)
        house.brain_on(look_at=(near(int(server.url.rpartition(":")[2])),))
        with pytest.raises(BrainRefused, match="known: ollama/qwen3:4b"):
            await house.think(model="ollama/llama9")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>Jenkins</html>",
        b'HTTP/1.1 200 OK\r\n\r\n{"object": "list", "data": [{"id": 1}]}',
        b'HTTP/1.1 200 OK\r\n\r\n{"data": [{"id": "a row of some other program"}]}',
        b'HTTP/1.1 404 Not Found\r\n\r\n{"models": [{"name": "x"}]}',
        b'HTTP/1.1 200 OK\r\n\r\n{"models": []}',
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
async def test_a_port_that_answers_something_else_is_no_model_server(answer: bytes) -> None:
    async with answering(answer) as port:
        assert await discover((near(port), near(port, kind="openai-compatible", name="llamacpp"))) == ()


async def test_a_server_that_says_nothing_holds_up_nobody(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ModelServer() as server:  # accepts, never answers
        server.scene().models = ("m",)
        where = (near(silent.getsockname()[1], name="silent"), near(int(server.url.rpartition(":")[2])))
        with anyio.fail_after(5):
            found = await discover(where, limit_s=0.5)
    assert [(e.name, e.models) for e in found] == [("ollama", ("m",))]


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ("127.0.0.1:9000", ("127.0.0.1", 9000)),
        ("http://localhost:9000/", ("localhost", 9000)),
        ("0.0.0.0", ("127.0.0.1", 11434)),
        (":9000", ("127.0.0.1", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("192.168.1.9:11434", None),
        ("ollama.example.org", None),
        ("localhost:no-port", None),
    ],
)
def test_ollama_is_looked_for_where_its_variable_says_but_only_on_this_machine(
    host: str, where: tuple[str, int] | None
) -> None:
    found = [(p.host, p.port) for p in places({"OLLAMA_HOST": host}) if p.name == "ollama"]
    assert found == ([where] if where else [])


async def test_with_nothing_configured_and_nothing_running_it_is_absent(house: House) -> None:
    brain = house.brain_on(look_at=(near(free_port()),))
    assert brain.absent() == ABSENT
    with pytest.raises(BrainUnavailable, match=ABSENT) as caught:
        await house.think()
    assert caught.value.reason == "missing"


# --- status, proxies, cost of importing


async def test_status_says_which_endpoints_answer_and_which_do_not(house: House) -> None:
    gone = Endpoint("gone", "openai-compatible", f"http://127.0.0.1:{free_port()}/v1", None, ("x",))
    brain = house.brain_on(endpoint(house.scene, "anthropic"), gone, Endpoint("openai", "openai"))
    with anyio.fail_after(10):
        status = await brain.status()
    await brain.aclose()
    assert status.ready and status.login == "api key" and (status.version or "").startswith("pydantic-ai 2.")
    assert status.models == ("mine/claude-sonnet-5-5",)
    assert "mine answers" in status.detail and "gone does not answer" in status.detail and "no key for openai" in status.detail
    assert house.scene.requests == [] and len(house.scene.side_requests) == 1  # no model was called


async def test_status_says_that_a_key_was_refused(house: House) -> None:
    refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
    async with answering(refusal) as port:
        brain = house.brain_on(Endpoint("mine", "openai", f"http://127.0.0.1:{port}/v1", "sk-old", ("m",), "MY_KEY"))
        status = await brain.status()
        await brain.aclose()
    assert (status.ready, status.login, status.remedy) == (False, "logged out", "check the key in MY_KEY")


async def test_a_proxy_is_used_for_the_world_and_never_for_this_machine(house: House) -> None:
    house.env |= {"HTTP_PROXY": f"http://127.0.0.1:{free_port()}", "NO_PROXY": "example.org"}
    house.scene.says("ok")
    assert (await house.ask("openai")).text == "ok"  # through the proxy it would have failed
    brain = house.brain_on(Endpoint("far", "openai-compatible", "http://models.invalid/v1", "k", ("m",)))
    with pytest.raises(BrainUnavailable):
        await house.think()
    assert brain.name == "gateway"
    found = proxies(house.env)
    assert (
        found["http://"] == house.env["HTTP_PROXY"] and found["all://*example.org"] is None and found["all://localhost"] is None
    )
    assert proxies({"NO_PROXY": "example.org"}) == {} and proxies({"ALL_PROXY": "p:1", "NO_PROXY": "*"}) == {}


def test_importing_the_gateway_loads_no_model_library() -> None:
    code = (
        "import sys, paios.brains.gateway.brain, paios.brains.local\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'pydantic_ai', 'pydantic', 'openai', 'anthropic', 'google',"
        " 'httpx', 'httpx2', 'genai_prices', 'psutil', 'http', 'llama_cpp'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# --- Google, of which the scripted server has no dialect


def google(parts: list[dict[str, object]], usage: dict[str, int]) -> bytes:
    pieces = [{"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]} for part in parts]
    end = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}],
        "usageMetadata": usage,
    }
    body = "".join(f"data: {json.dumps(piece)}\r\n\r\n" for piece in [*pieces, end])
    return f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}".encode()


async def test_google_answers_with_its_thoughts_and_its_tokens_told_apart(house: House) -> None:
    usage = {"promptTokenCount": 1000, "cachedContentTokenCount": 400, "candidatesTokenCount": 20, "thoughtsTokenCount": 30}
    answer = google([{"text": "hm", "thought": True}, {"text": "Hello "}, {"text": "there"}], usage)
    async with answering(answer) as port:
        house.brain_on(Endpoint("google", "google", f"http://127.0.0.1:{port}", "k", ("gemini-3.8-flash",)))
        reply = await house.think()
    assert (reply.text, house.events.thought) == ("Hello there", "hm")
    (spent,) = house.events.of(Spent)
    assert spent.usage == Usage(input=600, cached=400, output=50, reasoning=30)
    assert spent.source == "priced" and spent.cost_usd is not None


@pytest.mark.parametrize(("status", "reason"), [(503, "overloaded"), (401, "logged_out"), (429, "limited")])
async def test_googles_errors_mean_the_same(house: House, status: int, reason: str) -> None:
    body = json.dumps({"error": {"code": status, "message": "google's own words", "status": "X"}})
    head = f"HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    async with answering((head + body).encode()) as port:
        house.brain_on(Endpoint("google", "google", f"http://127.0.0.1:{port}", "k", ("gemini-3.8-flash",)))
        with pytest.raises(BrainUnavailable, match="google's own words") as caught:
            await house.think()
    assert caught.value.reason == reason
