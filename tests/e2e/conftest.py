"""The real command in its own process, as a person or a program starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from paios.base.process import TAG

ALIVE_S = 60  # no run of `ai` in these tests takes longer


@dataclass(frozen=True)
class Run:
    """How a run of `ai` ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of stdout as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def end(self) -> dict[str, Any]:
        """The one terminal event."""
        (end,) = (e for e in self.events if e["type"] in ("answered", "failed", "cancelled"))
        return end


class Ai:
    """Runs `ai` in *cwd* with *env*; nothing on stdin unless told."""

    def __init__(self, env: dict[str, str], cwd: Path) -> None:
        self.env = env
        self.cwd = cwd

    def start(self, *args: str, stdin: int = subprocess.DEVNULL, **more: Any) -> subprocess.Popen[str]:
        """`ai` with its output in pipes, still running."""
        return subprocess.Popen(
            [sys.executable, "-m", "paios", *args],
            cwd=self.cwd,
            env=self.env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **more,
        )

    def __call__(self, *args: str, stdin: str = "", **more: Any) -> Run:
        process = self.start(*args, stdin=subprocess.PIPE, **more)
        out, err = process.communicate(stdin, timeout=ALIVE_S)
        return Run(process.returncode, out, err)

    def until_said(self, *args: str) -> subprocess.Popen[str]:
        """`ai --json`, running, its output read up to the first `said` event."""
        process = self.start(*args, "--json")
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["type"] == "said":
                return process
        raise AssertionError(f"it ended without a word: {process.communicate()}")

    def json(self, *args: str, stdin: str = "", **more: Any) -> Run:
        return self(*args, "--json", stdin=stdin, **more)

    def trace(self) -> list[dict[str, Any]]:
        """The stored events of the newest request."""
        return self("trace", "last", "--json").events


@pytest.fixture
def ai(agent_env: dict[str, str], cwd: Path) -> Iterator[Ai]:
    """`ai` for a person whose agents talk to this test's scene. No child of it may be left at the end."""
    yield Ai(agent_env, cwd)
    assert not children(agent_env["PAIOS_HOME"]), "child processes were left behind"


def children(home: str) -> list[str]:
    """The command lines of processes that a PAIOS with this home started and that still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            env = process.environ()
            if TAG in env and env.get("PAIOS_HOME") == home and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found
