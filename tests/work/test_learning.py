"""The router's weights as people's corrections changed them: versions, and the way back."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.routing.test_learn import HELD_OUT, OTHER, TAUGHT, WRONG, best

from paios.app import open_house
from paios.base.errors import BadInput, StoreError
from paios.base.home import make
from paios.routing.learn import FEWEST, Correction
from paios.routing.model import shipped
from paios.testing.clock import FakeClock
from paios.work import learning

FIRST = [Correction(text, WRONG) for text in TAUGHT]
SECOND = [Correction(text.replace("florbo", "quindel"), OTHER) for text in TAUGHT]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def _one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("one")
    taught(home, FIRST, FakeClock())
    return home


@pytest.fixture
def one(_one: Path, home: Path) -> Path:
    """A home with one version, learned from FIRST."""
    shutil.copytree(learning.folder(_one), learning.folder(home))
    return home


def taught(home: Path, corrections: list[Correction], clock: FakeClock) -> learning.Version:
    """The version that *corrections* lead to."""
    done = learning.learn(home, corrections, clock)
    assert done is not None
    assert done[1] is not None, done[0]
    return done[1]


def best_of_all(home: Path) -> list[str]:
    model = learning.load(home)
    return [best(c.text, model) for c in FIRST + SECOND]


def current(home: Path) -> Path:
    return learning.folder(home) / "current"


def in_use(home: Path) -> list[int]:
    return [v.number for v in learning.versions(home) if v.is_current]


def test_without_corrections_the_shipped_weights_decide(home: Path) -> None:
    assert learning.load(home) is shipped()
    (only,) = learning.versions(home)
    assert (only.number, only.at, only.is_current) == (0, None, True)
    assert list(learning.folder(home).glob("*")) == [], "looking leaves no file"


def test_what_was_learned_decides_from_then_on(home: Path, clock: FakeClock) -> None:
    assert best(HELD_OUT[0]) != WRONG
    version = taught(home, FIRST, clock)
    assert (version.number, version.at, version.corrections, version.is_current) == (1, clock.at(), len(FIRST), True)
    assert version.before == 0 < version.after
    assert best(HELD_OUT[0], learning.load(home)) == WRONG
    assert learning.versions(home)[1:] == [version]
    assert in_use(home) == [1]


async def test_the_house_decides_with_what_was_learned(one: Path, agent_env: dict[str, str]) -> None:
    async with open_house(one, {**agent_env, "PAIOS_HOME": str(one)}) as house:
        assert best(HELD_OUT[0], house.router.classifier) == WRONG


def test_what_does_not_help_is_not_kept(home: Path, clock: FakeClock) -> None:
    done = learning.learn(home, [Correction(text, best(text)) for text in TAUGHT], clock)
    assert done is not None
    proposal, version = done
    assert (proposal.helps, version) == (False, None)
    assert list(learning.folder(home).glob("*")) == []
    assert learning.learn(home, FIRST[: FEWEST - 1], clock) is None
    assert learning.load(home) is shipped()


def test_each_version_rests_on_the_one_in_use_and_undo_goes_back_to_that(one: Path, clock: FakeClock) -> None:
    alone = best_of_all(one)
    clock.advance(60)
    second = taught(one, SECOND, clock)
    assert (second.number, second.at) == (2, clock.at())
    both = learning.load(one)
    assert best(HELD_OUT[0], both) == WRONG
    assert sum(best(c.text, both) == OTHER for c in SECOND) > len(SECOND) / 2
    assert [v.number for v in learning.versions(one)] == [0, 1, 2]
    assert in_use(one) == [2]

    assert learning.undo(one) == 1
    assert in_use(one) == [1]
    assert best_of_all(one) == alone

    assert learning.undo(one) == 0
    assert in_use(one) == [0]
    assert learning.load(one) is shipped()
    with pytest.raises(BadInput, match="nothing to undo"):
        learning.undo(one)


def test_after_an_undo_the_next_version_rests_on_what_is_in_use_then(one: Path, clock: FakeClock) -> None:
    learning.undo(one)
    second = taught(one, SECOND, clock)
    assert second.number == 2, "no version is written over"
    assert best(HELD_OUT[0], learning.load(one)) != WRONG, "what was undone is not in it"
    assert learning.undo(one) == 0
    assert [v.number for v in learning.versions(one)] == [0, 1, 2]


def test_a_version_is_for_its_owner_alone_and_leaves_nothing_beside_it(one: Path) -> None:
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in learning.folder(one).iterdir()}
    assert found == {"0001.json": 0o600, "current": 0o600}


def test_nothing_a_person_asked_is_written_into_a_version(one: Path) -> None:
    assert "florbo" not in (learning.folder(one) / "0001.json").read_text()


# ---- what may be wrong with the files


def rewrite(home: Path, **fields: object) -> None:
    path = learning.folder(home) / "0001.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


def test_what_was_learned_on_the_weights_of_another_release_is_left_alone(one: Path, clock: FakeClock) -> None:
    rewrite(one, **{"for": {"rows": 1, "digest": "0"}})
    assert learning.load(one) is shipped()
    assert in_use(one) == [0]
    with pytest.raises(BadInput, match="shipped weights are in use"):
        learning.undo(one)
    again = taught(one, FIRST, clock)
    assert again.number == 2
    assert learning.undo(one) == 0


@pytest.mark.parametrize("text", ["", "one", "-1", "1.5", "²", "\ufffd", "1 2"])
def test_a_current_that_is_no_number_is_named_with_the_way_out(one: Path, text: str) -> None:
    current(one).write_text(text, encoding="utf-8")
    for action in (learning.load, learning.versions, learning.undo):
        assert_told(one, action, "holds no number")
    current(one).unlink()
    assert learning.load(one) is shipped()


def test_a_current_of_other_bytes_is_named_too(one: Path) -> None:
    current(one).write_bytes(b"\xff\x00\xfe")
    assert_told(one, learning.load, "holds no number")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '"for"', "\x00" * 40])
def test_a_version_that_cannot_be_read_is_named_with_the_way_out(one: Path, content: str) -> None:
    (learning.folder(one) / "0001.json").write_text(content)
    for action in (learning.load, learning.versions, learning.undo):
        assert_told(one, action, "0001.json")


def test_a_current_that_names_no_version_is_told(home: Path) -> None:
    learning.folder(home).mkdir(parents=True, exist_ok=True)
    current(home).write_text("7\n")
    assert_told(home, learning.load, "0007.json")


def assert_told(home: Path, action: Callable[[Path], object], what: str) -> None:
    with pytest.raises(StoreError, match=what) as caught:
        action(home)
    assert caught.value.remedy == f"delete {current(home)}: the shipped weights then decide" or (
        caught.value.remedy == "delete it: the shipped weights then decide" and str(current(home)) in caught.value.message
    )
