"""`ai config`: shows, checks, changes and restores the files of a PAIOS home."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import click

from paios.base.errors import BadConfig, BadInput, PaiosError
from paios.config import files
from paios.config.checked import nearest
from paios.config.credentials import PROFILES, Profiles, close, load_profiles, masked, parse_profiles
from paios.config.models import MODELS, Endpoint, Models, load_models, parse_models
from paios.config.openclaw import load_openclaw
from paios.config.settings import Settings, catalogue
from paios.interfaces.cli.door import Door

NAMES = (files.SETTINGS, MODELS, PROFILES)

Row = tuple[str, object, str]  # dotted key, value as JSON has it, where it comes from


@click.group("config")
def config() -> None:
    """Show, check, change and restore the settings."""


@config.command("validate")
@click.pass_obj
def validate(door: Door) -> None:
    """Check every file and list all problems. Exit code 3 if there is one.

    A file that is good is remembered, so that `ai config restore` can come back to it.
    """
    problems: list[BadConfig] = []
    for name in NAMES:
        path = door.home / name
        try:
            text = files.read(path)
            if text is not None:
                _checks(door, path)(text)
        except BadConfig as error:
            problems.append(error)
            continue
        click.echo(f"{name}: {'absent, the defaults apply' if text is None else 'good'}")
        if text is None:
            continue
        with _writing(path):
            files.keep(path)
        if name == PROFILES:
            close(path)
    _about_openclaw(door)
    if problems:
        remedies = dict.fromkeys(e.remedy for e in problems if e.remedy)
        raise BadConfig("\n".join(e.message for e in problems), remedy="\n    ".join(remedies))


def _about_openclaw(door: Door) -> None:
    """OpenClaw's file is not ours to judge: a broken one is said, and no error."""
    openclaw = load_openclaw(Path(door.env["HOME"])) if door.env.get("HOME") else None
    if openclaw is None:
        return
    count = len(openclaw.providers)
    state = openclaw.problem or f"read only, {count} model provider{'' if count == 1 else 's'}"
    click.echo(f"{openclaw.path}: {state}")
    for note in openclaw.notes:
        click.echo(f"  left out: {note}")


@config.command("show")
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show(door: Door, key: str | None, as_json: bool) -> None:
    """Show what is in effect and where each value comes from; KEY is one setting or a group of them.

    Of keys and tokens at most the first three and the last four characters are shown.
    """
    rows = [*_settings_rows(door), *_model_rows(load_models(door.home, door.env)), *_profile_rows(load_profiles(door.home))]
    if key is not None:
        wanted = [row for row in rows if row[0] == key or row[0].startswith(f"{key}.")]
        if not wanted:
            near = nearest(key, [row[0] for row in rows])
            raise BadInput(
                f"there is no setting {key}", remedy=f"did you mean {near}?" if near else "`ai config show` lists them all"
            )
        rows = wanted
    if as_json:
        table = {name: {"value": value, "from": source} for name, value, source in rows}
        click.echo(json.dumps(table, ensure_ascii=False, indent=2))
        return
    for name, value, source in rows:
        nothing = "the brain's own default" if name.startswith("models.") else "none"
        click.echo(f"{name} = {nothing if value is None else _plain(value)}  ({source})")


@config.command("set")
@click.argument("key")
@click.argument("value")
@click.option("--dry-run", is_flag=True, help="Show the change, write nothing.")
@click.pass_obj
def set_(door: Door, key: str, value: str, dry_run: bool) -> None:
    """Set KEY of paios.toml to VALUE; comments and order stay, and the old file is backed up.

    VALUE is written as in TOML; a text needs no quotes. Put `--` before a VALUE that begins with a dash.
    """
    path = door.home / files.SETTINGS
    with _writing(path):
        diff = files.set_value(door.home, key, value, dry_run=dry_run)
    click.echo(diff, nl=False)
    if not diff:
        click.echo(f"{key} has that value already")
    elif dry_run:
        click.echo("nothing was written")


@config.command("restore")
@click.argument("name", required=False)
@click.option(
    "--file", "which", type=click.Choice(NAMES), default=files.SETTINGS, show_default=True, help="The file to restore."
)
@click.option("--list", "listing", is_flag=True, help="List the backups, newest first.")
@click.pass_obj
def restore(door: Door, name: str | None, which: str, listing: bool) -> None:
    """Bring back the last good version of a file, or the backup NAME. The present version is backed up first."""
    path = door.home / which
    check = _checks(door, path)
    if listing:
        for copy in files.backups(path):
            click.echo(f"{copy.name}  {_state(copy, check)}")
        return
    with _writing(path):
        chosen = files.restore(path, name, check=check)
    click.echo(f"{which} is {chosen.name} again")


@config.command("path")
@click.pass_obj
def path_(door: Door) -> None:
    """Print where the files are, home first."""
    click.echo(door.home)
    for name in NAMES:
        path = door.home / name
        click.echo(f"{path}{'' if path.exists() else '  (absent)'}")


def _checks(door: Door, path: Path) -> Callable[[str], object]:
    """What judges a text that is, or is to be, the file at *path*."""

    def models(text: str) -> object:
        try:
            profiles: Profiles | None = load_profiles(door.home)
        except BadConfig:  # said under its own name; here its references cannot be followed
            profiles = None
        openclaw = load_openclaw(Path(door.env["HOME"])) if door.env.get("HOME") else None
        return parse_models(text, path, profiles=profiles, openclaw=openclaw)

    by_name: dict[str, Callable[[str], object]] = {
        files.SETTINGS: lambda text: files.parse_settings(text, path),
        MODELS: models,
        PROFILES: lambda text: parse_profiles(text, path),
    }
    return by_name[path.name]


def _state(copy: Path, check: Callable[[str], object]) -> str:
    try:
        check(files.read(copy) or "")
    except BadConfig:
        return "broken"
    return "good"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path.parent
        raise PaiosError(f"{where} cannot be written: {error.strerror}", remedy=f"{path.name} is as it was") from error


def _settings_rows(door: Door) -> Iterator[Row]:
    path = door.home / files.SETTINGS
    settings = files.load_settings(door.home)
    given = files.parse_toml(files.read(path) or "", path, remedy="")
    for key, _, _ in catalogue():
        yield key, _at(settings, key), _source(given, key)


def _at(settings: Settings, key: str) -> object:
    value: object = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _source(given: object, key: str) -> str:
    for part in key.split("."):
        given = given.get(part) if isinstance(given, dict) else None
    return "default" if given is None else files.SETTINGS


def _model_rows(models: Models) -> Iterator[Row]:
    default = Models.default()
    for domain, brains in models.routes.items():
        yield f"routes.{domain}", brains, "default" if brains == default.routes[domain] else MODELS
    for (brain, tier), model in models.tiers.items():
        yield f"models.{brain}.{tier}", model, "default" if model == default.tiers[brain, tier] else MODELS
    for endpoint in models.endpoints:
        yield f"endpoints.{endpoint.name}", _endpoint(endpoint), endpoint.source


def _endpoint(endpoint: Endpoint) -> dict[str, object]:
    shown: dict[str, object] = {"kind": endpoint.kind}
    if endpoint.base_url:
        shown["base_url"] = _without_password(endpoint.base_url)
    if endpoint.key:
        shown["key"] = f"{masked(endpoint.key)} from {endpoint.key_from}"
    elif endpoint.no_key or endpoint.reference:
        shown["key"] = f"none: {endpoint.no_key or endpoint.reference}"
    if endpoint.models:
        shown["models"] = list(endpoint.models)
    return shown


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"…@{host}" if "@" in parts.netloc else host, parts.path, "…" if parts.query else "", ""))


def _profile_rows(profiles: Profiles) -> Iterator[Row]:
    for name, shown in profiles.redacted().items():
        yield f"profiles.{name}", shown, PROFILES


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_plain(inner) for inner in value) + "]"
    return value if isinstance(value, str) and value and value.isprintable() else json.dumps(value, ensure_ascii=False)
