"""Weights of the L2 penalty by number of ratings."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def one_per_row(row: NDArray[np.int64], n: int) -> Tensor:
    """`1 / n_row` of each row, or 0 without ratings, `(n,)` float32: a penalty per rating that counts once for a row.

    Args:
        row: Row of each rating, `(ratings,)`.
        n: Number of rows.
    """
    count = np.bincount(row, minlength=n)
    return torch.from_numpy(np.divide(1.0, count, out=np.zeros(n), where=count > 0).astype(np.float32))


def penalty_weights(row: NDArray[np.int64], n: int, exponent: float) -> tuple[Tensor, Tensor]:
    """Penalty weight per rating of each row: n_row^(exponent - 1), scaled to a mean of 1 over the ratings.

    Args:
        row: Row of each rating, `(ratings,)`.
        n: Number of rows.
        exponent: The total penalty of a row with n ratings grows as n^exponent, in [0, 1].

    Returns:
        The weights, `(n,)` float32, and the weight of a row with a single rating, a scalar.
    """
    count = np.bincount(row, minlength=n)
    weight = np.maximum(count, 1.0) ** (exponent - 1.0)
    level = count.sum() / (weight @ count)
    return torch.from_numpy((weight * level).astype(np.float32)), torch.tensor(level, dtype=torch.float32)
