"""`ai config`, through click and through the real program."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from paios.base.errors import BadConfig, BadInput
from paios.base.types import DOMAINS
from paios.config import files
from paios.interfaces.cli.config import config
from paios.interfaces.cli.door import Door

SECRET = "sk-thisisasecretofsomelength"
ROUTES = '{"version": 1, "routes": {"code": ["claude"]}}'
MODELS = '{"version": 1, "endpoints": {"mistral": {"kind": "openai-compatible", "base_url": "https://u:p@x.example/v1?k=v"}}}'
PROFILES = '{"version": 1, "profiles": {"m": {"type": "api_key", "provider": "mistral", "key": "' + SECRET + '"}}}'


def run(home: Path, *args: str, **env: str) -> Result:
    return CliRunner().invoke(config, list(args), obj=Door(home=home, env=env, cwd=home))


def program(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {"PAIOS_HOME": str(home), "HOME": str(home), "PATH": os.defpath}
    command = [sys.executable, "-m", "paios", "config", *args]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


def write(home: Path, name: str, text: str) -> Path:
    files.write_whole(home / name, text.encode())
    return home / name


def test_path_prints_home_and_every_file(tmp_path: Path) -> None:
    write(tmp_path, "paios.toml", "")
    assert run(tmp_path, "path").output.splitlines() == [
        str(tmp_path),
        str(tmp_path / "paios.toml"),
        f"{tmp_path / 'llm-config.json'}  (absent)",
        f"{tmp_path / 'auth-profiles.json'}  (absent)",
    ]


def test_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    write(tmp_path, "paios.toml", "[limits]\ntimeout_s = 5\n")
    write(tmp_path, "llm-config.json", '{"version": 1, "routes": {"code": ["claude", "codex:deep"]}}')
    lines = run(tmp_path, "show").output.splitlines()
    assert "limits.timeout_s = 5.0  (paios.toml)" in lines
    assert "limits.silent_s = 300.0  (default)" in lines
    assert "limits.daily_usd = none  (default)" in lines
    assert "routes.code = [claude, codex:deep]  (llm-config.json)" in lines
    assert "routes.vision = [gateway:standard, claude:standard, codex:standard]  (default)" in lines
    assert "models.claude.deep = opus  (default)" in lines
    assert "models.codex.deep = the brain's own default  (default)" in lines


def test_show_takes_one_key_or_a_group(tmp_path: Path) -> None:
    assert run(tmp_path, "show", "limits.timeout_s").output == "limits.timeout_s = 1800.0  (default)\n"
    assert json.loads(run(tmp_path, "show", "routes.vision", "--json").output) == {
        "routes.vision": {"value": ["gateway:standard", "claude:standard", "codex:standard"], "from": "default"}
    }
    assert [line.split()[0] for line in run(tmp_path, "show", "routes").output.splitlines()] == [f"routes.{d}" for d in DOMAINS]
    assert json.loads(run(tmp_path, "show", "limits.daily_usd", "--json").output)["limits.daily_usd"]["value"] is None
    assert {line.partition(".")[0] for line in run(tmp_path, "show", "brains").output.splitlines()} == {"brains"}
    wrong = run(tmp_path, "show", "limits.timout_s").exception
    assert isinstance(wrong, BadInput)
    assert wrong.remedy == "did you mean limits.timeout_s?"


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_show_prints_no_secret(tmp_path: Path, option: tuple[str, ...]) -> None:
    write(tmp_path, "llm-config.json", MODELS)
    write(tmp_path, "auth-profiles.json", PROFILES)
    write(
        tmp_path,
        ".openclaw/openclaw.json",
        '{"models": {"providers": {"a": {"baseUrl": "http://a", "apiKey": "' + SECRET + '"}}}}',
    )
    output = run(tmp_path, "show", *option, HOME=str(tmp_path)).output
    for endpoint in ("endpoints.mistral", "endpoints.openclaw-a", "profiles.m"):
        assert endpoint in output
    assert output.count("sk-…ngth") == 3 or output.count("sk-\\u2026ngth") == 3
    for secret in (SECRET, "u:p", "k=v"):
        assert secret not in output


def test_validate_lists_the_problems_of_all_files(tmp_path: Path) -> None:
    write(tmp_path, "paios.toml", "[limits]\nzzz = 1")
    write(tmp_path, "llm-config.json", '{"version": 1, "tiers": {"fast": {"gateway": "no/x"}}}')
    write(tmp_path, "auth-profiles.json", "{")
    result = run(tmp_path, "validate")
    assert isinstance(result.exception, BadConfig)
    for part in ("paios.toml: limits.zzz", "llm-config.json: tiers.fast.gateway names", "auth-profiles.json: is not JSON"):
        assert part in result.exception.message


def test_validate_names_the_route_that_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, "llm-config.json", '{"version": 1, "routes": {"code": ["codex", "claude:fsat"]}}')
    result = run(tmp_path, "validate")
    assert isinstance(result.exception, BadConfig)
    assert "llm-config.json: routes.code[1] must be" in result.exception.message
    assert "(did you mean fast?)" in result.exception.message


def test_validate_says_what_is_good_and_absent_and_what_openclaw_has(tmp_path: Path) -> None:
    write(tmp_path, "paios.toml", "")
    openclaw = write(tmp_path, ".openclaw/openclaw.json", "{oops")
    profiles = write(tmp_path, "auth-profiles.json", PROFILES)
    profiles.chmod(0o644)
    result = run(tmp_path, "validate", HOME=str(tmp_path))
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[:3] == ["paios.toml: good", "llm-config.json: absent, the defaults apply", "auth-profiles.json: good"]
    assert lines[3].startswith(f"{openclaw}: is no JSON")
    assert openclaw.read_text() == "{oops"
    assert stat.S_IMODE(profiles.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("paios.toml", "[limits]\ntimeout_s = 5\n"),
        ("llm-config.json", MODELS),
        ("llm-config.json", ROUTES),
        ("auth-profiles.json", PROFILES),
    ],
)
def test_a_file_that_was_good_once_can_be_restored(tmp_path: Path, name: str, good: str) -> None:
    path = write(tmp_path, name, good)
    assert run(tmp_path, "validate").exit_code == 0
    path.write_text("broken by hand {")
    result = run(tmp_path, "restore", "--file", name)
    assert result.output == f"{name} is {files.backups(path)[1].name} again\n"
    assert path.read_text() == good
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listed = run(tmp_path, "restore", "--file", name, "--list").output.splitlines()
    assert [line.split()[-1] for line in listed] == ["broken", "good"]


def test_restore_takes_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, "paios.toml", "# one")
    first = files.backup(path)
    assert first is not None
    files.backup(write(tmp_path, "paios.toml", "# two"))
    files.backup(write(tmp_path, "paios.toml", "# three"))
    assert run(tmp_path, "restore", first.name).exit_code == 0
    assert path.read_text() == "# one"


def test_set_shows_the_change(tmp_path: Path) -> None:
    result = run(tmp_path, "set", "limits.timeout_s", "60")
    assert "+timeout_s = 60\n" in result.output
    assert files.load_settings(tmp_path).limits.timeout_s == 60
    assert run(tmp_path, "set", "limits.timeout_s", "60").output == "limits.timeout_s has that value already\n"


def test_set_with_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "set", "limits.timeout_s", "60", "--dry-run")
    assert result.output.endswith("+[limits]\n+timeout_s = 60\nnothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_the_program_explains_a_wrong_file_and_exits_with_3(tmp_path: Path) -> None:
    write(tmp_path, "paios.toml", "[limits]\ntimeout = 5")
    done = program(tmp_path, "validate")
    assert done.returncode == 3
    assert "limits.timeout is not known here; did you mean limits.timeout_s?" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_program_sets_and_restores(tmp_path: Path) -> None:
    assert program(tmp_path, "set", "limits.timeout_s", "5").returncode == 0
    assert program(tmp_path, "set", "limits.timeout_s", "soon").returncode == 3
    assert program(tmp_path, "set", "limits.timeout_s", "6").returncode == 0
    assert program(tmp_path, "show", "limits.timeout_s").stdout == "limits.timeout_s = 6.0  (paios.toml)\n"
    assert program(tmp_path, "restore").returncode == 0
    assert program(tmp_path, "show", "limits.timeout_s").stdout == "limits.timeout_s = 5.0  (paios.toml)\n"
    assert program(tmp_path, "restore", "nothing").returncode == 2
