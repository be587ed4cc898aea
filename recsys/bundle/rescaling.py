"""The same model on another rating scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from recsys.bundle.factors import Factors
from recsys.bundle.schema import FACTOR_SPECS

__all__ = ["rescaled"]


def rescaled(factors: Factors, low: float, unit: float) -> Factors:
    """A model of ratings `(r - low) / unit`, from one of ratings r; the inverse has `-low / unit` and `1 / unit`.

    Args:
        factors: Without an ordinal link and item weights. The result has no `unit` of its own.
        low: What becomes 0.
        unit: What becomes a step of 1, > 0.
    """
    step = np.append(np.full(factors.prior_mean.shape[1] - 1, unit**0.5), unit)  # of each coordinate of [p, b]
    changed: dict[str, Any] = {"unit": None}
    for name, spec in FACTOR_SPECS.items():
        array = getattr(factors, name)
        if array is None or name == "unit":
            continue
        if name == "mu":
            changed[name] = (array - low) / unit
        elif name == "precision":
            changed[name] = array * unit**2
        elif spec.axes.endswith("see"):
            changed[name] = array * np.outer(step, step) / unit**2
        elif spec.axes.endswith("se"):
            changed[name] = array / step
        elif spec.axes.endswith("sd"):
            changed[name] = array / unit**0.5
        elif name.endswith("_bias") or name == "cold_start_items":
            changed[name] = array / unit
    arrays: dict[str, Any] = {
        name: None if array is None else array.astype(np.float32) for name, array in changed.items()
    }
    return replace(factors, **arrays)
