"""Real Claude Code and real Codex through `ai`, their only model a scripted one on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Ai, children
from tests.e2e.test_input import PNG

from paios.testing.modelserver import ModelServer
from paios.testing.scene import Scene
from paios.testing.until import until

pytestmark = pytest.mark.real
VENDORS = ["claude", "codex"]
RUN = {"claude": ("Bash", "command"), "codex": ("exec_command", "cmd")}  # each one's shell tool and its argument


def settings(ai: Ai, text: str) -> None:
    path = Path(ai.env["PAIOS_HOME"]) / "paios.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def routes(ai: Ai, **brains: list[str]) -> None:
    path = Path(ai.env["PAIOS_HOME"]) / "llm-config.json"
    path.write_text(json.dumps({"version": 1, "routes": brains}), encoding="utf-8")
    path.chmod(0o600)


@pytest.mark.parametrize("brain", VENDORS)
def test_a_question_is_answered_traced_and_priced(ai: Ai, scene: Scene, brain: str) -> None:
    scene.always("The answer is 42, وهو الجواب.")
    run = ai("what is the answer?", "--brain", brain)
    assert (run.code, run.out, run.err) == (0, "The answer is 42, وهو الجواب.\n", "")
    kinds = [event["type"] for event in ai.trace()]
    assert kinds[:3] == ["accepted", "routed", "began"]
    assert kinds[-1] == "answered"
    (usage,) = json.loads(ai("usage", "--json").out)
    assert usage["brain"] == brain
    assert usage["usage"]["output"] > 0
    assert (usage["unpriced"], float(usage["cost_usd"]) > 0) == ((0, True) if brain == "claude" else (1, False)), (
        "Claude reports its cost; what a provider that is not OpenAI charges for Codex's tokens nobody knows"
    )


@pytest.mark.parametrize("brain", VENDORS)
def test_a_command_runs_only_with_consent(ai: Ai, scene: Scene, brain: str) -> None:
    tool, argument = RUN[brain]
    scene.calls(tool, {argument: "echo ran > proof"}).says("tried")
    run = ai.json("make proof", "--brain", brain)
    assert run.end["type"] == "answered"
    assert not (ai.cwd / "proof").exists()
    assert [j["verdict"]["by"] for j in run.of("judged") if j["action"]["kind"] == "run"] == ["nobody"]
    scene.clear().calls(tool, {argument: "echo ran > proof"}).says("done")
    run = ai.json("make proof", "--brain", brain, "--allow", "run,edit")
    assert run.end["text"] == "done"
    assert (ai.cwd / "proof").read_text() == "ran\n"
    states = [a["state"] for a in run.of("acted") if a["action"]["kind"] == "run"]
    assert states == ["started", "done"]


@pytest.mark.parametrize("brain", VENDORS)
@pytest.mark.parametrize("yes", [True, False])
def test_a_program_answers_the_question_over_stream_json(ai: Ai, scene: Scene, brain: str, yes: bool) -> None:
    tool, argument = RUN[brain]
    scene.calls(tool, {argument: "echo ran > proof"}).says("finished")
    process = ai.start("--stream-json", "--brain", brain, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"type": "user", "text": "make proof"}) + "\n")
    process.stdin.flush()
    end = None
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] == "waiting":
            answer = {"type": "answer", "approval": event["approval"], "allow": yes, "reason": "because"}
            process.stdin.write(json.dumps(answer) + "\n")
            process.stdin.flush()
        if event["type"] in ("answered", "failed", "cancelled"):
            end = event
            break
    process.communicate(timeout=30)
    assert end is not None
    assert end["text"] == "finished"
    assert (ai.cwd / "proof").exists() is yes


@pytest.mark.parametrize("brain", VENDORS)
def test_an_image_reaches_the_model(ai: Ai, scene: Scene, brain: str) -> None:
    (ai.cwd / "dot.png").write_bytes(PNG)
    scene.always("a dot")
    assert ai("what is this?", "-i", "dot.png", "--brain", brain).out == "a dot\n"
    (image,) = scene.images(0)
    assert image.media_type == "image/png"
    assert image.data.startswith(b"\x89PNG")


@pytest.mark.parametrize("brain", VENDORS)
def test_continuing_resumes_the_brains_own_session(ai: Ai, scene: Scene, brain: str) -> None:
    scene.says("noted").says("blue")
    ai("my colour is blue", "--brain", brain)
    run = ai.json("what is my colour?", "-c", "--brain", brain)
    assert run.end["text"] == "blue"
    assert run.of("began")[0]["resumed"] is True
    assert "my colour is blue" in scene.conversation(-1)
    assert scene.conversation(-1).count("my colour is blue") == 1, "told twice: by its session and by us"
    first, second = ([(s["usage"]["output"], s["cost_usd"]) for s in spent] for spent in _spent(ai))
    assert sum(tokens for tokens, _ in second) == sum(tokens for tokens, _ in first), "the session's total was counted"
    if brain == "claude":
        costs = [sum(float(cost) for _, cost in spent) for spent in (first, second)]
        assert 0 < costs[1] < 3 * costs[0], "the second turn's cost is its own, not the session's total"


def _spent(ai: Ai) -> list[list[dict[str, Any]]]:
    """The `spent` events of each request, oldest first."""
    past = json.loads(ai("history", "--json").out)
    return [ai("trace", p["trace"], "--json").of("spent") for p in reversed(past)]


def test_a_conversation_goes_on_with_the_other_brain(ai: Ai, scene: Scene) -> None:
    scene.says("noted").says("green")
    ai("my colour is green", "--brain", "claude")
    run = ai.json("what is my colour?", "-c", "--brain", "codex")
    assert run.end["text"] == "green"
    assert run.of("began")[0]["handed_over"] == 1
    assert "my colour is green" in scene.conversation(-1)


@pytest.mark.parametrize(("first", "second"), [("claude", "codex"), ("codex", "claude")])
@pytest.mark.parametrize("trouble", ["overloaded", "logged_out", "killed"])
def test_the_other_brain_takes_over_when_one_is_down(
    ai: Ai, scene: Scene, model_server: ModelServer, first: str, second: str, trouble: str
) -> None:
    routes(ai, general=[first, second])
    scene.always("here I am")
    down = model_server.scene(f"down-{first}-{trouble}")
    down.refuses(529 if trouble == "overloaded" else 401).forever()
    ai.env["CLAUDE_CODE_MAX_RETRIES"] = "1"
    codex = Path(ai.env["CODEX_HOME"]) / "config.toml"
    if trouble == "killed":
        program = ai.cwd.parent / "dies"
        program.write_text("#!/bin/sh\nkill -9 $$\n")
        program.chmod(0o755)
        settings(ai, f"[brains.{first}]\nbinary = '{program}'\n")
    elif first == "claude":
        ai.env["ANTHROPIC_BASE_URL"] = down.url
    else:
        codex.write_text(codex.read_text().replace(scene.openai_url, down.openai_url))
    run = ai.json("@general hello there")
    assert run.end["type"] == "answered", run.out
    assert (run.end["brain"], run.end["text"]) == (second, "here I am")
    (aside,) = run.of("steppedaside")
    assert aside["brain"] == first
    # A program that is killed before it said a word looks the same as one that cannot start.
    assert aside["reason"] in ({"killed", "broken"} if trouble == "killed" else {trouble})


@pytest.mark.parametrize("brain", VENDORS)
def test_an_answer_that_is_cut_off_fails_with_what_was_said(ai: Ai, scene: Scene, brain: str) -> None:
    settings(ai, "[brains.gateway]\nenabled = false\n")
    ai.env["CLAUDE_CODE_MAX_RETRIES"] = "0"
    scene.cuts(after_chunks=2, text="the first words and many more that never arrive", chunk_delay_s=0.05).forever()
    run = ai.json("hello", "--brain", brain)
    assert run.end["type"] == "failed", run.out
    assert run.end["kind"] == "brain_unavailable"
    assert run.end["said"].startswith("the first")
    assert run.code == 4


@pytest.mark.parametrize("brain", VENDORS)
async def test_ctrl_c_mid_stream_is_stored_as_cancelled_and_leaves_no_child(ai: Ai, scene: Scene, brain: str) -> None:
    scene.hangs("thinking about it")
    process = ai.until_said("hello", "--brain", brain)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    end = json.loads(out.splitlines()[-1])
    assert (end["type"], end["by"]) == ("cancelled", "you")
    assert "thinking".startswith(end["said"][:8])
    assert ai.trace()[-1]["type"] == "cancelled"
    assert children(ai.env["PAIOS_HOME"]) == []


@pytest.mark.parametrize("brain", VENDORS)
async def test_killing_the_vendors_program_is_told_as_that(ai: Ai, scene: Scene, brain: str) -> None:
    import psutil

    scene.hangs("well,")
    process = ai.until_said("hello", "--brain", brain)
    agents = [
        p for p in psutil.Process(process.pid).children() if "guard" not in " ".join(p.cmdline()) and p.name() != "python"
    ]
    vendor = [p for p in agents if brain in " ".join(p.cmdline())]
    assert vendor, agents
    for child in vendor:
        child.kill()
    out, _ = process.communicate(timeout=30)
    end = json.loads(out.splitlines()[-1])
    assert (end["type"], end["kind"]) == ("failed", "brain_unavailable")
    assert "well," in end["said"]


@pytest.mark.parametrize("brain", VENDORS)
async def test_kill_9_of_ai_leaves_no_child_and_an_interrupted_request(ai: Ai, scene: Scene, brain: str) -> None:
    scene.hangs("so far")
    process = ai.until_said("hello", "--brain", brain)
    process.kill()
    process.communicate(timeout=20)
    await until(lambda: not children(ai.env["PAIOS_HOME"]))
    assert ai("hi", "--brain", "echo").code == 0
    past = json.loads(ai("history", "--json").out)
    (ended,) = (p for p in past if p["brain"] == brain)
    assert ended["status"] == "failed"
    last = ai("trace", ended["trace"], "--json").events[-1]
    assert (last["type"], last["kind"]) == ("failed", "interrupted")


def test_brains_tells_version_login_and_what_is_missing(ai: Ai, scene: Scene) -> None:
    run = ai("brains", "--json")
    by_name = {status["name"]: status for status in json.loads(run.out)}
    assert by_name["claude"]["ready"] is True
    assert by_name["claude"]["version"][0].isdigit()
    assert by_name["codex"]["version"][0].isdigit()
    assert by_name["local"]["ready"] is False
    assert by_name["local"]["remedy"]
    assert scene.requests == [], "a status costs no model call"


def test_a_logged_out_claude_is_told_and_doctor_names_the_way_in(ai: Ai) -> None:
    for name in ("ANTHROPIC_API_KEY", "STUB_KEY"):
        del ai.env[name]
    findings = {f["id"]: f for f in json.loads(ai("doctor", "--json").out)}
    assert set(findings["brain.claude"]) == {"id", "status", "summary", "remediation"}
    assert findings["brain.claude"]["status"] == "warning"
    assert "claude" in findings["brain.claude"]["remediation"]
    assert findings["store.write"]["status"] == "ok"
