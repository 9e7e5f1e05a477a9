"""Text as search and matching see it, in Arabic and English: normalised, cut into words, stemmed.

Knows nothing about who asks. Arabic is stemmed in the manner of light10 (Larkey, Ballesteros, Connell 2007), which
beats the Snowball stemmer on Arabic question answering; English by Snowball.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Literal

Script = Literal["ar", "en", "other"]

_MARKS = [*range(0x0610, 0x061B), *range(0x064B, 0x0660), 0x0670, *range(0x06D6, 0x06DD), *range(0x06DF, 0x06E9)]
_MARKS += [*range(0x06EA, 0x06EE), 0x0640]  # tatweel
_INVISIBLE = [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF, 0x00AD]
_FOLD: dict[int, str | None] = {
    **dict.fromkeys(_MARKS + _INVISIBLE),
    **{ord(a): "ا" for a in "أإآٱ"},
    **{ord(a): "ي" for a in "ىئی"},
    ord("ة"): "ه",
    ord("ؤ"): "و",
    ord("ک"): "ك",
    **{0x0660 + n: str(n) for n in range(10)},
    **{0x06F0 + n: str(n) for n in range(10)},
    ord("’"): "'",
}

_ARABIC = re.compile(r"[\u0620-\u064A\u066E-\u06D3\u0750-\u077F\u08A0-\u08C7\uFB50-\uFDFF\uFE70-\uFEFC]")
_LATIN = re.compile(r"[A-Za-z\u00C0-\u024F]")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"c\+\+|[cf]#|\d+(?:[.,:]\d+)+|[^\W_]+(?:'[^\W_]+)?")
_CONTROLS = dict.fromkeys(c for c in range(0x20) if chr(c) not in "\n\t")
_SURROGATE = re.compile("[\ud800-\udfff]")

_PREFIXES = ("وبال", "وكال", "ولل", "وال", "بال", "كال", "فال", "ال", "لل")
_SUFFIXES = ("ها", "ان", "ات", "ون", "ين", "يه", "ه", "ي")

_STOP = """
a about am an and any are as at be been being but by can could did do does doing don't for from get had has have he
her hers him his how i i'm if in into is it it's its just know let me might must my no nor not of on or our ours out
over own please shall she should so some such tell than that that's the their them then there these they this those
to too up us very was we were what what's when where which while who whom whose why will with would you your yours
في من على علي الى الي عن مع هذا هذه ذلك تلك التي الذي الذين هو هي هم هل ما ماذا متى متي اين كيف كم لماذا من
هنا هناك ان انا انت نحن كان كانت يكون تكون قد لقد ثم او ام لا لم لن ليس ليست كل بعض غير بين عند عندما بعد قبل
حتى حتي اذا لو كما لكن و ف ب ل يا اي ايه ايها له لها لهم لي لك به بها فيه فيها منه منها عليه عليها شو وش ايش
ليش وين فين ازاي مين اللي دي ده انه انها
"""
STOP_WORDS = frozenset(_STOP.split())


def clean(text: str) -> str:
    """*text* as a door hands it on: no control characters but newline and tab, no lone surrogates; all else is kept.

    A carriage return alone becomes a newline, so that lines stay lines.
    """
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)


def normalise(text: str) -> str:
    """*text* folded for comparing: NFKC, lower case, one form for each Arabic letter, no vowel marks, ASCII digits.

    Doing it twice changes nothing more.
    """
    if text.isascii():
        return text.lower()
    for _ in range(4):  # folding can make new pairs for NFKC to join: two rounds are enough but for crafted text
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower()).translate(_FOLD)
        if folded == text:
            break
        text = folded
    return text


def words(text: str) -> list[str]:
    """The normalised words of *text* in order. `c++`, `3.11` and `don't` are one word, `max_age` is two."""
    return _WORD.findall(normalise(text))


@lru_cache(maxsize=50_000)  # a Snowball stem costs 50 µs in pure Python; a library has some ten thousand words
def stem(word: str) -> str:
    """The stem of a normalised word: its language is told by its letters; numbers and other scripts stay as they are."""
    if _ARABIC.search(word):
        return _light(word)
    if word.isascii() and word.replace("'", "").isalpha():
        return _snowball()(word)
    return word


def stems(text: str) -> list[str]:
    """The stems of the words of *text* in order, stop words left out."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]


def script(text: str) -> Script:
    """
    The language to answer *text* in, told by its letters: Latin counts as English.

    Arabic that names things in Latin letters is Arabic: it is enough that it opens in Arabic and stays so for a sixth.
    """
    arabic, latin, letters = (len(p.findall(text[:4000])) for p in (_ARABIC, _LATIN, _LETTER))
    if not letters or arabic + latin < letters / 2:
        return "other"
    first = _LETTER.search(text)
    opens_arabic = first is not None and _ARABIC.match(first.group()) is not None
    return "ar" if arabic * (6 if opens_arabic else 1.5) >= latin + arabic else "en"


def _light(word: str) -> str:
    if word.startswith("و") and len(word) >= 4:
        word = word[1:]
    for prefix in _PREFIXES:
        if word.startswith(prefix) and len(word) - len(prefix) >= 2:
            word = word[len(prefix) :]
            break
    else:  # ب and ل written on a word without article: R@5 on ARCD and XQuAD 0.954 against 0.947; ك and ف add nothing
        if word[0] in "بل" and len(word) >= 4:
            word = word[1:]
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 2:
            word = word[: -len(suffix)]
    return word


@cache
def _snowball() -> Callable[[str], str]:
    import snowballstemmer  # type: ignore[import-untyped]  # 30 ms: loads all its languages  # noqa: PLC0415

    stemmer: Callable[[str], str] = snowballstemmer.stemmer("english").stemWord
    return stemmer
