"""From a domain to brains in order: who is passed over, who waits, and that all of it is said."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paios.base.errors import BadInput
from paios.base.types import DOMAINS, TIERS, Candidate, Domain, Tier
from paios.config.models import Models
from paios.routing.decide import Ask, decide
from paios.routing.policy import AT_HOME, Choice, House, candidates, check_brain

KNOWN = ("claude", "codex", "gateway", "local", "librarian", "echo")
HOUSE = House(KNOWN, {}, Models.default().routes, Models.default().tiers)
ANYBODY = Choice()
AWAY = ("claude", "codex", "gateway")
SPENT, PRIVATE, FRUGAL = "$5 were spent today", "requests of ~/diary stay on this machine", "the fast tier: $4 are spent"


def names(domain: Domain, choice: Choice, house: House) -> list[str]:
    return [c.brain for c in candidates(domain, choice, house)[0]]


def tried(domain: Domain, choice: Choice, house: House) -> list[str]:
    return [c.brain for c in candidates(domain, choice, house)[0] if not c.why_not]


def reasons(domain: Domain, house: House, prefix: str = "") -> tuple[str, ...]:
    """All that a whole decision says."""
    return decide(Ask(f"@{domain} {prefix}do it", False, None, None, house, 0.0)).reasons


# ---- the table


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_row_of_the_domain_is_the_order(domain: Domain) -> None:
    found, notes = candidates(domain, ANYBODY, HOUSE)
    assert [c.brain for c in found] == [entry.partition(":")[0] for entry in HOUSE.table[domain]]
    assert notes == []


def test_every_row_serves_a_person_who_has_only_one_brain() -> None:
    for domain, only in product(DOMAINS, (*AWAY, "local")):
        absent = {brain: "gone" for brain in KNOWN if brain not in (only, "librarian", "echo")}
        if (domain, only) != ("vision", "local"):
            assert tried(domain, ANYBODY, replace(HOUSE, absent=absent))[0] == only, (domain, only)


def test_the_librarian_is_last_of_all() -> None:
    for domain in DOMAINS:
        order = names(domain, ANYBODY, HOUSE)
        assert "librarian" not in order[:-1]
        assert tried(domain, ANYBODY, replace(HOUSE, absent=dict.fromkeys((*AWAY, "local"), "gone"))) == ["librarian"]


def test_a_domain_without_a_row_takes_the_row_of_general() -> None:
    house = replace(HOUSE, table={"general": ("codex:deep",)})
    assert candidates("code", ANYBODY, house)[0] == (Candidate("codex", "deep", None),)


def test_the_tier_of_a_row_decides_the_model() -> None:
    house = replace(HOUSE, model_for={("claude", "premium"): "opus", ("claude", "standard"): "sonnet"})
    assert candidates("creative", ANYBODY, house)[0][0] == Candidate("claude", "premium", "opus")
    assert candidates("creative", Choice(tier="standard"), house)[0][0] == Candidate("claude", "standard", "sonnet")
    assert candidates("creative", Choice(model="own"), house)[0][0] == Candidate("claude", "premium", "own")


# ---- who waits


def test_a_waiting_brain_comes_behind_the_others_but_before_the_librarian() -> None:
    house = replace(HOUSE, waiting={"codex": "its 5h window is 97 % used"})
    found, notes = candidates("code", ANYBODY, house)
    assert [c.brain for c in found] == ["claude", "gateway", "local", "codex", "librarian"]
    assert all(not c.why_not for c in found), "it waits, it is not passed over"
    assert notes == ["codex after the others: its 5h window is 97 % used"]


def test_several_that_wait_keep_their_order_among_themselves() -> None:
    house = replace(HOUSE, waiting={"claude": "limited", "codex": "limited"})
    assert names("code", ANYBODY, house) == ["gateway", "local", "codex", "claude", "librarian"]
    assert len(reasons("code", house)) == 3


def test_if_all_that_think_wait_the_order_stays_and_says_so() -> None:
    house = replace(HOUSE, waiting=dict.fromkeys((*AWAY, "local"), "limited"))
    found, notes = candidates("code", ANYBODY, house)
    assert [c.brain for c in found] == names("code", ANYBODY, HOUSE)
    assert notes == ["codex, though limited"]


def test_an_absent_brain_is_nobody_to_wait_behind() -> None:
    house = replace(HOUSE, waiting={"codex": "limited"}, absent=dict.fromkeys(("claude", "gateway", "local"), "gone"))
    found, notes = candidates("code", ANYBODY, house)
    assert [c.brain for c in found] == names("code", ANYBODY, HOUSE)
    assert notes == ["codex, though limited"]


def test_that_an_absent_brain_waits_is_not_mentioned() -> None:
    house = replace(HOUSE, waiting={"codex": "limited"}, absent={"codex": "not installed"})
    assert candidates("code", ANYBODY, house)[1] == []
    assert reasons("code", house)[1:] == ("not codex: not installed",)


def test_a_brain_named_twice_in_a_row_waits_once_in_words() -> None:
    house = replace(HOUSE, table={"general": ("claude:deep", "claude:fast", "codex")}, waiting={"claude": "limited"})
    found, notes = candidates("general", ANYBODY, house)
    assert [(c.brain, c.tier) for c in found] == [("codex", "standard"), ("claude", "deep"), ("claude", "fast")]
    assert notes == ["claude after the others: limited"]


# ---- who is passed over


def test_private_requests_go_to_brains_at_home_alone() -> None:
    for domain in DOMAINS:
        house = replace(HOUSE, private=PRIVATE)
        found, _ = candidates(domain, ANYBODY, house)
        assert {c.brain for c in found if not c.why_not} <= AT_HOME
        assert all(c.why_not == PRIVATE for c in found if c.brain in AWAY)
        assert tried(domain, ANYBODY, house)


def test_a_gateway_whose_models_run_here_is_at_home() -> None:
    house = replace(HOUSE, private=PRIVATE, spent=SPENT, at_home=AT_HOME | {"gateway"})
    assert tried("code", ANYBODY, house) == ["gateway", "local", "librarian"]


def test_when_nothing_more_may_be_spent_brains_that_cost_are_passed_over() -> None:
    found, _ = candidates("code", ANYBODY, replace(HOUSE, spent=SPENT))
    assert [(c.brain, c.why_not) for c in found] == [
        *(("codex", SPENT), ("claude", SPENT), ("gateway", SPENT), ("local", ""), ("librarian", ""))
    ]


def test_what_makes_a_brain_impossible_is_said_rather_than_what_it_would_cost() -> None:
    found, _ = candidates("code", ANYBODY, replace(HOUSE, spent=SPENT, private=PRIVATE, absent={"codex": "not installed"}))
    assert [c.why_not for c in found[:2]] == ["not installed", PRIVATE]


def test_images_are_not_given_to_a_brain_that_cannot_see() -> None:
    house = replace(HOUSE, table={"vision": ("local", "claude")})
    found, _ = candidates("vision", Choice(has_image=True), house)
    assert [(c.brain, c.why_not) for c in found] == [("local", "it cannot look at images"), ("claude", "")]
    assert tried("vision", ANYBODY, house)[0] == "local", "words about an image are for everybody"


def test_who_is_left_steps_in_when_the_whole_row_is_passed_over() -> None:
    house = replace(HOUSE, table={"vision": ("gateway",), "general": ("codex", "claude")}, absent={"gateway": "no key"})
    assert names("vision", ANYBODY, house) == ["gateway", "codex", "claude", "local", "librarian"]
    assert "echo" not in names("vision", ANYBODY, house)


def test_a_row_may_name_echo_and_a_stranger() -> None:
    house = replace(HOUSE, table={"general": ("grok:deep", "echo")})
    found, _ = candidates("general", ANYBODY, house)
    assert [(c.brain, c.why_not) for c in found] == [("grok", "no brain is called that"), ("echo", "")]


# ---- the frugal tier


def test_when_money_runs_low_the_fast_tier_does() -> None:
    found, notes = candidates("creative", ANYBODY, replace(HOUSE, frugal=FRUGAL))
    assert {c.tier for c in found} == {"fast"}
    assert found[0].model == HOUSE.model_for["claude", "fast"]
    assert notes == [FRUGAL]


def test_a_tier_below_the_fast_one_stays() -> None:
    (first, *_), _ = candidates("system", ANYBODY, replace(HOUSE, frugal=FRUGAL))
    assert (first.brain, first.tier) == ("gateway", "instant")


def test_a_tier_the_person_wrote_is_not_made_cheaper() -> None:
    found, notes = candidates("creative", Choice(tier="premium"), replace(HOUSE, frugal=FRUGAL))
    assert {c.tier for c in found} == {"premium"}
    assert notes == []


def test_two_tiers_of_a_brain_that_become_the_same_are_one_candidate() -> None:
    house = replace(HOUSE, frugal=FRUGAL, table={"general": ("claude:deep", "claude:premium", "codex")})
    assert names("general", ANYBODY, house) == ["claude", "codex"]


# ---- a chosen brain


@pytest.mark.parametrize("brain", KNOWN)
def test_a_chosen_brain_stands_alone_whatever_limits_there_are(brain: str) -> None:
    house = replace(HOUSE, spent=SPENT, frugal=FRUGAL, waiting=dict.fromkeys(KNOWN, "limited"))
    for domain in DOMAINS:
        (only,), notes = candidates(domain, Choice(brain=brain), house)
        assert (only.brain, only.why_not, notes) == (brain, "", [])


def test_a_chosen_brain_keeps_the_tier_of_the_row_when_money_runs_low() -> None:
    (only,), _ = candidates("creative", Choice(brain="claude"), replace(HOUSE, frugal=FRUGAL))
    assert only.tier == "premium"


@pytest.mark.parametrize("brain", AWAY)
def test_a_chosen_brain_is_not_exempt_from_privacy(brain: str) -> None:
    (only,), _ = candidates("code", Choice(brain=brain), replace(HOUSE, private=PRIVATE))
    assert (only.brain, only.why_not) == (brain, PRIVATE)


def test_a_chosen_brain_that_is_absent_or_blind_says_so_and_is_not_replaced() -> None:
    assert candidates("code", Choice(brain="codex"), replace(HOUSE, absent={"codex": "logged out"}))[0] == (
        Candidate("codex", "standard", HOUSE.model_for["codex", "standard"], "logged out"),
    )
    (only,), _ = candidates("vision", Choice(brain="local", has_image=True), HOUSE)
    assert only.why_not == "it cannot look at images"


def test_a_name_that_is_no_brain_is_bad_input() -> None:
    check_brain("claude", KNOWN)
    with pytest.raises(BadInput, match=r"'cluade'; did you mean claude\?"):
        check_brain("cluade", KNOWN)
    with pytest.raises(BadInput, match="no brain is called 'zzzz'") as caught:
        check_brain("zzzz", KNOWN)
    assert caught.value.remedy == "brains: claude, codex, gateway, local, librarian, echo"


# ---- all of it is said

TIER: st.SearchStrategy[Tier | None] = st.sampled_from((None, *TIERS))
SOME = st.sets(st.sampled_from(KNOWN))
WHY = st.sampled_from(("", "because"))


@settings(max_examples=300, deadline=None)
@given(
    domain=st.sampled_from(DOMAINS),
    tier=TIER,
    absent=SOME,
    waiting=SOME,
    private=WHY,
    spent=WHY,
    frugal=WHY,
    image=st.booleans(),
)
def test_whatever_the_house_is_like(
    domain: Domain,
    tier: Tier | None,
    absent: set[str],
    waiting: set[str],
    private: str,
    spent: str,
    frugal: str,
    image: bool,
) -> None:
    house = replace(
        HOUSE,
        absent=dict.fromkeys(absent, "it is gone"),
        waiting=dict.fromkeys(waiting, "it is tired"),
        private=private and PRIVATE,
        spent=spent and SPENT,
        frugal=frugal and FRUGAL,
    )
    found, _ = candidates(domain, Choice(tier=tier, has_image=image), house)
    said = decide(Ask(f"@{domain} {f'@{tier} ' if tier else ''}do it", image, None, None, house, 0.0)).reasons
    able = [c for c in found if not c.why_not]
    for candidate in found[: found.index(able[0])] if able else found:
        assert f"not {candidate.brain}: {candidate.why_not}" in said
    thinking = [c.brain for c in able if c.brain != "librarian"]
    late = [brain for brain in thinking if brain in waiting]
    if len(late) < len(thinking):
        assert thinking[len(thinking) - len(late) :] == late
        assert all(f"{brain} after the others: it is tired" in said for brain in late)
    elif late:
        assert f"{late[0]}, though it is tired" in said
    assert len(said) == len(set(said))
    assert "echo" not in {c.brain for c in found}
    for candidate in able:
        assert candidate.brain not in absent
        assert not (private or spent) or candidate.brain in AT_HOME
        assert not frugal or tier or candidate.tier in ("instant", "fast")
        assert not image or candidate.brain != "local"
    # The librarian quotes: he is asked only when nobody who thinks can be.
    assert "librarian" not in [c.brain for c in able[:-1]]
    assert able or {"librarian"} <= absent
