"""`ai --stream-json` as a program uses it: whatever it sends, in whatever order, and however it leaves."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import termios
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Ai, children

from paios import __version__
from paios.base.events import Cancelled
from paios.observability.events import events_of
from paios.observability.store import open_database
from paios.observability.traces import Past, find, recent
from paios.testing.until import until

pytestmark = pytest.mark.timeout(60)
TERMINAL = ("answered", "failed", "cancelled")
LEAVES_S = 5  # a door that closes has ended the work by then

Line = dict[str, Any]


@dataclass
class Talk:
    """A conversation under way; `lines` holds what was heard."""

    process: subprocess.Popen[str]
    lines: list[Line] = field(default_factory=list)

    def send(self, *texts: str, **line: Any) -> None:
        """A user turn for each of *texts*, or else the object *line*."""
        for given in [{"type": "user", "text": text} for text in texts] or [line]:
            self.raw(json.dumps(given).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.buffer.write(data)  # type: ignore[attr-defined]  # it is a TextIOWrapper
        self.process.stdin.flush()

    def until(self, *types: str) -> Line:
        """The next line of one of these types."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            if self.lines[-1]["type"] in types:
                return self.lines[-1]
        raise AssertionError(f"it ended before {types}: {self.lines}, {self.process.communicate()}")

    def ends(self, code: int = 0) -> list[Line]:
        """Closes our end; all lines, once it has ended with *code* and without a word on stderr."""
        out, err = self.process.communicate(timeout=30)
        self.lines += map(json.loads, out.splitlines())
        assert (self.process.returncode, err) == (code, "")
        return self.lines

    def of(self, *types: str) -> list[Line]:
        return [line for line in self.lines if line["type"] in types]


def converse(ai: Ai, *args: str, **more: Any) -> Talk:
    return Talk(ai.start("--stream-json", "--brain", "echo", *args, stdin=subprocess.PIPE, **more))


def stored(ai: Ai) -> list[Past]:
    """The stored requests, oldest first."""
    with open_database(Path(ai.env["PAIOS_HOME"])) as db:
        return recent(db, limit=1000)[::-1]


def stopped_by(ai: Ai) -> str:
    """Who stopped the newest request."""
    with open_database(Path(ai.env["PAIOS_HOME"])) as db:
        end = events_of(db, find(db, "last").trace)[-1].event
    assert isinstance(end, Cancelled), end
    return end.by


def test_it_says_hello_and_serves_turns_in_order_on_one_thread(ai: Ai) -> None:
    talk = converse(ai)
    talk.send("one", "two", "three")
    lines = talk.ends()
    thread = lines[0]["thread"]
    assert lines[0] == {"type": "hello", "schema": 1, "version": __version__, "thread": thread}
    assert [line["thread"] for line in talk.of("accepted")] == [thread] * 3
    assert [line["text"] for line in talk.of("answered")] == ["one", "two", "three"]
    assert [line["resumed"] for line in talk.of("began")] == [False, True, True]
    assert ai.json("four", "--thread", thread, "--brain", "echo").of("began")[0]["resumed"] is True
    assert [(past.thread, past.text) for past in stored(ai)] == [(thread, text) for text in ("one", "two", "three", "four")]


def test_the_task_of_the_command_line_is_the_first_turn_and_its_files_go_with_it_alone(ai: Ai) -> None:
    (ai.cwd / "notes.txt").write_text("the notes")
    talk = converse(ai, "first", "-f", "notes.txt")
    talk.send("second")
    talk.ends()
    assert ["the notes" in line["text"] for line in talk.of("answered")] == [True, False]


@pytest.mark.parametrize("option", ["-f", "-i"])
def test_a_file_without_a_task_to_go_with_is_refused(ai: Ai, option: str) -> None:
    (ai.cwd / "notes.txt").write_text("the notes")
    talk = converse(ai, option, "notes.txt")
    (error,) = talk.ends(code=2)
    assert (error["type"], error["kind"]) == ("error", "bad_input")
    assert "files" in error["remedy"]


def test_an_interrupt_stops_the_turn_that_runs_and_the_next_is_served(ai: Ai) -> None:
    talk = converse(ai)
    talk.send(type="interrupt")  # nothing runs: no harm
    talk.send("#say so far\n#sleep 60", "next")
    talk.until("said")
    talk.until("said")
    talk.send(type="interrupt")
    cancelled = talk.until("cancelled")
    assert (cancelled["by"], cancelled["said"]) == ("you", "so far")
    assert talk.until(*TERMINAL)["text"] == "next"
    talk.ends()
    assert [past.status for past in stored(ai)] == ["cancelled", "answered"]


def test_answers_decide_what_may_happen_and_the_reason_is_kept(ai: Ai) -> None:
    talk = converse(ai)
    for answer in ({"allow": True}, {"allow": False}, {"allow": False, "reason": "because it is late"}):
        talk.send("#run make")
        waiting = talk.until("waiting")
        assert (waiting["action"]["target"], waiting["action"]["cwd"]) == ("make", str(ai.cwd))
        talk.send(type="answer", approval=waiting["approval"], **answer)
        talk.until("answered")
    talk.send(type="answer", approval=waiting["approval"], allow=True)
    assert "nothing waits" in talk.until("error")["message"]  # the one before has been answered
    talk.ends()
    verdicts = [(line["verdict"]["allowed"], line["verdict"]["by"], line["verdict"]["reason"]) for line in talk.of("judged")]
    assert verdicts == [(True, "you", "you said yes"), (False, "you", "you said no"), (False, "you", "because it is late")]
    assert [line["state"] for line in talk.of("acted")] == ["started", "done", "started", "denied", "started", "denied"]


def test_an_answer_that_is_none_leaves_the_question_open(ai: Ai) -> None:
    talk = converse(ai)
    talk.send("#run make")
    approval = talk.until("waiting")["approval"]
    wrong: list[Line] = [
        {"approval": "a-none", "allow": True},
        {"approval": approval, "allow": "yes"},
        {"approval": approval, "allow": 1},
        {"approval": approval},
        {"approval": [approval], "allow": True},
        {"approval": approval, "allow": False, "reason": 5},
        {"approval": approval, "allow": True, "always": True},
    ]
    for line in wrong:
        talk.send(type="answer", **line)
        assert talk.until("error", "judged")["type"] == "error", line
    talk.send(type="answer", approval=approval, allow=True)
    assert talk.until("judged")["verdict"]["allowed"] is True
    talk.ends()


def test_an_answer_that_comes_too_late_is_told_so(ai: Ai) -> None:
    path = Path(ai.env["PAIOS_HOME"]) / "paios.toml"
    path.write_text("[limits]\napproval_s = 0.05\n")
    path.chmod(0o600)
    talk = converse(ai)
    talk.send("#run make")
    approval = talk.until("waiting")["approval"]
    verdict = talk.until("judged")["verdict"]
    assert (verdict["allowed"], verdict["by"]) == (False, "nobody")
    talk.send(type="answer", approval=approval, allow=True)
    assert approval in talk.until("error")["message"]
    talk.ends()


WRONG = [
    b"hello",
    b"{",
    b"[]",
    b"null",
    b"5",
    b"[" * 200_000,
    b"9" * 10_000,
    b"{}",
    b'{"type": "usr", "text": "x"}',
    b'{"type": ["user"], "text": "x"}',
    b'{"type": {}, "text": "x"}',
    b'{"type": null}',
    b'{"type": "user"}',
    b'{"type": "user", "text": null}',
    b'{"type": "user", "text": 5}',
    b'{"type": "user", "text": ["x"]}',
    b'{"type": "user", "text": ""}',
    b'{"type": "user", "text": "\\u0000"}',
    b'{"type": "user", "text": "x", "cwd": "/"}',
    b'{"type": "user", "text": "x", "files": "a"}',
    b'{"type": "user", "text": "x", "files": [1]}',
    b'{"type": "user", "text": "x", "files": ["nowhere"]}',
    b'{"type": "user", "text": "x", "files": ["\\ud800"]}',
    b'{"type": "user", "text": "x", "images": ["\\u0000"]}',
    b'{"type": "user", "text": "x", "allow": ["everything"]}',
    b'{"type": "user", "text": "x", "brain": 1}',
    b'{"type": "user", "text": "x", "brain": "\\ud800"}',
    b'{"type": "user", "text": "x", "brain": "codx"}',
    b'{"type": "user", "text": "x", "timeout_s": "1"}',
    b'{"type": "user", "text": "x", "timeout_s": true}',
    b'{"type": "user", "text": "x", "timeout_s": 0}',
    b'{"type": "user", "text": "x", "timeout_s": NaN}',
    b'{"type": "user", "text": "x", "timeout_s": 1e999}',
    b'{"type": "user", "text": "x", "timeout_s": 1' + b"0" * 400 + b"}",
    b'{"type": "interrupt", "now": true}',
    b'{"type": "answer"}',
    b"x" * 5_000_000,
    b'{"type": "user", "text": "' + b"x" * 9_000_000 + b'"}',
    b"a\0b",
    b"\xff\xfe\x80",
]


def test_every_wrong_line_gets_one_error_and_breaks_nothing_else(ai: Ai) -> None:
    talk = converse(ai)
    for wrong in WRONG:
        talk.raw(wrong + b"\n\n  \n")
        error = talk.until("error", *TERMINAL)
        assert (error["type"], error["kind"]) == ("error", "bad_input"), wrong[:80]
        assert error["message"] and error["remedy"], wrong[:80]
        assert len(json.dumps(error)) < 5_000, wrong[:80]
    talk.send("still there")
    assert talk.until(*TERMINAL)["text"] == "still there"
    talk.ends()
    assert len(talk.of("error")) == len(WRONG)
    assert [past.text for past in stored(ai)] == ["still there"]


def test_strange_bytes_inside_a_good_line_are_replaced_and_a_last_line_needs_no_end(ai: Ai) -> None:
    talk = converse(ai)
    talk.raw(b'{"type": "user", "text": "caf\xe9"}')
    talk.ends()
    assert [line["text"] for line in talk.of("answered")] == ["caf\ufffd"]


def test_the_end_of_the_input_lets_a_turn_finish_and_denies_its_question(ai: Ai) -> None:
    talk = converse(ai)
    talk.send("#run make\n#sleep 0.2\n#run test\n#say done")
    talk.until("waiting")
    talk.ends()
    assert [(line["verdict"]["allowed"], line["verdict"]["by"]) for line in talk.of("judged")] == [(False, "nobody")] * 2
    assert talk.lines[-1]["text"] == "done"


def test_turns_that_wait_are_served_after_the_end_of_the_input(ai: Ai) -> None:
    talk = converse(ai)
    talk.send("#sleep 0.2\n#say one", "two")
    talk.ends()
    assert [line["text"] for line in talk.of("answered")] == ["one", "two"]


@pytest.mark.parametrize("script", ["#say so far\n#sleep 60", "#say so far\n#run make", "so far " * 100_000])
def test_a_reader_that_leaves_ends_everything(ai: Ai, script: str) -> None:
    talk = converse(ai)
    talk.send(script, "never")
    talk.until("said")
    assert talk.process.stdout is not None
    talk.process.stdout.close()
    assert talk.process.wait(LEAVES_S) == 141  # its stdin is still open
    assert talk.process.stderr is not None and talk.process.stderr.read() == ""
    assert [past.status for past in stored(ai)] == ["cancelled"]
    assert stopped_by(ai) == "door"


def test_a_reader_that_leaves_while_nothing_runs_ends_it(ai: Ai) -> None:
    talk = converse(ai)
    talk.until("hello")
    assert talk.process.stdout is not None
    talk.process.stdout.close()
    assert talk.process.wait(LEAVES_S) == 141


def test_a_slow_reader_loses_nothing(ai: Ai) -> None:
    text = "كلمة word " * 100_000
    talk = converse(ai)
    talk.send(text)
    talk.send("#say after it")
    talk.until("said")
    with pytest.raises(subprocess.TimeoutExpired):  # for a second nothing is read, and it waits for us
        talk.process.wait(1)
    talk.ends()
    assert sum(len(json.dumps(line, ensure_ascii=False).encode()) for line in talk.lines) > 2_000_000
    assert "".join(line["text"] for line in talk.of("said")).removesuffix("after it") == text.strip()
    for trace in {line["trace"] for line in talk.of("accepted")}:
        seqs = [line["seq"] for line in talk.lines if line.get("trace") == trace]
        assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize(("number", "by"), [(signal.SIGTERM, "door"), (signal.SIGHUP, "door"), (signal.SIGINT, "you")])
def test_a_signal_cancels_the_turn_drops_those_that_wait_and_leaves_no_child(ai: Ai, number: int, by: str) -> None:
    talk = converse(ai)
    talk.send("#say so far\n#sleep 60", "never")
    talk.until("said")
    talk.until("said")
    talk.process.send_signal(number)
    assert talk.until("cancelled")["by"] == by
    assert talk.process.wait(LEAVES_S) == 130  # its stdin is still open
    talk.ends(code=130)
    assert [past.status for past in stored(ai)] == ["cancelled"]
    assert children(ai.env["PAIOS_HOME"]) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_nothing_runs_ends_it_with_the_code_of_the_last_turn(ai: Ai, number: int) -> None:
    talk = converse(ai)
    talk.send("one")
    talk.until("answered")
    talk.process.send_signal(number)
    assert talk.process.wait(LEAVES_S) == 0
    talk.ends()


async def test_a_reader_that_takes_nothing_does_not_keep_a_signal_from_ending_it(ai: Ai) -> None:
    talk = converse(ai)
    (ai.cwd / "notes.txt").write_text("notes " * 1000)
    talk.send("#read notes.txt\n" * 100)  # each shows 2,000 characters
    seen: list[int] = []
    await until(lambda: _is_full(talk, seen))
    talk.process.terminate()
    assert talk.process.wait(LEAVES_S) == 141
    assert stopped_by(ai) == "door"


def _is_full(talk: Talk, seen: list[int]) -> bool:
    """Whether the pipe that we do not read holds as much as it can: looked at ten times, nothing was added."""
    assert talk.process.stdout is not None
    seen.append(int.from_bytes(fcntl.ioctl(talk.process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder))
    return seen[-1] > 16 * 1024 and seen[-10:] == [seen[-1]] * 10


def test_a_full_disk_under_the_output_is_told(ai: Ai) -> None:
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "paios", "hi", "--stream-json", "--brain", "echo"],
            cwd=ai.cwd,
            env=ai.env,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
        err = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "No space left" in err and "Traceback" not in err


def test_two_hundred_turns_in_a_row_are_all_stored_without_a_gap(ai: Ai) -> None:
    talk = converse(ai)
    talk.send(*(f"turn {n}" for n in range(200)))
    talk.ends()
    assert [line["text"] for line in talk.of("answered")] == [f"turn {n}" for n in range(200)]
    seqs: dict[str, list[int]] = {}
    for line in talk.lines[1:]:
        seqs.setdefault(line["trace"], []).append(line["seq"])
    assert len(seqs) == 200
    assert all(found == list(range(1, len(found) + 1)) for found in seqs.values())
    assert [past.text for past in stored(ai)] == [f"turn {n}" for n in range(200)]
