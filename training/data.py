"""The rows to learn and to measure from. Nothing here is shipped with the package; where each file comes from: README.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from paios.base.text import words
from paios.base.types import DOMAINS, Domain

HERE = Path(__file__).parent
SEED = "paios-1"
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """A request and what it is about."""

    text: str
    domain: Domain
    lang: str
    source: str  # "prompts", "ordinary", "public", "pasted" or "test"
    root: str = ""  # the text it was made of

    @property
    def fold(self) -> int:
        """0 to FOLDS - 1, by the text: the same in every run, whatever is added. A copy is in the fold of its root."""
        return int(hashlib.sha256((SEED + (self.root or self.text)).encode()).hexdigest(), 16) % FOLDS


def written(folder: str) -> list[Row]:
    """What the project wrote itself: one request a line, `\\n` for a line break."""
    rows = []
    for lang in ("en", "ar"):
        for domain in DOMAINS:
            text = (HERE / folder / lang / f"{domain}.txt").read_text(encoding="utf-8")
            rows += [Row(line.strip().replace("\\n", "\n"), domain, lang, folder) for line in text.splitlines() if line.strip()]
    return rows


def learning() -> list[Row]:
    """All rows to learn from: none of them, in whatever spelling, is a row of the test."""
    kept_apart = {_folded(row.text) for row in written("test")}
    kept_apart |= {_folded(line) for row in lines("pasted/test.jsonl") for line in row["text"].splitlines()}
    rows = unique(written("prompts") + written("ordinary") + public())
    rows = [row for row in rows if _folded(row.text) not in kept_apart]
    material = [row for row in written("material") if _folded(row.text) not in kept_apart]
    return rows + with_material(rows, 0.25) + with_material(material, 1.0) + with_material(material, 1.0, "again")


def _folded(text: str) -> str:
    return " ".join(words(text))


def public() -> list[Row]:
    """Public rows with a licence that lets them be copied."""
    return [
        Row(r["text"], r["domain"], r["lang"], "public") for name in ("en", "ar") for r in lines(f"public/routing_{name}.jsonl")
    ]


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file of this folder."""
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def with_material(rows: list[Row], share: float, seed: str = "") -> list[Row]:
    """Copies of a *share* of the short ones among *rows* with something pasted before or after, as people do it."""
    chance = Random(SEED + seed)
    bodies = list(lines("pasted/bodies.jsonl"))
    joints = ("\n", "\n\n", "\n\n---\n\n", ":\n", ":\n\n", " ")
    made = []
    for row in rows:
        if len(row.text) > 160 or "\n" in row.text or chance.random() > share:
            continue
        body = chance.choice(bodies)["text"]
        if chance.random() < 0.15:
            body = f"```\n{body}\n```"
        elif chance.random() < 0.1:
            body = f'"{body}"'
        joint = chance.choice(joints)
        text = row.text + joint + body if chance.random() < 0.5 else body + joint.removeprefix(":") + row.text
        made.append(replace(row, text=text, source="pasted", root=row.text))
    return made


def unique(rows: list[Row]) -> list[Row]:
    """*rows* without the second of two equal texts."""
    return list({_folded(row.text): row for row in reversed(rows)}.values())[::-1]
