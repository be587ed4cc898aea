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


class Systems(NamedTuple):
    """The systems `A x = b` of all rows of a side."""

    pairs: SortedPairs
    design: Tensor  # (n_other, e)
    shared: Tensor  # (e, e)
    penalty: Tensor  # (rows,)
    weight: Tensor  # of each pair in A, (pairs,) in the order of the pairs; () where all are alike
    target: Tensor  # of each pair in b, likewise


def conjugate_gradient(systems: Systems, start: Tensor, steps: int, dot: Tensor | None = None) -> Tensor:
    """Solutions after so many steps, `(rows, e)`.

    Args:
        systems: The systems of all rows.
        start: Where to start, `(rows, e)`.
        steps: Steps of each row, at least 1.
        dot: Output for the solution's dot products with `z` of each pair, `(pairs,)`.
    """
    basis, diagonal = _preconditioner(systems)
    pairs, penalty, weight = systems.pairs, systems.penalty[:, None], systems.weight
    design, x = systems.design @ basis, start @ basis
    shared, tiny = basis.T @ systems.shared @ basis, torch.finfo(x.dtype).tiny
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
    return x @ basis.T


def _preconditioner(systems: Systems) -> tuple[Tensor, Tensor]:
    """Eigenvectors of the systems' mean, `(e, e)`, and about the diagonal of each system in them, `(rows, e)`."""
    pairs, design = systems.pairs, systems.design
    of_row, of_column = pairs.totals(systems.weight)
    added = (design * of_column[:, None]).T @ design  # to the sum of all systems
    basis = torch.linalg.eigh(systems.shared + added / pairs.n_rows)[1]
    shared, by_weight = (torch.linalg.vecdot(basis, part @ basis, dim=0) for part in (systems.shared, added))
    tiny = torch.finfo(design.dtype).tiny
    by_weight /= of_row.sum().clamp_min(tiny)
    diagonal = torch.addcmul(shared + systems.penalty[:, None], of_row[:, None], by_weight)
    return basis, diagonal.clamp_min_(torch.finfo(design.dtype).eps * diagonal.mean() + tiny)
