"""The files of a PAIOS home: read and checked, written whole, backed up, restored, and `paios.toml` edited in place.

Canonical: `paios.toml`, `llm-config.json`, `auth-profiles.json`. `backups/` holds their last ten versions each. Writers
take `locked` first; readers need no lock, because a file is replaced in one step and never written in place.
"""

from __future__ import annotations

import difflib
import fcntl
import logging
import os
import re
import stat
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paios.base.clock import Clock, SystemClock
from paios.base.errors import BadConfig, BadInput, PaiosError
from paios.base.home import make
from paios.config.checked import bad, check, nearest
from paios.config.settings import ELSEWHERE, Settings

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

SETTINGS = "paios.toml"
KEPT = 10  # versions of each file
LOCK_WAIT_S = 10.0  # a holder writes one small file: milliseconds

log = logging.getLogger(__name__)
_CLOCK = SystemClock()
_BACKUP = re.compile(r"\.(\d{8}T\d{6}Z)(?:-(\d+))?")


def load_settings(home: Path) -> Settings:
    """
    The settings of *home*: the defaults where `paios.toml` says nothing, or is absent.

    Raises:
        BadConfig: every problem of the file.
    """
    path = home / SETTINGS
    text = read(path)
    return Settings() if text is None else parse_settings(text, path)


def parse_settings(text: str, path: Path) -> Settings:
    """*text* as settings; *path* is only named in errors. Raises BadConfig as `load_settings` does."""
    remedy = way_out(path)
    return check(Settings, parse_toml(text, path, remedy=remedy), path, remedy=remedy, elsewhere=ELSEWHERE)


def parse_toml(text: str, path: Path, *, remedy: str) -> dict[str, Any]:
    """The tables in *text*. Raises BadConfig with line and column."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = f"at line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"  # tomllib names all but the end
        raise bad(path, [f"is not TOML: {error}".replace("at end of document", where)], remedy=remedy) from error
    except RecursionError as error:
        raise bad(path, ["is nested too deeply"], remedy=remedy) from error


def read(path: Path) -> str | None:
    """
    The text of a configuration file, or None if there is none. A file that others may write to is read with a warning.

    Raises:
        BadConfig: it is there but is no readable UTF-8 file.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise bad(path, ["is not a file"], remedy=way_out(path))
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise bad(path, [f"cannot be read: {error.strerror}"], remedy="make it readable for you (chmod u+r)") from error
    if mode & stat.S_IWOTH:
        log.warning("%s can be written by every user of this machine; `chmod 600` it", path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise bad(path, [f"is not UTF-8 (line {line}, byte 0x{data[error.start]:02x})"], remedy=way_out(path)) from error


def way_out(path: Path) -> str:
    """What a person can do about a broken file: restore it if there is something to restore."""
    page = "docs/reference/settings.md"
    if not backups(path):
        return f"see {page}"
    option = "" if path.name == SETTINGS else f" --file {path.name}"
    return f"`ai config restore{option}` brings back the last good one; see {page}"


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """
    Replaces the file at *path* in one step: a reader sees the old or the new one, a crash leaves one of them.

    A symbolic link is followed, so that a file kept elsewhere (dotfiles) stays there. Makes the folder, 0700.

    Raises:
        OSError: disk full, no permission; the old file is untouched.
    """
    target = path.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temp = target.with_name(f".{target.name}.{os.urandom(6).hex()}.new")
    try:
        with os.fdopen(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # never open to others
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(target)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """
    Holds the one lock of all who change files of *home*, in any process.

    Raises:
        PaiosError: somebody held it for more than `LOCK_WAIT_S`.
        StoreError: *home* cannot be used.
    """
    make(home)
    path = home / "run" / "config.lock"
    with path.open("a") as file:
        for _ in range(int(LOCK_WAIT_S / 0.02)):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.02)
        else:
            raise PaiosError(f"{path} is held by another process", remedy="end the other `ai config` and try again")
        yield  # the lock goes with the open file


def backup(path: Path, clock: Clock = _CLOCK) -> Path | None:
    """
    A copy of the file in `backups/` beside it, named `<name>.<UTC time>[-n]`; None if there is no file.

    A version that is already the newest backup is not copied again. The newest ten are kept.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    newest = next(iter(backups(path)), None)
    if newest and newest.read_bytes() == data:
        return newest
    stamp, n = f"{clock.at():%Y%m%dT%H%M%SZ}", 0
    if newest and _age(newest)[0] >= stamp:  # within one second, or the clock was set back: still the newest by name
        stamp, n = _age(newest)[0], _age(newest)[1] + 1
    copy = path.parent / "backups" / (f"{path.name}.{stamp}" + (f"-{n}" if n else ""))
    write_whole(copy, data)
    for old in backups(path)[KEPT:]:
        old.unlink(missing_ok=True)
    return copy


def backups(path: Path) -> list[Path]:
    """The backups of the file at *path*, newest first."""
    try:
        found = list((path.parent / "backups").iterdir())
    except OSError:  # no backups yet, or none that we may see: nothing can be restored
        return []
    mine = [p for p in found if p.name.startswith(path.name) and _BACKUP.fullmatch(p.name.removeprefix(path.name))]
    return sorted(mine, key=_age, reverse=True)


def restore(path: Path, which: str | None = None, *, check: Callable[[str], object]) -> Path:
    """
    Brings back a backup of the file at *path* and returns it; the present version is backed up first.

    *which* is a backup's name; None takes the newest that differs from the present file and passes *check*, which
    raises BadConfig for a text that will not do.

    Raises:
        BadInput: no such backup, or none at all.
        BadConfig: the backup asked for is itself broken; or none is good.
    """
    with locked(path.parent):
        have = backups(path)
        if not have:
            raise BadInput(f"there is no backup of {path.name}", remedy="one is made whenever `ai config set` changes the file")
        chosen = _named(have, which) if which else _last_good(path, have, check)
        text = read(chosen) or ""
        check(text)
        data = chosen.read_bytes()
        backup(path)
        write_whole(path, data)
    return chosen


def keep(path: Path) -> Path | None:
    """Backs up a version that is known to be good, so that `restore` can come back to it."""
    with locked(path.parent):
        return backup(path)


def set_value(home: Path, key: str, text: str, *, dry_run: bool = False) -> str:
    """
    Sets one dotted *key* of `paios.toml` and returns the change as a unified diff ("" if there is none).

    *text* is a TOML value; what is none is taken as a text, so paths and words need no quotes. Comments and order stay.
    With *dry_run* nothing is written.

    Raises:
        BadConfig: the key is unknown, the value will not do, or the file is broken; nothing was written.
    """
    path = home / SETTINGS
    if dry_run:
        return _diff(read(path) or "", _edited(path, key, text))
    with locked(home):
        old = read(path) or ""
        new = _edited(path, key, text)
        if new != old:
            backup(path)
            write_whole(path, new.encode())
            backup(path)
    return _diff(old, new)


def _edited(path: Path, key: str, text: str) -> str:
    import tomlkit  # only an edit needs it  # noqa: PLC0415

    old = read(path) or ""
    wanted = parse_toml(old, path, remedy=way_out(path))
    value = _value(text)
    document: TOMLDocument = tomlkit.parse(old)
    place: Any = document
    inside: Any = wanted
    *sections, last = _parts(key)
    for i, name in enumerate(sections):
        if name not in place:
            place[name] = tomlkit.table(is_super_table=i < len(sections) - 1)
        place, inside = place[name], inside.setdefault(name, {})
        if not isinstance(inside, dict):
            raise BadConfig(f"{path}: {'.'.join(sections[: i + 1])} is no table", remedy="nothing was written")
    if isinstance(inside.get(last), dict):
        raise BadConfig(f"{path}: {key} is a table", remedy="set one of its keys; nothing was written")
    place[last] = tomlkit.parse(value)["value"]
    inside[last] = tomllib.loads(value)["value"]
    new = tomlkit.dumps(document)
    check(Settings, wanted, path, remedy="nothing was written", elsewhere=ELSEWHERE)
    if parse_toml(new, path, remedy="nothing was written") != wanted:
        raise BadConfig(f"{path}: {key} could not be set without changing more", remedy="edit the file by hand")
    return new


def _parts(key: str) -> list[str]:
    parts = key.split(".")
    if not all(re.fullmatch(r"[A-Za-z0-9_-]+", p) for p in parts):
        raise BadInput(f"{key!r} is no key", remedy="a key looks like limits.timeout_s; `ai config show` lists them all")
    return parts


def _value(text: str) -> str:
    """`value = …` in TOML for what a person typed."""
    line = f"value = {text}"
    with suppress(tomllib.TOMLDecodeError, RecursionError):  # then it is a text
        if tomllib.loads(line).keys() == {"value"}:
            return line
    import tomlkit  # noqa: PLC0415

    document = tomlkit.document()
    document["value"] = text
    return tomlkit.dumps(document)


def _diff(old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), SETTINGS, f"{SETTINGS} (new)", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _age(path: Path) -> tuple[str, int]:
    match = _BACKUP.search(path.name)
    assert match is not None
    return match[1], int(match[2] or 0)


def _named(have: list[Path], which: str) -> Path:
    for path in have:
        if which == path.name:
            return path
    near = nearest(which, [p.name for p in have])
    hint = f"did you mean {near}? " if near else ""
    raise BadInput(f"there is no backup {which}", remedy=f"{hint}`ai config restore --list` lists them")


def _last_good(path: Path, have: list[Path], check: Callable[[str], object]) -> Path:
    present = path.read_bytes() if path.is_file() else None
    for candidate in have:
        with suppress(BadConfig):  # a broken version is backed up too, before it is replaced
            if candidate.read_bytes() != present:
                check(read(candidate) or "")
                return candidate
    raise BadConfig(f"no backup of {path.name} is good and different from the present file", remedy=f"edit {path} by hand")
