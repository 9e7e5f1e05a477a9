"""How things are measured: a child process with its CPU and wall time, several of them in turns, and tables of medians."""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import paios
from paios.testing import homes
from paios.testing.modelserver import ModelServer

LIMIT_S = 90.0  # no single command of a bench takes so long unless it hangs


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. CPU is user and system time of the process and of every descendant it waited for, in seconds."""

    cpu_s: float
    wall_s: float
    first_s: float | None  # when the wanted output came; None: it was not looked for
    output: bytes


@dataclass(frozen=True, slots=True)
class Case:
    """A command to run. *first* says, for a line of output, whether it is the one that is waited for."""

    name: str
    command: Sequence[str]
    given: bytes = b""
    first: Callable[[bytes], bool] | None = None
    env: Mapping[str, str] | None = None  # None: the lab's


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    title: str
    method: str
    tables: list[Table]


@dataclass(slots=True)
class Lab:
    """A home of its own under *root*, and a scripted model server that every brain in it talks to."""

    root: Path
    server: ModelServer
    env: dict[str, str] = field(init=False)
    cwd: Path = field(init=False)

    def __post_init__(self) -> None:
        self.cwd = self.root / "work"
        self.cwd.mkdir()
        self.env = homes.agent_env(self.root, self.server.scene("bench"), self.cwd)
        compileall.compile_dir(Path(paios.__file__).parent, quiet=2)

    def home(self, name: str) -> dict[str, str]:
        """The lab's environment with a PAIOS home that nothing else uses."""
        path = self.root / "homes" / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return {**self.env, "PAIOS_HOME": str(path)}

    def run(self, case: Case) -> Sample:
        """
        One run of *case*.

        Raises:
            RuntimeError: it failed, or took longer than `LIMIT_S`.
        """
        began = time.perf_counter()
        process = subprocess.Popen(
            case.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=case.env or self.env,
            cwd=self.cwd,
        )
        assert process.stdin and process.stdout and process.stderr
        hung = threading.Timer(LIMIT_S, process.kill)
        hung.start()
        errors: list[bytes] = []
        listener = threading.Thread(target=lambda stream=process.stderr: errors.append(stream.read()))
        listener.start()
        process.stdin.write(case.given)  # less than a pipe holds
        process.stdin.close()
        output, first_s = bytearray(), None
        # Whatever comes first counts, a half line too: `claude -p` prints its answer without streaming it.
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            now = time.perf_counter() - began
            output += chunk
            if first_s is None and case.first is not None and any(case.first(line) for line in bytes(output).splitlines()):
                first_s = now
        listener.join()
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        hung.cancel()
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            told = (b"".join(errors) or bytes(output)).decode("utf-8", "replace")
            raise RuntimeError(f"{case.name}: exit code {process.returncode}: {told[-500:]}")
        return Sample(used.ru_utime + used.ru_stime, wall_s, first_s, bytes(output))

    def side_by_side(self, cases: Sequence[Case], rounds: int) -> dict[str, list[Sample]]:
        """Every case once a round, in turns; one run of each before, which does not count."""
        taken: dict[str, list[Sample]] = {case.name: [] for case in cases}
        for number in range(rounds + 1):
            for case in cases:
                sample = self.run(case)
                if number:
                    taken[case.name].append(sample)
        return taken


def ai(*arguments: str) -> list[str]:
    """The command as it is installed."""
    return [str(Path(sys.executable).with_name("ai")), *arguments]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:,.0f} ms" if value >= 20 else f"{value:.1f} ms" if value >= 1 else f"{value * 1000:.0f} µs"


def compared(title: str, taken: Mapping[str, list[Sample]], base: str, note: str = "") -> Table:
    """Medians of CPU and wall time, with the ratio of CPU to *base*'s."""
    cpu = {name: median([s.cpu_s for s in samples]) for name, samples in taken.items()}
    rows = [
        (
            name,
            ms(cpu[name]),
            f"{cpu[name] / cpu[base]:.1f} ×",
            ms(min(s.cpu_s for s in samples)),
            ms(median([s.wall_s for s in samples])),
        )
        for name, samples in taken.items()
    ]
    return Table(title, ("what", "CPU", f"CPU to {base}", "least CPU", "wall"), rows, note)
