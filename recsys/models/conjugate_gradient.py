"""Improve the solutions of many rows' normal equations at once, by preconditioned conjugate gradients.

Each pair of a row has a row `z` of the other side's `design`, and the row's system is

    A = shared + penalty I + sum weight z z'        b = sum target z

A step needs `A p`, hence a dot product and a weighted sum over the pairs, and no matrix of any row: `O(pairs e)`
instead of `O(pairs e^2 + rows e^3)`. Started at the row's last solution, a few steps a sweep do as well as exact
solutions (Takacs, Pilaszy & Tikk 2011, *Applications of the conjugate gradient method for implicit feedback
collaborative filtering*).

The systems of a side have much in common: `shared`, and what a popular `z` adds to most of them. In the eigenvectors of
their mean they are nearly diagonal, and a row's diagonal follows from the sum of its weights; dividing by it is the
preconditioner, which halves the steps. Every step lowers `x' A x / 2 - b' x` of every row, or leaves it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recsys.models.sparse_ops import SortedPairs


class Common:
    """What the systems of all rows of a side share, in the eigenvectors of their mean.

    Args:
        design: `z` of each row of the other side, `(n_other, e)`.
        shared: Part of every system, `(e, e)`.
        added: What the pairs add to the sum of all systems, `sum weight z z'`, `(e, e)`.
        total: The sum of the pairs' weights, a scalar.
        n_rows: Number of systems.
    """

    def __init__(self, design: Tensor, shared: Tensor, added: Tensor, total: Tensor, n_rows: int) -> None:
        mean = shared + added / n_rows
        self.basis = torch.linalg.eigh(mean)[1]
        self.design, self.shared = design @ self.basis, self.basis.T @ shared @ self.basis
        info = torch.finfo(design.dtype)
        self._by_weight = self._along(added) / total.to(design.dtype).clamp_min(info.tiny)
        self._least = info.eps * self._along(mean).mean() + info.tiny

    def _along(self, matrix: Tensor) -> Tensor:
        """The diagonal of a matrix in these eigenvectors, `(e,)`."""
        along: Tensor = torch.linalg.vecdot(self.basis, matrix @ self.basis, dim=0)
        return along

    def diagonal(self, penalty: Tensor, weight: Tensor) -> Tensor:
        """About the diagonal of rows' systems, `(rows, e)`, by their penalty and sum of weights, `(rows,)` each."""
        diagonal = torch.addcmul(self.shared.diagonal() + penalty[:, None], weight[:, None], self._by_weight)
        return diagonal.clamp_min_(self._least)


class Systems(NamedTuple):
    """The systems `A x = b` of some rows of a side."""

    common: Common
    pairs: SortedPairs
    penalty: Tensor  # (rows,)
    total: Tensor  # of the weights of each row's pairs, (rows,)
    weight: Tensor  # of each pair in A, (pairs,) in the order of the pairs; () where all are alike
    target: Tensor  # of each pair in b, likewise


def conjugate_gradient(systems: Systems, start: Tensor, steps: int, dot: Tensor | None = None) -> Tensor:
    """Solutions after so many steps, `(rows, e)`.

    Args:
        systems: The systems of the rows.
        start: Where to start, `(rows, e)`.
        steps: Steps of each row, at least 1.
        dot: Output for the solution's dot products with `z` of each pair, `(pairs,)`.
    """
    common, pairs, weight = systems.common, systems.pairs, systems.weight
    design, shared, penalty = common.design, common.shared, systems.penalty[:, None]
    diagonal = common.diagonal(systems.penalty, systems.total)
    x = start @ common.basis
    tiny = torch.finfo(x.dtype).tiny
    score = pairs.dot(x, design)
    missing = torch.addcmul(systems.target, weight, score, value=-1)  # (pairs,)
    residual = pairs.sums(design, missing).sub_(x @ shared).addcmul_(penalty, x, value=-1)
    direction = residual / diagonal
    level = torch.linalg.vecdot(residual, direction)
    for step in range(steps):
        along = pairs.dot(direction, design)  # (pairs,)
        image = pairs.sums(design, weight * along).add_(direction @ shared).addcmul_(penalty, direction)
        length = level / torch.linalg.vecdot(direction, image).clamp_min(tiny)
        x.addcmul_(length[:, None], direction)
        if dot is not None:
            score.addcmul_(pairs.spread(length), along)
        if step + 1 < steps:
            residual.addcmul_(length[:, None], image, value=-1)
            conditioned = residual / diagonal
            before, level = level, torch.linalg.vecdot(residual, conditioned)
            direction = conditioned.addcmul_((level / before.clamp_min(tiny))[:, None], direction)
    if dot is not None:
        dot.copy_(score)
    solution: Tensor = x @ common.basis.T
    return solution
