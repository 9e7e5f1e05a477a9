"""Writes the reference pages that are made from the code: `python docs/generate.py`, in CI with `--check`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from paios.config.settings import Doc, catalogue

PAGE = Path(__file__).parent / "reference" / "settings.md"

HEAD = """\
# Settings

<!-- Written by docs/generate.py from src/paios/config/settings.py; change it there. -->

Everything is kept in one folder, `~/.paios`, or where the environment variable `PAIOS_HOME` points. `ai config path` prints it.
Every file is optional. An unknown key or a value of the wrong kind is an error that names the nearest valid key; nothing is
ignored. `ai config validate` lists all problems, `ai config show` every value in effect and where it comes from.

## `paios.toml`

| key | default | unit | meaning |
|---|---|---|---|
"""

TAIL = """
`ai config set limits.timeout_s 600` changes one key and keeps your comments; with `--dry-run` it only shows the change.
`ai config restore` brings back the last good version, `ai config restore --list` lists the last ten.

## `llm-config.json`

Which model a brain uses at which tier, and the model APIs that the gateway may call. A brain that a tier leaves out keeps its
default, `null` is the program's own default. A gateway model is `endpoint/model`. A key is never written here: it is
`env:NAME`, a variable of your environment, or `profile:ID`, a profile of `auth-profiles.json`; an endpoint without `key` uses
the profiles of the provider of its name.

```json llm-config.json
{
  "version": 1,
  "endpoints": {
    "mistral": {"kind": "openai-compatible", "base_url": "https://api.mistral.ai/v1", "key": "env:MISTRAL_API_KEY"},
    "work": {"kind": "anthropic", "key": "profile:anthropic:work", "models": ["claude-sonnet-5-5"]}
  },
  "tiers": {
    "fast": {"claude": "haiku", "gateway": "mistral/mistral-small-latest"},
    "deep": {"gateway": "work/claude-sonnet-5-5"}
  }
}
```

Kinds are `openai`, `anthropic`, `google`, `openrouter`, `openai-compatible` (needs `base_url`) and `ollama`. Tiers are
`instant`, `fast`, `standard`, `deep` and `premium`.

## `auth-profiles.json`

Keys and tokens, mode 600; a file that other users may read is closed to them with a warning. `order` names the profiles of
a provider to use, first to last; without it the `last_good` one is tried first. Expired ones are skipped. A `key` of
`keyring:SERVICE` is read from the system's keyring (user: the profile's id) if the package `keyring` is installed.
OpenClaw's names (`lastGood`, `usageStats`, `expires`, `clientId`, `token`) are understood.

```json auth-profiles.json
{
  "version": 1,
  "profiles": {
    "anthropic:work": {"type": "api_key", "provider": "anthropic", "key": "keyring:anthropic"},
    "mistral:me": {"type": "token", "provider": "mistral", "access": "…", "expires_at_ms": 1893456000000}
  },
  "order": {"anthropic": ["anthropic:work"]},
  "last_good": {"mistral": "mistral:me"}
}
```

## OpenClaw

The model providers of an existing `~/.openclaw/openclaw.json` are endpoints too, named `openclaw-<provider>`. That file is
only read. What cannot be used is listed by `ai config validate`.
"""


def page() -> str:
    """The whole page."""
    rows: list[tuple[str, object, Doc]] = []
    for key, default, doc in catalogue():
        if isinstance(default, dict):
            rows.append((key, None, doc))
            rows += [(f"{key}.{name}", value, Doc("", "")) for name, value in default.items()]
        else:
            rows.append((key, default, doc))
    lines = [f"| `{key}` | {_toml(default)} | {doc.unit} | {_cell(doc.text)} |" for key, default, doc in rows]
    return HEAD + "\n".join(lines) + "\n" + TAIL


def _toml(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "`[" + ", ".join(json.dumps(v) for v in value) + "]`"
    return f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(args: list[str]) -> int:
    """Writes the page, or with `--check` says whether it is as it would be written (exit code 1 if not)."""
    if "--check" not in args:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print(f"{PAGE} is out of date: run `python docs/generate.py`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
