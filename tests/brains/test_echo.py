"""The echo's own script: every way a turn can go, without a vendor."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paios.base.errors import BrainRefused, BrainUnavailable
from paios.base.events import Acted, Bound, Said, Spent
from paios.base.types import Attachment, Message, Reply, Session, Turn, Usage, new_trace
from paios.brains.echo import EchoBrain
from paios.testing.recorders import Asked, Heard


async def think(text: str, gate: Asked | None = None, events: Heard | None = None, **more: Any) -> tuple[Reply, Heard]:
    events = events or Heard()
    turn = replace(Turn(text, Path("/"), new_trace()), **more)
    with anyio.fail_after(5):
        return await EchoBrain().think(turn, gate or Asked(), events), events


@given(st.text())
async def test_whatever_is_no_script_is_repeated_exactly(text: str) -> None:
    text = text.replace("#", "")

    reply, events = await think(text)

    assert reply.text == events.said == text


async def test_markdown_is_no_script() -> None:
    text = "# Say what\n## run\n#sayings\n  #say indented"

    assert (await think(text))[0].text == text


async def test_a_script_is_followed_in_order_and_the_rest_repeated() -> None:
    reply, events = await think("hello\n#think first\n#say one two\nbye")

    assert reply.text == "hello\none two\nbye"
    assert events.thought == "first"
    assert [e.text for e in events.of(Said)] == ["hello", "\none", " two", "\nbye"]


async def test_a_long_text_comes_in_a_bounded_number_of_pieces() -> None:
    _, events = await think("word " * 200_000)

    assert events.said == "word " * 200_000
    assert len(events.of(Said)) <= 401


async def test_a_file_is_really_read_once_the_gate_allows_it(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("سر\n" * 2_000, encoding="utf-8")
    gate = Asked({"read"})

    _, events = await think("#read note.txt\n#read no-such-file\n#run rm -r x", gate, cwd=tmp_path)

    note, missing = str(tmp_path / "note.txt"), str(tmp_path / "no-such-file")
    assert events.acts == [
        ("read", note, "started"),
        ("read", note, "done"),
        ("read", missing, "started"),
        ("read", missing, "failed"),
        ("run", "rm -r x", "started"),
        ("run", "rm -r x", "denied"),
    ]
    assert events.of(Acted)[1].output == ("سر\n" * 2_000)[:2_000]
    assert [a.target for a in gate.actions] == [note, missing, "rm -r x"]


async def test_an_edit_or_command_is_asked_for_but_never_done(tmp_path: Path) -> None:
    _, events = await think("#edit new.txt\n#run touch new.txt\n#fetch https://example.org\n#tool kb_search", cwd=tmp_path)

    assert [(kind, state) for kind, _, state in events.acts if state != "started"] == [
        ("edit", "done"),
        ("run", "done"),
        ("network", "done"),
        ("tool", "done"),
    ]
    assert [p async for p in anyio.Path(tmp_path).iterdir()] == []


@pytest.mark.parametrize("reason", ["missing", "logged_out", "limited", "overloaded", "killed", "cut", "silent", "broken"])
async def test_it_fails_for_every_reason_there_is_and_still_says_what_it_spent(reason: str) -> None:
    events = Heard()

    with pytest.raises(BrainUnavailable, match="echo: come back later") as caught:
        await think(f"#say half\n#fail {reason}=30 come back later", events=events)

    assert (caught.value.reason, caught.value.retry_after_s) == (reason, 30.0)
    assert events.said == "half"
    assert events.usage.output == 1


async def test_it_refuses_and_it_breaks() -> None:
    with pytest.raises(BrainRefused, match="never"):
        await think("#fail refused never")
    with pytest.raises(RuntimeError, match="a bug"):
        await think("#fail bug a bug")


async def test_words_are_counted_and_free_unless_the_script_says_otherwise() -> None:
    _, plain = await think("three little words")
    _, told = await think("#spend 1000 200 0.25\nhi")
    _, unknown = await think("#spend 1 2 ?")

    assert plain.of(Spent) == [Spent("echo", "echo", Usage(input=3, output=3), Decimal(0), "free")]
    assert told.of(Spent) == [Spent("echo", "echo", Usage(input=1000, output=200), Decimal("0.25"), "reported")]
    assert unknown.of(Spent) == [Spent("echo", "echo", Usage(input=1, output=2), None, "unknown")]


async def test_its_session_is_kept_and_it_tells_what_it_was_given() -> None:
    history = (Message("user", "hello"), Message("assistant", "hi", "codex"))
    image = Attachment(Path("/a.png"), "image/png", 12)

    reply, events = await think("#history\n#images", history=history, session=Session("echo", "s-1"), images=(image,))

    assert reply.session == events.of(Bound)[0].session == Session("echo", "s-1")
    assert reply.text == "2 earlier messages\nuser: hello\nassistant: hi\n1 images\nimage/png 12"


async def test_with_a_script_of_its_own_it_stands_in_for_any_brain() -> None:
    brain = EchoBrain("codex", script="#fail logged_out no login")

    with pytest.raises(BrainUnavailable, match="codex: no login"):
        await brain.think(Turn("hello", Path("/"), new_trace()), Asked(), Heard())
