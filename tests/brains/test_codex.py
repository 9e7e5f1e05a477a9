"""What is particular to Codex; what all brains share is in `test_behaviour.py`. The real program, a scripted model."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import psutil
import pytest

from paios.base.errors import BrainRefused, BrainUnavailable, SessionLost
from paios.base.events import Acted, Bound, Metered, Said, Spent
from paios.base.process import Owner, tagged
from paios.base.types import Action, Attachment, Message, Session, Turn, Usage, Verdict, Window
from paios.brains.codex import facts, fence, items, reads, rollout
from paios.brains.codex.brain import CodexBrain
from paios.observability.usage import price
from paios.testing.homes import KEY
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
            result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}, "resources": {}},
                      "serverInfo": {"name": "notes", "version": "1"}}
        case "tools/list":
            result = {"tools": [{"name": "add", "description": "adds", "inputSchema": {"type": "object"},
                                 "annotations": {"readOnlyHint": True}}]}
        case "tools/call":
            open(sys.argv[1], "w").write("called")
            result = {"content": [{"type": "text", "text": "added"}]}
        case "resources/read":
            open(sys.argv[1], "w").write("read")
            result = {"contents": [{"uri": "note://a", "text": "a note"}]}
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


async def test_in_a_reading_turn_an_allowed_command_cannot_write_nor_is_it_tried_again_outside_the_sandbox(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    run(scene, "touch made.txt; true", "touch made.txt")
    with anyio.fail_after(20):
        await brain.think(ask(cwd), gate, events)
    assert ["Read-only file system" in result for result in scene.tool_results()] == [True, True]
    assert not (cwd / "made.txt").exists()
    assert [act[2] for act in events.acts] == ["started", "done", "started", "failed"]


OUT = "require_escalated"  # what a model says for "outside the sandbox"; the approval request does not repeat it


async def test_a_command_outside_the_sandbox_is_a_grant_also_in_a_resumed_thread(
    agent_env: dict[str, str], owner: Owner, scene: Scene, cwd: Path
) -> None:
    scene.calls(SHELL, {"cmd": "touch made.txt", "sandbox_permissions": OUT}).says("one")
    scene.calls(SHELL, {"cmd": "cat in.txt", "sandbox_permissions": OUT}).calls(SHELL, {"cmd": "ls"}).says("two")
    gate = Asked({"run", "read"})
    session: Session | None = None
    for _ in range(2):
        brain = CodexBrain(env=agent_env, owner=owner)
        try:
            with anyio.fail_after(20):
                session = (await brain.think(ask(cwd, session=session), gate, Heard())).session
        finally:
            await brain.aclose()
    assert [(a.kind, a.target) for a in gate.actions] == [
        ("grant", "touch made.txt"),
        ("grant", "cat in.txt"),
        ("read", str(cwd)),
    ]
    assert list(cwd.iterdir()) == []


async def test_a_sub_agents_command_outside_the_sandbox_is_a_grant_too(
    brain: CodexBrain, scene: Scene, cwd: Path, events: Heard
) -> None:
    call = Call(SHELL, {"cmd": "ls"}), Call(SHELL, {"cmd": "touch made.txt", "sandbox_permissions": OUT})
    scene.when("CHORE").turn(call).says("tried")
    scene.calls("~spawn_agent", {"message": "CHORE"}).says("all done", after_requests=4)
    gate = Asked({"run", "read"})
    with anyio.fail_after(20):
        await brain.think(ask(cwd, model=PLAIN), gate, events)
    assert sorted((a.kind, a.target) for a in gate.actions) == [("grant", "touch made.txt"), ("read", str(cwd))]
    assert list(cwd.iterdir()) == []


async def test_a_request_for_wider_permissions_is_a_grant(
    brain: CodexBrain, scene: Scene, cwd: Path, agent_env: dict[str, str], events: Heard
) -> None:
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    config.write_text(config.read_text().replace("[features]\n", "[features]\nrequest_permissions_tool = true\n"))
    scene.calls("request_permissions", {"reason": "x", "permissions": {"network": {"enabled": True}}}).says("done")
    gate = Asked({"tool", "run", "network"})
    with anyio.fail_after(20):
        await brain.think(ask(cwd), gate, events)
    assert [(a.kind, a.tool) for a in gate.actions] == [("grant", "request_permissions")]
    assert json.loads(scene.tool_results()[-1])["permissions"] == {"network": None, "file_system": None}


async def test_a_folder_is_not_noted_as_trusted_by_letting_codex_write_there(
    brain: CodexBrain, scene: Scene, cwd: Path, agent_env: dict[str, str], gate: Asked, events: Heard
) -> None:
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    config.write_text(config.read_text().partition("[projects")[0])
    before = config.read_text()
    (cwd / ".codex").mkdir()
    (cwd / ".codex" / "config.toml").write_text("")  # the repository's own: it applies once the folder is trusted
    run(scene, "touch made.txt")
    with anyio.fail_after(20):
        await brain.think(ask(cwd, read_only=False), gate, events)
    assert (cwd / "made.txt").exists()
    assert config.read_text() == before


async def test_where_a_command_runs_does_not_decide_what_counts_as_inside(
    brain: CodexBrain, scene: Scene, cwd: Path, events: Heard
) -> None:
    outside = cwd.parent / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (cwd / "out").symlink_to(outside)
    for workdir in (cwd / "out", cwd / ".." / "outside"):
        scene.calls(SHELL, {"cmd": "cat secret.txt", "workdir": str(workdir)})
    scene.calls(SHELL, {"cmd": "head -1 out*/secret.txt"}).calls(SHELL, {"cmd": "sed e in.txt"}).says("done")
    gate = Asked({"read"})
    with anyio.fail_after(20):
        await brain.think(ask(cwd), gate, events)
    assert [a.kind for a in gate.actions] == ["run"] * 4


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


def with_notes(agent_env: dict[str, str], tmp_path: Path, more: str = "") -> Path:
    """Gives the person an MCP server; the file that shows its tool was called."""
    server, mark = tmp_path / "notes.py", tmp_path / "called"
    server.write_text(MCP_SERVER)
    args = json.dumps([str(server), str(mark)])
    configure(agent_env, f"[mcp_servers.notes]\ncommand = {json.dumps(sys.executable)}\nargs = {args}\nrequired = true\n{more}")
    return mark


def configure(agent_env: dict[str, str], tables: str = "", top: str = "") -> None:
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    config.write_text(f"{top}\n{config.read_text()}\n{tables}")


APPROVED = 'default_tools_approval_mode = "approve"\n[mcp_servers.notes.tools.add]\napproval_mode = "approve"\n'


@pytest.mark.parametrize("theirs", ["", APPROVED])
@pytest.mark.parametrize("allowed", [True, False])
async def test_an_mcp_tool_is_asked_for_whatever_it_says_of_itself(
    brain: CodexBrain,
    scene: Scene,
    cwd: Path,
    agent_env: dict[str, str],
    events: Heard,
    tmp_path: Path,
    allowed: bool,
    theirs: str,
) -> None:
    mark = with_notes(agent_env, tmp_path, theirs)
    scene.calls("~notes__add", {"what": "milk"}).says("done")
    gate = Asked(allowed)
    with anyio.fail_after(20):
        await brain.think(ask(cwd, model=PLAIN), gate, events)
    assert [(a.kind, a.target, json.loads(a.arguments)) for a in gate.actions] == [("tool", "notes.add", {"what": "milk"})]
    assert mark.exists() == allowed
    assert events.acts[-1] == ("tool", "notes.add", "done" if allowed else "denied")


async def test_what_codex_would_do_unasked_is_refused_before_it_happens(
    brain: CodexBrain, scene: Scene, cwd: Path, agent_env: dict[str, str], gate: Asked, events: Heard, tmp_path: Path
) -> None:
    mark = with_notes(agent_env, tmp_path)
    scene.calls("read_mcp_resource", {"server": "notes", "uri": "note://a"}).says("done")
    with anyio.fail_after(20):
        assert (await brain.think(ask(cwd), gate, events)).text == "done"
    assert "cannot be read here" in str(scene.tool_results())
    assert not mark.exists()
    assert gate.actions == []


async def test_trusting_our_own_hook_trusts_no_other(
    brain: CodexBrain, scene: Scene, cwd: Path, agent_env: dict[str, str], gate: Asked, events: Heard, tmp_path: Path
) -> None:
    with_notes(agent_env, tmp_path)
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    hook = """[[hooks.PreToolUse]]\nmatcher = ".*"\n[[hooks.PreToolUse.hooks]]\ntype = "command"\n"""
    config.write_text(config.read_text() + hook + f'command = "touch {tmp_path / "ran"}"\n')
    scene.calls("read_mcp_resource", {"server": "notes", "uri": "note://a"}).says("done")
    with anyio.fail_after(20):
        await brain.think(ask(cwd), gate, events)
    assert "cannot be read here" in str(scene.tool_results())
    assert not (tmp_path / "ran").exists()  # nobody trusted it, and we do not either


@pytest.mark.parametrize("allowed", [True, False])
async def test_with_hooks_off_what_codex_begins_unasked_is_asked_about_and_a_no_ends_the_turn(
    brain: CodexBrain, scene: Scene, cwd: Path, agent_env: dict[str, str], events: Heard, tmp_path: Path, allowed: bool
) -> None:
    with_notes(agent_env, tmp_path)
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    config.write_text(config.read_text().replace("[features]\n", "[features]\nhooks = false\n"))
    scene.calls("read_mcp_resource", {"server": "notes", "uri": "note://a"}).hangs("one moment").says("done")
    if allowed:
        scene.clear().calls("read_mcp_resource", {"server": "notes", "uri": "note://a"}).says("done")
    gate = Asked(allowed)
    with anyio.fail_after(20):
        if allowed:
            assert (await brain.think(ask(cwd), gate, events)).text == "done"
        else:
            with pytest.raises(BrainRefused, match=r"notes\.read_mcp_resource was denied"):
                await brain.think(ask(cwd), gate, events)
    assert [(a.kind, a.target) for a in gate.actions] == [("tool", "notes.read_mcp_resource")]


async def test_the_built_in_tools_that_never_ask_are_off_whatever_the_configuration_says(
    brain: CodexBrain, scene: Scene, cwd: Path, agent_env: dict[str, str], gate: Asked, events: Heard, tmp_path: Path
) -> None:
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    on = "[features]\nview_image = true\nimage_generation = true\ngoals = true\n"
    config.write_text('web_search = "live"\n' + config.read_text().replace("[features]\n", on))
    (cwd / "p.png").write_bytes(PNG)
    scene.calls("view_image", {"path": str(cwd / "p.png")}).calls("create_goal", {"objective": "all"}).says("done")
    with anyio.fail_after(20):
        await brain.think(ask(cwd, model=PLAIN), gate, events)
    assert not {"web_search", "view_image", "image_generation", "create_goal"} & set(scene.requests[0].tools)
    assert scene.tool_results() == ["unsupported call: view_image", "unsupported call: create_goal"]
    assert scene.images() == []


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
    assert (spent.model, spent.cost_usd, spent.source) == ("gpt-5.5", None, "unknown")  # who bills here nobody knows
    assert "two" in scene.conversation(3)


async def test_tokens_are_priced_when_openai_bills_them(
    brain: CodexBrain, scene: Scene, agent_env: dict[str, str], cwd: Path, gate: Asked, events: Heard
) -> None:
    config = Path(agent_env["CODEX_HOME"]) / "config.toml"
    own = f'model_provider = "openai"\nopenai_base_url = "{scene.openai_url}"\ncli_auth_credentials_store = "file"'
    config.write_text(config.read_text().replace('model_provider = "scripted"', own))
    used = Usage(input=80, cached=20, output=9)
    scene.says("one", usage=used)
    with anyio.fail_after(40):  # it tries a web socket first
        await anyio.run_process(["codex", "login", "--with-api-key"], input=KEY.encode(), env=agent_env)
        await brain.think(ask(cwd), gate, events)
    assert scene.requests[0].headers["authorization"] == f"Bearer {KEY}"
    (spent,) = events.of(Spent)
    assert (spent.cost_usd, spent.source) == (price("gpt-5.5", used, provider="openai"), "priced")
    assert spent.cost_usd


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


async def test_a_thread_that_cannot_be_resumed_for_another_reason_is_not_lost(
    brain: CodexBrain, scene: Scene, agent_env: dict[str, str], cwd: Path, gate: Asked, events: Heard
) -> None:
    scene.says("one").says("two")
    with anyio.fail_after(30):
        session = (await brain.think(ask(cwd), gate, events)).session
        await brain.aclose()
        configure(agent_env, '[mcp_servers.broken]\ncommand = "/nonexistent/server"\nrequired = true\n')
        with pytest.raises(BrainUnavailable, match="broken"):
            await brain.think(ask(cwd, session=session), gate, events)


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


def quota(used: float, weekly: float | None, resets_at: datetime, limit: str = "") -> dict[str, str]:
    """What an answer for a ChatGPT login carries; *limit* names one of a single model."""
    told = {"primary": (used, 300), **({} if weekly is None else {"secondary": (weekly, 10_080)})}
    return {
        f"x-codex-{limit}{window}-{name}": f"{value:g}" if isinstance(value, float) else str(value)
        for window, (percent, minutes) in told.items()
        for name, value in (
            ("used-percent", percent),
            ("window-minutes", minutes),
            ("reset-at", int(resets_at.timestamp())),
        )
    }


async def test_the_windows_told_during_a_turn_are_told_once_at_its_end(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked
) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    scene.calls(SHELL, {"cmd": "ls"}, headers=quota(50, 20, soon)).says("one", headers=quota(97.4, 20, soon))
    scene.says("two").says("three", headers=quota(98, None, soon)).says("four", headers=quota(100, 9, soon, "other-"))
    told = []
    for _ in range(4):
        events = Heard()
        with anyio.fail_after(20):
            await brain.think(ask(cwd), gate, events)
        told.append(events.of(Metered))
        assert not told[-1] or events.events[-1] == told[-1][0]
    weekly = Window("weekly", 20.0, soon)
    full = Metered("codex", (Window("5h", 98.0, soon), weekly))
    assert told == [[Metered("codex", (Window("5h", 97.0, soon), weekly))], [], [full], [full]]
    assert (await brain.status()).windows == full.windows  # nor does an answer without them wipe them out


async def test_a_turn_that_meets_the_limit_tells_its_windows_and_when_it_ends(
    brain: CodexBrain, scene: Scene, cwd: Path, gate: Asked, events: Heard
) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    scene.refuses(429, headers=quota(100, 20, soon), type="usage_limit_reached", plan_type="pro")
    with anyio.fail_after(20), pytest.raises(BrainUnavailable) as caught:
        await brain.think(ask(cwd), gate, events)
    assert caught.value.reason == "limited"
    assert caught.value.retry_after_s is not None and caught.value.retry_after_s > 3600
    assert events.of(Metered) == [Metered("codex", (Window("5h", 100.0, soon), Window("weekly", 20.0, soon)))]


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


async def test_commands_do_not_see_the_persons_keys_unless_they_say_so(
    agent_env: dict[str, str], owner: Owner, scene: Scene, cwd: Path, gate: Asked
) -> None:
    secret = {"GITHUB_TOKEN": "hidden", "MY_SECRET": "hidden", "DB_PASSWORD": "hidden", "OPENAI_API_KEY": "hidden"}
    for theirs in (False, True):
        if theirs:
            configure(agent_env, "[shell_environment_policy]\nignore_default_excludes = true\n")
        brain = CodexBrain(env={**agent_env, **secret, "HARMLESS": "seen"}, owner=owner)
        run(scene, "env")
        try:
            with anyio.fail_after(20):
                await brain.think(ask(cwd), gate, Heard())
        finally:
            await brain.aclose()
        seen = dict(line.split("=", 1) for line in scene.tool_results()[-1].splitlines() if "=" in line)
        assert seen["HARMLESS"] == "seen"
        assert seen["PAIOS_OWNER"] == owner.id
        assert set(secret) & set(seen) == (set(secret) if theirs else set())


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
        ("cat a.txt && ls -la | head -3", []),
        ("sed -n 1,20p a.txt; rg -n 'def x(.*)$' src", []),
        ("sed -n '$p' a.txt", []),
        ("grep -rn --include='*.py' \"two words\" .", []),
        ("find . -name '*.py' -type f | sort | uniq -c", []),
        ("tail -n +5 نهاية.txt", []),
        ("cat /etc/passwd", ["/etc/passwd"]),
        ("ls ../..", ["../.."]),
        ("cat link", ["/etc/hostname"]),
        ("find link/ -name x", ["/etc/hostname"]),
        ("cat './link' 'a b'", ["/etc/hostname"]),
    ],
)
def test_a_line_that_only_reads_names_what_it_reads_outside(tmp_path: Path, line: str, outside: list[str]) -> None:
    cwd = tmp_path / "a" / "b"
    cwd.mkdir(parents=True)
    (cwd / "link").symlink_to("/etc/hostname")
    assert reads.reads(line, cwd, cwd) == (*((cwd / path).resolve() for path in outside), cwd)


@pytest.mark.parametrize(
    "line",
    [
        "cat a > b",
        "cat $(touch x)",
        'cat "$(touch x)"',
        "cat `touch x`",
        "touch x",
        "ls & rm -r .",
        "cat a\nrm b",
        "cat a\rb",
        "cat a\u00a0b",
        "cat ~/.ssh/id_rsa",
        "head -1 out*/passwd",
        "cat out?/passwd",
        "cat {a,b}",
        "cat =a",
        "cat \\link",
        "! cat a",
        "grep -R root .",
        "grep -rnR root .",
        "grep '-R' root .",
        "grep --dereference-recursive root .",
        "grep --deref root .",
        "grep -f/etc/shadow x",
        "rg --pre evil x",
        "rg -L x",
        "rg --follow x",
        "rg -z x",
        "rg --search-zip x",
        "rg --hostname-bin=evil x",
        "find . -delete",
        "find . -exec rm {} +",
        "find . -fprint x",
        "find -L . -name x",
        "find . -follow",
        "ls -L",
        "ls -RL .",
        "sed e notes.txt",
        "sed wout in",
        "sed -n 1e x",
        "sed -n '1e touch x' a",
        "sed -i s/a/b/ c",
        "sed -n 1p -i a",
        "sed -n 1p --in-place a",
        "sed -n -e 1p a",
        "sed 1p",
        "file -C -m x",
        "file a",
        "sort -o x a",
        "sort a --output=x",
        "sort --compress-program=evil a",
        "uniq a b",
        "git diff",
        "git -c core.pager=evil log",
        "awk 1 a",
        "tar tf a",
        "less a",
        "tee x",
        "tree -o x",
        "date -s now",
        "diff -r a b",
        "wc --files0-from=x",
        "python -c 'import os'",
        "env ls",
        "X=1 ls",
        "./cat a",
        "/bin/cat a",
        "cat 'unclosed",
        "ls | xargs rm",
        "ls;",
        "",
    ],
)
def test_a_line_that_may_do_more_than_read_is_a_command(tmp_path: Path, line: str) -> None:
    assert reads.reads(line, tmp_path, tmp_path) is None


def test_reading_is_measured_from_the_turns_folder_not_from_where_the_command_runs(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "in").mkdir(parents=True)
    (folder / "out").symlink_to("/etc")
    assert reads.reads("cat x", folder / "in", folder) == (folder,)
    assert reads.reads("cat ../../x", folder / "in", folder) == (tmp_path / "x", folder)
    assert reads.reads("cat passwd", folder / "out", folder) is None
    assert reads.reads("cat passwd", folder / ".." / ".." / "etc", folder) is None
    item = {"type": "commandExecution", "id": "1", "command": "/bin/bash -lc 'cat ../../x'", "cwd": str(folder / "in")}
    assert {a.cwd for a in items.actions(item, folder)} == {folder}


def test_only_a_shell_of_the_systems_own_is_looked_into() -> None:
    assert reads.script("/bin/bash -lc 'ls -l'") == "ls -l"
    for command in ("./bash -lc ls", "/work/bash -lc ls", "/bin/bash -ic ls", "/bin/bash -lc ls x"):
        assert reads.script(command) == command


async def test_a_call_whose_arguments_cannot_be_found_or_understood_is_not_confined(tmp_path: Path) -> None:
    def line(call: str, arguments: str) -> str:
        return json.dumps({"payload": {"type": "function_call", "call_id": call, "arguments": arguments}}) + "\n"

    path = tmp_path / "rollout.jsonl"
    path.write_text(
        line("plain", '{"cmd": "ls", "justification": "x"}')
        + line("out", '{"cmd": "ls", "sandbox_permissions": "require_escalated"}')
        + line("new", '{"cmd": "ls", "run_as": "root"}')
        + line("odd", "no json")
    )
    with anyio.fail_after(10):
        assert await rollout.is_confined(path, "plain")
        for call in ("out", "new", "odd", "absent"):
            assert not await rollout.is_confined(path, call)
        assert not await rollout.is_confined(None, "plain")


def test_the_servers_of_plugins_ask_too() -> None:
    theirs = {"tools": {"add": {"approval_mode": "approve"}, "rest": {}}}
    config = {"features": {"plugins": None}, "plugins": {"a@m": {"mcp_servers": {"x": theirs}}, "b@m": {"enabled": False}}}
    assert fence.plugins(config) == {"a@m"}
    assert fence.plugins({**config, "features": {"plugins": False}}) == set()
    prompt = {"approval_mode": "prompt"}
    asks = {"default_tools_approval_mode": "prompt", "tools": {"add": prompt, "rest": prompt}}
    assert fence.prompts(config, [("a@m", "x")]) == {"plugins": {"a@m": {"mcp_servers": {"x": asks}}}}


def test_threads_beyond_the_newest_thousand_are_forgotten() -> None:
    meters = facts.Meters()
    for number in range(facts.THREADS + 5):
        meters.total(str(number), {"inputTokens": number})
    meters.total("5", {"inputTokens": 0})
    meters.total("new", {})
    assert (len(meters.totals), "5" in meters.totals, "6" in meters.totals) == (facts.THREADS, True, False)


def test_quota_windows_have_names_and_say_when_a_limit_ends() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    limits = {
        "primary": {"usedPercent": 100, "windowDurationMins": 300, "resetsAt": int(now.timestamp()) + 600},
        "secondary": {"usedPercent": 40, "windowDurationMins": 10_080, "resetsAt": None},
    }
    assert [(w.name, w.used_percent) for w in facts.windows(limits)] == [("5h", 100.0), ("weekly", 40.0)]
    error = facts.problem({"message": "out of tokens", "codexErrorInfo": "usageLimitExceeded"}, limits, now)
    assert isinstance(error, BrainUnavailable)
    assert (error.reason, error.retry_after_s) == ("limited", 600.0)


def test_a_reset_in_no_year_that_could_be_meant_is_left_out() -> None:
    told = {"usedPercent": 97, "windowDurationMins": 300, "resetsAt": 1_795_399_123_000}
    assert facts.windows({"primary": told}) == (Window("5h", 97.0),)


def test_nothing_is_ever_allowed_for_the_whole_session() -> None:
    for method in ("item/commandExecution/requestApproval", "item/fileChange/requestApproval"):
        assert items.reply(method, {}, True) == {"decision": "accept"}
        assert items.reply(method, {}, False) == {"decision": "decline"}
    assert items.asked("item/fileChange/requestApproval", {"itemId": "unseen"}, {}, Path("/w")) == ()
    assert items.reply("something/new", {}, True) is None
