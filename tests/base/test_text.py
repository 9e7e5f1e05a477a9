"""Text as search and matching see it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paios.base.text import STOP_WORDS, clean, normalise, script, stem, stems, words

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("أحمد إلى آخر ٱلكتاب", "احمد الي اخر الكتاب"),
        ("مُحَمَّدٌ", "محمد"),
        ("كتـــــاب", "كتاب"),
        ("مدرسة", "مدرسه"),
        ("مستشفى", "مستشفي"),
        ("مسؤول رئيس", "مسوول رييس"),
        ("٢٠٢٦ ۱۲۳", "2026 123"),
        ("ﻻ ﷲ", "لا الله"),
        ("Ｈｅｌｌｏ ﬁne", "hello fine"),
        ("a\u200fb", "ab"),
    ],
)
def test_what_reads_the_same_becomes_the_same(written: str, meant: str) -> None:
    assert normalise(written) == normalise(meant) == meant


@given(ANY_TEXT)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_words_keep_what_belongs_together_and_part_what_does_not() -> None:
    assert words("Don't use C++ 3.11, max_age: «كتابٌ»!") == ["don't", "use", "c++", "3.11", "max", "age", "كتاب"]


@pytest.mark.parametrize(
    "forms",
    [
        ("كتاب", "الكتاب", "والكتاب", "بالكتاب", "للكتاب", "لكتاب", "بكتاب"),
        ("معلم", "المعلمون", "معلمين", "معلمات", "والمعلمة"),
        ("run", "running", "runs"),
        ("policy", "policies"),
    ],
)
def test_the_forms_of_a_word_share_a_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(normalise(form)) for form in forms}) == 1


def test_short_words_numbers_and_other_scripts_are_not_cut_to_nothing() -> None:
    assert [stem(word) for word in ("و", "ال", "لي", "42", "слово", "c++")] == ["و", "ال", "لي", "42", "слово", "c++"]


@given(ANY_TEXT)
def test_any_text_has_stems_none_of_them_empty(text: str) -> None:
    assert all(stems(text))


def test_stop_words_are_written_as_normalise_would() -> None:
    assert {"the", "في", "من", "what"} <= STOP_WORDS
    assert stems("what is the price of the car") == ["price", "car"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ما هو الطقس اليوم؟", "ar"),
        ("what is the weather", "en"),
        ("اشرح لي kubernetes networking policies", "ar"),
        ('translate "مرحبا" to English please', "en"),
        ("¿qué hora es?", "en"),
        ("какая погода", "other"),
        ("今天天气", "other"),
        ("123 !?", "other"),
        ("", "other"),
    ],
)
def test_the_script_is_that_of_the_asker(text: str, expected: str) -> None:
    assert script(text) == expected


def test_clean_drops_controls_and_keeps_everything_else() -> None:
    assert clean("a\x00b\x1b[31mc\x07\n\td\r\ne\rf") == "ab[31mc\n\td\ne\nf"
    marks = "\u200fمرحبا\u200e \u202bX\u202c \ufeff\u00ad\x7f é 🙂"
    assert clean(marks) == marks


def test_clean_replaces_lone_surrogates_and_joins_pairs() -> None:
    assert clean("a\ud83db\udc80") == "a\ufffdb\ufffd"
    assert clean("\ud83d\ude42") == "🙂"


@given(ANY_TEXT)
def test_cleaned_text_can_be_stored_and_is_clean(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert not any(ord(c) < 32 and c not in "\n\t" for c in cleaned)
    assert clean(cleaned) == cleaned


def test_loading_it_does_not_load_the_stemmer() -> None:
    code = "import sys, paios.base.text as t; t.words('running'); sys.exit('snowballstemmer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
