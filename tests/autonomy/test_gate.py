"""The gate's rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paios.autonomy.gate import Gate, rule
from paios.base.events import Judged, Waiting
from paios.base.types import ACTION_KINDS, Action, ActionKind, Verdict


def _action(kind: ActionKind, target: str, cwd: Path) -> Action:
    return Action(kind, "tool", target, cwd, "echo", "c1")


def _allowed(action: Action, *allow: ActionKind) -> bool:
    verdict = rule(action, frozenset(allow))
    return verdict is not None and verdict.allowed


def test_reading_is_allowed_inside_the_working_folder_only(tmp_path: Path) -> None:
    cwd = tmp_path / "work"
    (cwd / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (cwd / "link").symlink_to(tmp_path / "secret")
    (cwd / "loop").symlink_to(cwd / "loop")
    inside = ("f", ".", "sub/../f", str(cwd / "sub" / "f"), str(cwd))
    outside = (
        "..",
        "../secret",
        str(tmp_path),
        "/etc/passwd",
        "link",
        "sub/../../secret",
        f"{cwd}-other/f",
        "a\0b",
        "~/x/../..",
    )
    assert [t for t in inside if not _allowed(_action("read", t, cwd))] == []
    assert [t for t in outside[:-1] if _allowed(_action("read", t, cwd))] == []


def test_a_link_that_leads_to_the_folder_counts_as_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    assert _allowed(_action("read", str(tmp_path / "real" / "f"), tmp_path / "alias"))


@given(st.sampled_from([k for k in ACTION_KINDS if k not in ("read", "internal")]), st.text())
def test_nothing_else_is_allowed_by_a_rule_unless_the_person_said_so(kind: ActionKind, target: str) -> None:
    action = _action(kind, target, Path("/work"))
    assert rule(action, frozenset()) is None
    assert _allowed(action, kind) or kind in ("edit", "grant")
    others = frozenset[ActionKind](k for k in ACTION_KINDS if k not in (kind, "internal"))
    assert rule(action, others) is None


def test_allowed_edits_stay_in_the_working_folder_and_a_grant_is_never_allowed_in_advance(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "out").symlink_to(tmp_path)
    cwd = tmp_path / "work"
    assert _allowed(_action("edit", "f", cwd), "edit")
    for outside in ("../f", str(tmp_path / "f"), "out/f", "/home/somebody/.claude/settings.json"):
        assert rule(_action("edit", outside, cwd), frozenset({"edit"})) is None
    assert rule(_action("grant", "f", cwd), frozenset(ACTION_KINDS)) is None


async def test_without_a_person_an_action_is_denied_and_the_reason_names_the_way_out(tmp_path: Path) -> None:
    told: list[Waiting | Judged] = []

    async def tell(event: Waiting | Judged) -> None:
        told.append(event)

    verdict = await Gate(frozenset(), None, tell, approval_s=1)(_action("run", "make", tmp_path))
    assert (verdict.allowed, verdict.by) == (False, "nobody")
    assert "--allow run" in verdict.reason
    assert told == [Judged(_action("run", "make", tmp_path), verdict)]


@pytest.mark.parametrize("yes", [True, False])
async def test_a_persons_answer_decides_and_is_told_with_the_question(tmp_path: Path, yes: bool) -> None:
    told: list[Waiting | Judged] = []

    async def tell(event: Waiting | Judged) -> None:
        told.append(event)

    async def person(question: Waiting) -> Verdict:
        assert told == [question], "the question is stored before it is put"
        return Verdict(yes, "you", "because")

    verdict = await Gate(frozenset(), person, tell, approval_s=5)(_action("edit", "f", tmp_path))
    assert verdict == Verdict(yes, "you", "because")
    waiting, judged = told
    assert isinstance(waiting, Waiting)
    assert isinstance(judged, Judged)
    assert judged.approval == waiting.approval
