"""Calibration: empirical coverage of the 50% and 90% prediction intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.typing import Float64Array
from recsys.evaluation.holdout import TestSet, predictions_of
from recsys.evaluation.outcomes import IntervalHits
from recsys.evaluation.registry import measure

QUANTILES = {0.5: 0.6744897501960817, 0.9: 1.6448536269514722}  # by level: normal intervals reach so many std each way
ROW_BLOCK = 1 << 16  # test rows predicted at once

AnyFloats = NDArray[np.floating]


def calibration_metrics(bundle: Bundle, test_set: TestSet) -> dict[str, float | None]:
    """Every interval metric; nothing for a bundle without predictive uncertainty.

    Behind an identity link an interval is `prediction +- z std` with the normal quantile z. Behind an ordinal link it
    is what lies between two quantiles of the rating's distribution; a level partly inside counts by the part of its
    probability that is inside (the mean of a randomised interval: Czado, Gneiting & Held 2009), so that a calibrated
    model's coverage is 50% and 90% exactly, however coarse the scale.
    """
    if not bundle.has_uncertainty or bundle.is_ranking:
        return {}
    blocks = []
    for start in range(0, len(test_set.rating), ROW_BLOCK):
        rows = slice(start, start + ROW_BLOCK)
        blocks.append(_interval_hits(bundle, test_set.user[rows], test_set.item[rows], test_set.rating[rows]))
    inside = {level: np.concatenate([block.inside[level] for block in blocks]) for level in QUANTILES}
    return measure("intervals", IntervalHits(inside, np.concatenate([block.std for block in blocks])))


def _interval_hits(bundle: Bundle, user: NDArray[np.int64], item: NDArray[np.int64], rating: AnyFloats) -> IntervalHits:
    mean, std, probabilities = predictions_of(bundle, user, item, std=True)
    assert std is not None
    levels = bundle.factors.levels
    if probabilities is None or levels is None:
        inside = {level: in_interval(rating, mean, std, level) for level in QUANTILES}
    else:
        inside = {level: in_ordinal_interval(rating, probabilities, levels, level) for level in QUANTILES}
    return IntervalHits(inside, std.astype(np.float64))


def in_interval(rating: AnyFloats, mean: AnyFloats, std: AnyFloats, level: float) -> Float64Array:
    """Whether each rating is inside its central normal interval of this level, `(rows,)`: 1 or 0."""
    return (np.abs(rating - mean) <= QUANTILES[level] * std).astype(np.float64)


def in_ordinal_interval(rating: AnyFloats, probabilities: AnyFloats, levels: AnyFloats, level: float) -> Float64Array:
    """The part of each rating's probability inside the central interval of this level, `(rows,)` in [0, 1].

    Args:
        rating: Stars, `(rows,)`; one between two rating levels counts as the nearest.
        probabilities: Of the rating levels, `(rows, levels)`.
        levels: Stars, ascending.
        level: Of the interval: the probability that it holds.
    """
    place = np.abs(rating[:, None] - levels).argmin(1)[:, None]
    above = np.take_along_axis(np.cumsum(probabilities, 1, dtype=np.float64), place, 1)[:, 0]
    own = np.maximum(np.take_along_axis(probabilities, place, 1)[:, 0].astype(np.float64), 1e-12)
    low, high = (1 - level) / 2, (1 + level) / 2
    overlap = np.minimum(above, high) - np.maximum(above - own, low)
    return np.asarray((overlap / own).clip(0, 1))


def format_coverage(metrics: Mapping[str, Any]) -> str | None:
    """The coverage as a sentence; None where there is none."""
    half, most = metrics.get("test/inside_50"), metrics.get("test/inside_90")
    if half is None or most is None:
        return None
    return f"50% intervals hold {half:.1%} of test ratings, 90% intervals {most:.1%}"
