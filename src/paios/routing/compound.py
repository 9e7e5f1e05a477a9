"""Whether two tasks are asked at once, each of another domain: "fix the test and then remind me to deploy".

Only the instruction is looked at, cut where people join tasks. A piece counts as a task if it opens the way requests
do; which words do was learned from the training prompts and lies with the weights.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from paios.base.text import normalise, words
from paios.base.types import DOMAINS, Domain
from paios.routing.features import POLITE, features
from paios.routing.model import Model
from paios.routing.phrases import Parts, bare

_LONGEST = 700  # characters; in a longer text sentences are background more often than tasks
_MOST_CUTS = 4
_KINDS = ("strong", "list", "sentence", "comma", "and", "waw")  # the groups of `_CUT`
_CUT = re.compile(
    r"(?P<strong>(?:[,;.،؛]\s*|\s+)(?:and\s+then|and\s+also|and\s+after\s+(?:that|this)|after\s+(?:that|which)|afterwards|then|also|plus"
    r"|next|and\s+finally|finally|وبعد\s+(?:ذلك|كذا|كده|هيك)|بعد\s+(?:ذلك|كذا|كده|هيك)|وبعدين|بعدين|وبعدها|بعدها|ثم|ومن\s+ثم|وكمان|كمان"
    r"|وايضا|ايضا|وكذلك|كذلك|واخيرا|اخيرا)\b[,،:]?\s*)"
    r"|(?P<list>(?:^|\n)\s*(?:\d{1,2}[.)-]|[-*•])\s+)|(?P<sentence>[.;!?؟؛]+\s+|\n\s*)|(?P<comma>[,،]\s+(?:and\s+)?)"
    r"|(?P<and>\s+(?:and|&)\s+)|(?P<waw>\s+و(?=\w{3}))"
)
# What joins to the task before: "is the bus running? And mute the laptop".
_JOIN = re.compile(
    r"(?:(?:and|also|then|plus|next|finally|afterwards|after that|separately|oh|btw"
    r"|ثم|وكمان|كمان|وايضا|ايضا|وبعدين|بعدين|بعدها)\b[,،:]?\s+)+"
)
_PRONOUN = re.compile(r"ي?ل?(?:ه|ها|هم|ي|نا|ني)$")  # «احسبلي» opens as «احسب» does
_END = re.compile(r"[.;!?؟؛]\s|\n")
# "My script is slow, how do I mend it?": the second piece does not name what it is about, so its domain says little.
_REFERS = re.compile(r"\b(?:it|its|this|that|them|they|these|those)\b|\b(?:كيف|ليش|ليه|لماذا|شو|ماذا|هل)\s+\w{3,}(?:ه|ها|هم)\b")


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where two tasks may be joined: the domains of its two sides, and what speaks for there being two."""

    domains: tuple[Domain, Domain]
    signs: tuple[float, ...]


def tasks(parts: Parts, model: Model) -> tuple[Domain, ...]:
    """The domains of the two tasks in *parts*, in their order; empty if it is one task."""
    surest = 0.0
    found: tuple[Domain, ...] = ()
    for cut in cuts(parts, model):
        score = model.compound[0] + math.fsum(map(float.__mul__, model.compound[1:], cut.signs))
        if score > surest:
            surest, found = score, cut.domains
    return found


def cuts(parts: Parts, model: Model) -> list[Cut]:
    """The places of *parts* where two tasks of different domains may be joined, `_MOST_CUTS` at most."""
    own = normalise(parts.instruction).strip()
    if len(own) > _LONGEST:
        return []
    places = []
    for match in _CUT.finditer(own):
        left, right = own[: match.start()].strip(), _JOIN.sub("", own[match.end() :].strip(), count=1)
        if min(len(words(left)), len(words(right))) < 2:
            continue
        if _asks(right, model.openers) and _left_asks(left, model.openers):
            places.append((match.lastgroup or "and", left, right))
    if not places:
        return []
    whole = _chances(own, model)
    return [cut for place in places[:_MOST_CUTS] if (cut := _cut(*place, whole, model)) is not None]


def _left_asks(left: str, openers: Collection[str]) -> bool:
    start = max((m.end() for m in _CUT.finditer(left) if m.lastgroup in ("sentence", "list")), default=0)
    return _asks(left, openers) or _asks(left[start:], openers)


def _cut(kind: str, left: str, right: str, whole: dict[Domain, float], model: Model) -> Cut | None:
    end = _END.search(right)
    first, second = _chances(left, model), _chances(right[: end.start()] if end and end.start() > 12 else right, model)
    one, two = max(first, key=first.__getitem__), max(second, key=second.__getitem__)
    if one == two or (two == "general" and _REFERS.search(right)):
        return None
    signs = (
        first[one] - first[two],
        second[two] - second[one],
        min(first[one] - first[two], second[two] - second[one]),
        min(whole[one], whole[two]),
        max(whole.values()),
        math.log(len(words(left))),
        math.log(1 + len(words(right))),
        float("?" in left[-1:] or "؟" in left[-1:]),
        model.asks(left),
        model.asks(right),
        float(_REFERS.search(right) is not None),
        *(float(kind == k) for k in _KINDS),
    )
    return Cut((one, two), signs)


def _chances(text: str, model: Model) -> dict[Domain, float]:
    return dict(zip(DOMAINS, model.chances(features(bare(text))), strict=True))


def _asks(text: str, openers: Collection[str]) -> bool:
    """Whether *text* opens as a request does."""
    polite = POLITE.match(text)
    if polite:
        return True
    opening = next(iter(words(text[:60])), "")
    forms = (opening,) if opening.isascii() else (opening, opening.removeprefix("و"))
    return any(form in openers or _PRONOUN.sub("", form) in openers for form in forms if form)
