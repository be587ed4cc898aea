"""The k best of many scores."""

from __future__ import annotations

import numpy as np

from recsys.bundle.typing import Float32Array, IndexArray

__all__ = ["argtopk", "check_k"]


def check_k(k: object) -> None:
    """Raise a TypeError unless k is an integer, and a ValueError unless it is 1 or more."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"k must be an integer >= 1, got {k!r:.80}")
    if k < 1:
        raise ValueError(f"k must be >= 1, got {k}")


def argtopk(scores: Float32Array, k: int, then: Float32Array | None = None) -> IndexArray:
    """Positions of the k highest scores above -inf, highest first, ties by `then`, highest first, and by position.

    Raises:
        ValueError: `k` is below 1.
        TypeError: `k` is not an integer.
    """
    check_k(k)
    if k < len(scores):
        parted = scores.copy()
        parted.partition(-k)
        (candidates,) = (scores >= parted[-k]).nonzero()
    else:
        candidates = np.arange(len(scores))
    best = -scores[candidates]
    order = best.argsort(kind="stable") if then is None else np.lexsort((-then[candidates], best))
    rows: IndexArray = candidates[order[:k]]
    return rows[scores[rows] > -np.inf]
