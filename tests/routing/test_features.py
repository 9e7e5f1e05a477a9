"""What a request is about."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paios.base.types import DOMAINS
from paios.routing.features import classify
from paios.routing.phrases import parts


def best(text: str) -> str:
    return classify(parts(text)).scores[0][0]


PROMPTS = {
    "code": [
        "fix the failing test in auth.py",
        "why does my React component render twice",
        'Traceback (most recent call last):\n  File "app.py", line 3, in <module>\nKeyError: 3\n\nwhat is wrong?',
        "explain this\n```\nfor (i = 0; i < 3; i++) { total += i; }\n```",
        "اكتب دالة بايثون تعكس سلسلة نصية",
        "صحح الاستعلام التالي في SQL",
    ],
    "creative": [
        "write me a poem about the sea",
        "come up with five names for a coffee shop",
        "اكتب قصيدة عن الوطن",
        "اقترح أسماء لمتجر عطور",
    ],
    "analysis": [
        "compare renting and buying a flat",
        "summarize this article in three bullets",
        "what are the pros and cons of remote work",
        "لخص هذا المقال في ثلاث نقاط",
        "ما الفرق بين التضخم والركود",
    ],
    "vision": ["what is in this picture", "read the text in the screenshot", "ماذا يوجد في هذه الصورة"],
    "system": ["turn off the bedroom lights", "take a screenshot", "empty the trash", "شغل المكيف", "ارفع صوت التلفزيون"],
    "schedule": [
        "remind me to call mom at 6",
        "what's on my calendar tomorrow",
        "ذكرني أتصل بأمي الساعة ستة",
        "ما هي مواعيدي غدا",
    ],
    "search": ["what's the weather in Cairo tomorrow", "best sushi near me", "من فاز في مباراة أمس", "كم سعر الذهب الآن"],
    "general": ["hi", "what is the capital of Australia", "مرحبا كيف حالك", "لماذا السماء زرقاء"],
}


@pytest.mark.parametrize(("domain", "text"), [(domain, text) for domain, texts in PROMPTS.items() for text in texts])
def test_a_plain_request_is_understood(domain: str, text: str) -> None:
    assert best(text) == domain


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("the capital of that storm-hit island is interesting", "code"),  # api, orm, rest
        ("a therapist in a restaurant met the president", "code"),
        ("classic digital envelopes are important", "code"),
        ("let me think about where it came from", "code"),
        ("the planet of the apes", "schedule"),
    ],
)
def test_a_word_inside_another_word_counts_for_nothing(text: str, never: str) -> None:
    scores = dict(classify(parts(text)).scores)
    assert scores[never] == min(scores.values())  # type: ignore[index]


MAIL = (
    "Hi Sam,\n\nthe meeting on Monday at 9 am moved to Tuesday, please put it in your calendar and set a reminder. "
    "The weather forecast says rain, and the flight price went up again. I also turned off the lights.\n\nBest,\nJo"
)


@pytest.mark.parametrize(
    ("instruction", "domain"),
    [("Summarize this email:", "analysis"), ("لخص هذا البريد:", "analysis"), ("Write a poem about this email:", "creative")],
)
def test_what_was_pasted_does_not_decide(instruction: str, domain: str) -> None:
    assert best(f"{instruction}\n\n{MAIL}") == domain


def test_the_instruction_may_stand_behind_what_was_pasted() -> None:
    assert best("> the api crashed\n> fix the function\n\nwrite a poem about that") == "creative"


def test_vowel_marks_and_letter_forms_make_no_difference() -> None:
    assert classify(parts("أُكْتُبْ قَصِيدَةً")).scores == classify(parts("اكتب قصيده")).scores


def test_the_reasons_name_what_was_seen() -> None:
    (reason,) = classify(parts("please debug parser.py, it throws an exception")).reasons
    assert "“debug”" in reason
    assert reason.endswith("→ code")


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_gets_probabilities_over_all_domains(text: str) -> None:
    scores = classify(parts(text)).scores
    assert {domain for domain, _ in scores} == set(DOMAINS)
    assert sum(p for _, p in scores) == pytest.approx(1)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "word ",
        '"',
        "`",
        "@code ",
        "ask claude ",
        "> x\n",
        "```\n",
        ": ",
        "كلمة ",
        "From: a\n",
        "( ",
        "x = 1\n",
        "1",
        ".,!",
        "'a ",
        "the ",
    ],
)
def test_a_megabyte_of_anything_costs_no_more_than_its_head_and_tail(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    before = time.process_time()
    classify(parts(text))
    assert time.process_time() - before < 0.5  # CPU time; some 5 ms here, minutes if it grew with the text


def test_deciding_loads_nothing_heavy() -> None:
    heavy = "{'pydantic', 'snowballstemmer', 'asyncio', 'anyio', 'httpx', 'socket', 'sqlite3', 'subprocess'}"
    code = (
        "import sys\nfrom paios.routing.decide import Ask, decide\n"
        "decide(Ask('write a poem', False, None, None, {'general': ('echo',)}, 0.3, {}, ('echo',), {}))\n"
        f"sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
