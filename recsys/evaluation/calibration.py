"""Are predictions as sure as they say? The share of test ratings within the intervals that should hold half, or 90%."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.evaluation.error_analysis import HeldOut

INTERVALS = {"inside_50": 0.5, "inside_90": 0.9}
QUANTILES = {0.5: 0.6744897501960817, 0.9: 1.6448536269514722}  # of the normal: half of each lies within +- these
CHUNK = 1 << 16  # test rows at a time

Floats = NDArray[np.floating]


def calibration_figures(bundle: Bundle, test: HeldOut) -> dict[str, float | None]:
    """How the stated spread fits the test ratings; nothing for a bundle that states none.

    Of an identity link an interval is `prediction +- z std` with the normal's z, and holds a rating or not. Of an
    ordinal link it is what lies between two quantiles of the star's distribution; a level that is partly in it counts
    in part, as much as its probability is (the mean of a randomised interval: Czado, Gneiting & Held 2009), so that an
    honest model's share is 50% and 90% exactly, however coarse the scale.

    Returns:
        `inside_50` and `inside_90`, shares in [0, 1], and `mean_std` in stars.
    """
    if not bundle.says_std or bundle.ranks_only:
        return {}
    totals = dict.fromkeys((*INTERVALS, "mean_std"), 0.0)
    for start in range(0, len(test.rating), CHUNK):
        rows = slice(start, start + CHUNK)
        rating = test.rating[rows]
        mean, std, shares = bundle.predicted(test.user[rows], test.item[rows], std=True)
        assert std is not None
        for name, share in INTERVALS.items():
            if shares is None or bundle.factors.levels is None:
                inside = within(rating, mean, std, share)
            else:
                inside = within_levels(rating, shares, bundle.factors.levels, share)
            totals[name] += float(inside.sum(dtype=np.float64))
        totals["mean_std"] += float(std.sum(dtype=np.float64))
    return {name: total / len(test.rating) for name, total in totals.items()}


def within(rating: Floats, mean: Floats, std: Floats, share: float) -> Floats:
    """Whether each rating is in the central normal interval that should hold this share, `(rows,)`: 1 or 0."""
    return (np.abs(rating - mean) <= QUANTILES[share] * std).astype(np.float64)


def within_levels(rating: Floats, probabilities: Floats, levels: Floats, share: float) -> Floats:
    """How much of each rating's probability is in the central interval that holds this share, `(rows,)` in [0, 1].

    Args:
        rating: Stars, `(rows,)`; one between two levels counts as the nearest.
        probabilities: Of the levels, `(rows, levels)`.
        levels: Stars, ascending.
        share: Of all probability.
    """
    level = np.abs(rating[:, None] - levels).argmin(1)[:, None]
    above = np.take_along_axis(np.cumsum(probabilities, 1, dtype=np.float64), level, 1)[:, 0]
    own = np.maximum(np.take_along_axis(probabilities, level, 1)[:, 0].astype(np.float64), 1e-12)
    low, high = (1 - share) / 2, (1 + share) / 2
    overlap = np.minimum(above, high) - np.maximum(above - own, low)
    return np.asarray((overlap / own).clip(0, 1))


def sentence(figures: Mapping[str, Any]) -> str | None:
    """The figures as people read them; None where there are none."""
    half, most = figures.get("test/inside_50"), figures.get("test/inside_90")
    if half is None or most is None:
        return None
    return f"50% intervals hold {half:.1%} of test ratings, 90% intervals {most:.1%}"
