"""The model providers of an existing `~/.openclaw/openclaw.json`, so that they need not be configured twice.

Read only, never written. The file is another program's: its shape may change, so what is not understood is left out and
noted, and a broken file is reported, not fatal. The file is JSON5; comments, trailing commas, bare keys and single quotes
are understood, rarer JSON5 (hexadecimal numbers, line continuations) is not.
Source: the OpenClaw documentation, "custom providers and base URLs" and "secrets" (`models.providers`, SecretRef).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["openai", "anthropic", "google", "openrouter", "openai-compatible", "ollama"]

_KINDS: dict[str, Kind] = {
    "openai-completions": "openai-compatible",
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "google-generative-ai": "google",
    "ollama": "ollama",
}
_KNOWN_BY_ID: dict[str, Kind] = {"openai": "openai", "anthropic": "anthropic", "google": "google", "openrouter": "openrouter"}
# A bare name counts only with an underscore: a key may be all capitals too, and must not be taken for a name and shown.
_ENV_NAME = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}|\$([A-Z][A-Z0-9_]*)|([A-Z][A-Z0-9]*_[A-Z0-9_]*)")
_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\w$+.-]+|[][{}:,]|\s+|.""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Provider:
    """One model provider. `key` is `env:NAME`; a key that is written out in the file is `secret` instead."""

    id: str
    kind: Kind
    base_url: str | None
    key: str | None
    models: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OpenClaw:
    """What was understood of the file. `problem` is set if nothing was; `notes` say what was left out and why."""

    path: Path
    providers: tuple[Provider, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()


def load_openclaw(user_home: Path) -> OpenClaw | None:
    """The providers configured in *user_home*'s OpenClaw, or None if there is no such file. Never raises, never writes."""
    path = user_home / ".openclaw" / "openclaw.json"
    try:
        data = json.loads(plain_json(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        return None
    except OSError as error:
        return OpenClaw(path, problem=f"cannot be read: {error.strerror}")
    except json.JSONDecodeError as error:  # line and column would be those of the text without comments
        return OpenClaw(path, problem=f"is no JSON that we understand: {error.msg}")
    except (ValueError, RecursionError) as error:
        return OpenClaw(path, problem=f"cannot be read: {error}")
    if not isinstance(data, dict):
        return OpenClaw(path, problem="is no table of keys and values")
    listed = _table(_table(data, "models"), "providers")
    notes = ["$include is not followed"] if "$include" in json.dumps(data) else []
    providers = []
    for name, entry in listed.items():
        fields = entry if isinstance(entry, dict) else {}
        found = _provider(name, fields)
        if isinstance(found, str):
            notes.append(f"models.providers.{name} {found}")
            continue
        providers.append(found)
        if "apiKey" in fields and not (found.key or found.secret):
            notes.append(f"models.providers.{name}.apiKey is kept where we cannot read it")
    return OpenClaw(path, tuple(providers), notes=tuple(notes))


def plain_json(text: str) -> str:
    """*text*, JSON with comments, trailing commas, bare keys or single quotes, as plain JSON. Strings stay as they are."""
    tokens = [t for t in _TOKEN.findall(text) if not t.isspace() and not t.startswith(("//", "/*"))]
    out = []
    for i, token in enumerate(tokens):
        after = tokens[i + 1] if i + 1 < len(tokens) else ""
        if token == "," and after in ("}", "]"):
            continue
        if token.startswith("'") and len(token) > 1:
            inner = token[1:-1].replace("\\'", "'")
            out.append('"' + re.sub(r'(?<!\\)"', '\\"', inner) + '"')
        elif after == ":" and not token.startswith('"'):
            out.append(json.dumps(token))
        else:
            out.append(token)
    return " ".join(out)


def _table(data: Mapping[str, object], key: str) -> dict[str, object]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _provider(name: str, entry: Mapping[str, object]) -> Provider | str:
    """The provider, or why it cannot be used."""
    url, api = entry.get("baseUrl"), entry.get("api")
    if url is not None and not (isinstance(url, str) and url.startswith(("http://", "https://")) and "${" not in url):
        return "has a baseUrl that is no plain http(s) address"
    if "/" in name:
        return "has a name with a slash"
    # Documented: with a baseUrl and no api it is openai-completions.
    assumed = _KNOWN_BY_ID.get(name) or ("openai-compatible" if url else None)
    kind = _KINDS.get(api) if isinstance(api, str) else assumed
    if kind is None:
        return f"speaks {api}, which the gateway does not" if api else "has neither a baseUrl nor an api"
    if kind == "openai-compatible" and not url:
        return "has no baseUrl"
    key, secret = _key(entry.get("apiKey"))
    models = entry.get("models")
    ids = [m["id"] for m in models if isinstance(m, dict) and isinstance(m.get("id"), str)] if isinstance(models, list) else []
    return Provider(name, kind, url if isinstance(url, str) else None, key, tuple(ids), secret)


def _key(value: object) -> tuple[str | None, str | None]:
    """`(env:NAME, None)`, `(None, the key itself)`, or neither for a key that lives in a file or behind a command."""
    if isinstance(value, dict):
        name = value.get("id")
        return (f"env:{name}", None) if value.get("source") == "env" and isinstance(name, str) else (None, None)
    if not isinstance(value, str) or not value:
        return None, None
    if match := _ENV_NAME.fullmatch(value):
        return f"env:{match[1] or match[2] or match[3]}", None
    return None, value.replace("$${", "${")
