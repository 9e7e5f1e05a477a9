"""Decisions of a real house: what its settings, its brains, its log and its encoder have to say."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from paios.app import House, open_house
from paios.base.errors import BadInput
from paios.base.events import Accepted, Answered, Began, Event, Metered, Spent, SteppedAside
from paios.base.types import Attachment, Decision, Request, Usage, Window, new_trace
from paios.config.settings import Brains, Limits, Program, Routing, Settings
from paios.routing.policy import AT_HOME
from paios.testing.clock import FakeClock
from paios.work.route import Query

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
CLEAR, UNCLEAR = "write me a poem about the sea", "do the usual thing with it"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC0")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@asynccontextmanager
async def opened(
    env: dict[str, str],
    clock: FakeClock,
    *,
    private: tuple[str, ...] = (),
    daily_usd: float | None = None,
    brains: Brains | None = None,
) -> AsyncIterator[House]:
    """A house of a person who has Claude, Codex and an API key."""
    settings = Settings(brains=brains or Brains(), routing=Routing(private_folders=private), limits=Limits(daily_usd=daily_usd))
    async with open_house(Path(env["PAIOS_HOME"]), env, clock=clock, settings=settings) as house:
        yield house


def asked(text: str, cwd: Path, *files: Path, brain: str | None = None, image: bool = False) -> Request:
    attachments = tuple(Attachment(f, "image/png" if image else "text/plain", 1, None if image else "x") for f in files)
    return Request(text, cwd, "th-1", new_trace(), NOON, brain=brain, attachments=attachments)


def tried(decision: Decision) -> list[str]:
    return [c.brain for c in decision.candidates if not c.why_not]


async def happened(house: House, *events: Event) -> None:
    """A request of which the log knows *events*."""
    await house.means.log.append(new_trace(), Accepted("do it", "/w", "th-1", "cli"), *events)


def spent(usd: str | None, brain: str = "claude") -> Spent:
    return Spent(brain, "m", Usage(1, 0, 0, 1, 0), None if usd is None else Decimal(usd), "reported" if usd else "unknown")


# ---- who is there


async def test_a_request_goes_to_the_brains_of_its_domain_that_are_there(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path
) -> None:
    async with opened(agent_env, clock) as house:
        decision = house.router.decide(asked("fix the failing unit test in auth.py", cwd))
        assert (decision.domain, tried(decision)) == ("code", ["codex", "claude", "gateway", "librarian"])
        (local,) = (c for c in decision.candidates if c.brain == "local")
        assert local.why_not == house.means.brains["local"].absent()
        with pytest.raises(BadInput, match="did you mean claude"):
            house.router.decide(asked("hello", cwd, brain="cluade"))


async def test_a_brain_that_was_switched_off_says_so(agent_env: dict[str, str], clock: FakeClock, cwd: Path) -> None:
    async with opened(agent_env, clock, brains=Brains(codex=Program(enabled=False))) as house:
        decision = house.router.decide(asked("fix the failing unit test in auth.py", cwd))
        assert tried(decision)[0] == "claude"
        assert "not codex: switched off in paios.toml" in decision.reasons


async def test_an_image_among_the_attachments_makes_it_vision(agent_env: dict[str, str], clock: FakeClock, cwd: Path) -> None:
    async with opened(agent_env, clock) as house:
        assert house.router.decide(asked(CLEAR, cwd, cwd / "a.png", image=True)).domain == "vision"
        assert house.router.decide(asked(CLEAR, cwd, cwd / "a.txt")).domain == "creative"


async def test_the_prefix_is_not_part_of_the_text(agent_env: dict[str, str], clock: FakeClock, cwd: Path) -> None:
    async with opened(agent_env, clock) as house:
        decision = house.router.decide(asked("@claude @deep hello", cwd))
        assert (decision.text, tried(decision)) == ("hello", ["claude"])


# ---- private folders


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    folder = tmp_path / "diary"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026" / "may.txt").write_text("dear diary")
    return folder


def is_kept(decision: Decision) -> bool:
    """Whether only brains at home may answer, and the decision says why."""
    told = any(r.startswith("not ") and "stay on this machine (routing.private_folders)" in r for r in decision.reasons)
    assert told is (set(tried(decision)) <= AT_HOME)
    return told


async def test_a_request_from_a_private_folder_stays_on_this_machine(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path, diary: Path
) -> None:
    (diary.parent / "diary2").mkdir()
    async with opened(agent_env, clock, private=(str(diary),)) as house:
        for inside in (diary, diary / "2026", cwd / ".." / "diary", diary / "2026" / ".."):
            assert is_kept(house.router.decide(asked(CLEAR, inside))), inside
        for outside in (cwd, diary.parent, diary.parent / "diary2", diary / ".." / "work"):
            assert not is_kept(house.router.decide(asked(CLEAR, outside))), outside


async def test_a_private_file_keeps_the_request_here_wherever_it_comes_from(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path, diary: Path
) -> None:
    harmless = cwd / "notes.txt"
    harmless.write_text("x")
    async with opened(agent_env, clock, private=(str(diary),)) as house:
        assert not is_kept(house.router.decide(asked(CLEAR, cwd, harmless)))
        assert is_kept(house.router.decide(asked(CLEAR, cwd, harmless, diary / "2026" / "may.txt")))
        assert is_kept(house.router.decide(asked(CLEAR, cwd, diary / "2026" / "may.png", image=True)))


async def test_a_link_hides_nothing(agent_env: dict[str, str], clock: FakeClock, cwd: Path, diary: Path) -> None:
    (cwd / "link.txt").symlink_to(diary / "2026" / "may.txt")
    (cwd / "linked").symlink_to(diary, target_is_directory=True)
    other_name = diary.parent / "journal"
    other_name.symlink_to(diary, target_is_directory=True)
    for private in (diary, other_name):
        async with opened(agent_env, clock, private=(str(private),)) as house:
            assert is_kept(house.router.decide(asked(CLEAR, cwd, cwd / "link.txt")))
            assert is_kept(house.router.decide(asked(CLEAR, cwd, cwd / "linked" / "2026" / "may.txt")))
            assert is_kept(house.router.decide(asked(CLEAR, cwd / "linked")))
            assert is_kept(house.router.decide(asked(CLEAR, other_name / "2026")))


async def test_a_private_folder_may_begin_with_the_home_folder(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(diary.parent))
    async with opened(agent_env, clock, private=("~/elsewhere", "~/diary")) as house:
        decision = house.router.decide(asked(CLEAR, diary))
        assert is_kept(decision)
        assert any("requests of ~/diary stay" in reason for reason in decision.reasons)


async def test_a_chosen_brain_does_not_get_private_things_either(
    agent_env: dict[str, str], clock: FakeClock, diary: Path
) -> None:
    async with opened(agent_env, clock, private=(str(diary),)) as house:
        for request in (
            asked(CLEAR, diary, brain="claude"),
            asked(f"@claude {CLEAR}", diary),
            asked("ask claude to sing", diary),
        ):
            decision = house.router.decide(request)
            assert [c.brain for c in decision.candidates] == ["claude"]
            assert tried(decision) == []
        assert tried(house.router.decide(asked(CLEAR, diary, brain="librarian"))) == ["librarian"]


async def test_a_batch_of_a_private_folder_stays_here_too(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path, diary: Path
) -> None:
    async with opened(agent_env, clock, private=(str(diary),)) as house:
        ((here, _),) = house.router.decide_all([Query(CLEAR)], diary, first_stage=True)
        ((there, _),) = house.router.decide_all([Query(CLEAR)], cwd, first_stage=True)
        assert (is_kept(here), is_kept(there)) == (True, False)


# ---- money


async def test_from_four_fifths_of_the_ceiling_the_fast_tier_must_do(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path
) -> None:
    async with opened(agent_env, clock, daily_usd=1) as house:
        await happened(house, spent("0.79"), spent(None))
        assert {c.tier for c in house.router.decide(asked(CLEAR, cwd)).candidates if c.brain == "claude"} == {"premium"}
        await happened(house, spent("0.01"))
        decision = house.router.decide(asked(CLEAR, cwd))
        assert tried(decision) == ["claude", "gateway", "codex", "librarian"]
        assert {c.tier for c in decision.candidates} == {"fast"}
        assert "the fast tier: $0.80 of the 1 of limits.daily_usd are spent" in decision.reasons


async def test_at_the_ceiling_only_what_costs_nothing_answers_but_for_a_brain_that_was_named(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path
) -> None:
    async with opened(agent_env, clock, daily_usd=1) as house:
        await happened(house, spent("0.6"), spent("0.4", "codex"))
        decision = house.router.decide(asked(CLEAR, cwd))
        assert set(tried(decision)) <= AT_HOME
        why = "$1.00 were spent today, and limits.daily_usd is 1; name it to ask it all the same"
        assert [f"not {brain}: {why}" in decision.reasons for brain in ("claude", "gateway", "codex")] == [True] * 3
        chosen = house.router.decide(asked(CLEAR, cwd, brain="claude"))
        assert [(c.brain, c.tier, c.why_not) for c in chosen.candidates] == [("claude", "premium", "")]


async def test_a_new_day_has_its_own_money(agent_env: dict[str, str], clock: FakeClock, cwd: Path) -> None:
    async with opened(agent_env, clock, daily_usd=1) as house:
        await happened(house, spent("5"))
        assert "claude" not in tried(house.router.decide(asked(CLEAR, cwd)))
        clock.advance(12 * 3600)
        assert tried(house.router.decide(asked(CLEAR, cwd)))[0] == "claude"


async def test_without_a_ceiling_nothing_is_too_dear(agent_env: dict[str, str], clock: FakeClock, cwd: Path) -> None:
    async with opened(agent_env, clock) as house:
        await happened(house, spent("1000"))
        decision = house.router.decide(asked(CLEAR, cwd))
        assert (tried(decision)[0], decision.candidates[0].tier) == ("claude", "premium")


# ---- who had better wait


async def test_a_brain_that_stepped_aside_waits_until_it_has_rested_or_answered(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path
) -> None:
    async with opened(agent_env, clock) as house:
        await happened(house, Began("claude", None, 1, False, 0), SteppedAside("claude", "overloaded", "no", None))
        decision = house.router.decide(asked(CLEAR, cwd))
        assert tried(decision) == ["gateway", "codex", "claude", "librarian"]
        assert "claude after the others: it was overloaded just now" in decision.reasons
        assert tried(house.router.decide(asked(CLEAR, cwd, brain="claude"))) == ["claude"]
        clock.advance(61)
        assert tried(house.router.decide(asked(CLEAR, cwd)))[0] == "claude"
        await happened(house, SteppedAside("claude", "limited", "no", 3_600))
        assert tried(house.router.decide(asked(CLEAR, cwd)))[0] == "gateway"
        await happened(house, Answered("yes", "claude", None, 5))
        assert tried(house.router.decide(asked(CLEAR, cwd)))[0] == "claude"


async def test_a_brain_whose_window_is_all_but_used_up_waits(agent_env: dict[str, str], clock: FakeClock, cwd: Path) -> None:
    async with opened(agent_env, clock) as house:
        await happened(house, Metered("codex", (Window("5h", 97.0, NOON.replace(hour=14)),)))
        decision = house.router.decide(asked("fix the failing unit test in auth.py", cwd))
        assert tried(decision) == ["claude", "gateway", "codex", "librarian"]
        assert any(r.startswith("codex after the others: its 5h window is 97 % used") for r in decision.reasons)


# ---- the encoder


async def test_the_encoder_is_loaded_for_the_first_unsure_request_and_stays(
    agent_env: dict[str, str], clock: FakeClock, cwd: Path
) -> None:
    async with opened(agent_env, clock) as house:
        router = house.router
        assert router.encoder is not None
        cold = router.decide(asked(CLEAR, cwd))
        assert not router.encoder.is_warm
        unsure = router.decide(asked(UNCLEAR, cwd))
        assert router.encoder.is_warm
        warm = router.decide(asked(CLEAR, cwd))
        assert (cold.domain, warm.domain) == ("creative", "creative")
        assert cold.scores != warm.scores
        batch = router.decide_all([Query(CLEAR), Query(UNCLEAR), Query(CLEAR)], cwd)
        for one, (of_batch, us) in zip((warm, unsure, warm), batch, strict=True):
            assert dict(of_batch.scores) == pytest.approx(dict(one.scores), abs=1e-4)
            assert us > 0
        router.encoder = None
        alone = router.decide(asked(UNCLEAR, cwd))
        assert alone.scores != unsure.scores
        assert [d.scores for d, _ in router.decide_all([Query(UNCLEAR)], cwd)] == [alone.scores]


async def test_a_batch_of_the_first_stage_alone_loads_nothing(agent_env: dict[str, str], clock: FakeClock, cwd: Path) -> None:
    async with opened(agent_env, clock) as house:
        found = house.router.decide_all([Query(UNCLEAR), Query("@code do it"), Query(CLEAR, images=1)], cwd, first_stage=True)
        assert house.router.encoder is not None
        assert not house.router.encoder.is_warm
        assert [d.domain for d, _ in found[1:]] == ["code", "vision"]
        assert house.router.decide_all([], cwd) == []
        assert not house.router.encoder.is_warm
