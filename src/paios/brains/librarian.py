"""The librarian: a brain without a model, key or network. It quotes what the given files say, or says that it cannot.

Passages are ranked by BM25 (Robertson and Zaragoza 2009) on normalised, stemmed words, Arabic and English; one counts only
if it holds most of what the question is about, weighed by how rare each word is. Nothing is ever put in its own words.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path

import anyio.from_thread
import anyio.to_thread

from paios.base.events import Recalled, Said, Spent
from paios.base.text import STOP_WORDS, normalise, script, stem, words
from paios.base.types import BrainStatus, Passage, Reply, Turn, Usage
from paios.brains.brain import Emit, Gate

Recall = Callable[[str], Awaitable[tuple[Passage, ...]]]

MOST_FILES = 2_000
MOST_BYTES = 1_000_000  # of one file
MOST_BYTES_IN_ALL = 20_000_000  # about 20 s to read the first time; what has not changed is kept
SUFFIXES = frozenset((".md", ".txt", ".rst", ".py", ".toml", ".json", ".html", ".htm"))
SKIPPED = frozenset(
    ("node_modules", "vendor", "third_party", "venv", "site-packages", "__pycache__", "dist", "build", "target")
)

_FLOOR = 0.55  # the share of the question's weight a passage must hold; between answerable and not on the test library
_ALSO = 0.7  # of the best score: what is worth quoting besides
_HEADING = 0.6  # how much a word in the heading counts beside one in the text
_K1, _B = 1.2, 0.6


class LibrarianBrain:
    """Answers questions from attached files, the folders of the settings and, if given, memory."""

    name = "librarian"

    def __init__(self, *, folders: tuple[Path, ...] = (), recall: Recall | None = None) -> None:
        self._folders = folders
        self._recall = recall
        self._read: dict[Path, tuple[int, int, list[_Piece]]] = {}  # path → mtime (ns), size, pieces

    def absent(self) -> str:
        return ""

    async def status(self) -> BrainStatus:
        return BrainStatus(self.name, ready=True, login="none needed", detail="quotes from files, uses no model")

    async def aclose(self) -> None:
        self._read.clear()

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        """Quotes with citations, or an honest no. The gate is not asked: attached files and the folders of the settings
        were chosen by the person."""
        question = _question(turn)
        frame = _FRAMES["ar" if script(question) == "ar" else "en"]
        if _TASK.search(normalise(question)):
            return await self._say([frame.no_task, frame.way_out], emit)
        remembered = await self._recall(question) if self._recall else ()
        found = await anyio.to_thread.run_sync(self._search, turn, question, remembered)
        if not found.hits:
            no = frame.nothing.format(n=found.files) if found.files else frame.no_files
            hint = [frame.other_language] if found.files and found.other_language else []
            return await self._say([no, *hint, frame.way_out], emit)
        await emit(Recalled(tuple(hit.passage for hit in found.hits)))
        quotes = [f"“{hit.quote}” [{n}]" for n, hit in enumerate(found.hits, 1)]
        cited = [_citation(n, hit) for n, hit in enumerate(found.hits, 1)]
        return await self._say([frame.found, *quotes, "\n".join(cited)], emit)

    async def _say(self, paragraphs: Sequence[str], emit: Emit) -> Reply:
        for n, paragraph in enumerate(paragraphs):
            await emit(Said(("\n\n" if n else "") + paragraph))
        await emit(Spent(self.name, None, Usage(), Decimal(0), "free"))
        return Reply("\n\n".join(paragraphs))

    def _search(self, turn: Turn, question: str, remembered: tuple[Passage, ...]) -> _Found:
        pieces: list[_Piece] = []
        for source in turn.sources:
            if source.text is not None:
                pieces += _split(source.text, _label(source.path, turn.cwd))
        files = sum(source.text is not None for source in turn.sources)
        budget = MOST_BYTES_IN_ALL
        for path in _files(self._folders):
            anyio.from_thread.check_cancelled()
            size, of_file = self._pieces(path)
            budget -= size
            if budget < 0:
                break
            files += bool(of_file)
            label = _label(path, turn.cwd)
            pieces += [replace(piece, source=label) for piece in of_file]
        pieces += [_piece(p.source, p.line, "", "", p.text) for p in remembered]
        hits = _rank(question, pieces)
        return _Found(hits, files + len({p.source for p in remembered}), _differs(question, pieces))

    def _pieces(self, path: Path) -> tuple[int, list[_Piece]]:
        """The size of a text file and its pieces, read again only if it changed; none if it cannot be read or is binary."""
        try:
            info = path.lstat()
            if not stat.S_ISREG(info.st_mode) or info.st_size > MOST_BYTES:
                return 0, []
            known = self._read.get(path)
            if known and known[:2] == (info.st_mtime_ns, info.st_size):
                return info.st_size, known[2]
            raw = path.read_bytes()
        except OSError:  # unreadable or gone: one file fewer, the number searched is said
            return 0, []
        pieces = [] if b"\0" in raw[:8192] else _split(_plain(raw, path.suffix), str(path))
        self._read[path] = (info.st_mtime_ns, info.st_size, pieces)
        return info.st_size, pieces


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
_TAG = re.compile(r"</?file\b[^>\n]*>")


def _question(turn: Turn) -> str:
    """The person's words: the turn's text without the attached files it carries and the tags that announce them."""
    text = turn.text
    for source in turn.sources:
        if source.text and source.text.strip():
            text = text.replace(source.text.strip(), "\n")
    return (_TAG.sub("", text) if turn.sources else text).strip()[:4000]


# Names of everyday things in both languages, each as stems; enough for a question to find its page, not to translate.
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


@cache
def _translations() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for pair in _PAIRS.replace("\n", " ").split("|"):
        arabic, *english = (stem(normalise(word)) for word in pair.split())
        found[arabic] = (*found.get(arabic, ()), *english)
        for word in english:
            found[word] = (*found.get(word, ()), arabic)
    return found


def _differs(question: str, pieces: Sequence[_Piece]) -> bool:
    sample = script(" ".join(piece.text[:200] for piece in pieces[:50]))
    return sample != "other" and sample != script(question)


# --- the files -----------------------------------------------------------------------------------------------------


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    """Text files below *folders*, in order of name, hidden and vendored folders and links left out."""
    seen: set[Path] = set()
    for folder in folders:
        for root, names, files in os.walk(folder):
            names[:] = sorted(n for n in names if not n.startswith(".") and n not in SKIPPED)
            for name in sorted(files):
                path = Path(root, name)
                if name.startswith(".") or path.suffix.lower() not in SUFFIXES or path in seen:
                    continue
                seen.add(path)
                yield path
                if len(seen) >= MOST_FILES:
                    return


def _plain(raw: bytes, suffix: str) -> str:
    text = raw.decode("utf-8-sig", "replace")
    if suffix.lower() in (".html", ".htm"):  # tags become blanks and lines stay lines, so that citations hold
        text = re.sub(r"<(script|style)\b.*?</\1>", lambda m: "\n" * m.group().count("\n"), text, flags=re.S | re.I)
        text = re.sub(r"<[^<>]{1,500}>", lambda m: " " + "\n" * m.group().count("\n"), text)
    return text


def _label(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


# --- passages ------------------------------------------------------------------------------------------------------

_TITLE = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_DEFINES = re.compile(r"^(?:async )?(?:def|class)\s+(\w+)|^\[+([\w.\"-]+)\]+\s*$")
_UNDERLINE = re.compile(r"^(={3,}|-{3,}|~{3,})\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+\S|^\s*\|.*\|\s*$")
_FENCED = re.compile(r"^\s*(```|~~~)")
_SENTENCE = re.compile(r"(?<=[.!?؟。])[\"”»)]*\s+(?=\S)")
_LONG = 420  # characters: a passage up to this length is quoted whole if it is one sentence or a block


@dataclass(frozen=True, slots=True)
class _Piece:
    """A paragraph or list item with what it stands under."""

    source: str
    line: int  # 1-based
    heading: str  # "Guide › Install"
    intro: str  # the line that opens the list it is part of
    text: str
    body: Counter[str]  # stems of text and intro
    title: frozenset[str]  # stems of the headings


@dataclass(frozen=True, slots=True)
class _Hit:
    passage: Passage
    heading: str
    quote: str  # word for word from the passage


@dataclass(frozen=True, slots=True)
class _Found:
    hits: tuple[_Hit, ...]
    files: int  # searched
    other_language: bool  # than the question's


def _terms(text: str) -> list[str]:
    return [stem(word) for word in words(text) if word not in STOP_WORDS]


def _piece(source: str, line: int, heading: str, intro: str, text: str) -> _Piece:
    return _Piece(source, line, heading, intro, text, Counter(_terms(f"{intro}\n{text}")), frozenset(_terms(heading)))


def _split(text: str, source: str) -> list[_Piece]:
    """The pieces of a text: paragraphs, list items and table rows each with the line that opens their list, under headings."""
    pieces: list[_Piece] = []
    trail: dict[int, str] = {}
    block: list[str] = []
    opened = ""
    fenced = False

    def close(end: int) -> None:
        nonlocal opened
        if block:
            joined = "\n".join(block)
            is_item = _ITEM.match(block[0]) is not None
            heading = " › ".join(trail[level] for level in sorted(trail))
            pieces.append(_piece(source, end - len(block) + 1, heading, opened if is_item else "", joined.strip()))
            if not is_item:
                opened = block[-1].strip() if len(joined) < _LONG else ""
            elif "|" in block[0][:2] and not opened:
                opened = joined.strip()  # a table's head goes with each of its rows
            block.clear()

    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        fence = _FENCED.match(line) is not None
        title = None if fenced else _heading(line, lines[number] if number < len(lines) else "", block)
        if title:
            close(number - 1)
            level, name = title
            trail = {above: kept for above, kept in trail.items() if above < level} | {level: name}
            opened = ""
            if level == _CODE_LEVEL:
                block.append(line)
        elif not fenced and ((not line.strip() and not fence) or _UNDERLINE.match(line)):
            close(number - 1)
        else:
            if not fenced and not fence and _ITEM.match(line):
                close(number - 1)
            block.append(line)
        fenced ^= fence
    close(len(lines))
    return pieces


_CODE_LEVEL = 9


def _heading(line: str, after: str, block: list[str]) -> tuple[int, str] | None:
    if match := _TITLE.match(line):
        return len(match[1]), match[2]
    if not block and line.strip() and len(line) < 120 and _UNDERLINE.match(after) and not _ITEM.match(line):
        return (1 if after[0] == "=" else 2), line.strip()
    if match := _DEFINES.match(line):
        return _CODE_LEVEL, match[1] or match[2]
    return None


# --- ranking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Term:
    forms: frozenset[str]  # the stem, or what it is called in the other language
    weight: float  # inverse document frequency


def _query(question: str, pieces: Sequence[_Piece]) -> list[_Term]:
    """What the question is about: its rarer words, each weighed by how rare it is; unknown ones weigh most."""
    translations = _translations()
    found = []
    for word in dict.fromkeys(_terms(question)):
        forms = frozenset((word, *translations.get(word, ())))
        count = sum(any(f in p.body or f in p.title for f in forms) for p in pieces)
        found.append((count, _Term(forms, math.log(1 + (len(pieces) - count + 0.5) / (count + 0.5)))))
    rare = [term for count, term in found if count <= max(3, len(pieces) * 0.4)]
    return rare or [term for _, term in found]


def _rank(question: str, pieces: Sequence[_Piece]) -> tuple[_Hit, ...]:
    """The one to three passages worth quoting, best first; none if nothing holds enough of the question."""
    query = _query(question, pieces)
    if not query or not pieces:
        return ()
    mean = sum(piece.body.total() for piece in pieces) / len(pieces) or 1.0
    phrase = normalise(question)
    scored = []
    for piece in pieces:
        score = _score(query, piece, mean)
        if score > 0 and _holds_enough(query, piece):
            scored.append((score * _bonus(phrase, query, piece), piece))
    scored.sort(key=lambda pair: -pair[0])
    hits: list[_Hit] = []
    for score, piece in scored:
        if len(hits) == 3 or score < scored[0][0] * _ALSO:
            break
        if all(piece.text != hit.passage.text for hit in hits):
            quote = _quote(query, piece)
            hits.append(_Hit(Passage(piece.source, _line_of(quote, piece), piece.text, round(score, 3)), piece.heading, quote))
    return tuple(hits)


def _score(query: Sequence[_Term], piece: _Piece, mean: float) -> float:
    """BM25, a word of the heading counting `_HEADING` times one of the text."""
    length = _K1 * (1 - _B + _B * piece.body.total() / mean)
    score = 0.0
    for term in query:
        count = sum(piece.body[f] for f in term.forms) + _HEADING * any(f in piece.title for f in term.forms)
        score += term.weight * count * (_K1 + 1) / (count + length)
    return score


def _holds_enough(query: Sequence[_Term], piece: _Piece) -> bool:
    held = [t.weight for t in query if any(f in piece.body or f in piece.title for f in t.forms)]
    in_text = any(f in piece.body for t in query for f in t.forms)
    return in_text and sum(held) >= _FLOOR * sum(t.weight for t in query) and len(held) >= min(2, len(query))


_NUMBER_ASKED = re.compile(
    r"\bhow (?:many|much|long|old|often|far)\b|\bwhen\b|\bwhat (?:time|year|date|port|price)\b|\bكم\b|\bمتي\b|\bبكم\b"
)


def _bonus(phrase: str, query: Sequence[_Term], piece: _Piece) -> float:
    """More for question words that stand side by side, and for a number where one is asked for."""
    stems = _terms(piece.text)
    wanted = {f for t in query for f in t.forms}
    together = sum(a in wanted and b in wanted and a != b for a, b in pairwise(stems))
    number = 0.15 if _NUMBER_ASKED.search(phrase) and re.search(r"\d", piece.text) else 0.0
    return 1 + min(0.2, 0.1 * together) + number


def _quote(query: Sequence[_Term], piece: _Piece) -> str:
    """The sentence of the piece that says most of what was asked, with the next one if that is as good; else all of it."""
    if _ITEM.match(piece.text) or "```" in piece.text or _DEFINES.match(piece.text):
        return piece.text[:_LONG]
    sentences = _SENTENCE.split(piece.text)
    if len(sentences) == 1:
        return piece.text[: 2 * _LONG]

    def worth(sentence: str) -> float:
        held = set(_terms(sentence))
        return sum(t.weight for t in query if held & t.forms) + (0.3 if re.search(r"\d", sentence) else 0.0)

    return max(sentences, key=worth)[: 2 * _LONG]


def _line_of(quote: str, piece: _Piece) -> int:
    return piece.line + piece.text[: max(0, piece.text.find(quote))].count("\n")


def _citation(n: int, hit: _Hit) -> str:
    return f"[{n}] {hit.passage.source}:{hit.passage.line}" + (f" — {hit.heading}" if hit.heading else "")


# --- words of our own ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frame:
    found: str
    nothing: str
    no_files: str
    no_task: str
    other_language: str
    way_out: str


_FRAMES = {
    "en": _Frame(
        found="From your files, word for word:",
        nothing="I found nothing about this ({n} files searched).",
        no_files="I have no files to answer from: attach some, or name folders in the setting brains.librarian.folders.",
        no_task="I cannot do this: I am the librarian, I have no model and can only quote from files.",
        other_language="The files are mostly in another language than your question, and I only match words.",
        way_out="I have no model and do not guess. To get a brain that can think: log in to Claude Code (claude), "
        "log in to Codex (codex login), or set an API key or a local model. `ai doctor` shows what is missing.",
    ),
    "ar": _Frame(
        found="من ملفاتك، بالنص:",
        nothing="لم أجد شيئا عن هذا (عدد الملفات التي بحثت فيها: {n}).",
        no_files="ليس لدي ملفات أجيب منها: أرفق ملفات، أو سمّ مجلدات في الإعداد brains.librarian.folders.",
        no_task="لا أستطيع تنفيذ هذا: أنا أمين المكتبة، بلا نموذج لغوي، وكل ما أفعله الاقتباس من الملفات.",
        other_language="الملفات في معظمها بلغة غير لغة سؤالك، وأنا أطابق الكلمات فقط.",
        way_out="ليس لدي نموذج لغوي ولا أخمّن. لتحصل على عقل يفكر: سجّل الدخول إلى Claude Code (claude)، "
        "أو إلى Codex (codex login)، أو أضف مفتاح API أو نموذجا محليا. الأمر `ai doctor` يبيّن ما ينقص.",
    ),
}
