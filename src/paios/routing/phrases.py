"""A person's own words: told apart from what they pasted, and read for `@prefixes` and for the brain they name.

Nothing here judges what the task is about; `features` does, on what is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

from paios.base.text import normalise
from paios.base.types import DOMAINS, TIERS, Domain, Tier

HEAD = TAIL = 2_000  # characters looked at: an instruction stands first or last, whatever was pasted between

_BLANK = "[\\s\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]*"
_PREFIX = re.compile(_BLANK + r"@([A-Za-z]{2,20})(?=[\s:,،]|$)[:,،]?[ \t]*\n?")


@dataclass(frozen=True, slots=True)
class Prefix:
    """What stands before a request as `@word`s. `rest` is the request without them."""

    rest: str
    domain: Domain | None = None
    brain: str | None = None
    tier: Tier | None = None
    spelled: str = ""  # "@code @fast"
    unknown: str = ""  # a first word with an @ that is none of ours, "codee"


def prefix(text: str, known: Sequence[str]) -> Prefix:
    """
    The `@domain`, `@brain` and `@tier` words at the start of *text*, one of each kind, in any order.

    A second word of a kind, or a word that is none of them, ends the prefix and stays: it may be somebody's handle.
    """
    found: dict[str, str] = {}
    at = 0
    match = None
    while match := _PREFIX.match(text, at):
        word = match[1].lower()
        kind = "domain" if word in DOMAINS else "tier" if word in TIERS else "brain" if word in known else ""
        if not kind or kind in found:
            break
        found[kind] = word
        at = match.end()
    rest = text[at:]
    return Prefix(
        rest=rest if rest.strip() else text,  # a prefix alone: there is nothing else to hand on
        domain=cast("Domain | None", found.get("domain")),
        brain=found.get("brain"),
        tier=cast("Tier | None", found.get("tier")),
        spelled=" ".join("@" + word for word in found.values()),
        unknown=match[1] if match is not None and not found else "",
    )


# --- own words and pasted material ---------------------------------------------------------------------------------

_FENCE = re.compile(r"(?:^|(?<=[ :،,]))[ \t]*(```|~~~)[^\n]*\n.*?(?:^[ \t]*\1|\Z)", re.M | re.S)
_INLINE = re.compile(r"`[^`\n]{1,300}`")
_QUOTED = re.compile(r"\"[^\"]{1,2000}\"|“[^”]{1,2000}”|«[^»]{1,2000}»|(?:(?<=\s)|^)'[^'\n]{3,300}'(?=[\s.,?!]|$)", re.M)
_QUOTED_LINE = re.compile(r"^[ \t]*(?:>|\|[ \t]).*$", re.M)
_MAIL = re.compile(
    r"^(?:-{3,} ?(?:original|forwarded) message|on .{5,80} wrote:|"
    r"(?:from|to|sent|subject|cc|date|من|إلى|الى|الموضوع|التاريخ)[ \t]*:[ \t]\S).*$",
    re.M | re.I,
)
_CODE_LINE = re.compile(
    r"""(?:
        Traceback[ ]\(most|File[ ]"[^"]+",[ ]line|at[ ][\w.$<>]+\(|(?:diff[ ]--git|@@[ ]-\d|[+-]{3}[ ]\S)
        |(?:async[ ])?def[ ]\w+\(|class[ ]\w+[(:{]|(?:from[ ][\w.]+[ ])?import[ ][\w{*]|from[ ][\w.]+[ ]import|\#include
        |(?:const|let|var)[ ]\w+[ ]?=|(?:export|public|private|static)[ ]\w+|function[ ]\w*\(|fn[ ]\w+\(|func[ ]\w+\(
        |(?:if|for|while|switch)[ ]?\(.*\)[ ]?\{
        |(?:if|for|while|with|elif)\b(?=.*(?:[ ]in[ ]|[()=<>!_\[]|[ ]not[ ])).*:$|(?:else|try|finally):$
        |return\b.*[;)\]]$|\}|.*[;{]$
        |SELECT\b.*\bFROM\b|CREATE[ ]TABLE|INSERT[ ]INTO|</?[a-z][\w-]*(?:[ ][^>]*)?>.*
        |[\w.\[\]]+[ ]?[+-]?=[ ]?\S.*|[\w.]+\(.*\)$
        |\w*(?:Error|Exception|Warning):[ ]|\$[ ]\w+|(?:npm|pip|cargo|go|gcc|error\[\w+\])[: ].*(?:ERR|error).*
    )""",
    re.X,
)
_GAP = re.compile(r"\n[ \t…]*(?:\n[ \t…]*)+\n")
_LOG_LINE = re.compile(r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d|(?:\[?(?:INFO|WARN|ERROR|DEBUG|FATAL)\b)|\w{3} +\d+ \d\d:\d\d:\d\d ")
# A sentence, a line, or what a colon introduces at length.
_SENTENCE = re.compile(r"(?<=[.!?؟。])[\"”»)]*\s+|\n+|(?<=[^\d\s]):[ \t]+(?=\S[^\n]{60})")
_SHORT = 280  # characters: a shorter text is all instruction
_LONG_LINE = 300
_INTRODUCES = 0.3  # added to how much a line asks that ends in a colon


@dataclass(frozen=True, slots=True)
class Parts:
    """A prompt taken apart."""

    own: str  # the person's own words, everything pasted or quoted taken out
    instruction: str  # of these the sentences that ask: the first two and the last
    code: str  # fenced blocks, inline code and lines that look like code
    pasted: bool  # whether anything but own words was there


def bare(text: str) -> Parts:
    """*text* as a person's own words, all of it instruction."""
    return Parts(own=text, instruction=text, code="", pasted=False)


def parts(text: str) -> Parts:
    """*text* taken apart; of a long text only the head and the tail are looked at."""
    if len(text) > HEAD + TAIL:
        text = text[:HEAD] + "\n\n" + text[-TAIL:]
    code: list[str] = []

    def keep(match: re.Match[str]) -> str:
        code.append(match.group())
        return "\n" if "\n" in match.group() else " … "

    left = _INLINE.sub(keep, _FENCE.sub(keep, text))
    left = _without_mail(left)
    lines = left.split("\n")
    stripped = (line.strip()[:300] for line in lines)
    flags = [bool(_CODE_LINE.match(line) or _LOG_LINE.match(line)) for line in stripped]
    if sum(flags) >= 2 or (len(lines) > 1 and any(flags)):
        code += [line for line, is_code in zip(lines, flags, strict=True) if is_code]
        lines = ["" if is_code or line[:1] in (" ", "\t") else line for line, is_code in zip(lines, flags, strict=True)]
    left = _QUOTED.sub(" … ", _QUOTED_LINE.sub("", "\n".join(lines)))
    own = _GAP.sub("\n\n", left).strip(" \n\t…")
    if len(own) < 3 and not code:
        own = text.strip()  # all of it is quoted: then that is what was said
    return Parts(own=own, instruction=_instruction(own), code="\n".join(code)[:4000], pasted=own != text.strip())


def _without_mail(text: str) -> str:
    """*text* without a mail that was pasted: from its first header line to the last paragraph, which may be the person's."""
    header = _MAIL.search(text)
    if header is None:
        return text
    before, after = text[: header.start()].rstrip(), text[header.start() :].rstrip()
    last = after.rpartition("\n\n")[2]
    if last == after or (before and len(text) < _SHORT):
        return before or after  # a short mail's last paragraph is its text
    return f"{before}\n\n{last}" if before else last


def _instruction(own: str) -> str:
    """The ends of a long text, where an instruction stands; `focused` tells them apart if it is told which end asks."""
    sentences = sentences_of(own)
    if len(own) < _SHORT and len(sentences) <= 4:
        return own
    chosen = sentences[:2] + (sentences[-1:] if len(sentences) > 2 else [])
    return "\n".join(s[:400] for s in chosen)


def sentences_of(text: str) -> list[str]:
    """*text* cut into sentences and lines; of "Summarise this: The council …" the two sides of the colon."""
    return [s.strip() for s in _SENTENCE.split(text) if s.strip(" …\t-*_=\n")]


def focused(parts: Parts, asks: Callable[[str], float]) -> Parts:
    """
    *parts* with the instruction of a long text found at its one end or its other, whichever asks more: a pasted mail asks
    for things too, but of somebody else. *asks* tells how much a piece of text reads like a request to an assistant.
    """
    sentences = sentences_of(parts.own)
    if len(parts.own) < _SHORT and len(sentences) <= 4:
        return parts
    ends = ends_of(parts.own)
    if ends is None or ends[0] == ends[1]:
        return parts
    head, tail = ends
    first, last = asks(head) + _INTRODUCES * head.endswith((":", "：")), asks(tail)
    return replace(parts, instruction=head if first >= last else tail)


def ends_of(text: str) -> tuple[str, str] | None:
    """The first and the last line of *text*, of a long one its first or last sentence; None if there is nothing but rules."""
    lines = [line.strip() for line in text.split("\n") if line.strip(" …\t-*_=")]
    return (_end(lines[0], 0), _end(lines[-1], -1)) if lines else None


def _end(line: str, which: int) -> str:
    """*line*, or of a long one its first or last sentence."""
    return line if len(line) <= _LONG_LINE else (sentences_of(line) or [line])[which][:400]


# --- the brain they name -------------------------------------------------------------------------------------------

_CALLED = {
    "claude": r"claude(?: code)?(?!['-]| (?-i:[A-Z])| (?:skills?|api|sdk|code)\b)|كلود(?: كود)?|كلاود",
    "codex": r"codex(?!['-]| (?:cli|api|sdk)\b)|كودكس|كوديكس",
    "gateway": r"(?:the )?gateway",
    "librarian": r"(?:the )?librarian",
}
_ALIASES = {
    "claude": ("claude", "كلود", "كلاود"),
    "codex": ("codex", "كودكس", "كوديكس"),
    "gateway": ("gateway",),
    "librarian": ("librarian",),
}
_ONLY_ASKED = frozenset(("gateway", "librarian"))  # "use the gateway for …" is about networks as often as about us
_CLAUSE = (
    r"(?:^|[.!?;,،؛؟\n]\s*|\b(?:please|pls|then|now|also|just|instead|ok|okay|hey)\s+"
    r"|\b(?:can|could|would|will)\s+you\s+(?:please\s+)?|\b(?:let'?s|i(?:'d|\s+would)\s+like\s+you\s+to|i\s+want\s+you\s+to)\s+)"
)
_ASKING = r"(?=\s+(?:to|about|for|what|how|why|who|when|where|which|whether|if)\b|\s*[:,])"
_DOING = r"(?=\s+(?!is\b|are\b|was\b|be\b|on\b|in\b|as\b|know\b|in\b|and\b|or\b)[a-z]{2,})"
_USING = r"(?=\s+(?:for|to|on|here|this time|instead|please)\b|\s*[:,.!]|\s*$)"
_CLAUSE_AR = r"(?:^|[.!?;,،؛؟\n]\s*|(?:من فضلك|لو سمحت|رجاء|ممكن|ثم|الان|طيب|يلا)\s+)"


def named_brain(own: str, known: Sequence[str]) -> str | None:
    """
    The brain that *own* asks for ("ask Claude to …", «خل كلود يراجع …»), or None.

    Only a call at the start of a clause counts; to be *about* a brain ("how do I use codex", "don't use claude") is none.
    """
    folded = normalise(own)
    hits = []
    for name in known:
        if any(alias in folded for alias in _ALIASES.get(name, ())):
            english, arabic = _calls(name)
            hits += [(match.start(), name) for match in (english.search(own), arabic.search(folded)) if match]
    return min(hits)[1] if hits else None


@cache  # some milliseconds to compile, and most requests name no brain
def _calls(name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return _english(name), _arabic(name)


def _english(name: str) -> re.Pattern[str]:
    called = _CALLED[name]
    asked = rf"ask\s+(?:{called}){_ASKING}|(?:let|have|get)\s+(?:{called}){_DOING}|hey\s+(?:{called})(?=\s*[:,])"
    used = rf"|(?:use|with|via|try)\s+(?:{called}){_USING}" if name not in _ONLY_ASKED else ""
    wanted = rf"|\bi(?:'d\s+like|\s+would\s+like|\s+want|\s+need)\s+(?:{called})\s+to\s+[a-z]"
    return re.compile(rf"{_CLAUSE}(?:{asked}{used})|^\s*(?:{called})\s*:\s{wanted}", re.I)


def _arabic(name: str) -> re.Pattern[str]:
    called = _CALLED[name]
    verbs = r"(?:اسال|اسالي|اسالوا|خل|خلي|خلوا|دع|دعي|اترك|اطلب\s+من|اطلبي\s+من|استخدم|استخدمي|استعمل|استعملي|استعن\s+ب|جرب)"
    wanted = rf"(?:اريد|ابغي|ابي|عايز|عاوز|بدي|اود)\s+(?:من\s+)?(?:{called})\s+(?:ان\s+)?[يت]\w+"
    return re.compile(rf"{_CLAUSE_AR}(?:(?:{verbs})\s*(?:{called})(?!\w)|{wanted})", re.I)
