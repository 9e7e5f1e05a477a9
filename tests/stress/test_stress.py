"""Many processes at once, kills at any moment, many requests in a row: through the command, as programs use it.

The numbers are the promises of the product: 16 processes with 50 requests each, 100 kills, 50 requests a vendor.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from paios.base.process import TAG
from paios.interfaces import pipes
from paios.observability.store import open_database
from paios.testing.scene import Scene
from paios.testing.until import until

pytestmark = [pytest.mark.stress, pytest.mark.timeout(600)]

AI = [sys.executable, "-m", "paios"]
ECHO = [*AI, "--stream-json", "--brain", "echo"]
TERMINAL = {"answered", "failed", "cancelled"}
DELTAS = {"said", "thought"}
# The vendors' programs are not what is stressed here: no check of them is wanted from `ai doctor`.
ECHO_ONLY = "[brains.claude]\nenabled = false\n[brains.codex]\nenabled = false\n[brains.gateway]\nenabled = false\n"

Line = dict[str, Any]


@dataclass(slots=True)
class Ended:
    """A process of ours that is over."""

    code: int
    lines: list[Line]  # whole lines of its standard output
    errors: str  # its standard error

    def of(self, *types: str) -> list[Line]:
        return [line for line in self.lines if line["type"] in types]

    @property
    def records(self) -> list[Line]:
        """The events it showed: what is not about the connection."""
        return [line for line in self.lines if "seq" in line]


@pytest.fixture
def echo_env(tmp_path: Path) -> dict[str, str]:
    """The environment of a person whose only brain is the echo."""
    home = tmp_path / "paios"
    home.mkdir(mode=0o700)
    (home / "paios.toml").write_text(ECHO_ONLY)
    return {"PATH": os.defpath, "HOME": str(tmp_path), "LANG": "C.UTF-8", "PAIOS_HOME": str(home)}


def turns(texts: Iterable[str]) -> bytes:
    return "".join(json.dumps({"type": "user", "text": text}) + "\n" for text in texts).encode()


def parsed(output: bytes) -> list[Line]:
    """The whole lines in *output*: a process that was killed may leave half of one."""
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]


async def run(command: list[str], env: Mapping[str, str], cwd: Path, given: bytes = b"") -> Ended:
    done = await anyio.run_process(command, input=given, env=env, cwd=cwd, check=False, stderr=subprocess.PIPE)
    return Ended(done.returncode, parsed(done.stdout), done.stderr.decode())


def stored(env: Mapping[str, str]) -> dict[str, list[tuple[int, Line]]]:
    """The event log: trace → its events in the order they were stored, as (seq, body)."""
    log: dict[str, list[tuple[int, Line]]] = {}
    with open_database(Path(env["PAIOS_HOME"])) as db:
        for trace, seq, body in db.read("SELECT trace, seq, body FROM events ORDER BY id"):
            log.setdefault(trace, []).append((seq, json.loads(body)))
    return log


def statuses(env: Mapping[str, str]) -> dict[str, str]:
    """Trace → status, of every request that was ever accepted."""
    with open_database(Path(env["PAIOS_HOME"])) as db:
        return dict(db.read("SELECT trace, status FROM requests"))


def owners(env: Mapping[str, str]) -> set[str]:
    with open_database(Path(env["PAIOS_HOME"])) as db:
        return {row[0] for row in db.read("SELECT DISTINCT owner FROM requests")}


def body_of(record: Line) -> Line:
    """What the log keeps of an event as it was shown."""
    return {name: value for name, value in record.items() if name not in ("seq", "trace", "at")}


def ends(events: list[tuple[int, Line]]) -> list[Line]:
    return [body for _, body in events if body["type"] in TERMINAL]


def assert_whole(log: Mapping[str, list[tuple[int, Line]]]) -> None:
    """Every request of the log is counted from 1 without a gap, begins with `accepted` and has one end, which is its last."""
    for trace, events in log.items():
        assert [seq for seq, _ in events] == list(range(1, len(events) + 1)), trace
        assert events[0][1]["type"] == "accepted", trace
        assert [seq for seq, body in events if body["type"] in TERMINAL] == [len(events)], trace


def left_behind(env: Mapping[str, str]) -> list[str]:
    """What still runs of the children, and children's children, that any `ai` of this home started, and of their guards."""
    ours = owners(env)
    found = []
    for process in psutil.process_iter():
        try:
            theirs, command = process.environ(), process.cmdline()
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
        except (psutil.Error, OSError):  # it ended just now, or is not this user's
            continue
        if (TAG in theirs and theirs.get("HOME") == env["HOME"]) or ours.intersection(command):
            found.append(f"{process.pid}: {' '.join(command)[:200]}")
    return found


@pytest.mark.real
@pytest.mark.parametrize("brain", ["claude", "codex"])
async def test_fifty_requests_in_a_row_leave_no_child(brain: str, scene: Scene, agent_env: dict[str, str], cwd: Path) -> None:
    scene.always("pong")
    ended: list[Ended] = []

    async def converse() -> None:
        command = [*AI, "--stream-json", "--brain", brain]
        ended.append(await run(command, agent_env, cwd, turns(f"ping {i}" for i in range(50))))

    async def one_by_one() -> None:
        ended.extend([await run([*AI, "--brain", brain, "--json", f"ping alone {i}"], agent_env, cwd) for i in range(5)])

    with anyio.fail_after(500):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(converse)
            tasks.start_soon(one_by_one)

    assert [line for e in ended for line in e.of("error", "failed", "cancelled")] == []
    assert {(e.code, e.errors) for e in ended} == {(0, "")}
    assert [a["text"] for e in ended for a in e.of("answered")] == ["pong"] * 55
    assert left_behind(agent_env) == []


@pytest.mark.real
@pytest.mark.parametrize("brain", ["claude", "codex"])
async def test_a_kill_amid_a_vendors_answer_leaves_no_child(
    brain: str, scene: Scene, agent_env: dict[str, str], cwd: Path
) -> None:
    scene.hangs("half an answer").forever()

    with anyio.fail_after(120):
        async with await anyio.open_process([*AI, "--brain", brain, "--json", "ping"], env=agent_env, cwd=cwd) as process:
            assert process.stdin and process.stdout
            await process.stdin.aclose()
            reader = BufferedByteReceiveStream(process.stdout)
            while json.loads(await reader.receive_until(b"\n", 1 << 20))["type"] != "said":
                pass
            running = left_behind(agent_env)
            process.kill()
        await until(lambda: not left_behind(agent_env))

    assert any(brain in command for command in running)
    (events,) = stored(agent_env).values()
    assert ends(events) == []  # nobody could tell; the next start does
    await run([*AI, "--brain", "echo", "--json", "next"], agent_env, cwd)
    log = stored(agent_env)
    assert_whole(log)
    assert [ends(events)[0].get("kind") for events in log.values()] == ["interrupted", None]


async def test_sixteen_processes_at_once_lose_no_event_and_meet_no_lock(echo_env: dict[str, str], cwd: Path) -> None:
    shown: list[Ended] = []
    plain: list[Ended] = []

    async def converse(n: int) -> None:
        texts = (f"#think of {i}\n#say process {n} says turn {i}" for i in range(50))
        shown.append(await run(ECHO, echo_env, cwd, turns(texts)))

    async def once(n: int) -> None:
        plain.append(await run([*AI, "--brain", "echo", "--json", f"alone {n}"], echo_env, cwd))

    with anyio.fail_after(500):
        async with anyio.create_task_group() as tasks:
            for n in range(16):
                tasks.start_soon(converse, n)
            for n in range(4):
                tasks.start_soon(once, n)

    everyone = shown + plain
    assert [(e.code, e.errors, e.of("error")) for e in everyone if e.code or e.errors] == []
    assert [len(ended.of("answered")) for ended in everyone] == [50] * 16 + [1] * 4
    log = stored(echo_env)
    assert_whole(log)
    told: dict[str, list[tuple[int, Line]]] = {}
    for record in (record for ended in everyone for record in ended.records):
        told.setdefault(record["trace"], []).append((record["seq"], body_of(record)))
    assert told == log
    assert Counter(statuses(echo_env).values()) == {"answered": 16 * 50 + 4}


# `ai` without the half second of starting Python: it forks one process for each three descriptors it is sent, which then
# does what `ai` does after its imports. Tells the pid; waits for all of them at its end.
NURSERY = """
import os, socket, sys
import paios.app
from paios.interfaces import serve, stream
from paios.interfaces.cli import ask, main

door = socket.socket(fileno=int(sys.argv[1]))
while True:
    word, pipes, _, _ = socket.recv_fds(door, 1, 3)
    if not word:
        break
    pid = os.fork()
    if pid == 0:
        door.close()
        for place, fd in enumerate(pipes):
            os.dup2(fd, place)
            os.close(fd)
        os._exit(main.run(["--stream-json", "--brain", "echo"]))
    for fd in pipes:
        os.close(fd)
    door.send(pid.to_bytes(8, "big"))
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""

WORK = "#think a moment\n#say many small words that are said\n#sleep 0.02\n#read nothing\n#say and said again"


@dataclass(slots=True)
class Killer:
    """Starts `ai`, kills it at a random moment, and keeps what it had shown."""

    env: Mapping[str, str]
    cwd: Path
    given: Path  # the turns
    nursery: socket.socket
    chance: random.Random = field(default_factory=lambda: random.Random(20))
    seen: list[Ended] = field(default_factory=list)

    async def strike(self, n: int) -> None:
        """Every fifth is a whole process, killed at some time in its start or soon after; the others are forked."""
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        with self.given.open("rb") as given:
            fds = (given.fileno(), out_end, err_end)
            if n % 5 == 0:
                process = subprocess.Popen(ECHO, stdin=fds[0], stdout=fds[1], stderr=fds[2], env=self.env, cwd=self.cwd)
                kill, lines, wait_s = process.kill, 0, self.chance.uniform(0, 0.9)
            else:
                socket.send_fds(self.nursery, [b"."], fds)
                pid = int.from_bytes(self.nursery.recv(8), "big")
                kill, lines, wait_s = partial(os.kill, pid, signal.SIGKILL), *self._moment()
        os.close(out_end)
        os.close(err_end)
        output = await self._until_killed(out, kill, lines, wait_s)
        errors = b"".join([chunk async for chunk in pipes.chunks(err)])
        if n % 5 == 0:
            process.wait()
        os.close(out)
        os.close(err)
        self.seen.append(Ended(-signal.SIGKILL, parsed(output), errors.decode()))

    def _moment(self) -> tuple[int, float]:
        """How many lines are read, and how long is waited then: lines fall on every stage alike, times between them too."""
        if self.chance.random() < 0.25:
            return 0, self.chance.uniform(0, 0.3)
        return self.chance.randrange(1, 90), self.chance.choice((0.0, 0.0, 0.004, 0.02))

    async def _until_killed(self, out: int, kill: Callable[[], None], lines: int, wait_s: float) -> bytes:
        output = bytearray()
        chunks = pipes.chunks(out)
        while output.count(b"\n") < lines and (chunk := await anext(chunks, b"")):
            output += chunk
        await anyio.sleep(wait_s)
        kill()
        async for chunk in chunks:  # shown, too: it had left the process
            output += chunk
        return bytes(output)


@pytest.fixture
def killer(echo_env: dict[str, str], cwd: Path, tmp_path: Path) -> Iterator[Killer]:
    given = tmp_path / "turns"
    given.write_bytes(turns(f"{WORK} {i}" for i in range(8)))
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", NURSERY, str(theirs.fileno())]
    with ours, subprocess.Popen(command, env=echo_env, cwd=cwd, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        yield Killer(echo_env, cwd, given, ours)
        ours.close()
        process.wait(20)


async def test_after_a_hundred_kills_at_random_moments_every_accepted_request_has_one_end(
    killer: Killer, echo_env: dict[str, str], cwd: Path
) -> None:
    strikes = iter(range(100))

    async def lane() -> None:
        for n in strikes:
            await killer.strike(n)

    with anyio.fail_after(500):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):  # so that starts, with their clearing up, and kills meet each other
                tasks.start_soon(lane)
        doctor = await anyio.run_process([*AI, "doctor", "--json"], env=echo_env, cwd=cwd, check=False)

    assert len(killer.seen) == 100
    assert {ended.errors for ended in killer.seen} == {""}
    log = stored(echo_env)
    assert_whole(log)
    for record in (record for ended in killer.seen for record in ended.records if record["type"] not in DELTAS):
        assert (record["seq"], body_of(record)) in log[record["trace"]]  # stored before it was shown, and since then unchanged
    assert Counter(ends(events)[0]["type"] for events in log.values()) == Counter(statuses(echo_env).values())
    interrupted = [trace for trace, events in log.items() if ends(events)[0].get("kind") == "interrupted"]
    answered = [trace for trace, events in log.items() if ends(events)[0]["type"] == "answered"]
    assert len(interrupted) + len(answered) == len(log)
    # The kills were spread: some before anything was shown, some amid a request, some between or after them.
    shown = [(len(ended.of("accepted")), len(ended.of("answered"))) for ended in killer.seen]
    assert sum(accepted > answered for accepted, answered in shown) >= 20
    assert len(interrupted) >= 20
    assert shown.count((0, 0)) >= 3
    health = {finding["id"]: finding["status"] for finding in json.loads(doctor.stdout)}
    assert health["store.write"] == "ok"
    assert "problem" not in {status for name, status in health.items() if name.startswith("store.")}
