"""The librarian on a small library in English and Arabic: it quotes the right place or says honestly that it cannot."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from paios.base.events import Event, Recalled, Said, Spent
from paios.base.types import Action, Attachment, Passage, Reply, Turn, Usage, Verdict
from paios.brains.librarian import LibrarianBrain

LIBRARY = Path(__file__).parent / "library"

# question → (file, words the first quotation must hold)
ANSWERABLE = {
    "How many days of paid leave do I get?": ("handbook.md", "25 days"),
    "When are the core hours?": ("handbook.md", "10:00 to 15:00"),
    "Can I work from home?": ("handbook.md", "two days a week"),
    "who books train tickets": ("handbook.md", "Mona"),
    "What should I do if my laptop is stolen?": ("handbook.md", "4477"),
    "What is the password of the guest network?": ("handbook.md", "reception"),
    "how much is refunded for meals on a business trip?": ("handbook.md", "40 euros"),
    "Do I have to return my badge?": ("handbook.md", "must be returned"),
    "Which port does the billing service listen on?": ("deploy.md", "8085"),
    "Which Python version is required?": ("deploy.md", "3.12"),
    "How do I roll back a release?": ("deploy.md", "--rollback"),
    "what happens without BILLING_SECRET": ("deploy.md", "refuses to start"),
    "How long are logs kept?": ("deploy.md", "14 days"),
    "when do backups run": ("deploy.md", "02:30"),
    "What is the default of retry_limit?": ("deploy.md", "5"),
    "How often does the espresso machine need descaling?": ("coffee.md", "six weeks"),
    "why does the red lamp blink?": ("coffee.md", "water tank"),
    "Who cleans on Wednesday?": ("coffee.md", "sales team"),
    "كم الرسوم السنوية للمرحلة الابتدائية؟": ("school.md", "18000"),
    "متى يبدأ اليوم الدراسي؟": ("school.md", "السابعة والنصف"),
    "ما هي الأحياء التي تغطيها الحافلات؟": ("school.md", "النخيل"),
    "هل يُسمح بالمكسّرات في المدرسة؟": ("school.md", "المكسرات"),
    "أين أرسل عذر الغياب؟": ("school.md", "absence@school.example"),
    "كم مرة تسقى أشجار الليمون؟": ("garden.md", "مرتين"),
    "كيف أكافح المن على الأوراق؟": ("garden.md", "صابون"),
    "أين أدوات التقليم؟": ("garden.md", "الصندوق الأخضر"),
    "متى يوضع السماد العضوي؟": ("garden.md", "فبراير"),
}
UNANSWERABLE = (
    "What is the dress code for the office party?",
    "How do I configure Kafka partitions?",
    "What is the capital of Mongolia?",
    "Who won the world cup in 1998?",
    "How much does a parking permit cost?",
    "Which vaccines does the staff need for travel to Brazil?",
    "Does the service support GraphQL subscriptions?",
    "What is the meaning of life?",
    "ما عاصمة البرازيل؟",
    "كم سعر تذكرة الطيران إلى دبي؟",
    "من هو مدير المدرسة الجديد؟",
    "كيف أزرع الطماطم في البيت الزجاجي؟",
    "متى تبدأ مباراة المنتخب؟",
)
TASKS = (
    "write a poem about the sea",
    "Could you please fix my code?",
    "help me write an email to the finance team about receipts",
    "translate the handbook to French",
    "turn off the lights",
    "اكتب قصيدة عن الليمون",
    "من فضلك لخص دليل المدرسة",
)
WAY_OUT = ("Claude Code", "Codex", "API", "ai doctor")


async def refuse(action: Action) -> Verdict:
    raise AssertionError(f"the librarian asked the gate for {action}")


async def ask(text: str, brain: LibrarianBrain, sources: tuple[Attachment, ...] = ()) -> tuple[Reply, list[Event]]:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    with anyio.fail_after(30):
        reply = await brain.think(Turn(text, LIBRARY, "0" * 31 + "1", sources=sources), refuse, emit)
    return reply, events


def recalled(events: list[Event]) -> tuple[Passage, ...]:
    return next((e.passages for e in events if isinstance(e, Recalled)), ())


def attached(path: Path) -> Attachment:
    text = path.read_text("utf-8")
    return Attachment(path, "text/markdown", len(text.encode()), text)


async def test_most_questions_are_answered_from_the_right_place_first() -> None:
    brain = LibrarianBrain(folders=(LIBRARY,))
    wrong = []
    for question, (file, words) in ANSWERABLE.items():
        _, events = await ask(question, brain)
        passages = recalled(events)
        if not passages or passages[0].source != file or words not in passages[0].text:
            wrong.append((question, [(p.source, p.line, p.text[:60], p.score) for p in passages]))
    assert len(wrong) <= 0.15 * len(ANSWERABLE), wrong


async def test_most_questions_the_files_do_not_answer_get_an_honest_no() -> None:
    brain = LibrarianBrain(folders=(LIBRARY,))
    wrong = []
    for question in UNANSWERABLE:
        reply, events = await ask(question, brain)
        if recalled(events) or not all(way in reply.text for way in WAY_OUT):
            wrong.append((question, recalled(events)))
    assert len(wrong) <= 0.15 * len(UNANSWERABLE), wrong
