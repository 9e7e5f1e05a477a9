"""The transcript Codex keeps of a thread, for the one thing its approval requests do not tell.

A model may ask for a command to run outside the sandbox (`sandbox_permissions: require_escalated`), and the request for
approval then looks like any other (0.163). The call itself, as the model made it, is in the thread's rollout file by then.
"""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import anyio.to_thread

_TAIL_BYTES = 1_000_000  # the call is among the last lines; results of calls made beside it may follow
# The arguments that have no say in where a command runs; one that is not known may have.
_HARMLESS = {"cmd", "command", "workdir", "shell", "login", "tty", "yield_time_ms", "max_output_tokens", "timeout_ms"} | {
    "justification",
    "prefix_rule",
}
_TRIES, _PAUSE_S = 10, 0.1  # it was there at once each time; the file's writer is another task of the server's


async def is_confined(path: Path | None, call: str) -> bool:
    """Whether the command that is item *call* of the rollout *path* stays in the sandbox. False if that cannot be told."""
    for _ in range(_TRIES if path else 0):
        assert path is not None
        arguments = await anyio.to_thread.run_sync(_arguments, path, call)
        if arguments is not None:
            return arguments.pop("sandbox_permissions", "use_default") == "use_default" and set(arguments) <= _HARMLESS
        await anyio.sleep(_PAUSE_S)
    return False


def _arguments(path: Path, call: str) -> dict[str, object] | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None  # not written yet, or elsewhere in a newer version
    for line in reversed(lines):
        if call.encode() in line and (found := _call(line, call)) is not None:
            return found
    return None


def _call(line: bytes, call: str) -> dict[str, object] | None:
    try:
        payload = json.loads(line)["payload"]
        if payload["type"] != "function_call" or payload["call_id"] != call:
            return None
        arguments = json.loads(payload["arguments"])
    except (ValueError, KeyError, TypeError):
        return None
    return arguments if isinstance(arguments, dict) else None
