"""The isolation of real agents, and of the test run itself."""

from __future__ import annotations

import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which

import anyio
import pytest

from paios.testing.clock import FakeClock
from paios.testing.scene import Scene


@pytest.mark.real
@pytest.mark.parametrize(
    "command", [["claude", "-p", "ping"], ["codex", "exec", "--skip-git-repo-check", "ping"]], ids=["claude", "codex"]
)
async def test_a_vendors_program_at_home_here_asks_the_scene(
    scene: Scene, agent_env: dict[str, str], cwd: Path, command: list[str]
) -> None:
    scene.says("pong")
    program = which(command[0], path=agent_env["PATH"])
    assert program

    with anyio.fail_after(60):
        done = await anyio.run_process(
            [program, *command[1:]], cwd=cwd, env=agent_env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    assert done.stdout.decode().strip() == "pong"
    assert scene.last_user_text().endswith("ping")


def test_nothing_of_the_callers_environment_is_passed_on(agent_env: dict[str, str], tmp_path: Path) -> None:
    elsewhere = {k: v for k, v in agent_env.items() if v.startswith("/") and not v.startswith(str(tmp_path)) and k != "PATH"}

    assert elsewhere == {}
    assert {agent_env["ANTHROPIC_API_KEY"], agent_env["STUB_KEY"]} == {"sk-test-" + "0" * 40}


def test_a_connection_to_another_machine_is_refused(_loopback_only: list[str]) -> None:
    with socket.socket() as made, pytest.raises(ConnectionRefusedError, match=r"192\.0\.2\.1"):
        made.connect(("192.0.2.1", 80))  # TEST-NET-1: nobody's

    assert _loopback_only.pop() == "('192.0.2.1', 80)"


def test_a_clock_moves_only_when_told_and_back_only_on_the_wall() -> None:
    start = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
    clock = FakeClock(start, 50.0)

    clock.advance(90.5)
    clock.set(start - timedelta(days=1))

    assert (clock.at(), clock.monotonic()) == (start - timedelta(days=1), 140.5)
    with pytest.raises(ValueError, match="passes forwards"):
        clock.advance(-1)
