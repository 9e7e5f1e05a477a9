"""Child processes that never outlive us.

Every process we start inherits `PAIOS_OWNER=<owner id>` in its environment, and so does everything *it* starts, whatever
session or process group that moves to. Three layers end them:

1. whoever started a child ends it when the turn is over;
2. `Owner.close` kills what still carries the tag;
3. a *guard*, a bare Python process on the other end of a pipe, does the same when we die without closing (kill -9);
   and should the guard die with us, the next start reaps the owners whose lock file nobody holds.

PR_SET_PDEATHSIG reaches direct children only and does not exist on macOS; the tag reaches all of them on both.
Knows nothing about brains.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

TAG = "PAIOS_OWNER"

# What a person sets on purpose to configure the agents. Every other CLAUDE*, CODEX* and CLAUDECODE variable belongs to a
# session that we may have been started from (its id, its sockets, its sandbox) and would confuse the child.
_CONFIGURES = re.compile(
    r"(CLAUDE_CONFIG_DIR|CODEX_HOME|CODEX_API_KEY|MCP_(TOOL_)?TIMEOUT|CLAUDE_CODE_(OAUTH_TOKEN|USE_\w+|SKIP_\w+_AUTH|TMPDIR|MAX_\w+|DISABLE_\w+|ENABLE_TELEMETRY"
    r"|API_KEY_HELPER_TTL_MS|CLIENT_(CERT|KEY)\w*|SUBAGENT_MODEL))"
)
_OF_A_SESSION = re.compile(r"(CLAUDE|CODEX|MCP_|AI_AGENT$|PAIOS_OWNER)")

_GUARD = (
    "import sys\n"
    "if sys.stdin.buffer.read(1) == b'':\n"
    "    sys.path[:0] = sys.argv[2:]\n"
    "    from paios.base.process import kill_tagged\n"
    "    kill_tagged(sys.argv[1])\n"
)


def child_env(env: Mapping[str, str], owner: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """*env* for a child: without the variables of an agent session we may live in, with the owner's tag and *extra*."""
    kept = {k: v for k, v in env.items() if _CONFIGURES.fullmatch(k) or not _OF_A_SESSION.match(k)}
    return {**kept, **(extra or {}), TAG: owner}


def find_program(name: str, env: Mapping[str, str], configured: str = "") -> str | None:
    """The absolute path of a program: the configured one if it is there, else the first on the caller's PATH."""
    return shutil.which(Path(configured).expanduser() if configured else name, path=env.get("PATH"))


def tagged(owner: str) -> list[int]:
    """The pids that carry *owner*'s tag, ourselves excepted."""
    import psutil  # 40 ms, and only needed once children were started  # noqa: PLC0415

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(TAG) == owner and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def kill_tagged(owner: str) -> int:
    """Kills every process with *owner*'s tag, twice over so that one forking meanwhile is caught; how many it were."""
    killed: set[int] = set()
    for _ in range(3):
        pids = tagged(owner)
        if not pids:
            break
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, 9)
                killed.add(pid)
    return len(killed)


class Owner:
    """This process as the owner of children and of open requests: an id, and a lock file that dies with us.

    A lock, not a pid: pids are reused, `flock` ends with the process however it ends.
    """

    def __init__(self, run: Path) -> None:
        self.id = os.urandom(6).hex()
        self._path = run / f"owner-{self.id}.lock"
        # Locked before it has its name: another process that starts just now would take an unlocked one for a dead owner's.
        unnamed = self._path.with_suffix(".new")
        self._file: IO[str] = unnamed.open("w", encoding="ascii")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(self._path)
        self._guard: subprocess.Popen[bytes] | None = None
        self._guarding = threading.Lock()

    def guard(self) -> None:
        """Starts the guard, once; to be called before the first child. Blocking, from any thread."""
        with self._guarding:
            if self._guard is None:
                self._guard = self._start_guard()

    def _start_guard(self) -> subprocess.Popen[bytes]:
        import psutil  # noqa: PLC0415

        roots = [str(Path(__file__).parents[2]), str(Path(psutil.__file__).parents[1])]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, self.id, *roots],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal must not reach it
            env={"PATH": os.defpath},
        )

    def close(self) -> None:
        """Ends what is left of our children, dismisses the guard, frees the lock."""
        if self._guard is not None:
            kill_tagged(self.id)
            assert self._guard.stdin is not None
            with suppress(BrokenPipeError):  # the guard was killed before us: nothing left to dismiss
                self._guard.stdin.write(b"q")
                self._guard.stdin.close()
            self._guard.wait(5)
            self._guard = None
        self._path.unlink(missing_ok=True)
        self._file.close()


def is_dead(run: Path, owner: str) -> bool:
    """Whether nobody holds *owner*'s lock any more."""
    try:
        with (run / f"owner-{owner}.lock").open("r", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def reap(run: Path, owners: Iterable[str] | None = None) -> list[str]:
    """Kills what dead owners left behind and removes their locks; the ids of those owners."""
    names = owners if owners is not None else [p.stem.removeprefix("owner-") for p in run.glob("owner-*.lock")]
    dead = [name for name in names if is_dead(run, name)]
    for name in dead:
        kill_tagged(name)
        (run / f"owner-{name}.lock").unlink(missing_ok=True)
    return dead
