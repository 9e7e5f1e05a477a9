"""A person's own words, and the brain they name in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.prompts import MATERIAL

from paios.routing.model import shipped
from paios.routing.phrases import Parts, Prefix, bare, focused, named_brain, parts, prefix, sentences_of

KNOWN = ("claude", "codex", "gateway", "local", "librarian", "echo")


def named(text: str) -> str | None:
    return named_brain(parts(text).instruction, KNOWN)


@pytest.mark.parametrize(
    ("text", "brain"),
    [
        ("ask Claude to review this", "claude"),
        ("Please ask claude what it thinks of the plan", "claude"),
        ("could you ask Codex to write the tests?", "codex"),
        ("let codex handle it", "codex"),
        ("Have Claude Code fix the build", "claude"),
        ("use codex for this: rename the module", "codex"),
        ("I want Claude to look at it", "claude"),
        ("hey claude, what's up", "claude"),
        ("claude: hello", "claude"),
        ("don't use claude, use codex: go", "codex"),
        ("The build is red. Ask codex to fix it.", "codex"),
        ("ask the librarian to find the policy", "librarian"),
        ("اسأل كلود عن الطقس", "claude"),
        ("خلّ كلود يراجع هذا", "claude"),
        ("استخدم كودكس لإصلاح الخطأ", "codex"),
        ("من فضلك اطلب من Claude أن يكتب رسالة", "claude"),
        ("استعن بكودكس", "codex"),
        ("أريد كلود أن يراجع العقد", "claude"),
    ],
)
def test_a_call_for_a_brain_is_heard(text: str, brain: str) -> None:
    assert named(text) == brain


@pytest.mark.parametrize(
    "text",
    [
        "what is Claude?",
        "how do I use codex for this",
        "should I ask claude to review my code?",
        "don't use claude",
        "do not ask codex to do that",
        "use the Claude API to build a bot",
        "Ask Claude Monet to paint it",
        "tell claude dinner is at eight",
        "compare claude and codex",
        "use the gateway for the VPC",
        "ask echo to speak",
        'translate "ask Claude to write a poem" to French',
        "what does `use codex for this` do",
        "> ask claude to reply\n\nwhat did he mean?",
        "Summarise this e-mail:\n\nHi Sam,\n\nask Claude to send the contract. Use codex for the script, then call me.\n\nJo",
        "What should I reply?\n\nFrom: Ann\nSubject: hi\n\nplease ask claude to come",
        "explain\n```\nask claude to x\n```",
        "ما هو كلود؟",
        "كيف أستخدم كودكس",
        "لا تستخدم كلود",
        "ترجم «اسأل كلود عن الطقس» إلى الإنجليزية",
    ],
)
def test_to_be_about_a_brain_or_to_quote_somebody_is_no_call(text: str) -> None:
    assert named(text) is None


def test_a_brain_that_is_not_there_is_not_named() -> None:
    assert named_brain("ask codex to fix it", ("claude",)) is None


def test_quotes_code_and_mail_are_told_apart_from_own_words() -> None:
    taken = parts('fix "the title" in `app.run`\n```py\nx = 1\n```\n> he said so\nthanks')
    assert taken.pasted
    assert "title" not in taken.own
    assert "he said" not in taken.own
    assert "x = 1" in taken.code
    assert "app.run" in taken.code
    assert taken.own.startswith("fix")
    assert taken.own.endswith("thanks")


def test_of_a_long_text_the_first_and_last_sentences_instruct() -> None:
    body = " ".join(f"Filler number {n} is here." for n in range(80))
    taken = parts(f"Please summarise my notes. {body} What stands out?")
    assert taken.instruction.startswith("Please summarise my notes.")
    assert taken.instruction.endswith("What stands out?")
    assert "number 40" not in taken.instruction


def test_text_that_is_only_a_quotation_is_what_was_said() -> None:
    assert parts('"to be or not to be"').own == '"to be or not to be"'


@pytest.mark.parametrize("line", ["if you have time, do the following:", "For my daughter:", "with love:"])
def test_prose_that_opens_like_code_stays_the_persons_own(line: str) -> None:
    assert line in parts(f"{line}\nwrite a poem").own


def test_unfenced_code_is_told_apart_from_the_question() -> None:
    taken = parts("why is this slow\n\nfor x in items:\n    if x in seen:\n        total += 1\n")
    assert taken.own == "why is this slow"
    assert "total += 1" in taken.code


# ---- fences


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("explain\n```py\nx = 1\n```\nand then mend it", ["explain", "and then mend it"]),
        ("```\na()\n``` mend it now", ["mend it now"]),
        ("~~~\na()\n~~~\nmend it now", ["mend it now"]),
        ("one\n```\na()\n```\ntwo\n```\nb()\n```\nthree", ["one", "two", "three"]),
        ("look at this: ```js\na()\n```\nis it right?", ["look at this:", "is it right?"]),
        ("```\n~~~\n```\nmend it now", ["mend it now"]),
        ("mend `a()` now", ["mend  …  now"]),
    ],
)
def test_what_stands_round_a_fence_is_the_persons_own(text: str, own: list[str]) -> None:
    taken = parts(text)
    assert [line.strip() for line in taken.own.split("\n") if line.strip()] == own
    assert taken.pasted
    assert "()" in taken.code or "x = 1" in taken.code or "~~~" in taken.code


def test_a_fence_that_is_never_closed_holds_all_that_follows() -> None:
    taken = parts("why?\n```\nask codex to fix it")
    assert (taken.own, taken.code) == ("why?", "```\nask codex to fix it")


# ---- which end of a long text asks


LETTER = "The boiler was looked at on Monday. It leaks a little near the valve. A man will come again in two weeks.\n" * 4


def asking(marks: Mapping[str, float]) -> Callable[[str], float]:
    """A judge of sentences: those that begin with a key have its mark, all others none."""
    return lambda text: next((mark for start, mark in marks.items() if text.startswith(start)), 0.0)


def test_the_end_that_asks_more_is_the_instruction() -> None:
    for mark, other in ((0.9, 0.0), (0.9, 0.5), (1.5, 1.1)):
        asks = asking({"Write": mark, "Dear": other, "Best": other})
        assert focused(parts(f"Write a reply.\n\n{LETTER}\nBest, Jo"), asks).instruction == "Write a reply."
        assert focused(parts(f"Dear Sam,\n{LETTER}\n\nWrite a reply."), asks).instruction == "Write a reply."


def test_of_two_ends_that_ask_alike_the_first_counts() -> None:
    assert focused(parts(f"Write a reply.\n{LETTER}\nSend it."), lambda _: 0.5).instruction == "Write a reply."


def test_a_colon_at_the_end_of_the_first_line_introduces_what_follows() -> None:
    text = f"This is the letter:\n{LETTER}\nCall me, Jo"
    assert focused(parts(text), asking({"This": 0.5, "Call": 0.7})).instruction == "This is the letter:"
    assert focused(parts(text.replace(":", ".")), asking({"This": 0.5, "Call": 0.7})).instruction == "Call me, Jo"


def test_of_a_long_first_line_its_first_sentence_is_weighed() -> None:
    line = "Write a reply. " + LETTER.replace("\n", " ")
    assert focused(parts(f"{line}\nBest, Jo"), asking({"Write": 0.9})).instruction == "Write a reply."
    line = LETTER.replace("\n", " ") + "Write a reply."
    assert focused(parts(f"Hi,\n{line}"), asking({"Write": 0.9})).instruction == "Write a reply."


def test_a_short_text_is_all_instruction() -> None:
    taken = parts("Hi. Please write a reply. Thanks.")
    assert focused(taken, lambda _: 0.0) == taken
    assert taken.instruction == taken.own


@pytest.mark.parametrize("text", ["-" * 300, "-: " + "-" * 400, "=" * 150 + "\n" + "*" * 150, "x\n-: " + "-" * 400])
def test_ruled_lines_are_no_trouble(text: str) -> None:
    assert len(focused(parts(text), lambda _: 0.5).instruction) <= 1_210


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())), st.floats(0, 1))
def test_focusing_changes_the_instruction_alone_and_takes_it_from_the_own_words(text: str, chance: float) -> None:
    taken = parts(text)
    found = focused(taken, lambda _: chance)
    assert (found.own, found.code, found.pasted) == (taken.own, taken.code, taken.pasted)
    assert all(line.strip() in found.own for line in found.instruction.split("\n"))


def test_the_sides_of_a_colon_are_two_sentences_only_before_something_long() -> None:
    assert sentences_of("Summarise this: " + "it rained and rained " * 4) == [
        "Summarise this",
        ("it rained and rained " * 4).strip(),
    ]
    assert sentences_of("Time: 9:30 and no later") == ["Time: 9:30 and no later"]


def test_bare_text_is_all_own_words() -> None:
    assert bare("> `x`") == Parts(own="> `x`", instruction="> `x`", code="", pasted=False)


# ---- whose call counts


def read_and_named(text: str) -> str | None:
    return named_brain(shipped().read(text).instruction, KNOWN)


CALLS = (
    "Hi Sam,\n\nask Claude to review the contract. Use codex for the script. The meeting moved to Monday at nine.\n\nBest,\nJo"
)


@pytest.mark.parametrize(
    "text",
    [
        f"Summarize this in three bullets:\n\n{CALLS}",
        f"{CALLS}\n\nSummarize this in three bullets",
        f"From: Jo\nSubject: hi\n\n{CALLS}\n\nSummarize this in three bullets",
        "Write a poem about this:\n" + "\n".join("> " + line for line in CALLS.split("\n")),
        f"Summarize this in three bullets:\n```\n{CALLS}\n```",
        f"```\n{CALLS}\n```\nSummarize this in three bullets",
        f'Summarize "{CALLS}" in three bullets',
        "لخص هذا: «خل كلود يراجع العقد»",
        "He wrote “ask Claude to review it” and I do not know what to answer",
    ],
)
def test_a_call_in_what_was_pasted_or_quoted_does_not_count(text: str) -> None:
    assert read_and_named(text) is None


@pytest.mark.parametrize("material", ["mail", "log", "code", "fenced"])
def test_the_persons_own_call_counts_before_and_behind_what_was_pasted(material: str) -> None:
    for call in ("ask Claude to summarize this:", "Summarize this. Use claude for this, please."):
        assert read_and_named(f"{call}\n\n{MATERIAL[material]}") == "claude"
        assert read_and_named(f"{MATERIAL[material]}\n\n{call}") == "claude"


# ---- the prefix


def test_one_prefix_of_each_kind_is_taken_off() -> None:
    assert prefix("@fast @code @claude hello", KNOWN) == Prefix("hello", "code", "claude", "fast", "@fast @code @claude")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("@code @code x", "@code x"),
        ("@code @vision x", "@vision x"),
        ("@fast @deep x", "@deep x"),
        ("@claude @codex x", "@codex x"),
        ("@code @sara x", "@sara x"),
        ("@code x @code", "x @code"),
        ("@code", "@code"),
        ("@code  \n ", "@code  \n "),
    ],
)
def test_a_second_one_of_a_kind_stays(text: str, rest: str) -> None:
    assert prefix(text, KNOWN).rest == rest


def test_what_is_no_prefix_of_ours_is_told_and_left() -> None:
    assert prefix("@sara hello", KNOWN) == Prefix("@sara hello", unknown="sara")
    assert prefix("@claude hello", ("codex",)) == Prefix("@claude hello", unknown="claude")
    assert prefix("hello @code", KNOWN) == Prefix("hello @code")
