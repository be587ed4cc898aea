"""Decimals of numbers in answers: a rating of 4.1 is 4.099999904632568 in float32, and is shown as 4.1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

DECIMALS = 6  # of scores, ratings and contributions in stars


DIGITS = 7  # of scores, which may be as small as the chance of one item among many: those of a float32


def significant(values: ArrayLike) -> list[float]:
    """Values as a list, with as many digits as they have."""
    return [float(f"{value:.{DIGITS}g}") for value in np.asarray(values, np.float64).tolist()]


def rounded(values: ArrayLike) -> Any:
    """Values as lists, or one value as a float."""
    return np.round(np.asarray(values, np.float64), DECIMALS).tolist()
