"""Who should do it: what the person said, what it is about, who is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.prompts import MATERIAL

from paios.base.errors import BadInput
from paios.base.types import DOMAINS, TIERS, Decision, Domain
from paios.config.models import Models
from paios.config.settings import Routing
from paios.memory.embed import SentenceEncoder
from paios.routing.decide import SURE, Ask, decide
from paios.routing.model import meaning, shipped
from paios.routing.policy import House

KNOWN = ("claude", "codex", "gateway", "local", "librarian", "echo")
HOUSE = House(
    known=KNOWN,
    absent={},
    table=Models.default().routes,
    model_for={("gateway", "standard"): "model-s", ("gateway", "fast"): "model-f", ("claude", "premium"): "opus"},
)
ASK = Ask(text="hello", has_image=False, brain=None, model=None, house=HOUSE, threshold=Routing().threshold)
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)


def names(ask: Ask) -> list[str]:
    return [c.brain for c in decide(ask).candidates]


def gone(**absent: str) -> House:
    return replace(HOUSE, absent=absent)


def test_a_domain_goes_to_the_brains_of_its_row_in_order_with_their_tiers_and_models() -> None:
    found = decide(replace(ASK, text="write me a poem about the sea"))
    assert found.domain == "creative"
    assert [(c.brain, c.tier, c.model) for c in found.candidates] == [
        ("claude", "premium", "opus"),
        ("gateway", "premium", None),
        ("codex", "premium", None),
        ("local", "standard", None),
        ("librarian", "standard", None),
    ]


def test_a_brain_that_cannot_be_tried_stays_in_its_place_with_the_reason() -> None:
    found = decide(replace(ASK, text="@code fix it", house=gone(codex="not installed")))
    assert [(c.brain, c.why_not) for c in found.candidates][:2] == [("codex", "not installed"), ("claude", "")]
    assert "not codex: not installed" in found.reasons


def test_when_nobody_of_the_row_is_there_whoever_else_is_steps_in_but_never_echo() -> None:
    house = gone(claude="gone", codex="gone", gateway="gone", local="gone")
    found = decide(replace(ASK, has_image=True, house=house))
    assert [c.brain for c in found.candidates if not c.why_not] == ["librarian"]
    assert "echo" not in names(replace(ASK, has_image=True, house=house))


def test_a_table_may_name_echo() -> None:
    assert names(replace(ASK, house=replace(HOUSE, table={"general": ("echo",)}))) == ["echo"]


def test_a_table_that_names_a_stranger_says_so_and_goes_on() -> None:
    found = decide(replace(ASK, house=replace(HOUSE, table={"general": ("grok:deep", "claude")})))
    assert [(c.brain, bool(c.why_not)) for c in found.candidates] == [("grok", True), ("claude", False)]


@pytest.mark.parametrize("text", ["@claude fix my script", "ask Claude to fix my script", "اسأل كلود عن الطقس"])
def test_a_chosen_brain_is_the_only_candidate(text: str) -> None:
    assert names(replace(ASK, text=text)) == ["claude"]


@pytest.mark.parametrize(
    "text", ["summarize this:\n```\nask codex to fix it\n```", "summarize this:\n> hi,\n>\nFrom: Jo\nask codex to go"]
)
def test_a_call_that_was_pasted_or_quoted_chooses_nobody(text: str) -> None:
    found = decide(replace(ASK, text=text))
    assert len(found.candidates) > 1
    assert not any("in your words" in reason for reason in found.reasons)


def test_the_option_outranks_the_prefix_and_the_words() -> None:
    found = decide(replace(ASK, text="@claude ask codex to fix it", brain="gateway"))
    assert [c.brain for c in found.candidates] == ["gateway"]
    assert found.text == "ask codex to fix it"
    assert "@claude gives way to the brain chosen by option" in found.reasons


def test_a_chosen_brain_that_is_absent_is_not_replaced() -> None:
    (only,) = decide(replace(ASK, brain="codex", house=gone(codex="logged out"))).candidates
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
    assert found.abstained
    assert found.confidence == dict(found.scores)["general"]
    assert any("perhaps creative" in reason for reason in found.reasons)
    assert [c.brain for c in found.candidates] == ["claude", "gateway", "codex", "local", "librarian"]


def test_above_the_threshold_it_does_not_abstain() -> None:
    found = decide(replace(ASK, text="write me a poem about the sea", threshold=0.0))
    assert (found.domain, found.abstained) == ("creative", False)
    assert found.confidence == found.scores[0][1]


def test_general_below_the_threshold_is_general_and_no_abstention() -> None:
    found = decide(replace(ASK, text="hi, how are you?", threshold=1.0))
    assert (found.domain, found.abstained) == ("general", False)


@pytest.mark.parametrize("text", ["😀", "…", "---", "?!", "-" * 400, "👍🏽", "،", ""])
def test_where_there_is_no_word_there_is_nothing_to_guess(text: str) -> None:
    found = decide(replace(ASK, text=text))
    assert (found.domain, found.abstained, found.compound) == ("general", True, ())
    assert found.reasons == ("there is no word in it → general",)


@pytest.mark.parametrize("material", ["code", "fenced", "log"])
def test_code_without_a_word_beside_it_says_enough(material: str) -> None:
    found = decide(replace(ASK, text=MATERIAL[material]))
    assert (found.domain, found.abstained, found.compound) == ("code", False, ())
    assert found.reasons == ("there is nothing but code → code",)


def test_two_tasks_are_reported_and_the_surer_one_decides() -> None:
    found = decide(replace(ASK, text="fix the failing unit test and then remind me to deploy at 5"))
    assert found.compound == ("code", "schedule")
    assert found.domain in found.compound
    assert "two tasks: code, then schedule" in found.reasons


def test_what_the_person_settled_is_never_two_tasks() -> None:
    for ask in (
        replace(ASK, text="@code fix the failing unit test and then remind me to deploy at 5"),
        replace(ASK, text="fix the failing unit test and then remind me to deploy at 5", has_image=True),
    ):
        assert decide(ask).compound == ()


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


@settings(max_examples=300, deadline=None)
@given(text=ANY_TEXT, has_image=st.booleans(), absent=ABSENCES, threshold=st.floats(0, 1))
def test_any_text_goes_to_a_known_brain_that_is_there(
    text: str, has_image: bool, absent: dict[str, str], threshold: float
) -> None:
    found = decide(replace(ASK, text=text, has_image=has_image, house=gone(**absent), threshold=threshold))
    assert {c.brain for c in found.candidates} <= set(KNOWN)
    blind = {"local": "it cannot look at images"} if has_image else {}
    assert all(c.why_not == {**blind, **absent}.get(c.brain, "") for c in found.candidates)
    if set(KNOWN) - set(absent) - set(blind) - {"echo"} and len(found.candidates) > 1:
        assert any(not c.why_not for c in found.candidates)
    assert 0 <= found.confidence <= 1
    assert found.reasons


@settings(deadline=None)
@given(PREFIXED)
def test_the_same_ask_gives_the_same_decision(text: str) -> None:
    assert decide(replace(ASK, text=text)) == decide(replace(ASK, text=text))


@settings(deadline=None)
@given(st.sampled_from((*DOMAINS, *TIERS, *KNOWN)), ANY_TEXT)
def test_a_prefix_is_stripped_exactly_once(word: str, text: str) -> None:
    rest = f"x{text}"
    assert decide(replace(ASK, text=f"@{word} {rest}")).text == rest


# ---- the second stage

CLEAR, UNCLEAR = "write me a poem about the sea", "do the usual thing with it"


@dataclass
class Encoder:
    """The real encoder, with a note of what it was asked."""

    asked: list[str] = field(default_factory=list)
    real: SentenceEncoder = field(default_factory=SentenceEncoder)

    def __call__(self, text: str) -> Sequence[float]:
        self.asked.append(text)
        vector: Sequence[float] = self.real.encode([text])[0]
        return vector


@pytest.fixture(scope="module")
def _encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def encoder(_encoder: Encoder) -> Encoder:
    _encoder.asked.clear()
    return _encoder


def first_stage(text: str) -> tuple[tuple[Domain, float], ...]:
    return shipped().classify(shipped().read(text)).scores


def test_the_encoder_is_asked_only_when_the_first_stage_is_unsure(encoder: Encoder) -> None:
    assert first_stage(CLEAR)[0][1] >= SURE > first_stage(UNCLEAR)[0][1]
    assert decide(replace(ASK, text=CLEAR, encode=encoder)).scores == first_stage(CLEAR)
    assert encoder.asked == []
    assert decide(replace(ASK, text=UNCLEAR, encode=encoder)).scores != first_stage(UNCLEAR)
    assert encoder.asked == [UNCLEAR]


def test_a_warm_encoder_is_always_asked(encoder: Encoder) -> None:
    for text in (CLEAR, UNCLEAR):
        assert decide(replace(ASK, text=text, encode=encoder, is_cheap=True)).scores != first_stage(text)
    assert encoder.asked == [CLEAR, UNCLEAR]


def test_where_a_brain_was_chosen_a_cold_encoder_is_not_asked(encoder: Encoder) -> None:
    chosen = [
        replace(ASK, text=UNCLEAR, brain="claude"),
        replace(ASK, text=f"@claude {UNCLEAR}"),
        replace(ASK, text="ask codex to do the usual thing"),
        replace(ASK, text=UNCLEAR, model="openai/gpt-6-luna"),
    ]
    for ask in chosen:
        assert first_stage(ask.text.removeprefix("@claude "))[0][1] < SURE
        decide(replace(ask, encode=encoder))
    assert encoder.asked == []
    for ask in chosen:
        decide(replace(ask, encode=encoder, is_cheap=True))
    assert len(encoder.asked) == len(chosen), "a warm one is asked: the domain still settles the tier"


def test_where_the_domain_is_settled_no_encoder_is_asked(encoder: Encoder) -> None:
    for ask in (replace(ASK, text=f"@code {UNCLEAR}"), replace(ASK, text=UNCLEAR, has_image=True)):
        decide(replace(ask, encode=encoder, is_cheap=True))
    assert encoder.asked == []


def test_the_encoder_gets_the_instruction_without_prefix_and_what_was_pasted(encoder: Encoder) -> None:
    decide(replace(ASK, text=f"@fast {UNCLEAR}\n```\nsecret = 1\n```", encode=encoder, is_cheap=True))
    (asked,) = encoder.asked
    assert asked == meaning(shipped().read(f"{UNCLEAR}\n```\nsecret = 1\n```"))
    assert asked.strip() == UNCLEAR


def test_where_there_is_no_word_no_encoder_is_asked(encoder: Encoder) -> None:
    decide(replace(ASK, text="😀", encode=encoder, is_cheap=True))
    assert encoder.asked == []


def test_without_an_encoder_the_first_stage_decides_alone() -> None:
    assert decide(replace(ASK, text=UNCLEAR, is_cheap=True)).scores == first_stage(UNCLEAR)


def test_a_decision_of_both_stages_is_a_decision(encoder: Encoder) -> None:
    found: Decision = decide(replace(ASK, text=UNCLEAR, encode=encoder))
    assert sum(chance for _, chance in found.scores) == pytest.approx(1)
    assert found == decide(replace(ASK, text=UNCLEAR, encode=encoder))
