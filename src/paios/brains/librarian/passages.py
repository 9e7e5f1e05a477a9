"""Texts cut into passages, and the passages that answer a question, best first, or none.

Ranked by BM25 (Robertson and Zaragoza 2009) on stemmed words, Arabic and English; a passage counts only if it holds most of
what the question is about, weighed by how rare each word is. A word also matches, for less, by its Arabic root letters or
as a related word, which the caller knows. Knows nothing about files and brains; nothing is ever put in its own words.
Work on texts of any size asks *check* every few milliseconds, which raises to end it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from paios.base.text import STOP_WORDS, normalise, script, stem, words
from paios.base.types import Passage

Related = Callable[[str], tuple[str, ...]]
Check = Callable[[], None]

_FLOOR = 0.55  # the share of the question's weight a passage must hold; between answerable and not on the test library
_ALSO = 0.7  # of the best score: what is worth quoting besides
_HEADING = 0.6  # how much a word in the heading counts beside one in the text
_LOOSE = 0.75  # how much a shared root or a related word counts beside the word itself
_LITTLE = 0.3  # how much a word like "need" weighs beside one that names something
_K1, _B = 1.2, 0.6
_AT_ONCE = 500  # pieces looked at between two checks
_SHORT = 500  # characters: what is longer is no heading and no rule, and those expressions can take the square of it
_PIECE = 20_000  # characters: a longer paragraph, such as a file that is one line, is cut between two words


@dataclass(frozen=True, slots=True)
class Piece:
    """A paragraph, list item or table row with what it stands under."""

    source: str
    line: int  # 1-based
    heading: str  # "Guide › Install"
    text: str
    kind: Literal["text", "item", "row"]
    size: int  # words counted, those of the line that opens its list among them
    body: Counter[str]  # the keys of these words
    title: frozenset[str]  # the keys of the headings


@dataclass(frozen=True, slots=True)
class Hit:
    passage: Passage
    heading: str
    quote: str  # word for word from the passage


# --- words ---------------------------------------------------------------------------------------------------------

_FORMS = """keep kept|send sent|make made|run ran|take took taken|give gave given|begin began begun|break broke broken
|choose chose chosen|write wrote written|pay paid|lose lost|find found|steal stole stolen|show shown|hide hid hidden
|build built|buy bought|sell sold|tell told|spend spent|hold held|forget forgot forgotten|throw threw thrown
|drive drove driven|speak spoke spoken|teach taught|bring brought|go goes went gone|child children|person people
|man men|woman women|foot feet"""
_IRREGULAR = {form: first for first, *forms in map(str.split, _FORMS.split("|")) for form in forms}
_SLIGHT = """need want use make go happen way thing possible able try really actually exactly يحدث احتاج تحتاج يحتاج استطيع
اقدر يمكن يمكنني ممكن افعل افعله اعمل اريد شيء شي شييا طريقه بنفسي بالضبط يجب"""
_PRONOUNS = ("تني", "كما", "هما", "كم", "هم", "هن", "نا", "ني", "ك", "ها", "ه", "ا")  # and the ending of an indefinite object
_ENDINGS = ("ات", "ان", "ون", "ين", "يه", "ه", "ي")
_TENTH = re.compile("^[ايتن]ست(?=..)")  # the verb form of استعاد and يستعيد
_WEAK = str.maketrans("", "", "اوي")


@lru_cache(maxsize=50_000)
def keys(word: str) -> tuple[str, ...]:
    """What a normalised word is found by, its stem first; an Arabic one also by its root letters, marked `~`."""
    base = stem(_IRREGULAR.get(word, word))
    return (base, *sorted(_roots(word))) if "\u0620" <= base[0] <= "\u06d3" else (base,)


def _roots(word: str) -> set[str]:
    """
    What the forms of an Arabic word may share: أضيف, يضيف and إضافة; تثبيت and أثبت; مفتاح and مفاتيح; حصة and حصته.

    Endings go, and then the long vowels, once with and once without the letter that makes a verb's person. Unrelated words
    may meet here, which is why it counts less than a stem.
    """
    owned = next((e for e in _PRONOUNS if word.endswith(e) and len(word) - len(e) >= 3), "")
    bare = stem(word.removesuffix(owned))
    ending = next((e for e in _ENDINGS if bare.endswith(e) and len(bare) - len(e) >= 3), "")
    bare = _TENTH.sub("ا", bare.removesuffix(ending))
    forms = {bare}
    if bare.endswith("ت") and len(bare) > (2 if owned else 3):  # نفدت, and the ة of حصته
        forms.add(bare[:-1])
    personless = {form[1:] for form in forms if len(form) >= 4 and form[0] in "ايتن"}
    return {"~" + _consonants(form, "") for form in forms} | {"~" + _consonants(form, "ا") for form in personless}


def _consonants(form: str, before: str) -> str:
    """The form without its long vowels; with *before* if only two letters are left, or whole if there is none."""
    left = form[:1] + form[1:].translate(_WEAK)
    return left if len(left) >= 3 else before + left if before else form


def _all_keys(text: str) -> Iterator[tuple[str, ...]]:
    return (keys(word) for word in words(text) if word not in STOP_WORDS)


# --- cutting -------------------------------------------------------------------------------------------------------

_TITLE = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_DEFINES = re.compile(r"^(?:async )?(?:def|class)\s+(\w+)|^\[+([\w.\"-]+)\]+\s*$")
_UNDERLINE = re.compile(r"^(={3,}|-{3,}|~{3,})\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+\S")
_FENCED = re.compile(r"^\s*(```|~~~)")
_CODE = re.compile(r"^(?: {4,}|\t)\S|^(```|~~~)")
_RULE = re.compile(r"^(?=.*\|)\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")  # the line below a table's head
_BAR = re.compile(r"(?<!\\)\|")
_SENTENCE = re.compile(r"(?<=[.!?؟。])[\"”»)]*\s+(?=\S)")
_LONG = 420  # characters: a passage up to this length is quoted whole if it is one sentence or a block
_CODE_LEVEL = 9


def piece(source: str, line: int, heading: str, intro: str, text: str, kind: Literal["text", "item", "row"] = "text") -> Piece:
    """A passage found by its own words, those of *intro*, the line that opens its list, and of its headings."""
    body = list(_all_keys(f"{intro}\n{text}"))
    title = frozenset(key for of_word in _all_keys(heading) for key in of_word)
    return Piece(source, line, heading, text, kind, len(body), Counter(key for of_word in body for key in of_word), title)


def split(text: str, source: str, check: Check = lambda: None) -> list[Piece]:
    """The pieces of a text in order: paragraphs and list items as they stand, each row of a table as `head: cell; …`."""
    cut = _Cut(source)
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        after = lines[number][:_SHORT] if number < len(lines) else ""
        for part in _parts(line):
            check()
            cut.take(number, part, after)
    check()
    cut.close()
    return cut.pieces


def _parts(line: str) -> Iterator[str]:
    while len(line) > _PIECE:
        end = line.rfind(" ", 0, _PIECE) + 1 or _PIECE
        yield line[:end]
        line = line[end:]
    yield line


class _Cut:
    """Where a text is being cut: the headings above, the block begun, the table or fence it is in."""

    def __init__(self, source: str) -> None:
        self.pieces: list[Piece] = []
        self._source = source
        self._trail: dict[int, str] = {}
        self._block: list[str] = []
        self._size = 0  # of the block, in characters
        self._begin = 0  # line of the block's first
        self._opened = ""  # the line that opens the list we are in
        self._head: list[str] | None = None  # of the table we are in
        self._fenced = False

    def take(self, number: int, line: str, after: str) -> None:
        """*after* is the line below: it tells a heading and a table's head."""
        if self._fenced or _FENCED.match(line):
            self._fenced ^= _FENCED.match(line) is not None
            self._add(number, line)
        elif self._in_table(number, line, after):
            pass
        elif title := _heading(line, after, self._block):
            self._under(number, line, *title)
        elif not line.strip() and self._block and self._block[-1].rstrip().endswith(":") and _CODE.match(after):
            self._add(number, line)  # what is announced belongs to what announces it
        elif not line.strip() or _UNDERLINE.match(line):
            self.close()
        else:
            if _ITEM.match(line):
                self.close()
            self._add(number, line)

    def close(self) -> None:
        """Ends the block begun, if any."""
        if not self._block:
            return
        is_item = _ITEM.match(self._block[0]) is not None
        joined, last = "\n".join(self._block), self._block[-1].strip()
        self._keep(self._begin, joined.strip(), "item" if is_item else "text", self._opened if is_item else "")
        if not is_item:
            self._opened = last if len(joined) < _LONG else ""
        self._block = []

    def _add(self, number: int, line: str) -> None:
        if self._size + len(line) > _PIECE:
            self.close()
        if not self._block:
            self._begin, self._size = number, 0
        self._block.append(line)
        self._size += len(line)

    def _keep(self, line: int, text: str, kind: Literal["text", "item", "row"], intro: str) -> None:
        heading = " › ".join(self._trail[level] for level in sorted(self._trail))
        self.pieces.append(piece(self._source, line, heading, intro, text, kind))

    def _under(self, number: int, line: str, level: int, name: str) -> None:
        self.close()
        self._trail = {above: kept for above, kept in self._trail.items() if above < level} | {level: name}
        self._opened = ""
        if level == _CODE_LEVEL:
            self._add(number, line)

    def _in_table(self, number: int, line: str, after: str) -> bool:
        """Whether the line belongs to a table: its head and the rule below are no passages, each row is one."""
        if self._head is None:
            if "|" in line and _is_rule(after) and not _is_rule(line):
                self.close()
                self._head = _cells(line)
                return True
            return False
        if not _BAR.search(line):
            self._head = None
            return False
        if not _is_rule(line):
            self._keep(number, _row(self._head, _cells(line)), "row", self._opened)
        return True


def _is_rule(line: str) -> bool:
    return len(line) < _SHORT and _RULE.match(line) is not None


def _heading(line: str, after: str, block: list[str]) -> tuple[int, str] | None:
    if len(line) > _SHORT:
        return None
    if match := _TITLE.match(line):
        return len(match[1]), match[2]
    if not block and line.strip() and len(line) < 120 and _UNDERLINE.match(after) and not _ITEM.match(line):
        return (1 if after[0] == "=" else 2), line.strip()
    if match := _DEFINES.match(line):
        return _CODE_LEVEL, match[1] or match[2]
    return None


def _cells(line: str) -> list[str]:
    bare = re.sub(r"^\s*\||(?<!\\)\|\s*$", "", line)
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(bare)]


def _row(head: list[str], cells: list[str]) -> str:
    names = head + [""] * (len(cells) - len(head))
    told = [f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell]
    return ("؛ " if script(" ".join(cells)) == "ar" else "; ").join(told)


# --- ranking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Term:
    exact: frozenset[str]  # its stem, and what it is called in the other language
    loose: frozenset[str]  # its root, and related words
    weight: float  # inverse document frequency
    slight: bool

    def held(self, found: Counter[str] | frozenset[str] | set[str]) -> float:
        """1 if one of the keys found is the word, `_LOOSE` if one is near it, else 0."""
        for key in self.exact:  # loops: this is most of a search's time, and `any` takes twice as long
            if key in found:
                return 1.0
        for key in self.loose:
            if key in found:
                return _LOOSE
        return 0.0

    def count(self, piece: Piece) -> float:
        exact = sum(piece.body[k] for k in self.exact)
        loose = max((piece.body[k] for k in self.loose), default=0)  # not their sum: a word has several roots
        return max(exact, _LOOSE * loose) + _HEADING * self.held(piece.title)


def rank(
    question: str, pieces: Sequence[Piece], translated: Related, related: Related, check: Check = lambda: None
) -> tuple[Hit, ...]:
    """
    The one to three passages worth quoting, best first; none if nothing holds enough of the question.

    *translated* and *related* give the keys of what a key is called in the other language, and of its near synonyms.
    """
    query = _query(question, pieces, translated, related, check)
    if not query or not pieces:
        return ()
    mean = sum(piece.size for piece in pieces) / len(pieces) or 1.0
    phrase = normalise(question)
    enough = [piece for piece in _watched(pieces, check) if _holds_enough(query, piece)]
    scored = [(_score(query, piece, mean) * _bonus(phrase, query, piece), piece) for piece in _watched(enough, check, 1)]
    scored.sort(key=lambda pair: -pair[0])
    hits: list[Hit] = []
    for score, piece in scored:
        if len(hits) == 3 or score < scored[0][0] * _ALSO:
            break
        if all(piece.text != hit.passage.text for hit in hits):
            quote = _quote(query, piece)
            line = piece.line + piece.text[: max(0, piece.text.find(quote))].count("\n")
            hits.append(Hit(Passage(piece.source, line, piece.text, round(score, 3)), piece.heading, quote))
    return tuple(hits)


def _watched(pieces: Sequence[Piece], check: Check, at_once: int = _AT_ONCE) -> Iterator[Piece]:
    for begin in range(0, len(pieces), at_once):
        check()
        yield from pieces[begin : begin + at_once]


def _query(question: str, pieces: Sequence[Piece], translated: Related, related: Related, check: Check) -> list[_Term]:
    """What the question is about: its rarer words, each weighed by how rare it is; unknown ones weigh most."""
    found: dict[str, tuple[int, _Term]] = {}
    little = {keys(word)[0] for word in (*_SLIGHT.split(), *_HOW.findall(normalise(question)))}
    for word in words(question):
        base, *roots = own = keys(word)
        if word in STOP_WORDS or base in found:
            continue
        exact = frozenset((base, *(k for key in own for k in translated(key))))
        loose = frozenset((*roots, *(k for key in own for k in related(key)))) - exact
        slight = base in little
        term = _Term(exact, loose, 0.0, slight)
        held = [max(term.held(p.body), term.held(p.title)) for p in _watched(pieces, check)]
        count = held.count(1.0) or len(held) - held.count(0.0)  # of the word as it was asked, if it is there at all
        weight = math.log(1 + (len(pieces) - count + 0.5) / (count + 0.5)) * (_LITTLE if slight else 1)
        found[base] = (count, _Term(exact, loose, weight, slight))
    rare = [term for count, term in found.values() if count <= max(3, len(pieces) * 0.4)]
    return rare or [term for _, term in found.values()]


def _score(query: Sequence[_Term], piece: Piece, mean: float) -> float:
    """BM25, a word of the heading counting `_HEADING` times one of the text."""
    length = _K1 * (1 - _B + _B * piece.size / mean)
    counts = ((term.weight, term.count(piece)) for term in query)
    return sum(weight * count * (_K1 + 1) / (count + length) for weight, count in counts)


def _holds_enough(query: Sequence[_Term], piece: Piece) -> bool:
    in_text = [term.held(piece.body) for term in query]
    if not any(in_text):
        return False
    held = [max(here, term.held(piece.title)) for here, term in zip(in_text, query, strict=True)]
    share = sum(part * term.weight for part, term in zip(held, query, strict=True))
    telling = sum(part > 0 and not term.slight for part, term in zip(held, query, strict=True))
    enough = min(2, sum(not term.slight for term in query))
    return telling >= enough and share >= _FLOOR * sum(term.weight for term in query)


_HOW = re.compile(r"\bhow (\w+)")  # how large, how often: no passage has to say "large"
_NUMBER_ASKED = re.compile(
    r"\bhow (?:many|much|long|old|often|far)\b|\bwhen\b|\bwhat (?:time|year|date|port|price)\b|\bكم\b|\bمتي\b|\bبكم\b"
)


def _bonus(phrase: str, query: Sequence[_Term], piece: Piece) -> float:
    """More for question words that stand side by side, and for a number where one is asked for."""
    wanted = {key for term in query for key in term.exact | term.loose}
    found = [next((key for key in of_word if key in wanted), "") for of_word in _all_keys(piece.text)]
    together = sum(bool(a and b) and a != b for a, b in pairwise(found))
    number = 0.15 if _NUMBER_ASKED.search(phrase) and re.search(r"\d", piece.text) else 0.0
    return 1 + min(0.2, 0.1 * together) + number


def _quote(query: Sequence[_Term], piece: Piece) -> str:
    """The sentence of the piece that says most of what was asked; all of it if it is one, a row, an item or code."""
    if piece.kind != "text" or "```" in piece.text or "\n\n" in piece.text or _DEFINES.match(piece.text):
        return _cut_short(piece.text, _LONG)
    sentences = [part for s in _SENTENCE.split(piece.text) for part in (s.split("\n") if len(s) > 2 * _LONG else [s])]

    def worth(sentence: str) -> float:
        held = {key for of_word in _all_keys(sentence) for key in of_word}
        return sum(term.weight * term.held(held) for term in query) + (0.3 if re.search(r"\d", sentence) else 0.0)

    return _cut_short(max(sentences, key=worth), 2 * _LONG)


def _cut_short(text: str, limit: int) -> str:
    """*text* up to *limit* characters, ended between two words."""
    return text if len(text) <= limit else text[:limit].rsplit(None, 1)[0]
