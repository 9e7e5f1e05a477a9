"""`auth-profiles.json`: keys and tokens for model APIs, several for a provider, tried in an order.

Secrets are never part of an error, a log line or a `repr`. The shape is that of OpenClaw's file of the same name in
snake_case; its camelCase names are accepted. Knows nothing of how a key is used, and refreshes nothing.
"""

from __future__ import annotations

import importlib
import logging
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, MinLen

from paios.base.errors import PaiosError
from paios.config.checked import Strict, bad, check, one_of, parse_json
from paios.config.files import read, way_out

PROFILES = "auth-profiles.json"
KEYRING = "keyring:"

log = logging.getLogger(__name__)

_SNAKE = {
    "lastGood": "last_good",
    "usageStats": "usage_stats",
    "expires": "expires_at_ms",
    "expiresAt": "expires_at_ms",
    "expiresAtMs": "expires_at_ms",
    "clientId": "client_id",
    "token": "access",
}


@dataclass(frozen=True, slots=True)
class Profile(Strict):
    """One credential. `key` belongs to an api_key and may be `keyring:SERVICE`; `access` to a token or oauth."""

    type: Literal["api_key", "token", "oauth"]
    provider: Annotated[str, MinLen(1)]
    key: str | None = field(default=None, repr=False)
    access: str | None = field(default=None, repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_at_ms: Annotated[int, Gt(0)] | None = None
    client_id: str | None = None
    email: str | None = None

    @property
    def secret(self) -> str:
        return (self.key if self.type == "api_key" else self.access) or ""


@dataclass(frozen=True, slots=True)
class Key:
    """The outcome of looking for a provider's key: `secret` of `profile`, or None; `skipped` says who was passed over, why."""

    secret: str | None = field(repr=False)
    profile: str | None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File(Strict):
    version: Literal[1]
    profiles: dict[str, Profile] = field(default_factory=dict)
    order: dict[str, tuple[str, ...]] = field(default_factory=dict)
    last_good: dict[str, str] = field(default_factory=dict)
    usage_stats: dict[str, dict[str, Any]] = field(default_factory=dict)  # OpenClaw's bookkeeping: accepted, not used


def from_keyring(service: str, user: str) -> str | None:
    """
    A secret of the system's keyring.

    Raises:
        PaiosError: the `keyring` package is not installed, or its store cannot be opened.
    """
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as error:
        raise PaiosError(
            "the package keyring is not installed", remedy="install it beside paios: `pip install keyring`"
        ) from error
    try:
        secret: str | None = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise PaiosError(f"the keyring cannot be opened: {error}") from error
    return secret


@dataclass(frozen=True, slots=True)
class Profiles:
    """The checked file. `order` names, for a provider, exactly the profiles to use; without it the last good one is first."""

    profiles: Mapping[str, Profile] = field(default_factory=dict)
    order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    last_good: Mapping[str, str] = field(default_factory=dict)

    def key_for(self, provider: str, at: datetime, keyring: Callable[[str, str], str | None] = from_keyring) -> Key:
        """The first usable key of *provider* at the time *at*."""
        ids = self.order.get(provider) or sorted(
            (id for id, p in self.profiles.items() if p.provider == provider), key=lambda id: id != self.last_good.get(provider)
        )
        skipped: list[str] = []
        for id in ids:
            found = self.key_of(id, at, keyring)
            skipped += found.skipped
            if found.secret:
                return Key(found.secret, id, tuple(skipped))
        return Key(None, None, tuple(skipped))

    def key_of(self, id: str, at: datetime, keyring: Callable[[str, str], str | None] = from_keyring) -> Key:
        """The secret of the profile *id*, which exists; None with a reason if it has expired or the keyring has none."""
        profile = self.profiles[id]
        if profile.expires_at_ms and profile.expires_at_ms <= at.timestamp() * 1000:
            when = _when(profile.expires_at_ms)
            return Key(None, id, (f"{id} expired {when}",))
        if not profile.secret.startswith(KEYRING):
            return Key(profile.secret, id)
        service = profile.secret.removeprefix(KEYRING)
        try:
            secret = keyring(service, id)
        except PaiosError as error:
            return Key(None, id, (f"{id}: {error}",))
        return Key(
            secret or None, id, () if secret else (f"{id}: the keyring has nothing for service {service!r}, user {id!r}",)
        )

    def redacted(self) -> dict[str, dict[str, object]]:
        """The profiles for showing: of a secret at most the first three and last four characters."""
        return {
            id: {
                name: value
                for name, value in {
                    "type": p.type,
                    "provider": p.provider,
                    "secret": masked(p.secret),
                    "refresh": masked(p.refresh) if p.refresh else None,
                    "expires": _when(p.expires_at_ms) if p.expires_at_ms else None,
                }.items()
                if value is not None
            }
            for id, p in self.profiles.items()
        }


def load_profiles(home: Path) -> Profiles:
    """
    The profiles of *home*; none if there is no file. A file that others may read is closed to them, with a warning.

    Raises:
        BadConfig: every problem of the file, without quoting a value.
    """
    path = home / PROFILES
    text = read(path)
    if text is None:
        return Profiles()
    close(path)
    return parse_profiles(text, path)


def parse_profiles(text: str, path: Path) -> Profiles:
    """*text* as profiles; *path* is only named in errors. Raises BadConfig as `load_profiles` does."""
    remedy = way_out(path)
    clashes: list[str] = []
    data = _snake(parse_json(text, path, remedy=remedy), clashes)
    if clashes:
        raise bad(path, clashes, remedy=remedy)
    file = check(_File, data, path, remedy=remedy, hide=True)
    problems = [*_incomplete(file), *_dangling(file)]
    if problems:
        raise bad(path, problems, remedy=remedy)
    return Profiles(file.profiles, file.order, file.last_good)


def close(path: Path) -> None:
    """Takes the rights of other users from a file that holds secrets, with a warning if there were any."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return
    try:
        path.chmod(0o600)
    except OSError as error:
        log.warning("%s is open to other users (mode %o) and cannot be closed: %s", path, mode, error.strerror)
    else:
        log.warning("%s was open to other users (mode %o); it is 600 now", path, mode)


def masked(secret: str) -> str:
    """*secret* so that a person recognises it and nobody can use it; a keyring reference is no secret."""
    if secret.startswith(KEYRING):
        return secret
    return f"{secret[:3]}…{secret[-4:]}" if len(secret) >= 20 else "(set)"


def _snake(data: object, clashes: list[str]) -> object:
    """*data* with OpenClaw's camelCase names of the file and of each profile replaced by ours."""

    def rename(table: dict[str, Any], where: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in table.items():
            name = _SNAKE.get(key, key)
            if name in out:
                clashes.append(f"{where}{name} is there twice, once as {key}")
            out[name] = value
        return out

    if not isinstance(data, dict):
        return data
    file = rename(data, "")
    if isinstance(profiles := file.get("profiles"), dict):
        file["profiles"] = {id: rename(p, f"profiles.{id}.") if isinstance(p, dict) else p for id, p in profiles.items()}
    return file


def _incomplete(file: _File) -> list[str]:
    needed = {"api_key": "key", "token": "access", "oauth": "access"}
    return [
        f"profiles.{id} is of type {p.type} and must have {needed[p.type]}" for id, p in file.profiles.items() if not p.secret
    ]


def _dangling(file: _File) -> list[str]:
    """References to profiles that are not there, or are another provider's."""
    named = [(f"order.{provider}[{i}]", provider, id) for provider, ids in file.order.items() for i, id in enumerate(ids)]
    named += [(f"last_good.{provider}", provider, id) for provider, id in file.last_good.items()]
    problems = []
    for where, provider, id in named:
        if id not in file.profiles:
            problems.append(f"{where} names the profile {id}, which does not exist; must be {one_of(id, file.profiles)}")
        elif file.profiles[id].provider != provider:
            problems.append(f"{where} names the profile {id}, which is one of {file.profiles[id].provider}")
    return problems


def _when(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
