"""`paios.toml`: read strictly, explained in words, written whole, backed up, restored."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paios.base.errors import BadConfig, BadInput
from paios.config import files
from paios.config.settings import Settings


class SetClock:
    """A wall clock that shows what it is set to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

    def at(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return 0.0


@contextmanager
def as_somebody() -> Iterator[None]:
    """Root may read everything, so for a moment we are nobody in particular."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def write(home: Path, text: str) -> Path:
    path = home / files.SETTINGS
    path.write_text(text, encoding="utf-8")
    return path


def complaint(home: Path, text: str) -> str:
    write(home, text)
    with pytest.raises(BadConfig) as caught:
        files.load_settings(home)
    return str(caught.value)


def parsed(home: Path, text: str) -> Settings:
    return files.parse_settings(text, home / files.SETTINGS)


def test_without_a_file_the_defaults_apply(tmp_path: Path) -> None:
    assert files.load_settings(tmp_path) == Settings()


def test_without_a_file_no_validation_library_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from paios.config import files, models; h = pathlib.Path(sys.argv[1]);"
        "files.load_settings(h); models.load_models(h, {});"
        "print([m for m in ('pydantic', 'tomlkit', 'keyring') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "[]\n"


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, '[limits]\ntimeout_s = 5\n[brains.librarian]\nfolders = ["~/notes"]\n')
    settings = files.load_settings(tmp_path)
    assert settings.limits.timeout_s == 5.0
    assert settings.brains.librarian.folders == ("~/notes",)
    assert settings.limits.silent_s == Settings().limits.silent_s
    assert settings.brains.codex == Settings().brains.codex


def test_a_day_has_no_ceiling_unless_one_is_set(tmp_path: Path) -> None:
    assert files.load_settings(tmp_path).limits.daily_usd is None
    write(tmp_path, "[limits]\ndaily_usd = 5\n")
    assert files.load_settings(tmp_path).limits.daily_usd == 5.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[limits]\ntimeout = 5", "limits.timeout is not known here; did you mean limits.timeout_s?"),
        ("timeout_s = 5", "timeout_s is not known here; did you mean limits.timeout_s?"),
        ("[limit]\ntimeout_s = 5", "limit is not known here; did you mean limits?"),
        ("[brains.claude]\nzzz = 1", "brains.claude.zzz is not known here; known are enabled, binary"),
        ('[limits]\ntimeout_s = "soon"', 'limits.timeout_s is "soon"; must be a number'),
        ("[limits]\ntimeout_s = 0", "limits.timeout_s is 0; must be greater than 0"),
        ("[limits]\ntimeout_s = nan", "limits.timeout_s is NaN; must be a finite number"),
        ("[limits]\nprompt_bytes = 1.5", "limits.prompt_bytes is 1.5; must be a whole number"),
        ("[brains.claude]\nenabled = 1", "brains.claude.enabled is 1; must be true or false"),
        ("[brains.claude]\nbinary = 2026-11-22", "brains.claude.binary is {"),
        ("brains = 3", "brains is 3; must be a table of keys and values"),
        ("[routing]\nthreshold = 1.5", "routing.threshold is 1.5; must be at most 1"),
        ("[limits]\ndaily_usd = 0", "limits.daily_usd is 0; must be greater than 0"),
        ("[limits]\ndaily_usd = nan", "limits.daily_usd is NaN; must be a finite number"),
        ('[limits]\ndaily_usd = "5 $"', 'limits.daily_usd is "5 $"; must be a number'),
        ('[routing]\nprivate_folders = "~/mine"', 'routing.private_folders is "~/mine"; must be a list'),
        (
            '[routing]\nprivate_folders = ["/a", "mine"]',
            'routing.private_folders[1] is "mine"; must be a path that begins with / or ~/',
        ),
        ('[routing]\nprivate_folders = ["~noor/mine"]', "must be a path that begins with / or ~/"),
        ('[routing]\nprivate_folders = [""]', "must be a path that begins with / or ~/"),
        ('[routing.table]\ncode = ["claude"]', "routing.table is not known here; it moved to `routes` in llm-config.json"),
        ('[routes]\ncode = ["claude"]', "routes is not known here; it belongs into llm-config.json"),
        ("[limits]\ntimeout_s = \n", "is not TOML: Invalid value (at line 2, column 13)"),
        ("[limits", "(at line 1, column 8)"),
        ("x = " + "[" * 3000, "is nested too deeply"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, says: str) -> None:
    message = complaint(tmp_path, text)
    assert says in message
    assert str(tmp_path / "paios.toml") in message
    assert "docs/reference/settings.md" in message


def test_all_problems_are_listed_not_only_the_first(tmp_path: Path) -> None:
    message = complaint(tmp_path, 'brains = 1\n[limits]\nsilent = 2\napproval_s = -1\n[routing.table]\ncode = ["nobody"]')
    for key in ("brains is 1", "limits.silent is", "limits.approval_s is", "routing.table is"):
        assert key in message
    assert "4 problems" in message


def test_the_way_out_names_restore_only_if_there_is_something_to_restore(tmp_path: Path) -> None:
    assert "config restore" not in complaint(tmp_path, "x")
    files.backup(write(tmp_path, "[limits]\ntimeout_s = 1"))
    assert "`ai config restore` brings back" in complaint(tmp_path, "x")


def test_a_file_that_is_not_utf8_names_line_and_byte(tmp_path: Path) -> None:
    (tmp_path / "paios.toml").write_bytes(b"# a\n# caf\xe9\n")
    with pytest.raises(BadConfig, match=r"paios\.toml: is not UTF-8 \(line 2, byte 0xe9\)"):
        files.load_settings(tmp_path)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "paios.toml").write_bytes(b"\xef\xbb\xbf[limits]\ntimeout_s = 7\n")
    assert files.load_settings(tmp_path).limits.timeout_s == 7


def test_a_folder_in_the_file_s_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "paios.toml").mkdir()
    with pytest.raises(BadConfig, match=r"paios\.toml: is not a file"):
        files.load_settings(tmp_path)


def test_an_unreadable_file_is_an_error_not_the_defaults(tmp_path: Path) -> None:
    write(tmp_path, "[limits]\ntimeout_s = 1").chmod(0)
    with as_somebody(), pytest.raises(BadConfig, match="cannot be read: Permission denied"):
        files.load_settings(tmp_path)


def test_a_file_that_everybody_may_write_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "")
    path.chmod(0o600)
    files.load_settings(tmp_path)
    assert not caplog.messages
    path.chmod(0o606)
    files.load_settings(tmp_path)
    assert "can be written by every user" in caplog.text


@given(st.text())
def test_any_text_is_settings_or_a_complaint(text: str) -> None:
    path = Path("/nowhere/paios.toml")
    try:
        assert isinstance(files.parse_settings(text, path), Settings)
    except BadConfig as error:
        assert "/nowhere/paios.toml: " in str(error)


# --- writing whole


@pytest.mark.parametrize("umask", [0, 0o277])
def test_a_file_is_its_owner_s_alone_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        files.write_whole(tmp_path / "a.json", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o600


def test_a_folder_that_is_made_is_its_owner_s_alone(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "new" / "a.json", b"x")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_link_to_a_file_kept_elsewhere_stays_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles" / "paios.toml"
    files.write_whole(elsewhere, b"old")
    link = tmp_path / "paios.toml"
    link.symlink_to(elsewhere)
    files.write_whole(link, b"new")
    assert link.is_symlink()
    assert elsewhere.read_bytes() == b"new"


def test_readers_never_see_a_torn_file(tmp_path: Path) -> None:
    path = tmp_path / "paios.toml"
    versions = [b"# " + letter * 300_000 + b"\n" for letter in (b"a", b"b")]
    files.write_whole(path, versions[0])

    def look(_: int) -> set[str]:
        return {files.read(path) or "" for _ in range(25)}

    def write_often() -> None:
        for i in range(60):
            files.write_whole(path, versions[i % 2])

    with ThreadPoolExecutor(17) as pool:
        writer = pool.submit(write_often)
        seen = set().union(*pool.map(look, range(16)))
        writer.result()
    assert seen <= {v.decode() for v in versions}


def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "paios.toml"
    program = (
        "import sys, pathlib; from paios.config import files; path = pathlib.Path(sys.argv[1])\n"
        "while True:\n"
        "    for c in (b'a', b'b'): files.write_whole(path, c * 400_000)\n"
        "    print('both', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(3):
            assert writer.stdout.readline() == b"both\n"
        writer.kill()
    assert path.read_bytes() in (b"a" * 400_000, b"b" * 400_000)


def test_a_failed_write_costs_neither_the_old_file_nor_leaves_litter(tmp_path: Path) -> None:
    path = write(tmp_path, "[limits]\ntimeout_s = 1\n")
    command = f'ulimit -f 0; exec "{sys.executable}" -m paios config set limits.timeout_s 2'
    env = {"PAIOS_HOME": str(tmp_path), "PATH": os.defpath}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=env, timeout=60, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "paios.toml is as it was" in done.stderr
    assert path.read_text() == "[limits]\ntimeout_s = 1\n"
    assert not [p.name for p in tmp_path.rglob("*.new")]


# --- backups


def test_without_a_file_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    assert files.backup(tmp_path / "paios.toml") is None


def test_the_ten_newest_versions_are_kept_newest_first(tmp_path: Path) -> None:
    clock = SetClock()
    for i in range(13):
        files.backup(write(tmp_path, f"# {i}"), clock)
        clock.now += timedelta(seconds=30)
    assert [p.read_text() for p in files.backups(tmp_path / "paios.toml")] == [f"# {i}" for i in range(12, 2, -1)]


def test_versions_of_one_second_and_of_a_clock_set_back_stay_in_order(tmp_path: Path) -> None:
    clock = SetClock()
    for i in range(12):
        files.backup(write(tmp_path, f"# {i}"), clock)
        if i == 5:
            clock.now -= timedelta(days=1)
    kept = files.backups(tmp_path / "paios.toml")
    assert [p.read_text() for p in kept] == [f"# {i}" for i in range(11, 1, -1)]
    assert kept[0].name == "paios.toml.20261122T120000Z-11"


def test_a_version_that_is_already_backed_up_is_not_copied_again(tmp_path: Path) -> None:
    path = write(tmp_path, "# a")
    assert files.backup(path) == files.backup(path)
    assert len(files.backups(path)) == 1


def test_backups_of_another_file_are_not_ours(tmp_path: Path) -> None:
    files.backup(write(tmp_path, "# a"))
    assert files.backups(tmp_path / "paios.tom") == []
    assert files.backups(tmp_path / "llm-config.json") == []


def test_restore_brings_back_the_last_good_version_and_keeps_the_broken_one(tmp_path: Path) -> None:
    for n in (1, 2):
        files.backup(write(tmp_path, f"[limits]\ntimeout_s = {n}"))
    path = write(tmp_path, "broken")
    files.restore(path, check=lambda text: parsed(tmp_path, text))
    assert files.load_settings(tmp_path).limits.timeout_s == 2
    assert files.backups(path)[0].read_text() == "broken"
    files.restore(path, check=lambda text: parsed(tmp_path, text))  # passes over the broken one
    assert files.load_settings(tmp_path).limits.timeout_s == 1


def test_restore_refuses_a_broken_backup_and_leaves_the_file(tmp_path: Path) -> None:
    broken = files.backup(write(tmp_path, "broken"))
    assert broken is not None
    path = write(tmp_path, "[limits]\ntimeout_s = 1")
    with pytest.raises(BadConfig, match="is not TOML"):
        files.restore(path, broken.name, check=lambda text: parsed(tmp_path, text))
    with pytest.raises(BadConfig, match=r"no backup of paios\.toml is good"):
        files.restore(path, check=lambda text: parsed(tmp_path, text))
    assert path.read_text() == "[limits]\ntimeout_s = 1"


def test_restore_takes_only_names_of_backups(tmp_path: Path) -> None:
    path = write(tmp_path, "# a")
    with pytest.raises(BadInput, match=r"there is no backup of paios\.toml"):
        files.restore(path, check=str)
    copy = files.backup(path)
    assert copy is not None
    with pytest.raises(BadInput, match=f"did you mean {copy.name}"):
        files.restore(path, copy.name[:-2], check=str)
    with pytest.raises(BadInput):
        files.restore(path, "../paios.toml", check=str)


# --- setting one value

TEXT = """\
# mine
[limits] # how long
timeout_s = 5 # short
silent_s = 60.0

# later
[brains.claude]
enabled = false
"""


def test_setting_a_value_keeps_comments_and_order(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    diff = files.set_value(tmp_path, "limits.timeout_s", "7")
    assert path.read_text() == TEXT.replace("timeout_s = 5", "timeout_s = 7")
    assert "-timeout_s = 5 # short\n+timeout_s = 7 # short\n" in diff
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("key", "text", "line"),
    [
        ("brains.claude.binary", "/opt/my tools/claude", 'binary = "/opt/my tools/claude"'),
        ("brains.claude.binary", "", 'binary = ""'),
        ("brains.claude.binary", 'a\nb = "c', 'binary = "a\\nb = \\"c"'),
        ("brains.codex.enabled", "false", "enabled = false"),
        ("brains.librarian.folders", '["~/a", "~/b"]', 'folders = ["~/a", "~/b"]'),
        ("routing.private_folders", '["~/mine", "/srv/hers", "~"]', 'private_folders = ["~/mine", "/srv/hers", "~"]'),
        ("limits.daily_usd", "2.5", "daily_usd = 2.5"),
        ("limits.prompt_bytes", "1_000", "prompt_bytes = 1_000"),
    ],
)
def test_a_value_is_toml_and_what_is_not_is_a_text(tmp_path: Path, key: str, text: str, line: str) -> None:
    path = write(tmp_path, TEXT)
    files.set_value(tmp_path, key, text)
    assert line in path.read_text().splitlines()
    assert path.read_text().startswith(TEXT.splitlines()[0])
    files.load_settings(tmp_path)


def test_setting_makes_the_file_if_there_is_none(tmp_path: Path) -> None:
    files.set_value(tmp_path / "home", "brains.claude.enabled", "false")
    assert files.load_settings(tmp_path / "home").brains.claude.enabled is False


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("limits.timeout_s", "soon", 'limits.timeout_s is "soon"; must be a number'),
        ("limits.timeout_s", "5\n[x]\ny = 1", "must be a number"),
        ("limits.timeut_s", "5", "did you mean limits.timeout_s?"),
        ("limits", "5", "limits is a table"),
        ("limits.timeout_s.x", "5", "limits.timeout_s is no table"),
        ("routing.table.code", '["claude"]', "routing.table is not known here; it moved to `routes` in llm-config.json"),
        ("routes.code", '["claude"]', "routes is not known here; it belongs into llm-config.json"),
        ("limits.daily_usd", "0", "limits.daily_usd is 0; must be greater than 0"),
        ("lim its", "1", "'lim its' is no key"),
        ("limits.", "1", "'limits.' is no key"),
    ],
)
def test_a_value_that_will_not_do_is_refused_and_nothing_is_written(tmp_path: Path, key: str, text: str, says: str) -> None:
    path = write(tmp_path, TEXT)
    with pytest.raises(BadInput) as caught:
        files.set_value(tmp_path, key, text)
    assert says in str(caught.value)
    assert path.read_text() == TEXT
    assert files.backups(path) == []


def test_a_wrong_value_can_be_set_right(tmp_path: Path) -> None:
    write(tmp_path, '[limits]\ntimeout_s = "soon"\n')
    files.set_value(tmp_path, "limits.timeout_s", "5")
    assert files.load_settings(tmp_path).limits.timeout_s == 5


def test_a_dry_run_shows_the_change_and_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    assert "+timeout_s = 9 # short\n" in files.set_value(tmp_path, "limits.timeout_s", "9", dry_run=True)
    assert path.read_text() == TEXT
    assert [p.name for p in tmp_path.iterdir()] == ["paios.toml"]


def test_what_was_set_can_be_undone_and_brought_back_when_broken_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    files.set_value(tmp_path, "limits.timeout_s", "7")
    path.write_text("oops")
    files.restore(path, check=lambda text: parsed(tmp_path, text))
    assert files.load_settings(tmp_path).limits.timeout_s == 7
    files.restore(path, check=lambda text: parsed(tmp_path, text))
    assert path.read_text() == TEXT


def test_settings_made_by_several_processes_at_once_are_all_kept(tmp_path: Path) -> None:
    write(tmp_path, TEXT)
    wanted = {
        "limits.timeout_s": "11",
        "limits.silent_s": "12",
        "limits.approval_s": "13",
        "limits.prompt_bytes": "14",
        "brains.local.threads": "15",
        "brains.local.context": "16",
    }
    program = (
        "import sys, pathlib; from paios.config import files; import tomlkit, pydantic\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "files.set_value(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3])\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), k, v], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for k, v in wanted.items()
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in running:
        process.communicate(timeout=60)
    assert [p.returncode for p in running] == [0] * len(wanted)
    s = files.load_settings(tmp_path)
    found = (s.limits.timeout_s, s.limits.silent_s, s.limits.approval_s, s.limits.prompt_bytes)
    assert (*found, s.brains.local.threads, s.brains.local.context) == (11, 12, 13, 14, 15, 16)
