"""Rating errors by subset, measured by the metrics of the registry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation.registry import SUBSETS, Metrics, in_group, measure

Floats = NDArray[np.floating]


def rating_metrics(predicted: Floats, rating: Floats, warm: NDArray[np.bool_]) -> Metrics:
    """Every rating metric, pooled over all, warm and cold rows.

    Args:
        predicted: Predictions in stars, clipped to the scale, `(rows,)`.
        rating: True ratings in stars, `(rows,)`.
        warm: Whether both the user and the item were seen in fitting, `(rows,)`.

    Returns:
        `rmse`, `rmse_warm`, `rmse_cold`, `mae`, ... and `share_cold`; None for a subset without rows.
    """
    error = predicted.astype(np.float64) - rating
    subsets = dict(zip(SUBSETS, (error, error[warm], error[~warm]), strict=True))
    by_subset = {suffix: measure("rating", rows) for suffix, rows in subsets.items() if len(rows)}
    found: Metrics = {
        metric.name + suffix: by_subset.get(suffix, {}).get(metric.name)
        for metric in in_group("rating")
        for suffix in SUBSETS
    }
    return found | {"share_cold": float((~warm).mean()) if len(warm) else None}
