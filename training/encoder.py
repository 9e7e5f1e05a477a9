"""Vectors of meaning for training, kept between runs in `.cache` because each costs some milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from paios.memory.embed import SentenceEncoder
from training.data import HERE

CACHE = HERE / ".cache" / "vectors.npz"


def vectors(texts: Sequence[str]) -> np.ndarray:
    """A unit vector for each of *texts*, as float32."""
    kept = dict(np.load(CACHE)) if CACHE.exists() else {}
    keys = [hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:20] for text in texts]
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in kept}
    if missing:
        encoder = SentenceEncoder()
        made = encoder.encode(list(missing.values()))
        kept |= {key: np.asarray(vector, dtype=np.float32) for key, vector in zip(missing, made, strict=True)}
        CACHE.parent.mkdir(exist_ok=True)
        np.savez(CACHE, **kept)
    return np.stack([kept[key] for key in keys])
