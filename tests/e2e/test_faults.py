"""What goes wrong around the command: the disk, the database, the clock, no brain; and what it tells of an odd home."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.e2e.conftest import Ai

from paios.app import open_house
from paios.base.events import Accepted, Answered, Cancelled, Event, Failed, Recorded, Said
from paios.interfaces.intake import Asked
from paios.interfaces.serve import Stop, serve
from paios.observability.events import events_of
from paios.observability.store import open_database
from paios.observability.traces import recent
from paios.observability.usage import spending
from paios.testing.clock import FakeClock

pytestmark = pytest.mark.timeout(60)
ECHO = ("--brain", "echo")
NO_VENDOR = "[brains.claude]\nenabled = false\n[brains.codex]\nenabled = false\n[brains.gateway]\nenabled = false\n"


def home(ai: Ai) -> Path:
    return Path(ai.env["PAIOS_HOME"])


def settings(ai: Ai, toml: str) -> None:
    path = home(ai) / "paios.toml"
    path.write_text(toml)
    path.chmod(0o600)


def stored(ai: Ai) -> dict[str, tuple[str, list[Event]]]:
    """Each stored request, oldest first: its trace, status and events, which are counted without a gap."""
    with open_database(home(ai)) as db:
        found = {}
        for past in reversed(recent(db)):
            records = events_of(db, past.trace)
            assert [record.seq for record in records] == list(range(1, len(records) + 1))
            found[past.trace] = (past.status, [record.event for record in records])
        return found


@pytest.mark.parametrize("option", [[], ["--json"], ["--stream-json"]])
def test_a_full_disk_stops_the_request_and_costs_nothing_stored_before(ai: Ai, option: list[str]) -> None:
    assert ai("#spend 10 20 0.5\n#say before", *ECHO).code == 0
    before = stored(ai)
    (ai.cwd / "notes.txt").write_text("notes " * 1000)
    task = "#read notes.txt\n" * 200 + "#say never"  # stores 2,000 characters each time
    given = json.dumps({"type": "user", "text": task}) + "\n" if option == ["--stream-json"] else task
    blocks = sum(path.stat().st_size for path in (home(ai) / "data").iterdir()) // 512 + 100
    command = f'ulimit -f {blocks}; exec {sys.executable} -m paios "$@"'
    run = subprocess.run(
        ["sh", "-c", command, "sh", *ECHO, *option],
        cwd=ai.cwd,
        env=ai.env,
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 7, run
    if option:
        error = json.loads(run.stdout.splitlines()[-1])
        assert (error["type"], error["kind"], run.stderr) == ("error", "store", "")
        told = error["message"] + error["remedy"]
    else:
        told = run.stderr
    assert "paios.db" in told and "free some disk space" in told
    assert "Traceback" not in told

    assert ai("after", *ECHO).out == "after\n"  # there is room again
    (first, *_), (status, events), (last, _) = (now := stored(ai)).values()
    assert [first, status, last] == ["answered", "failed", "answered"]
    assert before.items() <= now.items()
    assert isinstance(events[0], Accepted)
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "interrupted"


def _garbage(data: Path) -> None:
    (data / "paios.db").write_bytes(b"this is no database\n" * 1000)


def _torn(data: Path) -> None:
    path = data / "paios.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))


def _newer(data: Path) -> None:
    with sqlite3.connect(data / "paios.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _folder_is_a_file(data: Path) -> None:
    shutil.rmtree(data)
    data.write_text("")


def _database_is_a_folder(data: Path) -> None:
    (data / "paios.db").unlink()
    (data / "paios.db").mkdir()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_garbage, ["paios.db", "damaged", "backups"]),
        (_torn, ["paios.db", "damaged", "backups"]),
        (_newer, ["paios.db", "newer PAIOS", "update PAIOS"]),
        (_folder_is_a_file, ["cannot be used", "PAIOS_HOME"]),
        (_database_is_a_folder, ["paios.db", "cannot be opened", "PAIOS_HOME"]),
    ],
)
def test_a_database_that_cannot_be_used_is_told_with_the_way_out_and_left_alone(
    ai: Ai, harm: Callable[[Path], None], words: list[str]
) -> None:
    data = home(ai) / "data"
    with open_database(home(ai)):
        pass
    harm(data)
    path = data / "paios.db"
    found = path.read_bytes() if path.is_file() else b""
    for run in (ai("hi", *ECHO), ai("history")):
        assert (run.code, run.out) == (7, ""), run
        assert [word for word in words if word not in run.err] == []
        assert "Traceback" not in run.err
    assert (path.read_bytes() if path.is_file() else b"") == found


async def test_a_clock_that_is_put_back_changes_no_order_and_no_duration(tmp_path: Path, cwd: Path) -> None:
    start = datetime(2026, 5, 1, 12, tzinfo=UTC)
    clock = FakeClock(start)
    shown: list[Recorded] = []

    async def show(record: Recorded) -> None:
        shown.append(record)
        if isinstance(record.event, Said):  # while it runs
            clock.advance(1.5)
            clock.set(clock.at() - timedelta(hours=1))

    async with open_house(tmp_path / "paios", {"HOME": str(tmp_path), "PATH": ""}, clock=clock) as house:
        for text in ("one", "two", "three"):
            asked = Asked(f"#say {text} and more", cwd, "th-clock", "cli", brain="echo")
            end = await serve(asked, house, Stop(), show, None)
            assert isinstance(end, Answered)
            assert end.took_ms == 4_500
            clock.set(clock.at() - timedelta(days=2))  # and between two
        past = recent(house.db, cwd=str(cwd))
        assert [p.text for p in past] == [f"#say {text} and more" for text in ("three", "two", "one")]
        assert past[0].at < past[2].at
        for p in past:
            events = events_of(house.db, p.trace)
            assert [record.seq for record in events] == list(range(1, len(events) + 1))
            assert [record.event for record in events] == [record.event for record in shown if record.trace == p.trace]
            assert events[-1].at < events[0].at
            assert (p.took_ms, p.answer) == (4_500, p.text.removeprefix("#say "))
        assert sum(row.turns for row in spending(house.db, days=3660)) == 3


def test_without_the_brain_that_was_asked_for_it_is_told_what_it_needs(ai: Ai) -> None:
    settings(ai, NO_VENDOR)
    run = ai("hi", "--brain", "claude")
    assert (run.code, run.out) == (4, "")
    assert "claude: switched off in paios.toml" in run.err
    assert "ai doctor" in run.err
    end = ai.json("hi", "--brain", "gateway").end
    assert (end["type"], end["kind"], end["brain"]) == ("failed", "no_brain", None)
    assert "gateway: switched off in paios.toml" in end["message"]


def test_with_every_brain_switched_off_the_librarian_answers_an_image_honestly(ai: Ai) -> None:
    settings(ai, NO_VENDOR)
    (ai.cwd / "dot.gif").write_bytes(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")
    run = ai.json("what is in this picture?", "-i", "dot.gif")
    assert (run.code, run.end["brain"]) == (0, "librarian")
    assert "do not guess" in run.end["text"]
    reasons = run.of("routed")[0]["reasons"]
    for brain in ("claude", "codex", "gateway"):
        assert f"not {brain}: switched off in paios.toml" in reasons
    shown = ai("trace").out
    assert shown.count("not claude: ") == 1, "said once"


def test_an_empty_home_is_told_as_that(ai: Ai) -> None:
    settings(ai, NO_VENDOR)
    run = ai("trace")
    assert (run.code, run.out) == (2, "")
    assert "ai history" in run.err
    for args in (["history"], ["history", "--all"], ["usage"]):
        run = ai(*args)
        assert (run.code, run.out) == (0, ""), run
        assert "nothing was" in run.err
    for args in (["history", "--json"], ["usage", "--json"]):
        assert json.loads(ai(*args).out) == []
    brains = ai("brains")
    assert brains.code == 4  # none but the librarian
    assert "librarian" in brains.out and "local:" in brains.out
    doctor = ai("doctor", "--json")
    assert doctor.code == 1
    findings = {finding["id"]: finding for finding in json.loads(doctor.out)}
    assert [f for f in findings.values() if f["status"] != "ok" and not f["remediation"]] == []
    assert (findings["store.write"]["status"], findings["brain.any"]["status"]) == ("ok", "problem")
    assert "\n✓ made anew from 0 events\n" in ai("doctor", "--rebuild").out


def test_an_interrupted_request_is_shown_as_it_is_and_then_ended_once(ai: Ai) -> None:
    settings(ai, NO_VENDOR)
    process = ai.until_said("#say so far\n#sleep 60", *ECHO)
    process.kill()
    process.communicate(timeout=20)
    assert [status for status, _ in stored(ai).values()] == ["open"]
    assert "  open\n" in ai("trace").out
    assert ai("usage").code == 0
    findings = {finding["id"]: finding for finding in json.loads(ai("doctor", "--json").out)}
    assert findings["store.interrupted"]["summary"].startswith("1 ")
    again = {finding["id"] for finding in json.loads(ai("doctor", "--json", "--rebuild").out)}
    assert "store.interrupted" not in again
    ((status, events),) = stored(ai).values()
    assert status == "failed"
    ends = [event for event in events if isinstance(event, (Answered, Failed, Cancelled))]
    assert [(end.kind, end.brain) for end in ends if isinstance(end, Failed)] == [("interrupted", "echo")]
    assert len(ends) == 1
    assert "failed (interrupted)" in ai("trace").out


def test_rebuild_makes_history_and_usage_anew_from_the_events(ai: Ai) -> None:
    settings(ai, NO_VENDOR)
    ai("#spend 10 20 0.5\n#say one", *ECHO)
    ai("#fail broken", *ECHO)
    before = [ai(*args).out for args in (["history", "--json"], ["usage", "--json"])]
    with sqlite3.connect(home(ai) / "data" / "paios.db") as connection:
        for table in ("requests", "sessions", "spend"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    assert json.loads(ai("history", "--json").out) == []
    ai("doctor", "--rebuild")
    assert [ai(*args).out for args in (["history", "--json"], ["usage", "--json"])] == before
    assert ai.json("three", "-c", *ECHO).of("began")[0]["resumed"] is True, "the session is known again"


def test_bash_completes_commands_and_their_options(ai: Ai) -> None:
    script = """
eval "$(ai completion bash)"
complete -p ai
for line in 'ai con' 'ai history --li' 'ai completion z' 'ai config val'; do
    read -ra COMP_WORDS <<< "$line"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _ai_completion ai "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$COMP_CWORD - 1]}"
    echo "$line: ${COMPREPLY[*]}"
done
"""
    done = subprocess.run(["bash", "-c", script], cwd=ai.cwd, env=ai.env, capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    registered, *completed = done.stdout.splitlines()
    assert registered.endswith("-F _ai_completion ai")
    assert completed == ["ai con: config", "ai history --li: --limit", "ai completion z: zsh", "ai config val: validate"]


@pytest.mark.parametrize(("shell", "answer"), [("zsh", "plain\nconfig\n"), ("fish", "plain,config\t")])
def test_the_other_shells_get_a_script_and_its_answers(ai: Ai, shell: str, answer: str) -> None:
    script = ai("completion", shell)
    assert script.code == 0
    assert f"_AI_COMPLETE={shell}_complete" in script.out
    ai.env |= {"_AI_COMPLETE": f"{shell}_complete", "COMP_WORDS": "ai con", "COMP_CWORD": "con" if shell == "fish" else "1"}
    assert ai().out.startswith(answer)
