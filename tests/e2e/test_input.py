"""What people give the command, good and bad, with the echo to show what a brain gets."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tests.e2e.conftest import Ai

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def test_the_answer_alone_goes_to_a_pipe_and_nothing_to_stderr(ai: Ai) -> None:
    run = ai("hello", "world", "--brain", "echo")
    assert (run.code, run.out, run.err) == (0, "hello world\n", "")


def test_what_is_piped_in_goes_with_the_task_or_is_the_task(ai: Ai) -> None:
    assert ai("review this", "--brain", "echo", stdin="a diff\n").out == "review this\n\n<stdin>\na diff\n</stdin>\n"
    assert ai("--brain", "echo", stdin="just this").out == "just this\n"


def test_files_and_images_reach_the_brain(ai: Ai) -> None:
    (ai.cwd / "notes.txt").write_text("the notes", encoding="utf-8")
    (ai.cwd / "dot.png").write_bytes(PNG)
    run = ai("#images", "-f", "notes.txt", "-i", "dot.png", "--brain", "echo")
    assert "image/png" in run.out
    assert f'<file path="{ai.cwd / "notes.txt"}">\nthe notes\n</file>' in run.out


def test_an_older_arabic_encoding_is_read_as_arabic(ai: Ai) -> None:
    (ai.cwd / "old.txt").write_bytes("مرحبا بكم في البيت".encode("cp1256"))
    assert "مرحبا بكم في البيت" in ai("read", "-f", "old.txt", "--brain", "echo").out


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\ud800b", "a\ufffdb"),  # a lone surrogate, as a shell passes a stray byte
        ("\u202eevil\u202c \u200fمرحبا", "\u202eevil\u202c \u200fمرحبا"),  # right-to-left marks are text
        ("tab\tand\nline", "tab\tand\nline"),
        ("bell\a and escape\x1b[2J", "bell and escape[2J"),
    ],
)
def test_strange_characters_are_cleaned_and_directional_marks_kept(ai: Ai, text: str, kept: str) -> None:
    line = json.dumps({"type": "user", "text": text})
    run = ai("--stream-json", "--brain", "echo", stdin=line + "\n")
    assert run.of("accepted")[0]["text"] == kept
    assert run.of("answered")[0]["text"] == kept


def test_a_nul_is_dropped_and_a_stray_byte_on_the_command_line_replaced(ai: Ai) -> None:
    assert ai("--brain", "echo", stdin="a\0b").out == "ab\n"
    assert ai.json("caf\udce9", "--brain", "echo").of("accepted")[0]["text"] == "caf\ufffd"


def test_an_at_word_that_is_none_of_ours_stays_in_the_text_and_is_named(ai: Ai) -> None:
    run = ai.json("@cdoe fix the loop", "--brain", "echo")
    assert run.code == 0
    assert run.end["text"] == "@cdoe fix the loop"
    assert "@cdoe is no domain, brain or tier of ours: left in the text" in run.of("routed")[0]["reasons"]


def test_a_prompt_of_a_megabyte_is_answered_whole(ai: Ai) -> None:
    text = "كلمة word " * 100_000
    run = ai.json("--brain", "echo", stdin=text)
    assert run.code == 0
    assert run.end["text"].split() == text.split()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["", "--brain", "echo"], ["empty", 'ai "what can you do?"']),
        (["  \t ", "--brain", "echo"], ["empty"]),
        (["hi", "--brain", "codx"], ["codx", "codex"]),
        (["hi", "-f", "nowhere.txt"], ["nowhere.txt", "no file"]),
        (["hi", "-f", "."], ["folder"]),
        (["hi", "-f", "/dev/zero"], ["/dev/zero"]),
        (["hi", "-f", "a\nb"], ["no file"]),
        (["hi", "-i", "text.png"], ["text.png", "PNG, JPEG, GIF or WebP"]),
        (["hi", "-f", "binary"], ["binary", "not a text file"]),
        (["hi", "-f", "huge"], ["huge", "limits.attachment_bytes"]),
        (["hi", "--cwd", "nowhere"], ["nowhere", "--cwd"]),
        (["hi", "--allow", "everything"], ["everything", "edit, run, network"]),
        (["hi", "--allow", "internal"], ["internal"]),
        (["hi", "--thread", "th-none"], ["th-none", "ai history"]),
        (["hi", "-c"], ["no conversation"]),
        (["hi", "--model", "x"], ["--brain"]),
        (["hi", "--timeout", "0"], ["timeout"]),
        (["hi", "--no-such-option"], ["--no-such-option"]),
        (["trace", "zzzz"], ["zzzz", "ai history"]),
        (["history", "of", "Rome"], ["history"]),
        (["histroy"], ["histroy", "ai history"]),
    ],
)
def test_bad_input_is_named_with_the_way_out_and_nothing_is_stored(ai: Ai, args: list[str], words: list[str]) -> None:
    (ai.cwd / "text.png").write_text("not an image")
    (ai.cwd / "binary").write_bytes(b"\x7fELF\0\0")
    with (ai.cwd / "huge").open("wb") as file:
        file.truncate(10_000_001)
    run = ai(*args)
    assert run.code == 2, run
    assert run.out == ""
    assert [word for word in words if word not in run.err] == []
    assert "Traceback" not in run.err
    assert ai("history", "--all", "--json").out.strip() == "[]"


def test_an_unreadable_file_is_named(ai: Ai) -> None:
    (ai.cwd / "link").symlink_to(ai.cwd / "link")
    run = ai("hi", "-f", "link")
    assert run.code == 2
    assert "link" in run.err


def test_errors_are_json_where_json_was_asked_for(ai: Ai) -> None:
    (error,) = ai.json("hi", "--brain", "codx").events
    assert (error["type"], error["kind"]) == ("error", "bad_input")
    assert error["message"] and error["remedy"]


def test_an_unknown_model_is_refused_by_its_brain(ai: Ai) -> None:
    run = ai("hi", "--brain", "echo", "--model", "gpt-nope")
    assert run.code == 5
    assert "gpt-nope" in run.err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("paios.toml", "[limits]\ntimeout = 5\n", ["limits.timeout", "timeout_s"]),
        ("paios.toml", "[limits]\ntimeout_s = 'soon'\n", ["limits.timeout_s", "soon"]),
        ("paios.toml", "[limits\n", ["line 1"]),
        ("paios.toml", "[brains.claud]\nenabled = true\n", ["brains.claud", "claude"]),
        ("paios.toml", "[routing.table]\ncode = ['codex']\n", ["routing.table", "`routes` in llm-config.json"]),
        ("llm-config.json", '{"version": 1, "routes": {"code": ["codex:huge"]}}', ["routes.code[0]", "one of instant"]),
    ],
)
def test_a_broken_configuration_is_explained_and_never_overwritten(ai: Ai, name: str, text: str, words: list[str]) -> None:
    path = Path(ai.env["PAIOS_HOME"]) / name
    path.write_text(text)
    path.chmod(0o600)
    run = ai("hi", "--brain", "echo")
    assert run.code == 3, run
    assert [word for word in (name, *words) if word not in run.err] == []
    assert path.read_text() == text


def test_the_doctor_works_with_a_broken_configuration_and_names_it(ai: Ai) -> None:
    (Path(ai.env["PAIOS_HOME"]) / "paios.toml").write_text("[limits]\ntimeout = 5\n")
    doctor = ai("doctor", "--json")
    assert doctor.code == 1
    findings = {finding["id"]: finding for finding in json.loads(doctor.out)}
    assert findings["config.settings"]["status"] == "problem"
    assert "limits.timeout" in findings["config.settings"]["summary"]
    assert findings["store.write"]["status"] == "ok"


def test_the_doctor_names_a_damaged_database_and_a_broken_model_file_together(ai: Ai) -> None:
    home = Path(ai.env["PAIOS_HOME"])
    (home / "llm-config.json").write_text('{"version": 1, "teirs": {}}')
    (home / "data").mkdir(mode=0o700)
    (home / "data" / "paios.db").write_text("no database, " * 1000)
    doctor = ai("doctor", "--json")
    assert doctor.code == 1
    problems = {f["id"]: f for f in json.loads(doctor.out) if f["status"] == "problem"}
    assert "teirs" in problems["config.models"]["summary"]
    assert "damaged" in problems["store.open"]["summary"]
    assert problems["store.open"]["remediation"]


def test_a_home_that_cannot_be_used_is_named(ai: Ai) -> None:
    ai.env["PAIOS_HOME"] = "/dev/null/paios"
    run = ai("hi", "--brain", "echo")
    assert run.code == 7
    assert "PAIOS_HOME" in run.err


def test_the_folder_may_be_gone(ai: Ai) -> None:
    gone = ai.cwd / "gone"
    gone.mkdir()
    ai.cwd = gone
    process = ai.start("hi", "--brain", "echo", "--cwd", "/", preexec_fn=gone.rmdir)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("hi\n", "")


def test_help_and_version_load_nothing_heavy(ai: Ai) -> None:
    import subprocess
    import sys

    code = "import sys; from paios.interfaces.cli.main import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    for argument in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", code, argument], env=ai.env, capture_output=True, text=True, check=True)
        loaded = {name.split(".")[0] for name in done.stderr.split()}
        assert done.stdout
        assert not loaded & {"pydantic", "anyio", "click", "rich", "asyncio", "claude_agent_sdk", "openai_codex", "pydantic_ai"}
