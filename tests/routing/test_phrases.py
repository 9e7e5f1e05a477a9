"""A person's own words, and the brain they name in them."""

from __future__ import annotations

import pytest

from paios.routing.phrases import named_brain, parts

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
