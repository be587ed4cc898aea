"""Levels: which ratings people give, so that who rates is offered these."""

from __future__ import annotations

import math

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.typing import Float32Array
from serve.rounding import rounded

MAX_LEVELS = 11  # that are offered: 0 to 10
TOLERANCE = 1e-6  # steps


def rating_levels(bundle: Bundle, values: Float32Array, step: float | None) -> list[float] | None:
    """The ratings to choose from, ascending: an ordinal model's levels, or those of the data.

    Args:
        bundle: With the scale.
        values: The distinct ratings of the data, ascending.
        step: Between them, if all are a multiple of it apart; levels between and beyond them that nobody gave count,
            and on a short scale all whole numbers do.

    Returns:
        None for implicit feedback, and if there are more than `MAX_LEVELS`.
    """
    low, high = bundle.scale
    if bundle.factors.levels is not None:
        levels = bundle.factors.levels
    elif step is None:
        levels = values
    else:
        if step > 1 and float(step).is_integer() and high - low < MAX_LEVELS:
            step = 1.0
        below = math.floor((float(values[0]) - low) / step + TOLERANCE)
        above = math.floor((high - float(values[0])) / step + TOLERANCE)
        if below + above >= MAX_LEVELS:
            return None
        levels = values[0] + step * np.arange(-below, above + 1)
    found: list[float] = rounded(levels)
    return found if not bundle.is_implicit and 1 < len(found) <= MAX_LEVELS else None
