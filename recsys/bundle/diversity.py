"""Maximal marginal relevance (Carbonell & Goldstein 1998): lists whose items are not all alike.

Items are taken one by one, each time the one with the highest

    (1 - diversity) r_i - diversity spread max over the items j taken before of cos(i, j)

where `r` is what the list is ordered by and `spread` its range over the candidates. These margins, cut to that of the
item before where they are above it, are the scores of the list.
"""

from __future__ import annotations

import numpy as np

from recsys.bundle.typing import Float32Array, IndexArray

CANDIDATES = 200  # at least; twice as many as are wanted


def diverse(
    relevance: Float32Array, rows: IndexArray, directions: Float32Array, k: int, diversity: float
) -> tuple[IndexArray, Float32Array]:
    """The k items taken, as positions among the candidates, and their margins, which never increase.

    Args:
        relevance: Of each candidate, `(candidates,)`, highest first.
        rows: Of the candidates, `(candidates,)`.
        directions: Of every item, of length 1 at most, `(n_items, dim)`.
        k: Items at most.
        diversity: In [0, 1].
    """
    n = min(k, len(rows))
    own = directions[rows]
    spread = float(relevance[0] - relevance[-1]) if len(rows) else 0.0
    kept = (1 - diversity) * relevance.astype(np.float64)
    nearest = np.full(len(rows), -1.0)  # the highest similarity to an item taken
    margin = kept.copy()
    taken, margins = np.zeros(n, np.int64), np.zeros(n)
    for place in range(n):
        best = int(margin.argmax())
        taken[place], margins[place] = best, margin[best]
        nearest = np.maximum(nearest, own @ own[best])
        kept[best] = -np.inf
        margin = kept - diversity * spread * nearest
    return taken, np.minimum.accumulate(margins).astype(np.float32)
