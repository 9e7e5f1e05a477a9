"""What the classifier looks at: words, pieces of words, neighbours, shape, and the hints of `hints`, each with a bucket.

Only the instruction is read word by word; of pasted material no more than its kind. Pure and deterministic: the training
script uses exactly this. A bucket is the hash of a feature's name (the "hashing trick", Weinberger and others 2009), so
that no vocabulary has to be shipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from paios.base.text import normalise, stem, words
from paios.routing import hints
from paios.routing.phrases import Parts

BUCKETS = 1 << 17
MOST_CHARACTERS, MOST_WORDS = 1_200, 200  # of the instruction; more words do not make it clearer

POLITE = re.compile(
    r"(?:(?:please|pls|plz|hey|hi|hello|ok|okay|so|well|(?:can|could|would|will) you"
    r"|i(?:'d like| would like| want| need) you to|kindly|just"
    r"|من فضلك|لو سمحت\w*|رجاء|ممكن|هل (?:يمكنك|تستطيع)|اريد منك ان|اريد ان|ابغاك|ابيك|يا ريت|يلا|طيب)\W+)+"
)
_FILE = re.compile(
    r"\b[\w-]+\.(?:py|js|tsx?|jsx|java|rs|go|rb|php|cpp|hpp|cs|kt|swift|sh|sql|css|html?|ya?ml|toml|json|ipynb|lock)\b"
)
_IMAGE_FILE = re.compile(r"\b[\w-]+\.(?:png|jpe?g|gif|webp|heic|bmp)\b", re.I)
_IDENTIFIER = re.compile(r"\b[a-z]+_[a-z_]+\b|\b[a-z]+[A-Z]\w+\b|\b\w+\(\)|\b[A-Z]\w+(?:Error|Exception)\b|--[a-z][\w-]+")
_NOT_CODE = frozenset(("iPhone", "iPad", "macOS", "iOS", "eBay", "iCloud", "iMessage", "iPod", "eBook"))
_URL = re.compile(r"https?://\S+")
_ARABIC = re.compile("[ء-ي]")
_LATIN = re.compile("[a-z]")


@dataclass(frozen=True, slots=True)
class Features:
    """What is seen in a prompt. The second part of a named one says it to a person; "" if it would mean nothing to them."""

    words: tuple[str, ...]  # distinct, normalised, in order
    named: tuple[tuple[int, str], ...]  # (bucket, what it shows)

    def buckets(self) -> Iterator[int]:
        """Every bucket, as often as it is seen."""
        for word in self.words:
            yield from of_word(word)
        for found, _ in self.named:
            yield found


def features(parts: Parts, *, hinted: bool = True) -> Features:
    """All that is seen in a prompt taken apart, the hints left out if not *hinted*. The same words give the same, always."""
    folded = normalise(parts.instruction[:MOST_CHARACTERS])
    found = words(folded)[:MOST_WORDS]
    stems = [word if word.isascii() else stem(word) for word in found]
    named = {f"b:{a}_{b}": f"“{x} {y}”" for a, b, x, y in zip(stems, stems[1:], found, found[1:], strict=False)}
    polite = POLITE.match(folded)
    opening = words(folded[polite.end() :][:200] if polite else folded[:200])[:2]
    if opening:
        named[f"h:{_short(opening[0])}"] = f"it opens with “{opening[0]}”"
        named["h2:" + "_".join(map(_short, opening))] = f"it opens with “{' '.join(opening)}”"
    if stems:
        named[f"e:{stems[-1]}"] = ""
    if hinted:
        named |= dict(hints.found(folded, found))
    named |= dict(_shape(parts, folded, len(found)))
    return Features(tuple(dict.fromkeys(found)), tuple((bucket(name), shows) for name, shows in named.items()))


def _short(word: str) -> str:
    return word if word.isascii() else stem(word)


def _shape(parts: Parts, folded: str, length: int) -> list[tuple[str, str]]:
    shape = [(f"length:{min(7, length.bit_length())}", "")]
    if folded.rstrip().endswith(("?", "؟")):
        shape.append(("question", "it is a question"))
    if _ARABIC.search(folded) and _LATIN.search(folded):
        shape.append(("mixed", ""))
    if parts.pasted:
        shape.append(("pasted", ""))
    if "Traceback (most recent" in parts.code:
        shape.append(("traceback", "a traceback"))
    elif "\n" in parts.code.strip("\n"):
        shape.append(("block", "a block of code"))
    elif len(parts.code) > 3:
        shape.append(("code", "a piece of code"))
    own = _URL.sub(" ", parts.own[:4000])
    if "://" in parts.own[:4000]:
        shape.append(("url", "an address"))
    if match := _FILE.search(own):
        shape.append(("file", f"a file like {match.group()}"))
    if match := _IMAGE_FILE.search(own):
        shape.append(("image-file", f"a picture, {match.group()}"))
    if (match := _IDENTIFIER.search(own)) and match.group() not in _NOT_CODE:
        shape.append(("identifier", f"“{match.group()}”"))
    return shape


def bucket(name: str) -> int:
    """The bucket of a feature called *name*: 0 to `BUCKETS` - 1."""
    return crc32(name.encode("utf-8", "replace")) % BUCKETS


@lru_cache(maxsize=20_000)
def of_word(word: str) -> tuple[int, ...]:
    """The buckets of a word, of its stem if it is Arabic, and of its pieces of three to five letters."""
    names = ["w:" + word]
    if not word.isascii():
        names.append("s:" + stem(word))
    edged = f"<{word[:20]}>"
    names += ["c:" + edged[i : i + n] for n in (3, 4, 5) for i in range(len(edged) - n + 1)]
    return tuple(map(bucket, names))
