"""Whether two tasks are asked at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.prompts import MATERIAL, ROWS

from paios.base.types import DOMAINS, Domain
from paios.routing import compound
from paios.routing.model import shipped
from paios.routing.phrases import bare

MODEL = shipped()


def tasks(text: str) -> tuple[Domain, ...]:
    return compound.tasks(MODEL.read(text), MODEL)


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("fix the failing unit test and then remind me to deploy at 5", ("code", "schedule")),
        ("write a poem about the sea and turn off the bedroom lights", ("creative", "system")),
        ("what's the weather in Cairo tomorrow? And remind me to call mom at 8", ("search", "schedule")),
        ("turn off the bedroom lights. Then write a short story about a dragon.", ("system", "creative")),
        ("what is the capital of Australia? Also, mute the laptop", ("general", "system")),
        ("1. fix the failing unit test\n2. remind me to call mom at 6", ("code", "schedule")),
        ("- write a poem about the sea\n- turn off the bedroom lights", ("creative", "system")),
        ("please write a poem about the sea, and please turn off the bedroom lights", ("creative", "system")),
        ("اكتب قصيدة عن الوطن وذكرني أتصل بأمي الساعة ستة", ("creative", "schedule")),
        ("أطفئ أنوار غرفة النوم ثم اكتب قصيدة عن البحر", ("system", "creative")),
        ("لخص هذا المقال في ثلاث نقاط، وبعدين ذكرني أتصل بأمي الساعة ستة", ("analysis", "schedule")),
        ("ما هي عاصمة أستراليا؟ وأطفئ أنوار غرفة النوم", ("general", "system")),
    ],
)
def test_two_tasks_of_two_domains_are_seen_in_their_order(text: str, both: tuple[Domain, ...]) -> None:
    assert tasks(text) == both


@pytest.mark.parametrize("text", [text for _, text in ROWS])
def test_a_plain_request_is_one_task(text: str) -> None:
    assert tasks(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "write a poem about the sea and the sky",
        "remind me to call mom at 6 and dad at 7",
        "remind me to buy milk, eggs and bread tomorrow",
        "fix the failing test and the linter error",
        "turn off the lights and lock the door",
        "write a story about a girl who wakes up and turns off the lights",
        "find cheap flights from Paris to Rome and Milan",
        "summarize this article and list its main claims",
        "I've got an error in my Python code, how do I fix it?",
        "please upgrade to Python 3.12, numpy 2.1. and django 5.0.",
        "1. fix the login test\n2. fix the logout test\n3. refactor both",
        "اكتب قصيدة عن البحر والسماء",
        "ذكرني أشتري الحليب والخبز غدا",
        "أطفئ الأنوار وأغلق الباب",
    ],
)
def test_one_task_with_several_parts_is_not_two(text: str) -> None:
    assert tasks(text) == ()


@pytest.mark.parametrize("material", ["mail", "log", "code", "fenced"])
@pytest.mark.parametrize(
    "instruction", ["Write a poem about this:", "Summarize this in three bullets:", "لخص هذا في ثلاث نقاط:"]
)
def test_what_was_pasted_is_no_second_task(instruction: str, material: str) -> None:
    assert tasks(f"{instruction}\n\n{MATERIAL[material]}") == ()
    assert tasks(f"{MATERIAL[material]}\n\n{instruction}") == ()


@pytest.mark.parametrize(
    "text",
    [
        'write a poem with the line "then turn off the bedroom lights and remind me to call mom at 6"',
        "summarize this in three bullets:\n> turn off the lights and then write a poem\n> remind me to call mom at 6",
        "write a poem about this:\n```\nremind me to call mom at 6\nthen turn off the bedroom lights\n```",
        "اكتب قصيدة فيها «ثم أطفئ أنوار غرفة النوم وذكرني أتصل بأمي»",
    ],
)
def test_a_task_inside_a_quotation_is_none(text: str) -> None:
    assert tasks(text) == ()


def test_a_question_about_it_belongs_to_the_task_before() -> None:
    assert tasks("turn off the bedroom lights. And how do I cook rice?") == ("system", "general")
    assert tasks("turn off the bedroom lights. And how do I cook it?") == ()


def test_a_number_or_a_file_name_is_no_end_of_a_sentence() -> None:
    assert tasks("turn the volume to 3.5 and remind me to call mom at 6") == ("system", "schedule")
    assert tasks("fix auth.py and remind me to call mom at 6") == ("code", "schedule")


def test_in_a_long_text_sentences_are_background() -> None:
    two = "turn off the bedroom lights. Then write a short story about a dragon."
    assert compound.tasks(bare(two), MODEL) == ("system", "creative")
    assert compound.tasks(bare(two + " It lives in a cave." * 60), MODEL) == ()


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_is_no_task_or_two_of_different_domains(text: str) -> None:
    found = tasks(text + " and then " + text)
    assert len(found) in (0, 2)
    assert len(set(found)) == len(found)
    assert set(found) <= set(DOMAINS)
