"""The `claude` program: which one is run, with which arguments, in which environment.

Knows nothing of what is then said to it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paios.base.process import child_env, find_program
from paios.base.types import Turn
from paios.brains.claude.tools import NAME
from paios.brains.keys import without_keys

SDK = "claude_agent_sdk"

# Tools that ask or wake somebody after the turn, when its process is gone.
_BEYOND_THE_TURN = (
    "AskUserQuestion",
    "CronCreate",
    "CronDelete",
    "CronList",
    "ScheduleWakeup",
    "RemoteTrigger",
    "PushNotification",
)
_ARGUMENTS = (
    "--output-format=stream-json",
    "--input-format=stream-json",
    "--verbose",
    "--include-partial-messages",
    "--permission-prompt-tool=stdio",
    "--permission-mode=default",  # whatever mode the person's settings name: some of them skip questions
    f"--disallowedTools={','.join(_BEYOND_THE_TURN)}",
)


@dataclass(frozen=True, slots=True)
class Program:
    """*binary* is the configured program; without one it is that on PATH, else the SDK's own."""

    given: Mapping[str, str]  # the person's environment
    owner: str
    binary: str
    project_settings: bool

    @property
    def path(self) -> str | None:
        """Where it is; None if it is nowhere."""
        if found := find_program(NAME, self.given, self.binary):
            return found
        spec = None if self.binary else importlib.util.find_spec(SDK)
        bundled = [Path(root) / "_bundled" / "claude" for root in (spec.submodule_search_locations or ())] if spec else []
        return next((str(path) for path in bundled if path.is_file()), None)

    @property
    def env(self) -> dict[str, str]:
        """What a child gets: the person's variables, other vendors' keys left out."""
        ours = {
            "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # they would end with the turn, half done
            "CLAUDE_CODE_MAX_RETRIES": self.given.get("CLAUDE_CODE_MAX_RETRIES", "2"),  # its default is 10: minutes
            # Keeps Claude's own keys from the commands it runs. CLAUDE_CODE_SUBPROCESS_ENV_SCRUB does that, too, but with
            # it Claude Code does not start on a Linux without bubblewrap.
            "CLAUDE_ENV_FILE": str(Path(__file__).with_name("env.sh")),
        }
        kept = without_keys(self.given, keep=r"(ANTHROPIC|CLAUDE)_\w+|AWS_BEARER_TOKEN_BEDROCK")
        return child_env(kept, self.owner, ours)

    def command(self, *arguments: str) -> list[str]:
        return [self.path or NAME, *arguments]

    def answering(self, turn: Turn) -> list[str]:
        """The command line for one turn; the turn's text is not on it."""
        model = [f"--model={turn.model}"] if turn.model else []
        resume = [f"--resume={turn.session.id}"] if turn.session else []
        return self.command(*_ARGUMENTS, *model, *resume, *self._settings(turn.cwd))

    def _settings(self, cwd: Path) -> list[str]:
        """Which settings apply. A folder's own may name hooks and MCP servers, which Claude Code starts without asking our
        gate or anybody, so without the person's word only its written instructions count: those Claude reads as a file."""
        if self.project_settings:
            return ["--setting-sources=user,project,local"]
        if not (cwd / "CLAUDE.md").is_file():
            return ["--setting-sources=user"]
        return [
            "--setting-sources=user",
            "--append-system-prompt=CLAUDE.md in the working folder has its instructions: read it before you work on it.",
        ]
