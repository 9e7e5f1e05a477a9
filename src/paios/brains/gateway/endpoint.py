"""A place where models answer: one vendor's API, or a model server of the person's own.

Knows the addresses and the names of the well-known keys; opens no connection.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["openai", "anthropic", "google", "openrouter", "openai-compatible", "ollama"]

VENDORS: dict[Kind, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "openrouter": "https://openrouter.ai/api/v1",
}
OLLAMA = "http://127.0.0.1:11434"

# For a key that is merely in the environment: the vendor's own everyday model first, then its small and its large one.
# Known to pydantic-ai 2.68 and priced by genai-prices 0.2.3.
_MODELS: dict[Kind, tuple[str, ...]] = {
    "openai": ("gpt-6.1-terra", "gpt-6-luna", "gpt-6.1-sol"),
    "anthropic": ("claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5"),
    "google": ("gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-4-argon"),
    "openrouter": ("anthropic/claude-sonnet-5.5", "openai/gpt-6-luna"),
}

# (endpoint, the variables its key may be in, those of its address), in the order in which a default is looked for
_IN_ENV: tuple[tuple[Kind, tuple[str, ...], tuple[str, ...]], ...] = (
    ("anthropic", ("ANTHROPIC_API_KEY",), ("ANTHROPIC_BASE_URL",)),
    ("openai", ("OPENAI_API_KEY",), ("OPENAI_BASE_URL",)),
    ("google", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), ("GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL")),
    ("openrouter", ("OPENROUTER_API_KEY",), ("OPENROUTER_BASE_URL",)),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One API and what it may be asked for.

    `models` may leave out what the vendor has besides; the first is the default. `key_from` says where the key was
    found ("OPENAI_API_KEY", a profile's name), for the message when it is refused.
    """

    name: str
    kind: Kind
    base_url: str | None = None  # None: the vendor's own
    key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    key_from: str = ""

    @property
    def url(self) -> str:
        """The address without a trailing slash; for Ollama without `/v1`."""
        url = (self.base_url or VENDORS.get(self.kind, OLLAMA)).rstrip("/")
        return url.removesuffix("/v1") if self.kind == "ollama" else url

    @property
    def is_own(self) -> bool:
        """Whether it is a model server on this very machine, which bills nobody."""
        return self.kind in ("openai-compatible", "ollama") and is_loopback(urlsplit(self.url).hostname or "")

    @property
    def is_usable(self) -> bool:
        """Whether it has what it needs: a vendor wants a key, any other server an address."""
        return bool(self.key) if self.kind in VENDORS else self.kind == "ollama" or bool(self.base_url)


def endpoints_from_env(env: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """The vendors whose keys are in *env* under their well-known names, Anthropic first."""
    found = []
    for kind, keys, urls in _IN_ENV:
        key_from = next((name for name in keys if env.get(name)), None)
        if key_from is None:
            continue
        url = next((env[name] for name in urls if env.get(name)), None)
        # What people put behind OPENAI_BASE_URL (vLLM, LiteLLM, a proxy) speaks chat completions and has its own models.
        if kind == "openai" and url and not (urlsplit(url).hostname or "").endswith("openai.com"):
            found.append(Endpoint("openai", "openai-compatible", url, env[key_from], (), key_from))
        else:
            found.append(Endpoint(kind, kind, url, env[key_from], _MODELS[kind], key_from))
    return tuple(found)


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine's loopback, by its name or address; no name is looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
