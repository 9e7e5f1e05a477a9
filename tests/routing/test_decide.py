"""Who should do it: what the person said, what it is about, who is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paios.base.errors import BadInput
from paios.base.types import DOMAINS, TIERS
from paios.config.settings import Routing
from paios.routing.decide import Ask, decide

KNOWN = ("claude", "codex", "gateway", "local", "librarian", "echo")
ASK = Ask(
    text="hello",
    has_image=False,
    brain=None,
    model=None,
    table=Routing().table,
    threshold=Routing().threshold,
    absent={},
    known=KNOWN,
    model_for={("gateway", "standard"): "model-s", ("gateway", "fast"): "model-f", ("claude", "premium"): "opus"},
)
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)


def names(ask: Ask) -> list[str]:
    return [c.brain for c in decide(ask).candidates]


def test_a_domain_goes_to_the_brains_of_its_row_in_order_with_their_tiers_and_models() -> None:
    found = decide(replace(ASK, text="write me a poem about the sea"))
    assert found.domain == "creative"
    assert [(c.brain, c.tier, c.model) for c in found.candidates] == [
        ("claude", "premium", "opus"),
        ("gateway", "premium", None),
        ("codex", "premium", None),
        ("librarian", "standard", None),
    ]


def test_a_brain_that_cannot_be_tried_stays_in_its_place_with_the_reason() -> None:
    found = decide(replace(ASK, text="@code fix it", absent={"codex": "not installed"}))
    assert [(c.brain, c.why_not) for c in found.candidates][:2] == [("codex", "not installed"), ("claude", "")]
    assert "not codex: not installed" in found.reasons


def test_when_nobody_of_the_row_is_there_whoever_else_is_steps_in_but_never_echo() -> None:
    absent = dict.fromkeys(("claude", "codex", "gateway", "local"), "gone")
    found = decide(replace(ASK, has_image=True, absent=absent))
    assert [c.brain for c in found.candidates if not c.why_not] == ["librarian"]
    assert "echo" not in names(replace(ASK, has_image=True, absent=absent))


def test_a_table_may_name_echo() -> None:
    assert names(replace(ASK, table={"general": ("echo",)})) == ["echo"]


def test_a_table_that_names_a_stranger_says_so_and_goes_on() -> None:
    found = decide(replace(ASK, table={"general": ("grok:deep", "claude")}))
    assert [(c.brain, bool(c.why_not)) for c in found.candidates] == [("grok", True), ("claude", False)]


@pytest.mark.parametrize("text", ["@claude fix my script", "ask Claude to fix my script", "اسأل كلود عن الطقس"])
def test_a_chosen_brain_is_the_only_candidate(text: str) -> None:
    assert names(replace(ASK, text=text)) == ["claude"]


def test_the_option_outranks_the_prefix_and_the_words() -> None:
    found = decide(replace(ASK, text="@claude ask codex to fix it", brain="gateway"))
    assert [c.brain for c in found.candidates] == ["gateway"]
    assert found.text == "ask codex to fix it"
    assert "@claude gives way to the brain chosen by option" in found.reasons


def test_a_chosen_brain_that_is_absent_is_not_replaced() -> None:
    (only,) = decide(replace(ASK, brain="codex", absent={"codex": "logged out"})).candidates
    assert (only.brain, only.why_not) == ("codex", "logged out")


def test_a_chosen_brain_gets_the_tier_that_the_table_gives_it_for_the_domain() -> None:
    (only,) = decide(replace(ASK, text="write me a poem about the sea", brain="claude")).candidates
    assert (only.tier, only.model) == ("premium", "opus")


def test_an_unknown_brain_is_bad_input_and_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"did you mean claude\?.*claude, codex, gateway, local, librarian, echo"):
        decide(replace(ASK, brain="cluade"))


def test_a_named_model_goes_to_the_brain_it_belongs_to() -> None:
    for ask in (replace(ASK, brain="claude", model="opus"), replace(ASK, text="@claude hello", model="opus")):
        assert [(c.brain, c.model) for c in decide(ask).candidates] == [("claude", "opus")]
    (gateway,) = decide(replace(ASK, model="openai/gpt-6-luna")).candidates
    assert (gateway.brain, gateway.model) == ("gateway", "openai/gpt-6-luna")
    with pytest.raises(BadInput, match="needs a brain"):
        decide(replace(ASK, model="opus"))


def test_an_at_word_that_is_none_of_ours_stays_and_is_mentioned() -> None:
    found = decide(replace(ASK, text="@cdoe fix this"))
    assert found.text == "@cdoe fix this"
    assert any("@cdoe is no domain" in reason for reason in found.reasons)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_prefix_settles_the_domain_and_is_taken_off(domain: str) -> None:
    found = decide(replace(ASK, text=f"@{domain.upper()} write a poem"))
    assert (found.domain, found.confidence, found.text) == (domain, 1.0, "write a poem")


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_prefix_holds_for_all_candidates(tier: str) -> None:
    assert {c.tier for c in decide(replace(ASK, text=f"@{tier} write a poem")).candidates} == {tier}


def test_prefixes_of_different_kinds_combine_in_any_order() -> None:
    found = decide(replace(ASK, text="@fast @code, @gateway: reverse a list"))
    assert (found.text, found.domain) == ("reverse a list", "code")
    assert [(c.brain, c.tier, c.model) for c in found.candidates] == [("gateway", "fast", "model-f")]


@pytest.mark.parametrize(
    "text", ["@sara is coming @code", "mail me@code now", "@codex.example is up", "@claude's code", "hello @code fix"]
)
def test_other_words_with_an_at_sign_are_left_alone(text: str) -> None:
    found = decide(replace(ASK, text=text))
    assert found.text == text
    assert not any(reason.startswith("you wrote") for reason in found.reasons)


def test_the_prefix_is_taken_off_once_and_indentation_stays() -> None:
    assert decide(replace(ASK, text="@code @code x")).text == "@code x"
    assert decide(replace(ASK, text="\u200f@code\n    x = 1")).text == "    x = 1"
    assert decide(replace(ASK, text="@code")).text == "@code"


def test_an_image_makes_it_vision_unless_a_prefix_says_otherwise() -> None:
    assert decide(replace(ASK, text="fix this code", has_image=True)).domain == "vision"
    assert decide(replace(ASK, text="@code fix this", has_image=True)).domain == "code"


def test_below_the_threshold_it_is_general_and_says_what_it_might_have_been() -> None:
    found = decide(replace(ASK, text="write me a poem about the sea", threshold=1.0))
    assert found.domain == "general"
    assert any("perhaps creative" in reason for reason in found.reasons)
    assert [c.brain for c in found.candidates] == ["claude", "gateway", "codex", "librarian"]


def test_the_scores_are_probabilities_best_first() -> None:
    scores = decide(replace(ASK, text="remind me to call mom at 6")).scores
    assert {domain for domain, _ in scores} == set(DOMAINS)
    assert sum(p for _, p in scores) == pytest.approx(1)
    assert [p for _, p in scores] == sorted((p for _, p in scores), reverse=True)


ABSENCES = st.dictionaries(st.sampled_from(KNOWN), st.just("gone"))
PREFIXED = st.builds(
    lambda prefix, text: prefix + text,
    st.sampled_from(("", "@code ", "@claude ", "@fast ", "ask codex to ", "استخدم كودكس ل")),
    ANY_TEXT,
)


@settings(max_examples=300)
@given(text=ANY_TEXT, has_image=st.booleans(), absent=ABSENCES, threshold=st.floats(0, 1))
def test_any_text_goes_to_a_known_brain_that_is_there(
    text: str, has_image: bool, absent: dict[str, str], threshold: float
) -> None:
    found = decide(replace(ASK, text=text, has_image=has_image, absent=absent, threshold=threshold))
    assert {c.brain for c in found.candidates} <= set(KNOWN)
    assert all(c.why_not == absent.get(c.brain, "") for c in found.candidates)
    if set(KNOWN) - set(absent) - {"echo"} and len(found.candidates) > 1:
        assert any(not c.why_not for c in found.candidates)
    assert 0 <= found.confidence <= 1
    assert found.reasons


@given(PREFIXED)
def test_the_same_ask_gives_the_same_decision(text: str) -> None:
    assert decide(replace(ASK, text=text)) == decide(replace(ASK, text=text))


@given(st.sampled_from((*DOMAINS, *TIERS, *KNOWN)), ANY_TEXT)
def test_a_prefix_is_stripped_exactly_once(word: str, text: str) -> None:
    rest = f"x{text}"
    assert decide(replace(ASK, text=f"@{word} {rest}")).text == rest
