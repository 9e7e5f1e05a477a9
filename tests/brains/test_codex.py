"""What is particular to Codex; what all brains share is in `test_behaviour.py`. The real program, a scripted model."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import anyio
import psutil
import pytest

from paios.base.errors import BrainRefused, BrainUnavailable, SessionLost
from paios.base.events import Acted, Bound, Said, Spent
from paios.base.process import Owner, tagged
from paios.base.types import Action, Attachment, Message, Session, Turn, Usage, Verdict
from paios.brains import codex_facts, codex_items
from paios.brains.codex import CodexBrain
from paios.observability.usage import price
from paios.testing.recorders import Asked, Heard
from paios.testing.scene import Call, Scene, Words

pytestmark = pytest.mark.real

SHELL = "exec_command"
PLAIN = "gpt-5.1-codex"  # unknown to Codex by now, so it offers every tool at once instead of behind a search
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
ADD = "*** Begin Patch\n*** Add File: made.txt\n+hello\n*** End Patch"
MCP_SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    match message["method"]:
        case "initialize":
            result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                      "serverInfo": {"name": "notes", "version": "1"}}
        case "tools/list":
            result = {"tools": [{"name": "add", "description": "adds", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            open(sys.argv[1], "w").write("called")
            result = {"content": [{"type": "text", "text": "added"}]}
        case _:
            result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


@pytest.fixture
async def brain(agent_env: dict[str, str], owner: Owner) -> AsyncIterator[CodexBrain]:
    brain = CodexBrain(env=agent_env, owner=owner)
    try:
        yield brain
    finally:
        with anyio.fail_after(10):
            await brain.aclose()


def ask(cwd: Path, text: str = "go", **more: object) -> Turn:
    return Turn(text=text, cwd=cwd, trace="0" * 31 + "1", **more)  # type: ignore[arg-type]  # tests name real fields


def run(scene: Scene, *commands: str) -> None:
    for command in commands:
        scene.calls(SHELL, {"cmd": command})
    scene.says("done")


def app_server(owner: Owner) -> psutil.Process:
    return next(p for p in map(psutil.Process, tagged(owner.id)) if "app-server" in p.cmdline())


# ---- the gate


async def test_an_allowed_command_runs_and_its_output_is_told(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    run(scene, "echo made > made.txt && cat made.txt")
    with anyio.fail_after(20):
        await brain.think(ask(cwd, read_only=False), gate, events)
    assert (cwd / "made.txt").read_text() == "made\n"
    assert [(a.kind, a.target) for a in gate.actions] == [("run", "echo made > made.txt && cat made.txt")]
    first, last = events.of(Acted)
    assert (first.state, last.state, last.output) == ("started", "done", "made\n")
    assert sorted(p.name for p in cwd.iterdir()) == ["made.txt"]  # no folders of the sandbox's stay behind


async def test_a_denied_command_does_not_run_and_the_turn_goes_on(
    brain: CodexBrain, scene: Scene, cwd: Path, events: Heard
) -> None:
    run(scene, "touch made.txt")
    with anyio.fail_after(20):
        reply = await brain.think(ask(cwd, read_only=False), Asked(False), events)
    assert not (cwd / "made.txt").exists()
    assert events.acts == [("run", "touch made.txt", "started"), ("run", "touch made.txt", "denied")]
    assert reply.text == "done"


async def test_even_a_harmless_read_is_asked_for_and_named_by_its_path(
    brain: CodexBrain, scene: Scene, cwd: Path, events: Heard
) -> None:
    (cwd / "in.txt").write_text("inside")
    run(scene, "cat in.txt", "cat ../secret.txt")
    (cwd.parent / "secret.txt").write_text("secret")
    gate = Asked({"read"})
    with anyio.fail_after(20):
        await brain.think(ask(cwd), gate, events)
    assert [(a.kind, a.target) for a in gate.actions] == [
        ("read", str(cwd)),
        ("read", str(cwd.parent / "secret.txt")),
        ("read", str(cwd)),
    ]
    inside, outside = scene.tool_results()[-2:]
    assert "inside" in inside
    assert "secret\n" not in outside and "No such file" in outside  # the sandbox shows the working folder only


async def test_in_a_reading_turn_an_allowed_command_still_cannot_write(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    run(scene, "touch made.txt; true")
    with anyio.fail_after(20):
        await brain.think(ask(cwd), gate, events)
    assert "Read-only file system" in scene.tool_results()[-1]
    assert not (cwd / "made.txt").exists()


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_patch_is_asked_for_by_file(brain: CodexBrain, scene: Scene, cwd: Path, events: Heard, allowed: bool) -> None:
    scene.calls("apply_patch", ADD).says("done")
    gate = Asked(allowed)
    with anyio.fail_after(20):
        await brain.think(ask(cwd, read_only=False), gate, events)
    made = cwd / "made.txt"
    assert [(a.kind, a.target) for a in gate.actions] == [("edit", str(made))]
    assert made.exists() == allowed
    assert events.acts[-1] == ("edit", str(made), "done" if allowed else "denied")


@pytest.mark.parametrize("allowed", [True, False])
async def test_an_mcp_tool_is_asked_for(
    brain: CodexBrain, scene: Scene, cwd: Path, agent_env: dict[str, str], events: Heard, tmp_path: Path, allowed: bool
) -> None:
    server, mark = tmp_path / "notes.py", tmp_path / "called"
    server.write_text(MCP_SERVER)
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    args = json.dumps([str(server), str(mark)])
    config.write_text(
        f"{config.read_text()}\n[mcp_servers.notes]\ncommand = {json.dumps(sys.executable)}\nargs = {args}\nrequired = true\n"
    )
    scene.calls("~notes__add", {"what": "milk"}).says("done")
    gate = Asked(allowed)
    with anyio.fail_after(20):
        await brain.think(ask(cwd, model=PLAIN), gate, events)
    assert [(a.kind, a.target, json.loads(a.arguments)) for a in gate.actions] == [("tool", "notes.add", {"what": "milk"})]
    assert mark.exists() == allowed
    assert events.acts[-1] == ("tool", "notes.add", "done" if allowed else "denied")


async def test_a_shell_that_is_kept_open_is_closed_when_what_is_typed_into_it_is_denied(
    brain: CodexBrain, scene: Scene, owner: Owner, cwd: Path, gate: Asked
) -> None:
    scene.calls(SHELL, {"cmd": "bash --norc", "tty": True, "yield_time_ms": 250}).says("opened")
    with anyio.fail_after(30):
        session = (await brain.think(ask(cwd), gate, Heard())).session
        found = re.search(r"session ID (\d+)", scene.tool_results()[-1])
        assert found and _running(owner, ["bash", "--norc"])
        scene.calls("write_stdin", {"session_id": int(found[1]), "chars": "rm -r .\n"}).says("typed")
        events = Heard()
        await brain.think(ask(cwd, session=session), Asked(False), events)
        assert [act for act in events.acts if act[1] == "rm -r ."] == [
            ("run", "rm -r .", "started"),
            ("run", "rm -r .", "denied"),
        ]
        assert not _running(owner, ["bash", "--norc"])


async def test_a_turn_goes_on_while_another_one_waits_for_an_approval(
    brain: CodexBrain, scene: Scene, cwd: Path, events: Heard
) -> None:
    scene.when("ALPHA", of="any").calls(SHELL, {"cmd": "touch made.txt"}).says("first done")
    scene.when("BETA", of="any").says("second done")
    waiting, answer = anyio.Event(), anyio.Event()

    async def slow(action: Action) -> Verdict:
        waiting.set()
        await answer.wait()
        return Verdict(True, "you", "at last")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as turns:
            turns.start_soon(brain.think, ask(cwd, "ALPHA", read_only=False), slow, events)
            await waiting.wait()
            assert (await brain.think(ask(cwd, "BETA"), Asked(), Heard())).text == "second done"
            assert not (cwd / "made.txt").exists()
            answer.set()
    assert (cwd / "made.txt").exists()


async def test_a_sub_agent_is_gated_counted_and_ended_with_its_parent(
    brain: CodexBrain, scene: Scene, cwd: Path, events: Heard
) -> None:
    scene.when("CHORE").calls(SHELL, {"cmd": "touch made.txt"}).hangs("chore ")
    scene.calls("~spawn_agent", {"message": "CHORE"}).says("all done", after_requests=4)
    gate = Asked(False)
    with anyio.fail_after(20):
        reply = await brain.think(ask(cwd, model=PLAIN, read_only=False), gate, events)
        await scene.left(3)
    assert [a.target for a in gate.actions] == ["touch made.txt"]
    assert not (cwd / "made.txt").exists()
    assert sorted(s.usage.output for s in events.of(Spent)) == [9, 18]
    assert reply.text == events.said == "all done"


async def test_a_gate_that_fails_ends_the_turn_with_its_error(
    brain: CodexBrain, scene: Scene, cwd: Path, events: Heard
) -> None:
    async def broken(action: Action) -> Verdict:
        raise LookupError("the store is gone")

    run(scene, "touch made.txt")
    with anyio.fail_after(20), pytest.raises(LookupError, match="the store is gone"):
        await brain.think(ask(cwd, read_only=False), broken, events)
    assert not (cwd / "made.txt").exists()


# ---- words, pictures, sessions, counters


async def test_a_picture_and_a_million_characters_arrive_whole(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    picture = cwd / "p.png"
    picture.write_bytes(PNG)
    text = "word " * 200_000 + "🦀 نهاية"
    scene.says("seen")
    with anyio.fail_after(30):
        await brain.think(ask(cwd, text, images=(Attachment(picture, "image/png", len(PNG)),)), gate, events)
    assert text in scene.last_user_text()
    assert [i.media_type for i in scene.images()] == ["image/png"]


async def test_messages_between_tool_calls_are_paragraphs_and_the_last_is_the_reply(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    scene.turn([Words("Let me look."), Call(SHELL, {"cmd": "ls"})]).says("Nothing there.")
    with anyio.fail_after(20):
        reply = await brain.think(ask(cwd), gate, events)
    assert events.said == "Let me look.\n\nNothing there."
    assert reply.text == "Nothing there."


async def test_a_turn_costs_its_own_model_calls_also_when_resumed_by_another_process(
    agent_env: dict[str, str], owner: Owner, scene: Scene, cwd: Path, gate: Asked
) -> None:
    first = Usage(input=80, cached=20, output=9)
    second = Usage(input=150, cached=50, output=10, reasoning=4)
    scene.calls(SHELL, {"cmd": "ls"}, usage=first).says("one", usage=second)
    scene.says("two", usage=first).says("three", usage=second)
    heard = [Heard(), Heard(), Heard()]
    session: Session | None = None
    with anyio.fail_after(40):
        for turns in (heard[:2], heard[2:]):
            brain = CodexBrain(env=agent_env, owner=owner)
            try:
                for events in turns:
                    session = (await brain.think(ask(cwd, session=session), gate, events)).session
            finally:
                await brain.aclose()
    assert [h.usage for h in heard] == [first + second, first, second]
    assert all(h.of(Bound)[0].session == session for h in heard)
    spent = heard[0].of(Spent)[0]
    assert (spent.model, spent.source) == ("gpt-5.5", "priced")
    assert spent.cost_usd == price("gpt-5.5", first + second, provider="openai") != Decimal(0)
    assert "two" in scene.conversation(3)


async def test_a_session_that_is_gone_is_told_and_the_history_can_begin_another(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    scene.says("hello again")
    lost = Session("codex", "01a20501-46b5-7580-a2c0-0fb7c38ffa53")
    with anyio.fail_after(20), pytest.raises(SessionLost):
        await brain.think(ask(cwd, session=lost), gate, events)
    assert events.said == ""
    with anyio.fail_after(20):
        await brain.think(ask(cwd, history=(Message("user", "my name is Ada"),)), gate, events)
    assert "my name is Ada" in scene.last_user_text()


# ---- what goes wrong


async def test_an_http_error_says_why_codex_is_not_there(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    expected = {401: "logged_out", 403: "logged_out", 429: "limited", 500: "overloaded", 503: "overloaded"}
    for status, reason in expected.items():
        scene.refuses(status)
        with anyio.fail_after(20), pytest.raises(BrainUnavailable) as caught:
            await brain.think(ask(cwd), gate, events)
        assert (status, caught.value.reason) == (status, reason)
        assert bool(caught.value.remedy) == (reason == "logged_out")


async def test_a_rejected_request_is_refused_in_the_vendors_words(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    scene.refuses(400, "too many pictures")
    with anyio.fail_after(20), pytest.raises(BrainRefused, match=r"^codex: too many pictures$"):
        await brain.think(ask(cwd), gate, events)


async def test_tokens_are_counted_when_the_turn_fails_later(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    scene.calls(SHELL, {"cmd": "ls"}, usage=Usage(input=80, cached=20, output=9)).refuses(500)
    with anyio.fail_after(20), pytest.raises(BrainUnavailable):
        await brain.think(ask(cwd), gate, events)
    assert events.usage == Usage(input=80, cached=20, output=9)


async def test_a_model_server_that_is_not_there_does_not_keep_us_waiting(
    brain: CodexBrain, scene: Scene, agent_env: dict[str, str], cwd: Path, gate: Asked, events: Heard
) -> None:
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    config.write_text(config.read_text().replace(scene.openai_url, "http://127.0.0.1:9/v1"))
    with anyio.fail_after(20), pytest.raises(BrainUnavailable) as caught:
        await brain.think(ask(cwd), gate, events)
    assert caught.value.reason == "cut"


async def test_a_killed_server_is_reported_and_the_next_turn_starts_another(
    brain: CodexBrain, scene: Scene, owner: Owner, cwd: Path, gate: Asked, events: Heard
) -> None:
    scene.hangs("partly").says("back again")
    with anyio.fail_after(30):
        async with anyio.create_task_group() as turns:
            turns.start_soon(_kill_once_said, events, owner)
            with pytest.raises(BrainUnavailable) as caught:
                await brain.think(ask(cwd), gate, events)
        assert caught.value.reason == "killed"
        assert (await brain.think(ask(cwd), gate, Heard())).text == "back again"


async def _kill_once_said(events: Heard, owner: Owner) -> None:
    while not events.of(Said):  # ours to watch, not to wait for  # noqa: ASYNC110
        await anyio.sleep(0.01)
    app_server(owner).kill()


async def test_a_cancelled_turn_takes_its_command_with_it_and_leaves_the_server(
    brain: CodexBrain, scene: Scene, owner: Owner, cwd: Path, gate: Asked, events: Heard
) -> None:
    run(scene, "echo $$ > pid; exec sleep 333")
    with anyio.fail_after(30):
        async with anyio.create_task_group() as turns:
            turns.start_soon(brain.think, ask(cwd, read_only=False), gate, events)
            while not _running(owner, ["sleep", "333"]):  # noqa: ASYNC110
                await anyio.sleep(0.01)
            server = app_server(owner)
            turns.cancel_scope.cancel()
        assert not _running(owner, ["sleep", "333"])
        assert server.is_running()
        scene.clear().says("still here")
        assert (await brain.think(ask(cwd), gate, Heard())).text == "still here"
        await brain.aclose()
    assert tagged(owner.id) == []


def _running(owner: Owner, command: list[str]) -> bool:
    for pid in tagged(owner.id):
        with suppress(psutil.Error):
            if psutil.Process(pid).cmdline() == command:
                return True
    return False


async def test_closing_ends_what_a_command_left_running(
    brain: CodexBrain, scene: Scene, owner: Owner, cwd: Path, gate: Asked, events: Heard
) -> None:
    scene.calls(SHELL, {"cmd": "sleep 333", "yield_time_ms": 250}).says("it runs in the background")
    with anyio.fail_after(20):
        await brain.think(ask(cwd), gate, events)
        await brain.aclose()
    assert tagged(owner.id) == []


# ---- surroundings


async def test_a_parent_sessions_variables_stay_out_and_the_owners_tag_gets_in(
    agent_env: dict[str, str], owner: Owner, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    config.write_text(f'{config.read_text()}\n[shell_environment_policy]\ninherit = "core"\nset = {{ MINE = "kept" }}\n')
    parent = {"CODEX_SANDBOX": "seatbelt", "CODEX_THREAD_ID": "parents", "CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": "parents"}
    brain = CodexBrain(env={**agent_env, **parent}, owner=owner)
    run(scene, "env")
    try:
        with anyio.fail_after(20):
            await brain.think(ask(cwd), gate, events)
        server = app_server(owner).environ()
    finally:
        await brain.aclose()
    assert not set(parent) & set(server)
    seen = dict(line.split("=", 1) for line in scene.tool_results()[-1].splitlines() if "=" in line)
    assert (seen["PAIOS_OWNER"], seen["MINE"]) == (owner.id, "kept")
    assert "CLAUDECODE" not in seen and "parents" not in seen.values()
    assert os.environ.get("PATH") != server["PATH"]  # the caller's environment, not this process's


async def test_status_tells_version_login_and_models(brain: CodexBrain, agent_env: dict[str, str]) -> None:
    with anyio.fail_after(10):
        status = await brain.status()
    assert (status.ready, status.login, status.detail) == (True, "none needed", "")
    assert status.version and status.version[0].isdigit()
    assert "gpt-5.5" in status.models


async def test_status_says_logged_out_and_how_to_log_in(agent_env: dict[str, str], owner: Owner) -> None:
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    config.write_text(config.read_text().replace('env_key = "STUB_KEY"', "requires_openai_auth = true"))
    brain = CodexBrain(env=agent_env, owner=owner)
    try:
        with anyio.fail_after(10):
            status = await brain.status()
    finally:
        await brain.aclose()
    assert (status.ready, status.login) == (False, "logged out")
    assert "codex login" in status.remedy


async def test_a_codex_that_cannot_serve_gives_way_to_the_bundled_one(
    agent_env: dict[str, str], owner: Owner, tmp_path: Path, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    old = tmp_path / "codex"
    old.write_text("#!/bin/sh\necho 'error: unrecognized subcommand app-server' >&2\nexit 2\n")
    old.chmod(0o755)
    brain = CodexBrain(env={**agent_env, "PATH": f"{tmp_path}:{agent_env['PATH']}"}, owner=owner)
    scene.says("hello")
    try:
        with anyio.fail_after(20):
            status = await brain.status()
            reply = await brain.think(ask(cwd), gate, events)
    finally:
        await brain.aclose()
    assert reply.text == "hello"
    assert status.ready and str(old) in status.detail
    chosen = CodexBrain(env=agent_env, owner=owner, binary=str(old))
    with anyio.fail_after(20), pytest.raises(BrainUnavailable, match="does not start"):
        await chosen.think(ask(cwd), gate, events)


def test_a_codex_that_is_nowhere_is_absent(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codex_cli_bin", None)  # as if the package were not installed
    assert "not installed" in CodexBrain(env={"PATH": "/nowhere"}, owner=owner).absent()


# ---- meanings


@pytest.mark.parametrize(
    ("line", "outside"),
    [
        ("cat a.txt && ls | head -3", []),
        ("sed -n 1,20p a.txt; rg -n 'def x' src", []),
        ("cat /etc/passwd", ["/etc/passwd"]),
        ("ls ../..", [".."]),
        ("cat ~/.ssh/id_rsa", ["~/.ssh/id_rsa"]),
        ("grep -f/etc/shadow x", ["/etc/shadow"]),
        ("cat link", ["link"]),
    ],
)
def test_a_line_that_only_reads_names_what_it_reads_outside(tmp_path: Path, line: str, outside: list[str]) -> None:
    cwd = tmp_path / "a" / "b"
    cwd.mkdir(parents=True)
    (cwd / "link").symlink_to("/etc/hostname")
    found = codex_items.reads(line, cwd)
    assert found is not None and found[-1] == cwd
    assert len(found) - 1 == len(outside)
    assert all(not path.is_relative_to(cwd) for path in found[:-1])


@pytest.mark.parametrize(
    "line",
    [
        "cat a > b",
        "cat $(touch x)",
        "cat `touch x`",
        "touch x",
        "ls & rm -r .",
        "cat a\nrm b",
        "find . -delete",
        "find . -exec rm {} +",
        "rg --pre evil x",
        "sed -i s/a/b/ c",
        "sed -n '1e touch x' a",
        "sed w\\ x a",
        "python -c 'import os'",
        "env ls",
        "X=1 ls",
        "./cat a",
        "cat 'unclosed",
        "ls | xargs rm",
        "",
    ],
)
def test_a_line_that_may_do_more_than_read_is_a_command(tmp_path: Path, line: str) -> None:
    assert codex_items.reads(line, tmp_path) is None


def test_quota_windows_have_names_and_say_when_a_limit_ends() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    limits = {
        "primary": {"usedPercent": 100, "windowDurationMins": 300, "resetsAt": int(now.timestamp()) + 600},
        "secondary": {"usedPercent": 40, "windowDurationMins": 10_080, "resetsAt": None},
    }
    assert [(w.name, w.used_percent) for w in codex_facts.windows(limits)] == [("5h", 100.0), ("weekly", 40.0)]
    error = codex_facts.problem({"message": "out of tokens", "codexErrorInfo": "usageLimitExceeded"}, limits, now)
    assert isinstance(error, BrainUnavailable)
    assert (error.reason, error.retry_after_s) == ("limited", 600.0)


def test_nothing_is_ever_allowed_for_the_whole_session() -> None:
    for method in ("item/commandExecution/requestApproval", "item/fileChange/requestApproval"):
        assert codex_items.reply(method, {}, True) == {"decision": "accept"}
        assert codex_items.reply(method, {}, False) == {"decision": "decline"}
    assert codex_items.asked("item/fileChange/requestApproval", {"itemId": "unseen"}, {}, Path("/w")) == ()
    assert codex_items.reply("something/new", {}, True) is None
