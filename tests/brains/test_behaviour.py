"""What the path may expect of any brain: one suite, run on every implementation.

A brain that calls a model calls the scripted one, so each row says both what the brain was told and what it made of it.
What is particular to a vendor is tested in that brain's own file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from paios.base.errors import BrainRefused, BrainUnavailable
from paios.base.events import Acted, Bound, Said, Spent
from paios.base.process import Owner, tagged
from paios.base.types import Attachment, Message, Reply, Turn, new_trace
from paios.brains.brain import Brain
from paios.brains.claude.brain import ClaudeBrain
from paios.brains.codex.brain import CodexBrain
from paios.brains.echo import EchoBrain
from paios.brains.gateway.brain import GatewayBrain
from paios.brains.gateway.endpoint import Endpoint
from paios.brains.gateway.endpoint import Kind as Api
from paios.brains.librarian.brain import LibrarianBrain
from paios.testing.recorders import Asked, Heard
from paios.testing.scene import USAGE, Scene

TURN_S = 60.0  # more than any turn here takes on a busy machine
CANCEL_S = 5.0  # the protocol's own promise

UNICODE = "«القهوة» في الصباح؛ \u202bRTL\u202c \u200f \u2067isolated\u2069 👨‍👩‍👧‍👦 👋🏽 e\u0301 ﷽"


@dataclass(frozen=True)
class Kind:
    """One implementation, and how it is driven. What it cannot do is named in `cannot`, with the reason."""

    name: str
    make: Callable[[Scene, Mapping[str, str], Owner], Brain]
    shell: tuple[str, str] = ("", "")  # its tool for a command line, and that tool's argument
    model: str | None = None
    no_such_model: str = "no-such-model"
    warm: bool = False  # keeps a child between turns, until `aclose`
    real: bool = False  # drives a vendor's program
    cannot: Mapping[str, str] = field(default_factory=dict)


def _claude(_: Scene, env: Mapping[str, str], owner: Owner) -> Brain:
    return ClaudeBrain(env=env, owner=owner)


def _codex(_: Scene, env: Mapping[str, str], owner: Owner) -> Brain:
    return CodexBrain(env=env, owner=owner)


def _gateway(kind: Api, model: str) -> Callable[[Scene, Mapping[str, str], Owner], Brain]:
    def make(scene: Scene, env: Mapping[str, str], owner: Owner) -> Brain:
        url = scene.url if kind == "anthropic" else scene.openai_url
        endpoint = Endpoint("scripted", kind, url, "sk-test", (model,), "the test")
        return GatewayBrain(env=env, owner=owner, endpoints=(endpoint,), discover=False)

    return make


_NO_MODEL = "it calls no model"
ECHO = Kind("echo", lambda *_: EchoBrain(), cannot={"model": _NO_MODEL})
CLAUDE = Kind("claude", _claude, ("Bash", "command"), real=True)
CODEX = Kind("codex", _codex, ("exec_command", "cmd"), real=True, warm=True)
APIS: tuple[tuple[Api, str], ...] = (
    ("anthropic", "claude-sonnet-5-5"),
    ("openai", "gpt-5.1"),
    ("openai-compatible", "stub-model"),
)
GATEWAYS = [
    Kind(f"gateway-{api}", _gateway(api, model), ("run_command", "command"), no_such_model="scripted/no-such-model")
    for api, model in APIS
]
LIBRARIAN = Kind(
    "librarian", lambda *_: LibrarianBrain(folders=()), cannot={"model": _NO_MODEL, "repeats": "it only quotes its sources"}
)
KINDS = [ECHO, CLAUDE, CODEX, *GATEWAYS, LIBRARIAN]


def brains(*needs: str) -> pytest.MarkDecorator:
    """The implementations a row makes sense for; the others are shown as skipped, with the reason."""
    params = []
    for kind in KINDS:
        marks = [pytest.mark.real] if kind.real else []
        marks += [pytest.mark.skip(reason=f"{kind.name}: {kind.cannot[need]}") for need in needs if need in kind.cannot][:1]
        params.append(pytest.param(kind, id=kind.name, marks=marks))
    return pytest.mark.parametrize("kind", params)


@dataclass
class House:
    """A brain with all it needs for one test."""

    kind: Kind
    brain: Brain
    scene: Scene
    cwd: Path
    gate: Asked
    events: Heard
    owner: Owner

    def turn(self, text: str, **more: Any) -> Turn:
        return replace(Turn(text, self.cwd, new_trace(), self.kind.model), **more)

    async def think(self, text: str, events: Heard | None = None, **more: Any) -> Reply:
        with anyio.fail_after(TURN_S):
            return await self.brain.think(self.turn(text, **more), self.gate, events or self.events)

    def to_say(self, text: str) -> str:
        """The prompt upon which the brain will say *text*."""
        if "model" in self.kind.cannot:
            return text
        self.scene.says(text)
        return "go on"


@pytest.fixture
async def house(
    kind: Kind, scene: Scene, agent_env: dict[str, str], owner: Owner, cwd: Path, gate: Asked, events: Heard
) -> AsyncIterator[House]:
    scene.everything_counts = kind.name.startswith("gateway")
    brain = kind.make(scene, agent_env, owner)
    yield House(kind, brain, scene, cwd, gate, events, owner)
    await brain.aclose()


@brains()
async def test_it_has_a_name_and_can_be_tried(house: House) -> None:
    assert house.brain.name == house.kind.name.partition("-")[0]
    if house.kind is not LIBRARIAN:
        assert house.brain.absent() == ""


@brains()
async def test_what_was_said_is_the_reply(house: House) -> None:
    path = house.cwd / "harbour.txt"
    path.write_text("The harbour opens at nine in the morning.", encoding="utf-8")
    source = Attachment(path, "text/plain", path.stat().st_size, path.read_text(encoding="utf-8"))
    prompt = "When does the harbour open?" if house.kind is LIBRARIAN else house.to_say("At nine in the morning.")

    reply = await house.think(prompt, sources=(source,))

    assert "nine" in reply.text
    assert house.events.said == reply.text


@brains("repeats")
async def test_the_pieces_joined_are_the_answer(house: House) -> None:
    answer = "The answer is forty-two,\n\nin several pieces, with `code` and a list:\n- one\n- two"

    reply = await house.think(house.to_say(answer))

    assert house.events.said == reply.text == answer
    assert len(house.events.of(Said)) > 1


@brains("repeats")
async def test_arabic_direction_marks_and_emoji_survive_both_ways(house: House) -> None:
    if "model" not in house.kind.cannot:
        house.scene.says(UNICODE)

    reply = await house.think(UNICODE)

    assert house.events.said == reply.text == UNICODE
    if "model" not in house.kind.cannot:
        assert UNICODE in house.scene.conversation()


@brains("repeats")
async def test_what_was_used_is_spent(house: House) -> None:
    reply = await house.think(house.to_say("three little words"))

    assert {spent.brain for spent in house.events.of(Spent)} == {house.brain.name}
    assert house.events.of(Spent)[-1].model == reply.model
    if "model" not in house.kind.cannot:
        assert house.events.usage == USAGE


@brains("model")
async def test_a_turn_of_two_model_calls_spends_both(house: House) -> None:
    tool, argument = house.kind.shell
    house.scene.calls(tool, {argument: "true"}, usage={"input": 1_000, "cached": 500, "output": 10})
    house.scene.says("done", usage={"input": 2_000, "cached": 700, "output": 20})

    await house.think("go on", read_only=False)

    spent = house.events.usage
    assert (spent.input, spent.cached, spent.output) == (3_000, 1_200, 30)


@brains("model")
async def test_a_second_turn_in_the_session_knows_the_first(house: House) -> None:
    house.scene.says("noted").says("sesame-17")
    first = await house.think("my word is sesame-17")
    second = Heard()

    if first.session is None:  # it keeps nothing itself: the thread is handed in
        earlier = (Message("user", "my word is sesame-17"), Message("assistant", "noted", house.brain.name))
        reply = await house.think("what is my word?", second, history=earlier)
    else:
        assert house.events.of(Bound)[-1].session.id == first.session.id
        reply = await house.think("what is my word?", second, session=first.session)

    assert "my word is sesame-17" in house.scene.conversation()
    assert "what is my word?" in house.scene.last_user_text()
    assert reply.text == second.said == "sesame-17"
    assert second.usage == USAGE  # the first turn is not counted twice


@brains("model")
async def test_a_brain_new_to_the_thread_is_told_what_was_said(house: House) -> None:
    house.scene.says("sesame-17")
    history = (Message("user", "my word is sesame-17"), Message("assistant", "an answer by another brain", "echo"))

    await house.think("what is my word?", history=history)

    conversation = house.scene.conversation()
    assert conversation.index("my word is sesame-17") < conversation.index("an answer by another brain")
    assert conversation.index("an answer by another brain") < conversation.index("what is my word?")


@brains("repeats")
async def test_a_megabyte_reaches_it_whole(house: House) -> None:
    text = "\n".join(f"line {i}: عربي" for i in range(60_000)) + "\nthe very last line"
    assert len(text.encode()) > 1_000_000
    if "model" not in house.kind.cannot:
        house.scene.says("read")

    reply = await house.think(text)

    if "model" in house.kind.cannot:
        assert reply.text == text
    else:
        assert text in house.scene.conversation()


@brains("model", "images")
async def test_an_image_reaches_the_model(house: House) -> None:
    house.scene.says("a red square")
    path = house.cwd / "red.png"
    path.write_bytes(_png(64, (255, 0, 0)))

    await house.think("what is this?", images=(Attachment(path, "image/png", path.stat().st_size),))

    assert [image.media_type for image in house.scene.images()] == ["image/png"]
    assert "what is this?" in house.scene.last_user_text()


@brains("model")
async def test_an_allowed_action_happens_and_is_reported_twice(house: House) -> None:
    tool, argument = house.kind.shell
    house.scene.calls(tool, {argument: "touch happened"}).says("done")

    reply = await house.think("touch a file", read_only=False)

    assert (house.cwd / "happened").exists()
    assert reply.text == "done"
    assert ["touch happened" in action.target for action in house.gate.of("run")] == [True]
    assert [e.state for e in house.events.of(Acted) if e.action.kind == "run"] == ["started", "done"]


@brains("model")
async def test_a_denied_action_does_not_happen_and_the_turn_goes_on(house: House) -> None:
    tool, argument = house.kind.shell
    house.scene.calls(tool, {argument: "touch happened"}).says("then not")
    house.gate.allow = False

    reply = await house.think("touch a file", read_only=False)

    assert not (house.cwd / "happened").exists()
    assert [action.kind for action in house.gate.actions if action.kind != "internal"] == ["run"]
    assert house.events.acts[-1][2] == "denied"
    assert reply.text == "then not"


@brains("repeats")
async def test_reasoning_is_no_part_of_the_answer(house: House) -> None:
    if "model" in house.kind.cannot:
        reply = await house.think("#think let me see\n#say done")
    else:
        house.scene.thinks("let me see", then="done")
        reply = await house.think("go on")

    assert reply.text == house.events.said == "done"
    assert house.events.thought.strip() in ("let me see", "")  # some show none


@brains("repeats")
@pytest.mark.parametrize(
    ("status", "reason"), [(401, "logged_out"), (429, "limited"), (500, "overloaded"), (529, "overloaded")]
)
async def test_a_model_that_does_not_answer_makes_it_unavailable_and_says_why(house: House, status: int, reason: str) -> None:
    house.scene.refuses(status, "not now").forever()

    with pytest.raises(BrainUnavailable) as caught:
        await house.think(f"#fail {reason} not now" if house.kind is ECHO else "hi")

    assert (caught.value.reason, caught.value.brain) == (reason, house.brain.name)
    assert house.events.said == ""


@brains("model")
async def test_an_answer_that_is_no_json_makes_it_unavailable(house: House) -> None:
    house.scene.garbles().forever()

    with pytest.raises(BrainUnavailable):
        await house.think("hi")


@brains("model")
async def test_an_error_in_the_middle_of_the_stream_makes_it_unavailable_after_what_was_said(house: House) -> None:
    text = "Half an answer"
    house.scene.breaks(text, 529, chunk_delay_s=0.05).forever()

    with pytest.raises(BrainUnavailable) as caught:
        await house.think("hi")

    assert caught.value.reason == "overloaded"
    assert text.startswith(house.events.said)  # whatever was tried again, nothing is said twice


@brains("repeats")
async def test_a_connection_cut_in_the_middle_makes_it_unavailable_after_what_was_said(house: House) -> None:
    text = "Half an answer that stops in the middle of it."
    house.scene.cuts(after_chunks=3, text=text, chunk_delay_s=0.05).forever()  # at once, a client may lose what it has not read

    with pytest.raises(BrainUnavailable) as caught:
        await house.think("#say Half an answer that stops\n#fail cut gone" if house.kind is ECHO else "hi")

    assert caught.value.reason == "cut"
    assert house.events.said
    assert text.startswith(house.events.said)  # whatever was tried again, nothing is said twice


@brains("repeats")
async def test_it_serves_the_next_turn_after_one_that_failed(house: House) -> None:
    house.scene.refuses(400, "no").forever()
    with pytest.raises((BrainRefused, BrainUnavailable)):
        await house.think("#fail refused no" if house.kind is ECHO else "hi")
    house.scene.clear()

    reply = await house.think(house.to_say("here again"), Heard())

    assert reply.text == "here again"


@brains("repeats")
async def test_an_unknown_model_is_refused(house: House) -> None:
    house.scene.knows("a-model-nobody-asks-for")

    with pytest.raises((BrainRefused, BrainUnavailable)) as caught:
        await house.think("hi", model=house.kind.no_such_model)

    assert "no-such-model" in str(caught.value)


@brains("repeats")
async def test_cancelled_in_the_middle_it_returns_and_leaves_nothing_running(house: House) -> None:
    house.scene.hangs("so far").forever()
    scope, over = anyio.CancelScope(), anyio.Event()

    async def think() -> None:
        with scope:
            try:
                await house.think("#say so far\n#sleep 600" if house.kind is ECHO else "hi")
            finally:
                over.set()

    async with anyio.create_task_group() as group:
        group.start_soon(think)
        with anyio.fail_after(TURN_S):
            await house.events.first(Said)
        scope.cancel()
        with anyio.fail_after(CANCEL_S):
            await over.wait()

    if "model" not in house.kind.cannot:
        with anyio.fail_after(CANCEL_S):
            await house.scene.left()
    if house.kind.warm:
        await house.brain.aclose()
    assert tagged(house.owner.id) == []


@brains("repeats")
async def test_two_turns_at_once_do_not_mix(house: House) -> None:
    for word in ("apple", "plum"):  # each is answered only once both have been asked
        house.scene.when(f"say {word}").says(word, after_requests=2)
    heard = {"apple": Heard(), "plum": Heard()}
    replies: dict[str, str] = {}

    async def think(word: str) -> None:
        text = word if house.kind is ECHO else f"say {word}"
        replies[word] = (await house.think(text, heard[word])).text

    async with anyio.create_task_group() as group:
        for word in heard:
            group.start_soon(think, word)

    assert replies == {"apple": "apple", "plum": "plum"}
    assert {word: events.said for word, events in heard.items()} == replies


@brains()
async def test_its_status_names_a_version_and_calls_no_model(house: House) -> None:
    house.scene.refuses(500).forever()

    with anyio.fail_after(TURN_S):
        status = await house.brain.status()

    assert status.name == house.brain.name
    assert status.version
    assert house.scene.requests == []


def _png(size: int, colour: tuple[int, int, int]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(colour) * size for _ in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
