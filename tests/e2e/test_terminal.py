"""`ai` at a terminal: what a person sees, is asked and can stop."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Ai, children

from paios.base.events import Answered, Cancelled, Event, Judged
from paios.observability.events import events_of
from paios.observability.store import open_database
from paios.observability.traces import find

pytestmark = pytest.mark.timeout(60)
WAIT_S = 20
LEAVES_S = 5  # a door that closes has ended the work by then
ECHO = ("--brain", "echo")


class Terminal:
    """A pseudo-terminal with `ai` in it. `shown` is everything that came out of it, escape sequences included."""

    def __init__(self, ai: Ai, *args: str, columns: int = 80, env: dict[str, str] | None = None, **streams: Any) -> None:
        self.screen, inside = pty.openpty()
        self.shown = ""
        self._bytes = b""
        termios.tcsetwinsize(inside, (24, columns))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "paios", *args],
            cwd=ai.cwd,
            env={**ai.env, "TERM": "xterm-256color", **(env or {})},
            **{"stdin": inside, "stdout": inside, "stderr": inside, **streams},
            preexec_fn=lambda: _control(inside),
        )
        os.close(inside)

    def until(self, words: str, *, times: int = 1) -> str:
        """Everything shown, once *words* are among it so many *times*."""
        ends = time.monotonic() + WAIT_S
        while self.shown.count(words) < times:
            assert self._read(ends - time.monotonic()), f"{words!r} was not shown: {self.shown!r}"
        return self.shown

    def types(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def ends(self, code: int = 0) -> str:
        """Everything shown, once `ai` has ended with *code*."""
        ends = time.monotonic() + WAIT_S
        while self._read(ends - time.monotonic()):
            pass
        assert self.process.wait(WAIT_S) == code, self.shown
        return self.shown

    def _read(self, wait_s: float) -> bool:
        """Waits for something more; False at the end."""
        assert select.select([self.screen], [], [], max(0, wait_s))[0], f"nothing comes any more: {self.shown!r}"
        with suppress(OSError):  # EIO: nobody has the terminal open any more
            chunk = os.read(self.screen, 1 << 16)
            self._bytes += chunk
            self.shown = self._bytes.decode(errors="replace")
            return bool(chunk)
        return False

    def close(self) -> None:
        """Closes the window."""
        if self.screen >= 0:
            os.close(self.screen)
            self.screen = -1


def _control(terminal: int) -> None:
    """Makes *terminal* the controlling one of a new session, so that /dev/tty is it, whatever the standard streams are."""
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


Opens = Callable[..., Terminal]


@pytest.fixture
def terminal(ai: Ai) -> Iterator[Opens]:
    """Opens terminals with `ai` in them."""
    opened: list[Terminal] = []

    def opens(*args: str, **more: Any) -> Terminal:
        opened.append(Terminal(ai, *args, **more))
        return opened[-1]

    yield opens
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.close()


def plain(shown: str) -> str:
    """What can be read of it: no colours, no moving about."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n")


def width(line: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def verdicts(ai: Ai) -> list[tuple[bool, str, str]]:
    found = [event.verdict for event in stored(ai) if isinstance(event, Judged)]
    return [(verdict.allowed, verdict.by, verdict.reason) for verdict in found]


def stored(ai: Ai) -> list[Event]:
    """The events of the newest request, in order."""
    with open_database(Path(ai.env["PAIOS_HOME"])) as db:
        return [record.event for record in events_of(db, find(db, "last").trace)]


def stopped(ai: Ai) -> tuple[str, str]:
    """Who stopped the newest request, and what had been said by then."""
    last = stored(ai)[-1]
    assert isinstance(last, Cancelled), last
    return last.by, last.said


def test_text_is_shown_as_it_comes_and_at_the_end_who_answered_at_what_price(terminal: Opens) -> None:
    screen = terminal("#say good morning\n#sleep 60", *ECHO)
    screen.until("good morning")  # long before the end
    screen.types("\x03")
    screen.ends(130)
    shown = plain(terminal("#say مرحبا بكم في البيت 家\n#spend 1200 34 0.0125", *ECHO).ends())
    text, facts = shown.rstrip().splitlines()[-2:]
    assert text.endswith("مرحبا بكم في البيت 家")
    assert re.fullmatch(r"echo · echo · \w+ \d+% · 1,200 in 34 out · \$0\.0125 · \d+\.\d s · ai trace [0-9a-f]{8}", facts)


def test_a_cost_nobody_knows_is_said_so(terminal: Opens) -> None:
    assert "cost unknown" in terminal("#spend 1 1 ?\n#say hi", *ECHO).ends()


def test_long_work_shows_who_is_at_it_for_how_long_and_clears_that_away(terminal: Opens) -> None:
    screen = terminal("#sleep 1.3\n#say done", *ECHO)
    screen.until("echo · 0 s")
    screen.until("echo · 1 s")
    shown = screen.ends()
    last = shown.rindex("echo · 1 s")
    assert "\x1b[2K" in shown[last:], "the line is erased"
    assert shown.index("done") > last
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1, "the cursor is given back"


def test_the_progress_line_estimates_the_tokens_until_the_brain_tells_them(terminal: Opens) -> None:
    screen = terminal(f"#think {'a thought ' * 40}\n#sleep 0.5\n#say done", *ECHO)
    screen.until("· about 100 tokens")
    screen.ends()


def test_a_question_about_a_tool_shows_what_it_is_given(terminal: Opens) -> None:
    screen = terminal("#tool send_mail to everybody", *ECHO)
    assert '{"target": "send_mail to everybody"}' in screen.until("why not: ")
    screen.types("n\n")
    screen.ends()


ANSWERS = {
    "y": (True, "you said yes"),
    "YES": (True, "you said yes"),
    "نعم": (True, "you said yes"),
    "n": (False, "you said no"),
    "لا": (False, "you said no"),
    "": (False, "you said no"),
    "because it is late": (False, "you said no: because it is late"),
    "yesterday": (False, "you said no: yesterday"),
}


def test_questions_show_the_command_and_its_folder_and_are_answered(ai: Ai, terminal: Opens) -> None:
    screen = terminal("\n".join(f"#run make {n}" for n, _ in enumerate(ANSWERS)), *ECHO)
    for n, answer in enumerate(ANSWERS):
        screen.until(f"make {n}\x1b[0m\r\n")  # the question, not the progress line
        screen.until("why not: ", times=n + 1)
        screen.types(f"{answer}\n")
    shown = plain(screen.ends())
    for n, (allowed, _) in enumerate(ANSWERS.values()):
        assert re.search(rf"\? echo [a-z ]+: make {n}\n  in {re.escape(str(ai.cwd))} ", shown)
        assert f"{'✓' if allowed else '–'} run make {n}" in shown
    assert verdicts(ai) == [(allowed, "you", reason) for allowed, reason in ANSWERS.values()]


def test_ctrl_d_is_a_no(ai: Ai, terminal: Opens) -> None:
    screen = terminal("#run make", *ECHO)
    screen.until("why not: ")
    screen.types("\x04")
    screen.ends()
    assert verdicts(ai) == [(False, "you", "you said no")]


def test_what_was_typed_before_a_question_does_not_answer_it(ai: Ai, terminal: Opens) -> None:
    screen = terminal("#say wait\n#sleep 0.3\n#run make", *ECHO)
    screen.until("wait")
    screen.types("y\n")
    screen.until("why not: ")
    screen.types("n\n")
    screen.ends()
    assert verdicts(ai) == [(False, "you", "you said no")]


def test_a_command_cannot_hide_a_part_of_itself(terminal: Opens, ai: Ai) -> None:
    (ai.cwd / "task").write_text("#run rm -r ~ #\x1b[2K\u202e ekam\u202c" + "x" * 3000, encoding="utf-8")
    with (ai.cwd / "task").open() as task:
        screen = terminal(*ECHO, stdin=task)
        shown = screen.until("why not: ")
    screen.types("n\n")
    screen.ends()
    assert "\u202e" not in shown
    assert "rm -r ~ #" in shown
    assert "\\u202e ekam" in shown
    assert "more characters" in shown


def test_a_question_can_be_answered_while_something_is_piped_in(ai: Ai, terminal: Opens) -> None:
    with subprocess.Popen(["echo", "#run make"], stdout=subprocess.PIPE) as echo:
        screen = terminal(*ECHO, stdin=echo.stdout)
        screen.until("why not: ")
    screen.types("y\n")
    screen.ends()
    assert verdicts(ai) == [(True, "you", "you said yes")]


def test_a_question_nobody_answers_in_time_is_a_no(ai: Ai, terminal: Opens) -> None:
    path = Path(ai.env["PAIOS_HOME"]) / "paios.toml"
    path.write_text("[limits]\napproval_s = 0.3\n")
    path.chmod(0o600)
    shown = plain(terminal("#run make", *ECHO).ends())
    assert re.search(r"why not: \n+not allowed: make", shown), shown
    assert [found[:2] for found in verdicts(ai)] == [(False, "nobody")]


def test_nobody_is_asked_without_a_terminal_for_messages(ai: Ai, terminal: Opens) -> None:
    screen = terminal("#run make", *ECHO, stderr=subprocess.PIPE)
    screen.ends()
    assert screen.process.stderr is not None
    assert b"not allowed: make" in screen.process.stderr.read()
    assert [found[:2] for found in verdicts(ai)] == [(False, "nobody")]


@pytest.mark.parametrize(
    ("task", "shown", "said"), [("#say hm\n#run make", "why not: ", "hm"), ("#say so far\n#sleep 60", "so far", "so far")]
)
def test_ctrl_c_stops_it(ai: Ai, terminal: Opens, task: str, shown: str, said: str) -> None:
    screen = terminal(task, *ECHO)
    screen.until(shown)
    screen.types("\x03")
    rest = plain(screen.ends(130))
    assert "\nai: stopped\n" in rest.replace("^C", "")
    assert "Traceback" not in rest
    assert stopped(ai) == ("you", said)
    assert children(ai.env["PAIOS_HOME"]) == []


@pytest.mark.parametrize(
    ("task", "shown"),
    [("#say hm\n#run make", "why not: "), ("#say so far\n#sleep 60", "so far"), ("#sleep 60", "echo · ")],
)
def test_closing_the_window_cancels_it(ai: Ai, terminal: Opens, task: str, shown: str) -> None:
    screen = terminal(task, *ECHO)
    screen.until(shown)
    screen.close()
    screen.process.wait(LEAVES_S)
    assert stopped(ai)[0] == "door"
    assert verdicts(ai) == [], "nobody said no"
    assert list(Path(ai.env["PAIOS_HOME"]).glob("logs/crash-*")) == []
    assert children(ai.env["PAIOS_HOME"]) == []


def test_no_color_leaves_no_colours(terminal: Opens) -> None:
    task = "#read /nowhere/x\n#fail refused so"
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        screen = terminal(task, *ECHO, "--allow", "read", env=env)
        styles = re.findall(r"\x1b\[([0-9;]*)m", screen.ends(5))
        found = [code for style in styles for code in style.split(";") if re.fullmatch(r"[349]\d|10\d", code)]
        assert bool(found) is coloured, (env, styles)


def test_a_dumb_terminal_gets_plain_text(terminal: Opens) -> None:
    shown = terminal("#sleep 0.3\n#say hi", *ECHO, env={"TERM": "dumb"}).ends()
    assert "\x1b" not in shown
    assert "hi\r\n" in shown


EVIL = "\x1b]0;evil\x07 \x1b[2J\x1b[31m \x9b31m \x1bc \x08\x08 \r over \x00 \x7f"


def test_control_characters_of_a_model_never_reach_the_terminal(ai: Ai) -> None:
    script = f"#say say {EVIL} said\n#run run {EVIL} ran\nplain {EVIL} text\n#fail broken fail {EVIL} failed"
    (ai.cwd / "said.py").write_text(
        "from paios.brains.echo import EchoBrain\nimport paios.app, sys\nfrom paios.interfaces.cli.main import run\n"
        f"paios.app.EchoBrain = lambda: EchoBrain(script={script!r})\n"
        "sys.exit(run(['x', '--brain', 'echo', '--allow', 'run']))\n"
    )
    screen, inside = pty.openpty()
    process = subprocess.Popen([sys.executable, "said.py"], cwd=ai.cwd, env=ai.env, stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    shown = ""
    with suppress(OSError):
        while chunk := os.read(screen, 1 << 16):
            shown += chunk.decode()
    os.close(screen)
    process.wait(WAIT_S)
    assert [word for word in ("said", "ran", "text", "failed") if f" {word}" not in shown] == []
    rest = re.sub(r"\x1b\[([0-9;]*m|\?25[lh]|2K|1A)|\r\n|\r\x1b\[", "", shown)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", rest), rest
    assert "\x1b[31m \x1b" not in shown and "\x1b]" not in shown and "\x1b[2J" not in shown


def test_the_answer_goes_to_the_pipe_and_everything_about_it_to_the_terminal(ai: Ai, terminal: Opens) -> None:
    screen = terminal("#read notes.txt\n#say \x1b[31mred", *ECHO, stdout=subprocess.PIPE)
    assert screen.process.stdout is not None
    answer = screen.process.stdout.read()
    shown = plain(screen.ends())
    assert answer == b"[31mred\n"  # as it is: a door drops the escape of what a person gives, a pipe gets the rest
    assert "✗ read" in shown and "ai trace" in shown
    assert "red" not in shown


def test_a_reader_that_leaves_ends_it_without_a_word(ai: Ai) -> None:
    words = "words " * 100_000
    (ai.cwd / "task").write_text(f"#say first\n{words}\n#sleep 60")
    command = f"{sys.executable} -m paios --brain echo < task | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ai.cwd, env=ai.env, capture_output=True, text=True, timeout=WAIT_S)
    assert (done.stdout, done.stderr) == ("first\n141\n", "")
    assert stopped(ai)[0] == "door"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_reader_that_leaves_a_silent_brain_ends_it(ai: Ai, as_json: bool) -> None:
    task = ("#say first\n#sleep 60", *ECHO)
    process = ai.until_said(*task) if as_json else ai.start(*task)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(0 if as_json else 5)
    process.stdout.close()
    assert process.wait(LEAVES_S) == 141
    assert process.stderr.read() == ""
    assert stopped(ai) == ("door", "first")


def test_messages_that_nobody_reads_do_not_stop_the_answer(ai: Ai) -> None:
    process = ai.start("#run make\n#sleep 0.2\n#run test\n#say the answer", *ECHO)
    assert process.stdout is not None and process.stderr is not None
    process.stderr.close()
    assert process.stdout.read() == "the answer\n"
    assert process.wait(WAIT_S) == 0


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_full_disk_under_the_answer_is_told(ai: Ai, option: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "paios", "#say hi\n#sleep 60", *ECHO, *option],
            cwd=ai.cwd,
            env=ai.env,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WAIT_S,
        )
    assert done.returncode == 1
    assert "standard output" in done.stderr and "No space left" in done.stderr and "ai trace" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_before_the_first_line_leaves_no_open_request(ai: Ai) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "paios", "hi", *ECHO, "--json"]
        subprocess.run(command, cwd=ai.cwd, env=ai.env, stdin=subprocess.DEVNULL, stdout=full, timeout=WAIT_S, check=False)
    assert stopped(ai)[0] == "door"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trouble_and_nothing_is_written_into_the_database(ai: Ai, closed: str) -> None:
    command = f'exec {sys.executable} -m paios "#run make\n#say hi" --brain echo {closed}'
    done = subprocess.run(["sh", "-c", command], cwd=ai.cwd, env=ai.env, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done
    assert done.stdout == ("" if " >&-" in f" {closed}" else "hi\n")
    last = stored(ai)[-1]
    assert isinstance(last, Answered) and last.text == "hi"
    data = Path(ai.env["PAIOS_HOME"]) / "data"
    assert (data / "paios.db").read_bytes().startswith(b"SQLite format 3\0")
    assert (data / "paios.db.ticket").read_bytes() == b""


def served(ai: Ai, *tasks: str) -> None:
    """Asks *tasks*, all in one process."""
    lines = [json.dumps({"type": "user", "text": task}) for task in tasks]
    assert ai("--stream-json", *ECHO, stdin="\n".join(lines)).code == 0


def test_tables_fit_a_terminal_of_eighty_columns(ai: Ai, terminal: Opens) -> None:
    served(ai, "مهمة طويلة جدا " * 30, "a long task " * 30, "short")
    head, *rows = terminal("history").ends().splitlines()
    assert head.split() == ["when", "trace", "thread", "status", "brain", "task"]
    tasks = [row[head.index("task") :] for row in rows]
    assert tasks[0] == "short"
    assert tasks[1].startswith("a long") and tasks[2].startswith("مهمة")
    assert [task[-1] for task in tasks[1:]] == ["…", "…"]
    assert [row for row in rows if width(row) > 80] == []


def test_tables_of_wide_letters_fit_a_terminal_of_eighty_columns(ai: Ai, terminal: Opens) -> None:
    served(ai, "長い仕事" * 30)
    rows = terminal("history").ends().splitlines()
    assert [row for row in rows if width(row) > 80] == []


def test_a_table_without_a_terminal_is_not_cut(ai: Ai) -> None:
    text = "a long task " * 20
    ai(text, *ECHO)
    assert text.strip() in ai("history").out


def test_a_signal_from_outside_leaves_the_terminal_as_it_was(terminal: Opens) -> None:
    screen = terminal("#sleep 60", *ECHO)
    screen.until("echo · ")
    screen.process.send_signal(signal.SIGTERM)
    shown = screen.ends(130)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h"), "the cursor is given back"
    assert "ai: stopped" in shown
