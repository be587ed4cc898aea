"""Decimals of numbers in answers: a rating of 4.1 is 4.099999904632568 in float32, and is shown as 4.1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

DECIMALS = 6  # of scores, ratings and contributions in stars


SMALL_DECIMALS = 9  # of scores that may be as small as the chance of one item among many


def rounded(values: ArrayLike) -> Any:
    """Values as lists, or one value as a float."""
    return np.round(np.asarray(values, np.float64), DECIMALS).tolist()
