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
    "Which laptop brand does the Berlin warehouse order for new colleagues in winter?",
    "How many employees attended the climate conference with their manager on Thursday?",
    "Does the insurance of the studio cover accidents of guests skiing on Monday?",
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


@pytest.mark.parametrize("task", TASKS)
async def test_a_task_that_needs_thinking_is_refused_with_the_way_to_a_brain_that_can(task: str) -> None:
    reply, events = await ask(task, LibrarianBrain(folders=(LIBRARY,)))
    assert recalled(events) == ()
    assert "cannot do this" in reply.text or "لا أستطيع" in reply.text
    assert all(way in reply.text for way in WAY_OUT)


async def test_an_answer_quotes_word_for_word_and_cites_file_line_and_heading() -> None:
    source = attached(LIBRARY / "coffee.md")
    reply, _ = await ask("Where do we buy our beans?", LibrarianBrain(), (source,))
    quote = "We buy beans from Nour Roasters in Alexandria."
    assert f"“{quote}” [1]" in reply.text
    line = (source.text or "").split("\n").index(next(ln for ln in (source.text or "").split("\n") if quote in ln)) + 1
    assert f"[1] coffee.md:{line} — The coffee corner › Beans" in reply.text


async def test_the_frame_speaks_the_language_of_the_question_and_the_quotation_that_of_the_file() -> None:
    reply, _ = await ask("كم يوم إجازة للموظف؟", LibrarianBrain(), (attached(LIBRARY / "handbook.md"),))
    assert "من ملفاتك" in reply.text
    assert "25 days of paid leave" in reply.text


async def test_a_keyword_that_is_also_a_verb_is_looked_up() -> None:
    reply, _ = await ask("deploy script", LibrarianBrain(folders=(LIBRARY,)))
    assert "run the deploy script" in reply.text


async def test_what_is_said_is_the_reply_after_the_passages_and_costs_nothing() -> None:
    reply, events = await ask("How long are logs kept?", LibrarianBrain(folders=(LIBRARY,)))
    assert isinstance(events[0], Recalled)
    assert "".join(e.text for e in events if isinstance(e, Said)) == reply.text
    assert sum(isinstance(e, Said) for e in events) > 1
    assert events[-1] == Spent("librarian", None, Usage(), Decimal(0), "free")
    assert reply.model is None


async def test_the_text_of_attached_files_is_not_taken_for_the_question() -> None:
    source = attached(LIBRARY / "handbook.md")
    text = f'Who books train tickets?\n\n<file path="{source.path}">\n{source.text}\n</file>'
    _, events = await ask(text, LibrarianBrain(), (source,))
    assert "Mona" in recalled(events)[0].text


async def test_without_files_it_says_so_and_how_to_get_an_answer() -> None:
    reply, events = await ask("What is the refund policy?", LibrarianBrain())
    assert "no files" in reply.text
    assert all(way in reply.text for way in WAY_OUT)
    assert recalled(events) == ()


async def test_an_honest_no_tells_how_many_files_were_searched() -> None:
    reply, _ = await ask("What is the capital of Mongolia?", LibrarianBrain(folders=(LIBRARY,)))
    assert "5 files searched" in reply.text


async def test_a_question_in_the_other_language_is_told_why_nothing_was_found() -> None:
    reply, _ = await ask("ما لون الصندوق؟", LibrarianBrain(), (attached(LIBRARY / "deploy.md"),))
    assert "بلغة غير لغة سؤالك" in reply.text


async def test_hidden_vendored_binary_linked_and_huge_files_are_left_alone(tmp_path: Path) -> None:
    secret = "The launch code of the submarine is 4711.\n"
    for folder in (".git", "node_modules", "a/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.md").write_text(secret)
    (tmp_path / "binary.txt").write_bytes(b"\0" + secret.encode())
    (tmp_path / "huge.txt").write_text(secret + "x" * 1_000_001)
    (tmp_path / "image.png").write_text(secret)
    outside = tmp_path.parent / f"{tmp_path.name}-outside.md"
    outside.write_text(secret)
    (tmp_path / "link.md").symlink_to(outside)
    _, events = await ask("What is the launch code of the submarine?", LibrarianBrain(folders=(tmp_path,)))
    assert recalled(events) == ()
    (tmp_path / "a" / "notes.md").write_text(secret)
    _, events = await ask("What is the launch code of the submarine?", LibrarianBrain(folders=(tmp_path,)))
    assert [p.source for p in recalled(events)] == [str(tmp_path / "a" / "notes.md")]


async def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    brain = LibrarianBrain(folders=(tmp_path,))
    note = tmp_path / "note.md"
    note.write_text("The gate code is 1111.\n")
    await ask("What is the gate code?", brain)
    note.write_text("The gate code is now 22222.\n")
    reply, _ = await ask("What is the gate code?", brain)
    assert "22222" in reply.text


async def test_html_is_read_without_its_tags_and_keeps_its_lines(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        "<html><script>\nvar parking = 1;\n</script>\n<p>Parking is <b>free</b> for guests.</p>\n</html>"
    )
    _, events = await ask("Is parking free for guests?", LibrarianBrain(folders=(tmp_path,)))
    assert recalled(events)[0].line == 4
    assert "<b>" not in recalled(events)[0].text


async def test_memory_is_searched_too_when_it_is_given() -> None:
    asked = []

    async def recall(question: str) -> tuple[Passage, ...]:
        asked.append(question)
        return (Passage("memory: trip", 1, "The hotel in Lisbon is the Casa Azul near the river.", 1.0),)

    reply, _ = await ask("Which hotel in Lisbon?", LibrarianBrain(recall=recall))
    assert asked == ["Which hotel in Lisbon?"]
    assert "Casa Azul" in reply.text
    assert "[1] memory: trip:1" in reply.text


async def test_a_cancelled_search_stops_between_files(tmp_path: Path) -> None:
    for n in range(300):
        (tmp_path / f"{n:03}.md").write_text(" ".join(f"word{n}x{i}" for i in range(3000)))
    brain = LibrarianBrain(folders=(tmp_path,))
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(brain.think, Turn("What is word5x5?", tmp_path, "0" * 31 + "1"), refuse, emit)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert events == []
    assert len(brain._read) < 300


async def test_it_is_always_ready_and_needs_no_login() -> None:
    brain = LibrarianBrain()
    assert brain.absent() == ""
    assert (await brain.status()).ready
    await brain.aclose()
