"""Which command lines provably only read, and which paths outside the working folder they can reach.

Only what is understood whole counts: a plain word or a quoted literal, a program of the table, options of its row. Anything
else (an expansion, a glob, an unknown option) is a command. Programs that look harmless and are left out on purpose,
because of what they run or write: git (fsmonitor, textconv, pager, hooks), awk, tar, less, xargs, env, tee, tree (-o),
file (-C), diff (-r follows links), uniq with a second operand, sed beyond printing lines.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

# What a shell takes as it stands. No tilde, glob, brace, variable, redirection, `!`, `=` at the start (zsh expands it),
# and no blank but space and tab: a no-break space is part of a word for a shell.
_TOKEN = re.compile(
    r"""[ \t]+|(?P<ends>\|\||&&|;|\|)|(?P<word>(?:'[^'\n\r\0]*'|"[^"$`\\!\n\r\0]*"|[\w./:,@%+-]|(?<=[\w-])=)+)"""
)
_SHELLS = re.compile(r"((/usr(/local)?|/opt/homebrew)?/bin/)?(bash|sh|zsh|dash)")  # a shell of the folder's own is a program

# Program → the options that neither write, run, nor follow links below a folder. GNU programs take options after operands
# and shorten long ones: each word with a dash must match whole.
_OPTIONS: dict[str, re.Pattern[str]] = {
    program: re.compile(options)
    for program, options in {
        "cat": r"-[AbeEnstTuv]+",
        "head": r"-\d+|-[cnqv]+\d*",
        "tail": r"-\d+|-[cnqv]+[+]?\d*",
        "nl": r"-[bdfhilnpsvw]\w*",
        "wc": r"-[clLmw]+",
        "ls": r"-[1aAbBcCdFghiIklmnopqrRsStTuUvwxXZ]+|--color(=\w+)?",  # not -H, -L: they look behind links
        "pwd": r"-[LP]",
        "stat": r"-[cfstx]",
        "echo": r"-[neE]+",
        "true": r"",
        "sort": r"-[bdfghiMnrRsuVz]+|-k[\d.,]*[a-z]*|-t.?",
        "uniq": r"-[cdiuz]+",
        "cut": r"-[bcdf].*|-s",
        **dict.fromkeys(
            ("grep", "egrep", "fgrep"),  # not -R: it follows links
            r"-[acEFGhHiIlLnoPqrsvwxyzZ]*([ABCm]\d*|e)?|--(include|exclude|exclude-dir)=.+|--colou?r(=\w+)?"
            r"|--(ignore-case|line-number|count|files-with-matches|recursive|word-regexp|fixed-strings|no-messages)",
        ),
        "rg": r"-[acFhHiIlnNopPqsSuUvwx0.]*([ABCm]\d*|[eg])?|-[gtT].+"  # not -L, -z, --pre, --search-zip, --hostname-bin
        r"|--(files|hidden|no-ignore|no-heading|heading|line-number|column|count|files-with-matches|ignore-case|smart-case"
        r"|fixed-strings|word-regexp|multiline|stats|json|vimgrep|trim)|--(glob|iglob|type|type-not|color|max-count|max-depth"
        r"|context|sort)(=.+)?",
        "find": r"-(i?name|i?path|i?regex|type|maxdepth|mindepth|size|[acm]time|[acm]min|newer|empty|print0?|prune|not|o|or|a"
        r"|and|perm|user|group|xdev|mount|depth|ls)",  # not -exec, -ok, -delete, -fprint, -follow, -files0-from
    }.items()
}
_LINES = re.compile(r"[0-9$,]+p")  # the one script of sed's that is let through: `sed -n 3,9p`


def script(command: str) -> str:
    """The line inside `/bin/bash -lc '…'`, which Codex wraps round every command; *command* itself if it is none."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if len(words) == 3 and _SHELLS.fullmatch(words[0]) and words[1] in ("-c", "-lc"):
        return words[2]
    return command


def reads(line: str, where: Path, folder: Path) -> tuple[Path, ...] | None:
    """
    What *line*, run in *where*, can read if reading is provably all it does: *folder*, and first every path outside it that
    it names, links followed. None if it may do more; a needless None only means that the gate sees a command, not a path.
    """
    commands = _commands(line)
    if not commands or not _lies_in(where, folder):
        return None
    outside: list[Path] = []
    for program, *words in commands:
        operands = _operands(program, words)
        if operands is None:
            return None
        for word in operands:
            place = _place(word, where)
            if place is not None and not place.is_relative_to(folder.resolve()):
                outside.append(place)
    return (*outside, folder)


def _commands(line: str) -> list[list[str]] | None:
    """The words of each command of *line*, or None if a shell may see something else in it."""
    commands: list[list[str]] = [[]]
    at = 0
    while at < len(line):
        token = _TOKEN.match(line, at)
        if token is None:
            return None
        at = token.end()
        if token["ends"]:
            commands.append([])
        elif token["word"]:
            commands[-1] += shlex.split(token["word"])
    return commands if all(commands) else None


def _operands(program: str, words: list[str]) -> list[str] | None:
    """The words that may be paths, or None if the command may do more than read."""
    if program == "sed":
        plain = len(words) >= 2 and words[0] == "-n" and _LINES.fullmatch(words[1])
        return words[2:] if plain and not any(word.startswith("-") for word in words[2:]) else None
    if program not in _OPTIONS:
        return None
    operands = []
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            operands.append(word)
        elif not _OPTIONS[program].fullmatch(word):
            return None
    return None if program == "uniq" and operands else operands


def _place(word: str, where: Path) -> Path | None:
    try:
        return (where / word).resolve()
    except (OSError, ValueError, RuntimeError):
        return None  # no path at all: too long for one, say


def _lies_in(where: Path, folder: Path) -> bool:
    place = _place("", where)
    return place is not None and place.is_relative_to(folder.resolve())
