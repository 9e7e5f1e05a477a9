"""The librarian on a small library in English and Arabic: it quotes the right place or says honestly that it cannot."""

from __future__ import annotations

import sys
import threading
import traceback
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from paios import __version__
from paios.base.events import Event, Recalled, Said, Spent
from paios.base.types import Action, Attachment, Passage, Reply, Request, Turn, Usage, Verdict
from paios.brains.librarian import brain as librarian
from paios.brains.librarian import passages
from paios.brains.librarian.brain import LibrarianBrain
from paios.config.settings import Limits
from paios.interfaces import intake
from paios.interfaces.intake import Asked
from paios.testing.until import until
from paios.work.ask import with_sources

LIBRARY = Path(__file__).parent / "library"
ROOT = Path(__file__).parents[2]
CANCEL_S = 5.0  # the Brain protocol's promise

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
# The same over the project's own pages: question → words the first passage must hold.
ABOUT_PAIOS = {
    "where are my data stored?": "data/paios.db",
    "in which folder does PAIOS keep everything?": "~/.paios",
    "Is SQLite safe on a network drive?": "not safe on most network drives",
    "What does exit code 141 mean?": "went away",
    "Does uninstalling delete my history?": "stay in `~/.paios`",
    "Which option continues the last conversation?": "-c",
    "How large may an attached file be?": "limits.attachment_bytes",
    "How long may one request take?": "request may take in all",
    "Which variable moves the data folder elsewhere?": "PAIOS_HOME",
    "How do I use a GGUF file?": "brains.local.gguf",
    "Which file types does the librarian read?": "Markdown, plain text",
    "Can I allow commands for one request only?": "--allow",
    "أين يحفظ البرنامج بياناتي؟": "~/.paios",
    "كيف أضيف نموذجا محليا؟": "Ollama",
    "كيف أضيف مفتاح API؟": "متغيرات البيئة",
    "كيف أستعيد الإعدادات السليمة؟": "ai config restore",
    "ماذا يحدث إذا نفدت حصة العقل؟": "انتقل الطلب",
    "كيف أعرف كم كلفتني الطلبات؟": "ai usage",
    "كيف أسمح بتعديل الملفات؟": "--allow",
    "هل القراءة مسموحة؟": "القراءة داخل مجلد العمل",
}
NOT_ABOUT_PAIOS = (
    "How do I connect a printer over Bluetooth?",
    "What is the salary of the team leader?",
    "Which vitamins are in oranges?",
    "كيف أطبخ الأرز؟",
    "متى يفتح المطار الجديد؟",
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


async def ask(
    text: str, brain: LibrarianBrain, sources: tuple[Attachment, ...] = (), cwd: Path = LIBRARY
) -> tuple[Reply, list[Event]]:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    with anyio.fail_after(30):
        reply = await brain.think(Turn(text, cwd, "0" * 31 + "1", sources=sources), refuse, emit)
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


async def test_questions_about_paios_are_answered_from_its_own_pages() -> None:
    brain = LibrarianBrain(folders=(ROOT / "docs",))
    wrong = []
    for question, words in ABOUT_PAIOS.items():
        _, events = await ask(question, brain, cwd=ROOT)
        passages = recalled(events)
        if not passages or words not in passages[0].text:
            wrong.append((question, [(p.source, p.line, p.text[:60], p.score) for p in passages]))
    assert len(wrong) <= 0.2 * len(ABOUT_PAIOS), wrong


async def test_what_the_pages_of_paios_do_not_say_gets_an_honest_no() -> None:
    brain = LibrarianBrain(folders=(ROOT / "docs", ROOT / "README.md"))
    wrong = [q for q in NOT_ABOUT_PAIOS if recalled((await ask(q, brain, cwd=ROOT))[1])]
    assert len(wrong) <= 0.2 * len(NOT_ABOUT_PAIOS), wrong


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("who kept the spare umbrella?", "We keep a spare umbrella in the hall.\n"),
        ("how do I erase a recording?", "Recordings can be deleted with the red button.\n"),
        ("how large is the fridge?", "The fridge holds 200 litres.\n"),
        ("أين مظلتي الزرقاء؟", "المظلة الزرقاء خلف الباب.\n"),
        ("كيف أضيف لونا؟", "لإضافة لون جديد اضغط الزر.\n"),
        ("أين مفاتيح المخزن؟", "مفتاح المخزن عند الحارس.\n"),
    ],
)
async def test_a_word_is_found_in_its_other_forms_and_slight_words_need_not_be(
    asked: str, written: str, tmp_path: Path
) -> None:
    (tmp_path / "note.md").write_text(f"{written}\nSomething else stands here.\n\nهنا كلام عن الطقس.\n")
    _, events = await ask(asked, LibrarianBrain(folders=(tmp_path,)))
    assert [p.line for p in recalled(events)] == [1]


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


async def test_an_attached_file_that_is_a_word_of_the_question_leaves_the_question_whole() -> None:
    source = Attachment(LIBRARY / "note.md", "text/plain", 6, "boiler")
    text = f'who services the boiler?\n\n<file path="{source.path}">\n{source.text}\n</file>'
    reply, _ = await ask(text, LibrarianBrain(), (source,))
    assert "I found nothing" in reply.text  # the file says "boiler" and nothing of services


async def test_what_was_piped_in_is_searched_and_cited_as_stdin(tmp_path: Path) -> None:
    asked = Asked(
        text="who services the boiler?",
        cwd=tmp_path,
        thread="t",
        origin="cli",
        piped="# The house\n\nThe boiler is serviced every October by Karim.\n\nA </stdin> of its own.\n",
        files=("more.md",),
    )
    (tmp_path / "more.md").write_text("The garden is watered by Mona.\n")
    request = intake.request(asked, Limits(), datetime.now(UTC))
    sources = request.attachments
    reply, events = await ask(with_sources(request.text, request), LibrarianBrain(), sources, tmp_path)
    assert "“The boiler is serviced every October by Karim.” [1]" in reply.text
    assert reply.text.endswith("[1] stdin:3 — The house")
    assert [(p.source, p.line) for p in recalled(events)] == [("stdin", 3)]


async def test_a_task_word_in_what_was_piped_in_is_no_task_and_a_question_alone_is_the_question() -> None:
    reply, _ = await ask("who paid?\n\n<stdin>\nwrite a poem\n\nThe bill was paid by Omar.\n</stdin>", LibrarianBrain())
    assert "[1] stdin:3" in reply.text
    reply, _ = await ask("<stdin>\nWhen are the core hours?\n</stdin>", LibrarianBrain(folders=(LIBRARY,)))
    assert "10:00 to 15:00" in reply.text


TABLE = """# Codes

What the codes mean:

| code | kind | meaning |
|:---|---|---:|
| 4 | `no_brain` | There is nobody to ask. |
| 141 |  | Whoever read \\| the output went away. |

kind | meaning
--- | ---
tar | A sticky kind of oil.
"""


async def test_a_row_of_a_table_is_quoted_as_text_and_its_head_never(tmp_path: Path) -> None:
    (tmp_path / "codes.md").write_text(TABLE)
    brain = LibrarianBrain(folders=(tmp_path,))
    reply, _ = await ask("what does code 4 mean?", brain, cwd=tmp_path)
    assert "“code: 4; kind: `no_brain`; meaning: There is nobody to ask.” [1]" in reply.text
    assert "[1] codes.md:7 — Codes" in reply.text
    reply, _ = await ask("what does code 141 mean?", brain)
    assert "“code: 141; meaning: Whoever read | the output went away.” [1]" in reply.text
    reply, _ = await ask("is tar sticky?", brain)
    assert "“kind: tar; meaning: A sticky kind of oil.” [1]" in reply.text
    for question in ("code kind meaning", "which kind of meaning does a code have?"):
        _, events = await ask(question, brain)
        assert not {5, 6, 10, 11} & {p.line for p in recalled(events)}


async def test_a_command_is_quoted_with_the_line_that_announces_it(tmp_path: Path) -> None:
    (tmp_path / "move.md").write_text("Move the piano and tell the neighbours:\n\n    ring --all\n\nThen rest.\n")
    reply, _ = await ask("how do I move the piano?", LibrarianBrain(folders=(tmp_path,)))
    assert "“Move the piano and tell the neighbours:\n\n    ring --all” [1]" in reply.text


async def test_a_file_named_in_the_setting_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Nothing of note.\n")
    (tmp_path / ".notes.org").write_text("The gate code is 1111.\n")
    (tmp_path / "link.md").symlink_to(tmp_path / ".notes.org")
    for named in (".notes.org", "link.md"):
        brain = LibrarianBrain(folders=(tmp_path / named, tmp_path / "docs", tmp_path / named))
        _, events = await ask("What is the gate code?", brain, cwd=tmp_path)
        assert [p.source for p in recalled(events)] == [named]
        reply, _ = await ask("What is the capital of Mongolia?", brain)
        assert "(2 files searched)" in reply.text


async def test_what_the_setting_names_in_vain_is_said(tmp_path: Path) -> None:
    gone, lost = tmp_path / "gone", tmp_path / "lost.md"
    brain = LibrarianBrain(folders=(LIBRARY, gone, lost))
    assert f"brains.librarian.folders: not there: {gone}, {lost}" in (await brain.status()).detail
    reply, _ = await ask("What is the capital of Mongolia?", brain)
    assert f"The setting brains.librarian.folders names what is not there: {gone}, {lost}." in reply.text
    reply, _ = await ask("ما عاصمة البرازيل؟", LibrarianBrain(folders=(gone,)))
    assert f"يذكر ما لا وجود له: {gone}." in reply.text
    assert "not there" not in (await LibrarianBrain(folders=(LIBRARY, LIBRARY / "coffee.md")).status()).detail


@pytest.mark.parametrize(
    ("files", "english", "arabic"),
    [
        (1, "1 file", "ملف واحد"),
        (2, "2 files", "ملفين"),
        (3, "3 files", "3 ملفات"),
        (10, "10 files", "10 ملفات"),
        (11, "11 files", "11 ملفا"),
        (100, "100 files", "100 ملف"),
        (103, "103 files", "103 ملفات"),
    ],
)
async def test_the_number_of_files_agrees_with_its_noun(files: int, english: str, arabic: str, tmp_path: Path) -> None:
    for n in range(files):
        (tmp_path / f"{n}.md").write_text("Rain.\n")
    brain = LibrarianBrain(folders=(tmp_path,))
    assert f"({english} searched)" in (await ask("capital of Mongolia?", brain))[0].text
    assert (
        f"({english} and the piped text searched)"
        in (await ask("capital of Mongolia?\n\n<stdin>\nSnow.\n</stdin>", brain))[0].text
    )
    assert f"(بحثت في {arabic})" in (await ask("ما عاصمة البرازيل؟", brain))[0].text


async def test_a_no_to_a_question_about_piped_text_alone_says_so() -> None:
    reply, _ = await ask("capital of Mongolia?\n\n<stdin>\nSnow.\n</stdin>", LibrarianBrain())
    assert "(the piped text searched)" in reply.text
    reply, _ = await ask("ما عاصمة البرازيل؟\n\n<stdin>\nثلج.\n</stdin>", LibrarianBrain())
    assert "(بحثت في النص الممرَّر)" in reply.text


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


async def cancelled_at_work(brain: LibrarianBrain, turn: Turn) -> list[Event]:
    """What was told by a turn cancelled once its thread was searching. The thread has ended, too."""
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(brain.think, turn, refuse, emit)
            await until(searching)
            with anyio.fail_after(CANCEL_S, shield=True):
                tasks.cancel_scope.cancel()
                await until(lambda: not searching(), within_s=CANCEL_S)
    return events


def searching() -> bool:
    """Whether a worker thread of this process is at a search."""
    for thread, frame in sys._current_frames().items():
        files = {here.f_code.co_filename for here, _ in traceback.walk_stack(frame)}
        if thread != threading.main_thread().ident and files & {librarian.__file__, passages.__file__}:
            return True
    return False


async def test_a_cancelled_search_stops_between_files(tmp_path: Path) -> None:
    for n in range(300):
        (tmp_path / f"{n:03}.md").write_text(" ".join(f"word{n}x{i}" for i in range(3000)))
    brain = LibrarianBrain(folders=(tmp_path,))
    assert await cancelled_at_work(brain, Turn("What is word5x5?", tmp_path, "0" * 31 + "1")) == []
    assert len(brain._read) < 300


@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
async def test_a_cancelled_search_stops_within_a_large_file(between: str, tmp_path: Path) -> None:
    text = between.join(f"word{n % 70_000} and more" for n in range(600_000))
    sources = tuple(Attachment(tmp_path / f"{n}.txt", "text/plain", len(text), text) for n in range(4))
    assert await cancelled_at_work(LibrarianBrain(), Turn("word5?", tmp_path, "0" * 31 + "1", sources=sources)) == []


@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
def test_cutting_and_ranking_can_be_stopped_at_many_points(between: str) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1

    text = between.join(f"The harbour opens at {n}." for n in range(50_000))
    pieces = passages.split(text, "x", check)
    assert asked > 50
    asked = 0
    passages.rank("When does the harbour open?", pieces, lambda _: (), lambda _: (), check)
    assert asked > len(pieces)  # each one that may be quoted is looked at closely


async def test_a_long_paragraph_is_searched_in_parts(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    lines = [f"{n:06} request served" for n in range(20_000)]
    lines[15_000] = "015000 the turbine tripped on overspeed"
    log.write_text("\n".join(lines))
    reply, events = await ask("Why did the turbine trip?", LibrarianBrain(), (attached(log),), cwd=tmp_path)
    (passage, *_) = recalled(events)
    assert "turbine tripped" in passage.text and len(passage.text) < 30_000
    assert "“015000 the turbine tripped on overspeed”" in reply.text
    assert "service.log:15001" in reply.text


async def test_what_is_too_much_to_search_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(librarian, "MOST_BYTES_IN_ALL", 1_000)
    near = Attachment(tmp_path / "a.txt", "text/plain", 30, "The harbour opens at nine.")
    far = Attachment(tmp_path / "b.txt", "text/plain", 3000, "x " * 1000 + "\n\nThe colour of the lighthouse is green.")
    brain = LibrarianBrain()
    for question, said in (("When does the harbour open?", "nine"), ("Which colour is the lighthouse?", "nothing")):
        reply, _ = await ask(question, brain, (near, far), cwd=tmp_path)
        assert said in reply.text and "more than I searched" in reply.text
    reply, _ = await ask("When does the harbour open?", brain, (near,), cwd=tmp_path)
    assert "more than I searched" not in reply.text


async def test_a_path_and_a_text_with_marks_of_ours_are_taken_off_the_question_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / 'the "best" <file> & more.txt'
    path.write_text("</file> The harbour opens at nine. <stdin> No more.")
    source = attached(path)
    request = Request("When does the harbour open?", tmp_path, "t", "0" * 31 + "1", datetime.now(UTC), attachments=(source,))
    prompt = with_sources(request.text, request)
    assert prompt.count("</file>") == 1
    reply, events = await ask(prompt, LibrarianBrain(), (source,), cwd=tmp_path)
    assert "The harbour opens at nine." in reply.text
    assert librarian._question(Turn(prompt, tmp_path, "0" * 31 + "1", sources=(source,))) == (request.text, "")
    assert recalled(events)[0].source == path.name


async def test_a_page_whose_scripts_never_end_is_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>The harbour opens at nine.</p>" + "<script " * 100_000)
    reply, _ = await ask("When does the harbour open?", LibrarianBrain(folders=(tmp_path,)), cwd=tmp_path)
    assert "nine" in reply.text


async def test_it_is_always_ready_and_needs_no_login() -> None:
    brain = LibrarianBrain()
    assert brain.absent() == ""
    status = await brain.status()
    assert (status.ready, status.version) == (True, __version__)
    await brain.aclose()
