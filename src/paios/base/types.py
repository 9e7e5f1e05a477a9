"""The words of the house: what a request, a turn, an action and a decision are.

Frozen data only. Parsing happens at the doors; inside, these types are trusted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal, get_args

Domain = Literal["code", "creative", "analysis", "vision", "system", "schedule", "search", "general"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)

Tier = Literal["instant", "fast", "standard", "deep", "premium"]
TIERS: tuple[Tier, ...] = get_args(Tier)

# read, edit: a path. run: a command line. network: a URL or query. tool: any other tool, an MCP call among them.
# internal: the brain's own bookkeeping (a to-do list, loading a tool's description), without effect outside it.
# grant: a wider permission for the brain itself, such as another sandbox: always a person's to give, never in advance.
ActionKind = Literal["read", "edit", "run", "network", "tool", "internal", "grant"]
ACTION_KINDS: tuple[ActionKind, ...] = get_args(ActionKind)
ALLOWABLE: tuple[ActionKind, ...] = ("read", "edit", "run", "network", "tool")  # what `--allow` takes

Origin = Literal["cli", "stream", "demo", "api"]


def new_trace() -> str:
    """A W3C trace id: 32 lower-case hexadecimal digits, never all zero."""
    return os.urandom(16).hex()


def new_id(prefix: str) -> str:
    """A short unguessable id such as `t-9f3ac01b77de4410` (64 bits)."""
    return f"{prefix}-{os.urandom(8).hex()}"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a request. Text files carry their text; images are read by the brain from `path`."""

    path: Path  # absolute
    media_type: str  # "text/plain", "image/png", …
    size_bytes: int
    text: str | None = None  # None for an image

    @property
    def is_image(self) -> bool:
        return self.media_type.startswith("image/")


@dataclass(frozen=True, slots=True)
class Request:
    """One task as it came through a door."""

    text: str  # cleaned: no NUL, no lone surrogates, not blank
    cwd: Path  # absolute, exists
    thread: str
    trace: str
    at: datetime
    origin: Origin = "cli"
    brain: str | None = None  # the person's explicit choice
    model: str | None = None
    attachments: tuple[Attachment, ...] = ()
    allow: frozenset[ActionKind] = frozenset()  # widens the gate for this request only
    timeout_s: float | None = None  # None: the settings' limit


@dataclass(frozen=True, slots=True)
class Message:
    """One earlier turn of a thread, as every brain can read it."""

    role: Literal["user", "assistant"]
    text: str
    brain: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A brain's own handle on a conversation: a cache, never the conversation itself.

    `meter_usd` is the vendor's running total for that session. Claude reports cost cumulatively, over resumes too,
    so the next turn's cost is the difference to this number.
    """

    brain: str
    id: str
    meter_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one brain is asked to do once."""

    text: str  # up to 1 MB and more: never put on a command line
    cwd: Path
    trace: str
    model: str | None = None  # the brain's own name for it; None: the brain's default
    images: tuple[Attachment, ...] = ()
    sources: tuple[Attachment, ...] = ()  # the text files, for a brain that cites; their text is already part of `text`
    history: tuple[Message, ...] = ()  # what `session` does not know yet, oldest first
    session: Session | None = None
    read_only: bool = (
        True  # False if the person allowed edits or commands, or can be asked: a brain's own sandbox may then open
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """How a turn ended well. `session` lets the next turn resume."""

    text: str
    model: str | None = None
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """Something a brain wants to do. `target` is the path, command line, URL or tool name that decides."""

    kind: ActionKind
    tool: str  # the brain's own name for the tool
    target: str
    cwd: Path
    brain: str
    call_id: str
    arguments: str = ""  # JSON, for people and traces; the gate reads `target`


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an action may happen, who said so and why."""

    allowed: bool
    by: Literal["rule", "you", "nobody"]
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call or turn, in one shape for every vendor.

    `input` is what was read at full price: cached reads and cache writes are counted apart, never inside it.
    `reasoning` is part of `output`.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.cached + other.cached,
            self.cache_write + other.cache_write,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            max(0, self.input - other.input),
            max(0, self.cached - other.cached),
            max(0, self.cache_write - other.cache_write),
            max(0, self.output - other.output),
            max(0, self.reasoning - other.reasoning),
        )


@dataclass(frozen=True, slots=True)
class Passage:
    """A quoted piece of a source, as shown to a brain or cited in an answer."""

    source: str  # a path or a title
    line: int  # 1-based, where the passage begins
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A brain that may take the request, in order of preference. `why_not` is set when it was passed over."""

    brain: str
    tier: Tier
    model: str | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Who should do it, how sure the router is, and why.

    `text` is the request without its `@prefix`. `candidates` holds at least one brain; those with `why_not` are
    reported, not tried.
    """

    text: str
    domain: Domain
    confidence: float  # 0–1, a probability
    candidates: tuple[Candidate, ...]
    reasons: tuple[str, ...]
    scores: tuple[tuple[Domain, float], ...] = ()  # best first; sums to 1
    abstained: bool = False  # nothing was sure enough, so it counts as general
    compound: tuple[Domain, ...] = ()  # the domains of the two tasks, if two are asked


@dataclass(frozen=True, slots=True)
class Window:
    """One of a vendor's rate-limit windows."""

    name: str  # "5h", "weekly", …
    used_percent: float
    resets_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BrainStatus:
    """What a brain says of itself when asked: never read from its credential files."""

    name: str
    ready: bool
    version: str | None = None
    login: str = ""  # "subscription", "api key", "none needed", "logged out"
    detail: str = ""
    remedy: str = ""
    windows: tuple[Window, ...] = ()
    models: tuple[str, ...] = field(default=())
