"""Trains the router's classifier and writes `src/paios/routing/weights.bin`. Run: `make train`.

Everything is seeded; two runs on one machine write the same bytes. Of the test files only this is used: that no row of
them is learned from.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from paios.base.text import normalise, words
from paios.base.types import DOMAINS
from paios.routing import compound
from paios.routing.features import BUCKETS, POLITE, Features, features, of_word
from paios.routing.model import ASKED, Model, meaning
from paios.routing.phrases import Parts, bare, ends_of, focused, parts, sentences_of
from training import data, encoder
from training.data import FOLDS, Row

WEIGHTS = data.HERE.parent / "src/paios/routing/weights.bin"
C_SPARSE, C_DENSE, C_ASKS = 10.0, 10.0, 3.0  # chosen on the folds among 1, 3, 10, 30
# Open sentences of every kind, background too.
_NO_OPENERS = frozenset(
    words(
        "i i'm my the a an it it's he she we our this that there in on at for of if and but so no yes not"
        " انا في على من عن هذا هذه"
    )
)
FEWEST = 2  # a bucket seen in one row only says nothing about the next

Matrix = np.ndarray


def main() -> None:
    rows = data.learning()
    y = np.array([DOMAINS.index(row.domain) for row in rows])
    value = values([parts(row.text) for row in rows if row.source != "pasted"])
    asking, asks = asker(rows, value)
    read = [focused(parts(row.text), asks) for row in rows]
    sparse, dense = weighed(hashed(map(features, read)), value), encoder.vectors([meaning(p) for p in read])
    one, two = out_of_fold(sparse, y, rows, C_SPARSE), out_of_fold(dense, y, rows, C_DENSE)
    # Confidence is to be right on what people ordinarily ask; the harder prompts are written to cover the space.
    usual = np.array([row.source in ("ordinary", "public", "pasted") for row in rows])
    t_one, t_two = temperature(one[usual], y[usual]), temperature(two[usual], y[usual])
    share, t_joint = joined(softmax(one / t_one)[usual], softmax(two / t_two)[usual], y[usual])
    held_out = report(rows, y, softmax(one / t_one), softmax(two / t_two), share)

    first = fitted(sparse, y, C_SPARSE)
    second = fitted(dense, y, C_DENSE)
    head: dict[str, Any] = {
        "trained": {"rows": len(rows), "digest": hashlib.sha256(first.coef_.tobytes()).hexdigest()[:16]},
        "held_out": held_out,
        "temperature": t_one,
        "asks_bias": float(asking.intercept_[0]),
        "dense_bias": rounded(second.intercept_),
        "dense_temperature": t_two,
        "dense_share": share,
        "joint_temperature": t_joint,
        "dimensions": int(dense.shape[1]),
        "openers": openers(rows),
    }
    head["compound"] = joiners(head, rows, y, sparse, asking, value)
    packed = pack(head, first, asking, second.coef_, value)
    WEIGHTS.write_bytes(packed)
    anchors(rows, y, softmax(one))
    print(f"{len(rows)} rows, {int((value > 0).sum())} buckets in use, {WEIGHTS.stat().st_size:,} bytes")
    print({key: value for key, value in head.items() if key != "openers"})


def pack(head: dict[str, Any], first: LogisticRegression, asking: LogisticRegression, second: Matrix, value: Matrix) -> bytes:
    """The file that `routing.model` reads: the length of the head, the head as JSON, a byte a weight, the second stage."""
    weights = first.coef_ * value
    weights -= weights.mean(axis=0)  # changes no probability, and lets one weight tell how far a bucket leans
    scale = float(np.quantile(np.abs(weights[weights != 0]), 0.9998)) / 127
    asks_scale = float(np.abs(asking.coef_ * value).max()) / 127
    size_scale = float((value**2).max()) / 255
    small = np.vstack(
        [
            np.clip(np.rint(weights / scale), -127, 127) + 128,
            np.rint(asking.coef_ * value / asks_scale) + 128,
            np.rint(value**2 / size_scale),
        ]
    )
    whole = {**head, "bias": rounded(first.intercept_), "scale": scale, "asks_scale": asks_scale, "size_scale": size_scale}
    text = json.dumps(whole, sort_keys=True).encode()
    text += b" " * (-len(text) % 4)
    return len(text).to_bytes(4, "little") + text + small.astype(np.uint8).tobytes() + second.astype("<f4").tobytes()


def joiners(
    head: dict[str, Any], rows: Sequence[Row], y: Matrix, sparse: sp.csr_matrix, asking: LogisticRegression, value: Matrix
) -> list[float]:
    """
    What it takes for two tasks: a constant and a weight for each of the signs of `routing.compound`, learned from prompts with
    two tasks, and from single ones that the model used here has not seen, so that it is as unsure as it will be.
    """
    kept = np.array([row.fold == 0 for row in rows])
    head = {**head, "compound": [0.0]}
    model = Model(pack(head, fitted(sparse[~kept], y[~kept], C_SPARSE), asking, np.zeros((len(DOMAINS), 512)), value))
    single = [r.text for r, k in zip(rows, kept, strict=True) if k and r.source in ("ordinary", "public", "pasted", "prompts")]
    marked = list(data.lines("compound/train.jsonl"))
    signs: list[tuple[float, ...]] = []
    two: list[int] = []
    for text, is_two in [(text, False) for text in single] + [(row["text"], row["compound"]) for row in marked]:
        for cut in compound.cuts(model.read(text), model):
            signs.append(cut.signs)
            two.append(int(is_two))
    fit = LogisticRegression(C=1.0, max_iter=1000).fit(np.array(signs), two)
    scores = np.array(signs) @ fit.coef_[0] + fit.intercept_[0]
    # Of single prompts fewer than two in a hundred may be taken for two.
    alone = sorted((s for s, is_two in zip(scores, two, strict=True) if not is_two), reverse=True)
    least = float(alone[min(len(alone) - 1, int(0.016 * (len(single) + 60)))])
    found = sum(1 for s, is_two in zip(scores, two, strict=True) if is_two and s > least)
    print(f"compound: {len(single)} single, {len(signs)} cuts, least {least:.2f}, {found} cuts of {sum(two)} kept")
    return [round(float(fit.intercept_[0]) - least, 4), *(round(float(w), 4) for w in fit.coef_[0])]


def values(read: Sequence[Parts]) -> Matrix:
    """
    What a bucket counts for: the rarer its feature the more (idf), whole words and shapes twice as much as pieces of words,
    and nothing if it was seen only once.
    """
    pieces, others = set[int](), set[int]()
    for seen_in in map(features, read):
        others.update(found for found, _ in seen_in.named)
        for word in seen_in.words:
            whole = 1 if word.isascii() else 2  # the word, in Arabic its stem too; the others are its pieces
            others.update(of_word(word)[:whole])
            pieces.update(of_word(word)[whole:])
    seen = np.asarray((hashed(map(features, read)) > 0).sum(axis=0)).ravel()
    idf = np.log((1 + len(read)) / (1 + seen)) + 1
    double = np.ones(BUCKETS)
    double[sorted(others)] = 2.0
    return np.where(seen >= FEWEST, idf * double, 0.0)


def asker(rows: Sequence[Row], value: Matrix) -> tuple[LogisticRegression, Callable[[str], float]]:
    """
    What tells a request to an assistant from a sentence of pasted material, and the same as a function. Requests that came
    with material count ten times, and its ends five times more: on 500 kept apart, with bodies kept apart, the wrong end was
    taken in 6 of 100 instead of 13.
    """
    own = [row.text for row in rows if row.source != "pasted" and len(row.text) <= 300]
    requests = own + [s for text in own for s in sentences_of(text)] + 10 * [row.text for row in data.written("material")]
    bodies = [body["text"] for body in data.lines("pasted/bodies.jsonl")]
    material = [s for body in bodies for s in sentences_of(body)] + 5 * [end for body in bodies for end in ends_of(body) or ()]
    x = weighed(hashed(_asked(text) for text in requests + material), value)
    model = fitted(x, np.array([1] * len(requests) + [0] * len(material)), C_ASKS, balanced=True)

    def asks(text: str) -> float:
        score = (weighed(hashed([_asked(text)]), value) @ model.coef_.T + model.intercept_)[0, 0]
        return float(1 / (1 + np.exp(-score)))

    return model, asks


def _asked(text: str) -> Features:
    return features(bare(text[:ASKED]), hinted=False)


def hashed(seen: Iterable[Features]) -> sp.csr_matrix:
    """One row a prompt: how often it has each bucket."""
    indices: list[int] = []
    counts: list[int] = []
    ends = [0]
    for of in seen:
        counted = Counter(of.buckets())
        indices += counted
        counts += counted.values()
        ends.append(len(indices))
    return sp.csr_matrix((np.array(counts, dtype=float), indices, ends), shape=(len(ends) - 1, BUCKETS))


def weighed(x: sp.csr_matrix, value: Matrix) -> sp.csr_matrix:
    """*x* with each bucket at its *value*, and every row over its length: the root of the squares, a repeated one each time."""
    norms = np.sqrt(np.asarray(x @ value**2).ravel())
    return (sp.diags(1 / np.where(norms > 0, norms, 1)) @ x @ sp.diags(value)).tocsr()


def fitted(x: Matrix | sp.csr_matrix, y: Matrix, c: float, *, balanced: bool = False) -> LogisticRegression:
    """A logistic regression; columns seen too seldom are left out of the work and have weight 0."""
    weight = "balanced" if balanced else None
    if not sp.issparse(x):
        return LogisticRegression(C=c, max_iter=1000).fit(x, y)
    used = np.flatnonzero(np.asarray((x > 0).sum(axis=0)).ravel() >= FEWEST)
    model = LogisticRegression(C=c, max_iter=200, tol=1e-3, class_weight=weight).fit(x[:, used], y)
    whole = np.zeros((len(model.coef_), x.shape[1]))
    whole[:, used] = model.coef_
    model.coef_ = whole
    return model


def out_of_fold(x: Matrix | sp.csr_matrix, y: Matrix, rows: Sequence[Row], c: float) -> Matrix:
    """The scores of every row by a model that has not seen its fold."""
    folds = np.array([row.fold for row in rows])
    scores = np.zeros((len(rows), len(DOMAINS)))
    for fold in range(FOLDS):
        model = fitted(x[folds != fold], y[folds != fold], c)
        scores[folds == fold] = x[folds == fold] @ model.coef_.T + model.intercept_
    return scores


def softmax(scores: Matrix) -> Matrix:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances: Matrix = powers / powers.sum(axis=1, keepdims=True)
    return chances


def loss(chances: Matrix, y: Matrix) -> float:
    return float(-np.log(np.maximum(chances[np.arange(len(y)), y], 1e-9)).mean())


def temperature(scores: Matrix, y: Matrix) -> float:
    """The temperature at which *scores* are the best probabilities of *y* (Guo and others 2017)."""
    found = minimize(lambda t: loss(softmax(scores / np.exp(t[0])), y), [0.0], method="Nelder-Mead")
    return float(np.exp(found.x[0]))


def joined(one: Matrix, two: Matrix, y: Matrix) -> tuple[float, float]:
    """The second stage's share in the mean, and the temperature of the mean."""

    def mixed(share: float) -> Matrix:
        return np.log(np.maximum((1 - share) * one + share * two, 1e-9))

    tried = []
    for share in np.linspace(0.2, 0.8, 13):
        t = temperature(mixed(share), y)
        tried.append((loss(softmax(mixed(share) / t), y), float(share), t))
    _, share, t = min(tried)
    return share, t


def report(rows: Sequence[Row], y: Matrix, one: Matrix, two: Matrix, share: float) -> list[list[Any]]:
    """How many rows of each source and language are right by a model that has not seen them: first, second stage, both."""
    found: list[list[Any]] = []
    for source in ("prompts", "ordinary", "public", "pasted"):
        for lang in ("en", "ar"):
            of = np.array([row.source == source and row.lang == lang for row in rows])
            if of.any():
                right = [float((p[of].argmax(axis=1) == y[of]).mean()) for p in (one, two, (1 - share) * one + share * two)]
                found.append([source, lang, int(of.sum()), *(round(r, 3) for r in right)])
                print(f"{source:9} {lang} {int(of.sum()):5}  first {right[0]:.3f}  second {right[1]:.3f}  both {right[2]:.3f}")
    return found


def anchors(rows: Sequence[Row], y: Matrix, chances: Matrix) -> None:
    """Writes twenty ordinary requests a domain and language, those the first stage is surest of, for `routing.learn`."""
    chosen = []
    for lang in ("en", "ar"):
        for k in range(len(DOMAINS)):
            of = [i for i, r in enumerate(rows) if r.source == "ordinary" and r.lang == lang and y[i] == k and len(r.text) < 90]
            chosen += sorted(of, key=lambda i: (-chances[i, k], i))[:20]
    lines = [json.dumps({"text": rows[i].text, "domain": rows[i].domain}, ensure_ascii=False) for i in chosen]
    WEIGHTS.with_name("anchors.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def openers(rows: Sequence[Row]) -> list[str]:
    """The words that open two or more of the requests, after "please" and the like."""
    first: Counter[str] = Counter()
    for row in rows:
        if row.source != "pasted":
            folded = normalise(row.text[:200])
            polite = POLITE.match(folded)
            first.update(words(folded[polite.end() :] if polite else folded)[:1])
    return sorted(word for word, count in first.items() if count >= 2 and word not in _NO_OPENERS)


def rounded(values: Matrix) -> list[float]:
    return [round(float(v), 5) for v in values]


if __name__ == "__main__":
    main()
