"""Measures the shipped router on prompts it was never trained or tuned on, beside two baselines. Run: `make routing`.

Writes `docs/reference/routing-measured.md` and the picture beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

from paios.base.text import normalise, words
from paios.base.types import DOMAINS, Domain
from paios.memory.embed import SentenceEncoder
from paios.routing import compound, hints
from paios.routing.decide import SURE
from paios.routing.measure import Judged, Measured, measure
from paios.routing.model import meaning, shipped
from training import data
from training.data import Row

PAGE = data.HERE.parent / "docs/reference/routing-measured.md"
PICTURE = PAGE.with_name("routing-confusion.svg")
Decide = Callable[[Sequence[str]], list[tuple[Domain, float]]]


def main() -> None:
    test = data.written("test")
    pasted = [Row(r["text"], r["domain"], r["lang"], "pasted") for r in data.lines("pasted/test.jsonl")]
    both, first = _ours(first_stage=False), _ours(first_stage=True)
    routers: dict[str, Decide] = {
        "PAIOS, both stages": both,
        "PAIOS, first stage alone": first,
        "TF-IDF + logistic regression": _tfidf(),
        "keywords": _keywords,
    }
    rows: list[str] = []
    for name, decide in routers.items():
        of = {lang: _measured(decide, [r for r in test if r.lang == lang]) for lang in ("en", "ar")}
        of_pasted = {lang: _measured(decide, [r for r in pasted if r.lang == lang]) for lang in ("en", "ar")}
        error = measure(_judged(decide, test)).calibration_error
        shares = [of["en"].accuracy, of["ar"].accuracy, of_pasted["en"].accuracy, of_pasted["ar"].accuracy]
        rows.append(f"| {name} | " + " | ".join(f"{s:.3f}" for s in shares) + f" | {error:.3f} |")
        print(rows[-1], flush=True)
    whole = measure(_judged(both, test))
    text = "\n".join(_page(rows, test, pasted, whole, _judged(both, test), _judged(first, test)))
    PAGE.write_text(text + "\n", encoding="utf-8")
    PICTURE.write_text(_picture(whole), encoding="utf-8")
    print(text)


# ---- routers


def _ours(*, first_stage: bool) -> Decide:
    model, encoder = shipped(), SentenceEncoder()

    def decide(texts: Sequence[str]) -> list[tuple[Domain, float]]:
        read = [model.read(text) for text in texts]
        vectors = [None] * len(read) if first_stage else encoder.encode([meaning(parts) for parts in read])
        return [model.classify(parts, vector).scores[0] for parts, vector in zip(read, vectors, strict=True)]

    return decide


def _tfidf() -> Decide:
    """What one would build in an hour: words and pieces of words, the same rows to learn from."""
    rows = data.learning()
    pipeline = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True),
        ),
        LogisticRegression(C=10, max_iter=200, tol=1e-3),
    )
    pipeline.fit([row.text for row in rows], [row.domain for row in rows])

    def decide(texts: Sequence[str]) -> list[tuple[Domain, float]]:
        return [
            max(zip(pipeline.classes_, map(float, chances), strict=True), key=lambda pair: pair[1])
            for chances in pipeline.predict_proba(list(texts))
        ]

    return decide


def _keywords(texts: Sequence[str]) -> list[tuple[Domain, float]]:
    """Votes of the hand-written words and patterns, the way most routers work; its confidence is its share of the votes."""
    decided: list[tuple[Domain, float]] = []
    for text in texts:
        folded = normalise(text[:4000])
        votes = dict.fromkeys(DOMAINS, 0)
        for name, _ in hints.found(folded, words(folded)):
            votes[name.split(":")[1]] += 1  # type: ignore[index]  # a hint's second part is its domain
        best = max(DOMAINS, key=lambda domain: votes[domain]) if any(votes.values()) else "general"
        decided.append((best, votes[best] / (sum(votes.values()) or 1)))
    return decided


def _judged(decide: Decide, rows: Sequence[Row]) -> list[Judged]:
    return [Judged(row.domain, *said) for row, said in zip(rows, decide([row.text for row in rows]), strict=True)]


def _measured(decide: Decide, rows: Sequence[Row]) -> Measured:
    return measure(_judged(decide, rows))


# ---- the page


def _page(
    rows: Sequence[str],
    test: Sequence[Row],
    pasted: Sequence[Row],
    whole: Measured,
    both: Sequence[Judged],
    first: Sequence[Judged],
) -> Iterator[str]:
    yield "# How well the router decides\n\nWritten by `make routing`; do not edit.\n"
    yield (
        f"{len(test)} ordinary requests and {len(pasted)} with pasted material, kept apart: none was learned from, and no"
        " number was chosen by them (who wrote them: `training/README.md`). Calibration error: the expected"
        " calibration error over ten bins, of the ordinary requests; 0 means that of decisions made with confidence 0.8 eight"
        " in ten are right.\n"
    )
    yield "| router | English | Arabic | pasted, English | pasted, Arabic | calibration error |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    yield from rows
    yield "\n## Held out of training\n"
    yield (
        "The test is plain on purpose. Harder, and more of it: the training rows themselves, each decided by a model that has"
        " not seen its fifth. `prompts` were written to be hard, `pasted` are all kinds with material before or after them."
        " Slightly optimistic: the weight of a rare word, and what tells pasted material, were found on all rows.\n"
    )
    yield "| rows | language | how many | first stage | second stage | both |\n| --- | --- | ---: | ---: | ---: | ---: |"
    for source, lang, count, first_right, second_right, both_right in shipped().held_out:
        yield f"| {source} | {lang} | {count} | {first_right:.3f} | {second_right:.3f} | {both_right:.3f} |"
    yield "\n## By domain, both stages\n\n| domain | rows | precision | recall |\n| --- | ---: | ---: | ---: |"
    for d in whole.domains:
        yield f"| {d.domain} | {d.rows} | {d.precision or 0:.3f} | {d.recall or 0:.3f} |"
    yield "\n![Which domain was taken for which](routing-confusion.svg)\n"
    yield "## Confidence\n\n| confidence | rows | mean confidence | right |\n| --- | ---: | ---: | ---: |"
    for b in whole.bins:
        yield f"| {b.low:.1f}–{b.low + 0.1:.1f} | {b.rows} | {b.confidence:.3f} | {b.accuracy:.3f} |"
    yield from _stages(both, first)
    yield from _compound(test)
    yield from _speed(test)


def _stages(both: Sequence[Judged], first: Sequence[Judged]) -> Iterator[str]:
    sure = [(b, f) for b, f in zip(both, first, strict=True) if f.confidence >= SURE]
    right = [sum(j.expected == j.decided for j in of) / len(sure) for of in zip(*sure, strict=True)]
    yield "\n## When the first stage decides alone\n"
    yield (
        f"A command that starts from nothing answers from the first stage where that is at least {SURE} sure: "
        f"{len(sure) / len(both):.0%} of the ordinary requests. Of these the first stage is right in {right[1]:.1%}, both"
        f" together in {right[0]:.1%}."
    )


def _compound(test: Sequence[Row]) -> Iterator[str]:
    model = shipped()
    rows = list(data.lines("compound/test.jsonl"))
    found = [bool(compound.tasks(model.read(r["text"]), model)) for r in rows]
    two = [f for f, r in zip(found, rows, strict=True) if r["compound"]]
    one = [f for f, r in zip(found, rows, strict=True) if not r["compound"]]
    plain = [bool(compound.tasks(model.read(row.text), model)) for row in test]
    pasted = [bool(compound.tasks(model.read(r["text"]), model)) for r in data.lines("pasted/test.jsonl")]
    yield "\n## Two tasks at once\n\n| requests | taken for two tasks |\n| --- | ---: |"
    yield f"| {len(two)} with two tasks of two domains | {sum(two) / len(two):.1%} |"
    yield f"| {len(one)} that only look like it | {sum(one) / len(one):.1%} |"
    yield f"| {len(plain)} ordinary ones, one task each | {sum(plain) / len(plain):.1%} |"
    yield f"| {len(pasted)} with pasted material, one task each | {sum(pasted) / len(pasted):.1%} |"


def _speed(test: Sequence[Row]) -> Iterator[str]:
    model = shipped()
    material = "\n".join(row.text for row in test)
    yield "\n## Speed of the first stage\n\nCPU of one decision, the median.\n\n| request | CPU |\n| --- | ---: |"
    for name, size in (("500 characters", 500), ("20,000 characters", 20_000), ("1,000,000 characters", 1_000_000)):
        pieces = [
            (material[i : i + size] * (size // max(1, len(material[i : i + size])) + 1))[:size] for i in range(0, 40_000, 800)
        ]
        spent = []
        for piece in pieces:
            started = time.process_time_ns()
            model.classify(model.read(piece))
            spent.append((time.process_time_ns() - started) / 1e6)
        yield f"| {name} | {median(spent):.2f} ms |"


def _picture(found: Measured) -> str:
    """The confusion matrix as a picture: rows are what it was, columns what was decided."""
    cell, left, top = 54, 100, 90
    size = cell * len(DOMAINS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + size + 20} {top + size + 20}" font-family="sans-serif"'
        f' font-size="13"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{left + size / 2}" y="22" text-anchor="middle">decided</text><text x="12" y="{top - 12}">it was</text>'
    ]
    for i, (domain, row) in enumerate(zip(DOMAINS, found.confusion, strict=True)):
        y = top + cell * i
        parts.append(f'<text x="{left - 8}" y="{y + cell / 2 + 5}" text-anchor="end">{domain}</text>')
        parts.append(
            f'<text x="{left + cell * i + cell / 2}" y="{top - 12}" text-anchor="middle" font-size="11">{domain}</text>'
        )
        for j, count in enumerate(row):
            share = count / (sum(row) or 1)
            ink = "white" if share > 0.5 else "black"
            x = left + cell * j
            box = f'x="{x}" y="{y}" width="{cell}" height="{cell}" stroke="#ccc"'
            parts.append(f'<rect {box} fill="rgb(30,80,160)" fill-opacity="{share:.2f}"/>')
            if count:
                parts.append(
                    f'<text x="{x + cell / 2}" y="{y + cell / 2 + 5}" text-anchor="middle" fill="{ink}">{count}</text>'
                )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()
