"""Children that never outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from paios.base.process import TAG, Owner, child_env, is_dead, reap, tagged
from paios.testing.until import until

# A parent that starts a child which starts a grandchild in a session of its own, then says who it is and waits.
PARENT = """
import subprocess, sys
from pathlib import Path
from paios.base.process import Owner, child_env
import os
owner = Owner(Path(sys.argv[1]))
if sys.argv[2] == "guarded":
    owner.guard()
sleeper = "[sys.executable, '-c', 'import time; time.sleep(600)']"
grandchild = f"import subprocess, sys; subprocess.Popen({sleeper}, start_new_session=True).wait()"
subprocess.Popen([sys.executable, "-c", grandchild], env=child_env(os.environ, owner.id), stdout=subprocess.DEVNULL)
print(owner.id, flush=True)
sys.stdin.read()
"""


async def _started(run: Path, mode: str) -> tuple[subprocess.Popen[str], str]:
    run.mkdir(exist_ok=True)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(run), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    owner = parent.stdout.readline().strip()
    await until(lambda: len(tagged(owner)) == 2)
    return parent, owner


async def _gone(owner: str) -> None:
    await until(lambda: not tagged(owner))


async def test_kill_9_of_the_parent_ends_children_and_grandchildren(tmp_path: Path) -> None:
    parent, owner = await _started(tmp_path / "run", "guarded")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    await _gone(owner)


async def test_what_nobody_guarded_is_reaped_at_the_next_start(tmp_path: Path) -> None:
    run = tmp_path / "run"
    parent, owner = await _started(run, "alone")
    assert reap(run) == [], "a living owner was reaped"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert tagged(owner), "they must still be there for this test to mean anything"
    assert reap(run) == [owner]
    await _gone(owner)
    assert list(run.iterdir()) == []


async def test_closing_ends_children_and_dismisses_the_guard(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    before = {p.pid for p in psutil.Process().children()}
    owner.guard()
    owner.guard()
    guards = {p.pid for p in psutil.Process().children()} - before
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=child_env(os.environ, owner.id))
    assert len(guards) == 1
    assert not is_dead(tmp_path, owner.id)
    owner.close()
    assert child.wait(10) == -signal.SIGKILL
    assert not {p.pid for p in psutil.Process().children()} & guards
    assert is_dead(tmp_path, owner.id)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("PATH", True),
        ("ANTHROPIC_API_KEY", True),
        ("CLAUDE_CONFIG_DIR", True),
        ("CODEX_HOME", True),
        ("CLAUDE_CODE_OAUTH_TOKEN", True),
        ("CLAUDE_CODE_USE_BEDROCK", True),
        ("CLAUDECODE", False),
        ("CLAUDE_CODE_SESSION_ID", False),
        ("CLAUDE_CODE_ENTRYPOINT", False),
        ("CLAUDE_CODE_SSE_PORT", False),
        ("CODEX_SANDBOX", False),
        ("CODEX_THREAD_ID", False),
    ],
)
def test_a_child_gets_what_configures_it_and_nothing_of_a_session_we_live_in(name: str, kept: bool) -> None:
    env = child_env({name: "x", TAG: "parent"}, "me", {"EXTRA": "1"})
    assert (name in env) is kept
    assert env[TAG] == "me"
    assert env["EXTRA"] == "1"
