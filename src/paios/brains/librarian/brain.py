"""The librarian: a brain without a model, key or network. It quotes what the given files say, or says that it cannot.

Knows where the files are and how to say it; how texts are cut and ranked is in `passages`. Nothing is put in its own words.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import anyio.to_thread

from paios import __version__
from paios.base.events import Recalled, Said, Spent
from paios.base.quoting import quoted
from paios.base.text import normalise, script
from paios.base.types import BrainStatus, Passage, Reply, Turn, Usage
from paios.brains.brain import Emit, Gate
from paios.brains.librarian.passages import Check, Hit, Piece, keys, piece, rank, split

Recall = Callable[[str], Awaitable[tuple[Passage, ...]]]

MOST_FILES = 2_000
MOST_BYTES = 1_000_000  # of one file
MOST_BYTES_IN_ALL = 20_000_000  # about 20 s to read the first time; files of the setting are kept until they change
SUFFIXES = frozenset((".md", ".txt", ".rst", ".py", ".toml", ".json", ".html", ".htm"))
SKIPPED = frozenset(
    ("node_modules", "vendor", "third_party", "venv", "site-packages", "__pycache__", "dist", "build", "target")
)


@dataclass(frozen=True, slots=True)
class _Found:
    hits: tuple[Hit, ...]
    files: int  # searched
    more: bool  # than could be searched
    other_language: bool  # than the question's
    missing: tuple[Path, ...]  # of the setting


class LibrarianBrain:
    """Answers from attached files, what was piped in, the folders and files of the settings and, if given, memory."""

    name = "librarian"

    def __init__(self, *, folders: tuple[Path, ...] = (), recall: Recall | None = None) -> None:
        self._folders = folders
        self._recall = recall
        self._read: dict[Path, tuple[int, int, list[Piece]]] = {}  # path → mtime (ns), size, pieces

    def absent(self) -> str:
        return ""

    async def status(self) -> BrainStatus:
        """Ready whatever is missing: attached files need no folder. What the setting names in vain is in the detail."""
        detail = "quotes from files, uses no model"
        if missing := await anyio.to_thread.run_sync(_missing, self._folders):
            detail += f"; brains.librarian.folders: not there: {_names(missing, 'en')}"
        return BrainStatus(self.name, ready=True, version=__version__, login="none needed", detail=detail)

    async def aclose(self) -> None:
        self._read.clear()

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        """Quotes with citations, or an honest no. The gate is not asked: attached files and the folders of the settings
        were chosen by the person."""
        question, piped = await anyio.to_thread.run_sync(_question, turn, abandon_on_cancel=True)
        language = "ar" if script(question) == "ar" else "en"
        frame = _FRAMES[language]
        if _TASK.search(normalise(question)):
            return await self._say([frame.no_task, frame.way_out], emit)
        remembered = await self._recall(question) if self._recall else ()
        found = await _stoppable(lambda check: self._search(turn, question, piped, remembered, check))
        more = [frame.more.format(MOST_BYTES_IN_ALL // 1_000_000)] if found.more else []
        if not found.hits:
            no = frame.nothing.format(_searched(found.files, bool(piped), language))
            paragraphs = [no if found.files or piped else frame.no_files]
            if found.other_language and (found.files or piped):
                paragraphs.append(frame.other_language)
            if found.missing:
                paragraphs.append(frame.missing.format(_names(found.missing, language)))
            return await self._say([*paragraphs, *more, frame.way_out], emit)
        await emit(Recalled(tuple(hit.passage for hit in found.hits)))
        quotes = [f"“{hit.quote}” [{n}]" for n, hit in enumerate(found.hits, 1)]
        cited = [_citation(n, hit) for n, hit in enumerate(found.hits, 1)]
        return await self._say([frame.found, *quotes, "\n".join(cited), *more], emit)

    async def _say(self, paragraphs: Sequence[str], emit: Emit) -> Reply:
        for n, paragraph in enumerate(paragraphs):
            await emit(Said(("\n\n" if n else "") + paragraph))
        await emit(Spent(self.name, None, Usage(), Decimal(0), "free"))
        return Reply("\n\n".join(paragraphs))

    def _search(self, turn: Turn, question: str, piped: str, remembered: tuple[Passage, ...], check: Check) -> _Found:
        given = [(source.text, _label(source.path, turn.cwd)) for source in turn.sources if source.text is not None]
        files = len(given)
        budget = MOST_BYTES_IN_ALL
        pieces: list[Piece] = []
        for text, label in [(piped, "stdin"), *given]:
            pieces += split(text[: max(0, budget)], label, check) if text else []
            budget -= len(text)
        for path in _files(self._folders, check):
            size, of_file = self._pieces(path, check)
            budget -= size
            if budget < 0:
                break
            files += bool(of_file)
            label = _label(path, turn.cwd)
            pieces += [replace(piece, source=label) for piece in of_file]
        pieces += [piece(p.source, p.line, "", "", p.text) for p in remembered]
        hits = rank(question, pieces, _translated, _related, check)
        files += len({p.source for p in remembered})
        return _Found(hits, files, budget < 0, _differs(question, pieces), _missing(self._folders))

    def _pieces(self, path: Path, check: Check) -> tuple[int, list[Piece]]:
        """The size of a text file and its pieces, read again only if it changed; none if it cannot be read or is binary."""
        try:
            info = path.stat()
            if not stat.S_ISREG(info.st_mode) or info.st_size > MOST_BYTES:
                return 0, []
            known = self._read.get(path)
            if known and known[:2] == (info.st_mtime_ns, info.st_size):
                return info.st_size, known[2]
            raw = path.read_bytes()
        except OSError:  # unreadable or gone: one file fewer, the number searched is said
            return 0, []
        pieces = [] if b"\0" in raw[:8192] else split(_plain(raw, path.suffix), str(path), check)
        self._read[path] = (info.st_mtime_ns, info.st_size, pieces)
        return info.st_size, pieces


class _Stopped(Exception):
    """Nobody waits for the search any more."""


async def _stoppable(search: Callable[[Check], _Found]) -> _Found:
    """What *search* finds, in a worker thread. When cancelled it is left behind, and ends at its next check."""
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise _Stopped

    try:
        return await anyio.to_thread.run_sync(search, check, abandon_on_cancel=True)
    finally:
        stop.set()


# --- the question --------------------------------------------------------------------------------------------------

# What no quotation can do. Asked politely it is the same task.
_TASK = re.compile(
    r"^\W*(?:(?:please|hey|hi|ok|now|kindly|help me(?: to)?|(?:can|could|would|will) you(?: please)?|let's"
    r"|i (?:want|need|would like) you to|i'd like you to)\W+)*"
    r"(?:(?:write|draft|compose|fix|create|generate|translate|implement|build|refactor|draw|delete|rename|rewrite|install|turn"
    r"|remind|summari[sz]e|debug|add|remove|paint|sing|convert|calculate|solve"
    r"|brainstorm|imagine|pretend|paraphrase|invent|improve)\b"
    r"|(?:run|play|switch|open|close|set|schedule|code|make|send|book|design|act|edit|deploy) (?:me"
    r"|my|the|an?|it|this|that|some|all|on"
    r"|off|up|as)\b)"
    r"|^\W*(?:(?:من فضلك|لو سمحت|رجاء|ممكن|هل يمكنك(?: ان)?|ساعدني (?:في|علي)|اريد(?: منك)? ان|ابغاك)\W+)*"
    r"(?:اكتب|تكتب|كتابه|الف|صغ|اصلح|صحح|انشي|ترجم|ارسم|صمم|احذف|شغل|اطفي|افتح|اغلق|ذكرني|لخص|تلخص|برمج|احسب|ارسل|احجز"
    r"|نفذ|عدل|تخيل|غني|اضف)(?:ي|لي|ها|ه)?(?:\W|$)"
)
_PIPED = re.compile(r"(?:\A|\n\n)<stdin>\n(.*)\n</stdin>\s*\Z", re.DOTALL)


def _question(turn: Turn) -> tuple[str, str]:
    """The person's words and what was piped in, parted as the door and `ask` joined them, without the attached files."""
    blocks = (quoted("file", source.text, path=str(source.path)) for source in turn.sources if source.text is not None)
    text = turn.text.removesuffix("".join(f"\n\n{block}" for block in blocks))
    piped = _PIPED.search(text)
    asked, given = (text[: piped.start()].strip(), piped[1]) if piped else (text.strip(), "")
    return (asked[:4000], given) if asked else (given[:4000], "")  # what is piped in alone is the question


# Names of everyday things in both languages; enough for a question to find its page, not to translate.
_PAIRS = """سعر price|ثمن price|تاريخ date|موعد date deadline|مرور password|نسخ backup copy|تثبيت install|
اعدادات settings|خادم server|بيانات data database|مستخدم user|ملف file|مجلد folder|شحن shipping
|توصيل delivery|ارجاع return|استرداد refund|ضمان warranty|دفع payment pay|فاتورة invoice|عنوان
address|هاتف phone|بريد email mail|مدير manager|موظف employee staff|إجازة leave vacation holiday|
ساعات hours|دوام hours|راتب salary|اجتماع meeting|مشروع project|خطأ error|تحديث update|حذف
delete|رسوم fee|عميل customer|طلب order|منتج product|أسبوع week|شهر month|يوم day|سنة year|
مكتب office|اختبار test|أمان security|نشر deploy|إصدار version release|مفتاح key|ترخيص licence
license|شبكة network|لغة language|منفذ port|تشغيل start run|إيقاف stop|حد limit|مدة time
duration|قهوة coffee|ماء water|مفاتيح keys|سيارة car|غرفة room|ضيف guest|واي wifi|سجل log|
سجلات logs|حرارة temperature|فريق team|عقد contract|طابعة printer"""


# Words that mean nearly the same where things are looked up, within one language; each finds the others, for less.
_NEAR = """store save keep hold|folder directory|delete remove erase|uninstall remove|cost price fee charge
|allow permit permission consent|configuration config setting|error fault problem|start begin launch|stop end quit
|change edit modify|choose select pick|continue resume|computer machine laptop|broken damaged corrupt
|image photo picture|repair fix mend|mandatory required|forbidden prohibited|employee colleague
|holiday vacation leave|buy purchase|data database|reply answer
|حفظ تخزين|حذف مسح ازالة|كلفة تكلفة سعر ثمن|خطأ مشكلة عطل|سماح إذن|تغيير تعديل|اختيار انتقاء|متابعة مواصلة استئناف
|حاسوب كمبيوتر جهاز|مكان موقع|معطوب تالف|بدء تشغيل|جواب إجابة رد|إصلاح تصليح|إضافة إدراج|تنزيل تحميل"""


def _table(groups: str) -> Iterator[list[tuple[str, ...]]]:
    """Each group of words as the keys of its words."""
    for group in groups.replace("\n", " ").split("|"):
        yield [keys(normalise(word)) for word in group.split()]


@cache
def _translations() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for arabic, *english in _table(_PAIRS):
        for key in arabic:
            found[key] = (*found.get(key, ()), *(word[0] for word in english))
        for word in english:
            found[word[0]] = (*found.get(word[0], ()), arabic[0])
    return found


@cache
def _neighbours() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for group in _table(_NEAR):
        for of_word in group:
            others = [key for other in group if other != of_word for key in other]
            for key in of_word:
                found[key] = (*found.get(key, ()), *others)
    return found


def _translated(key: str) -> tuple[str, ...]:
    return _translations().get(key, ())


def _related(key: str) -> tuple[str, ...]:
    return _neighbours().get(key, ())


def _differs(question: str, pieces: Sequence[Piece]) -> bool:
    sample = script(" ".join(piece.text[:200] for piece in pieces[:50]))
    return sample != "other" and sample != script(question)


# --- the files -----------------------------------------------------------------------------------------------------


def _files(chosen: Sequence[Path], check: Check) -> Iterator[Path]:
    """
    The files named in *chosen*, and the text files below its folders in order of name.

    Below a folder, hidden and vendored folders and links are left out; what is named is read whatever it is called.
    """
    seen: set[Path] = set()
    for top in chosen:
        for path in (top,) if top.is_file() else _below(top, check):
            check()
            if path not in seen:
                seen.add(path)
                yield path
            if len(seen) >= MOST_FILES:
                return


def _below(folder: Path, check: Check) -> Iterator[Path]:
    for root, names, files in os.walk(folder):
        check()
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in SKIPPED)
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and not path.is_symlink():
                yield path


def _missing(chosen: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(path for path in chosen if not path.is_file() and not path.is_dir())


def _plain(raw: bytes, suffix: str) -> str:
    text = raw.decode("utf-8-sig", "replace")
    if suffix.lower() in (".html", ".htm"):  # tags become blanks and lines stay lines, so that citations hold
        # One that is never closed goes to the end: looking for the end of each anew would take hours.
        text = re.sub(r"<(script|style)\b(?:.*?</\1>|.*)", lambda m: "\n" * m.group().count("\n"), text, flags=re.S | re.I)
        text = re.sub(r"<[^<>]{1,500}>", lambda m: " " + "\n" * m.group().count("\n"), text)
    return text


def _label(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


# --- words of our own ----------------------------------------------------------------------------------------------


def _citation(n: int, hit: Hit) -> str:
    return f"[{n}] {hit.passage.source}:{hit.passage.line}" + (f" — {hit.heading}" if hit.heading else "")


def _names(paths: Sequence[Path], language: str) -> str:
    return ("، " if language == "ar" else ", ").join(map(str, paths))


def _searched(files: int, piped: bool, language: str) -> str:
    """What was searched, in words that agree with the number: "2 files and the piped text"; in Arabic after «في»."""
    if language == "en":
        told = [f"{files} file{'' if files == 1 else 's'}"] if files else []
        return " and ".join([*told, "the piped text"] if piped else told)
    last = files % 100
    named = "ملفات" if 3 <= last <= 10 else "ملفا" if last > 10 else "ملف"
    told = [{1: "ملف واحد", 2: "ملفين"}.get(files, f"{files} {named}")] if files else []
    return " وفي ".join([*told, "النص الممرَّر"] if piped else told)


@dataclass(frozen=True, slots=True)
class _Frame:
    found: str
    nothing: str
    no_files: str
    no_task: str
    other_language: str
    missing: str
    more: str
    way_out: str


_FRAMES = {
    "en": _Frame(
        found="From your files, word for word:",
        nothing="I found nothing about this ({} searched).",
        no_files="I have no files to answer from: attach some, "
        "or name folders or files in the setting brains.librarian.folders.",
        no_task="I cannot do this: I am the librarian, I have no model and can only quote from files.",
        other_language="The files are mostly in another language than your question, and I only match words.",
        missing="The setting brains.librarian.folders names what is not there: {}.",
        more="There is more than I searched: I stop after {} MB.",
        way_out="I have no model and do not guess. To get a brain that can think: log in to Claude Code (claude), "
        "log in to Codex (codex login), or set an API key or a local model. `ai doctor` shows what is missing.",
    ),
    "ar": _Frame(
        found="من ملفاتك، بالنص:",
        nothing="لم أجد شيئا عن هذا (بحثت في {}).",
        no_files="ليس لدي ملفات أجيب منها: أرفق ملفات، أو سمّ مجلدات أو ملفات في الإعداد brains.librarian.folders.",
        no_task="لا أستطيع تنفيذ هذا: أنا أمين المكتبة، بلا نموذج لغوي، وكل ما أفعله الاقتباس من الملفات.",
        other_language="الملفات في معظمها بلغة غير لغة سؤالك، وأنا أطابق الكلمات فقط.",
        missing="الإعداد brains.librarian.folders يذكر ما لا وجود له: {}.",
        more="هناك أكثر مما بحثت فيه: أتوقف بعد {} ميغابايت.",
        way_out="ليس لدي نموذج لغوي ولا أخمّن. لتحصل على عقل يفكر: سجّل الدخول إلى Claude Code (claude)، "
        "أو إلى Codex (codex login)، أو أضف مفتاح API أو نموذجا محليا. الأمر `ai doctor` يبيّن ما ينقص.",
    ),
}
