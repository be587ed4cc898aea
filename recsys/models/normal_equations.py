"""Solve, or sample from, the normal equations of many rows at once.

Each rating of a row (a user or an item) has a row `z` of the other side's `design` and a `target`. Together with the
row's prior, its ratings form a linear system,

    A = prior precision + gram_scale * sum z z'        b = prior precision * prior mean + scale * sum z target

whose solution `A^-1 b` is the row's ridge regression (alternating least squares), while `N(A^-1 b, A^-1)` is the
conditional distribution that a Gibbs sampler draws from (Salakhutdinov & Mnih 2008).

Rows with a similar number of ratings are padded to the same length, so that each group needs one batched product and
one batched Cholesky decomposition, on any device. `recsys.models.conjugate_gradient` improves all rows without any such
matrix, from the same ratings as sorted pairs.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.models import sparse_ops as products

CPU_NUMBERS = 1 << 18  # numbers of the design looked up at a time, to fit a core's cache
GPU_NUMBERS = 1 << 26
MAX_PADDING = 8  # at most 1 / MAX_PADDING of the longest row in a group is padding of the shortest
JITTERS = (1e-6, 1e-4, 1e-2)  # relative to the mean diagonal; added to matrices that are not positive definite


class NotPositiveDefiniteError(ValueError):
    """A matrix has no Cholesky decomposition, even with jitter."""


class Prior(NamedTuple):
    """Precision `shared + diag(diagonal[row])` of each row, and `rhs`: that precision times the prior mean."""

    shared: Tensor  # (e, e)
    diagonal: Tensor | None = None  # (rows, e)
    rhs: Tensor | None = None  # (rows, e)


class Group(NamedTuple):
    """Rows of similar degree; `other` and `place` are padded with the number of other rows and of ratings."""

    row: Tensor  # (g,) int64
    other: Tensor  # (g, length) int32: the other side's row of each rating
    place: Tensor  # (g, length) int32: which rating


class NormalEquations:
    """Normal equations of one side's rows (users or items), grouped by similar number of ratings.

    Args:
        row: This side's row of every rating, int64 `(ratings,)`.
        other: The other side's, int64 `(ratings,)`.
        n_rows: Rows of this side; a row without ratings gets its prior.
        n_other: Rows of the other side.
        width: Length `e` of a row's solution.
        numbers: Bound on the size of a padded block, `g * length * e`; longer rows are split into pieces.
    """

    def __init__(self, row: Tensor, other: Tensor, n_rows: int, n_other: int, width: int, numbers: int = 0) -> None:
        self.device = row.device
        self.n_rows, self.n_other, self.ratings = n_rows, n_other, len(row)
        default = CPU_NUMBERS if row.device.type == "cpu" else GPU_NUMBERS
        self.block = max(1, (numbers or default) // width)  # ratings that are looked up at a time
        self.row, self.other = row, other
        self.count = torch.bincount(row, minlength=n_rows)  # (rows,)

    @cached_property
    def pairs(self) -> products.SortedPairs:
        """The ratings sorted by row, for products without padding."""
        return products.SortedPairs(self.row, self.other, self.n_rows, self.n_other)

    @cached_property
    def groups(self) -> list[Group]:
        """The ratings by groups of rows."""
        by_row, other = products.order(self.row.cpu(), self.n_rows).numpy(), self.other.cpu().numpy()
        count = self.count.cpu().numpy()
        start = np.cumsum(count) - count
        # One more entry, for the padding.
        order = np.append(by_row, len(by_row)).astype(np.int32)
        others = np.append(other, self.n_other).astype(np.int32)[order]
        by_degree = np.argsort(-count, kind="stable")
        groups, first = [], 0
        for last in _bucket_boundaries(count[by_degree], self.block):
            rows = by_degree[first:last]
            step = np.arange(max(1, count[rows[0]]))
            entry = np.where(step < count[rows, None], start[rows, None] + step, len(by_row))
            arrays = (rows, others[entry], order[entry])
            groups.append(Group(*(torch.from_numpy(array).to(self.device) for array in arrays)))
            first = last
        return groups

    def solve(
        self,
        design: Tensor,
        target: Tensor,
        prior: Prior,
        *,
        offset: Tensor | None = None,
        root: Tensor | None = None,
        scale: Tensor | float = 1.0,
        gram_scale: Tensor | float | None = None,
        gram_weight: Tensor | None = None,
        generator: torch.Generator | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """Solve for all rows, or draw from their conditional distributions, `(rows, e)`.

        Args:
            design: Rows of the other side, `(n_other, e)`.
            target: Target of each rating, `(ratings,)`.
            prior: Prior of each row.
            offset: Subtracted from the targets, by other row, `(n_other,)`.
            root: Square root of the weight of each other row, `(n_other,)`; default 1.
            scale: Factor on the ratings' terms, a scalar or `(rows,)`.
            gram_scale: Factor on the ratings' terms in the matrices; default `scale`.
            gram_weight: Weight of each rating's term in the matrices alone, `(ratings,)`; default 1.
            generator: Draw with this generator; None: solve.
            residual: Output for target - offset - z . solution of each rating, `(ratings,)`.

        Raises:
            NotPositiveDefiniteError: A row's matrix is not positive definite.
        """
        lookup = _Lookup(design, target, offset, root, gram_weight)
        solution = design.new_empty(self.n_rows, design.shape[1])
        errors = None if residual is None else residual.new_empty(len(residual) + 1)
        for group in self.groups:
            pieces = self._pieces(group)
            looked_up = lookup(*pieces[0])
            system, rhs = looked_up.sums()
            for piece in pieces[1:]:
                more = lookup(*piece).sums()
                system, rhs = system + more[0], rhs + more[1]
            system *= _of(scale if gram_scale is None else gram_scale, group.row, 2)
            system += prior.shared
            rhs *= _of(scale, group.row, 1)
            if prior.diagonal is not None:
                system.diagonal(dim1=1, dim2=2).add_(prior.diagonal[group.row])
            if prior.rhs is not None:
                rhs += prior.rhs[group.row]
            found = _solved(system, rhs, generator)
            solution[group.row] = found
            if errors is not None:
                for number, piece in enumerate(pieces):
                    rows = lookup(*piece) if number else looked_up
                    errors.index_copy_(0, piece[1].flatten().long(), rows.errors(found).flatten())
        if residual is not None and errors is not None:
            torch.div(errors[:-1], 1.0 if root is None else root[self.other], out=residual)
        return solution

    def _pieces(self, group: Group) -> list[tuple[Tensor, Tensor]]:
        """The group's ratings in pieces within the size bound."""
        columns = max(1, self.block // len(group.row))
        return list(zip(torch.split(group.other, columns, 1), torch.split(group.place, columns, 1), strict=True))


class _Chunk(NamedTuple):
    """Design rows and targets of some ratings of a group."""

    design: Tensor  # (g, length, e)
    target: Tensor  # (g, length)
    weight: Tensor | None = None  # (g, length)

    def sums(self) -> tuple[Tensor, Tensor]:
        """`sum weight z z'`, `(g, e, e)`, and `sum z target`, `(g, e)`; row vectors are several times faster."""
        weighted = self.design if self.weight is None else self.design * self.weight[:, :, None]
        gram = torch.bmm(self.design.transpose(1, 2), weighted)
        return gram, torch.bmm(self.target[:, None], self.design)[:, 0]

    def errors(self, solution: Tensor) -> Tensor:
        """Targets minus the predictions of the solutions `(g, e)`, `(g, length)`."""
        return self.target - torch.bmm(solution[:, None], self.design.transpose(1, 2))[:, 0]


class _Lookup:
    """Lookup tables with an extra row of zeros for padding."""

    def __init__(
        self, design: Tensor, target: Tensor, offset: Tensor | None, root: Tensor | None, weight: Tensor | None
    ) -> None:
        if root is not None:
            design = design * root[:, None]
        self.design = torch.cat([design, design.new_zeros(1, design.shape[1])])
        self.target, self.offset, self.root, self.weight = (
            None if vector is None else torch.cat([vector, vector.new_zeros(1)])
            for vector in (target, offset, root, weight)
        )

    def __call__(self, other: Tensor, place: Tensor) -> _Chunk:
        """The design's rows and the targets, offset subtracted and weighted, of ratings `(g, length)`."""
        assert self.target is not None
        rows, flat = self.design.index_select(0, other.flatten()), other.flatten()
        target = self.target.index_select(0, place.flatten())
        if self.offset is not None:
            target -= self.offset.index_select(0, flat)
        if self.root is not None:
            target *= self.root.index_select(0, flat)
        weight = None if self.weight is None else self.weight.index_select(0, place.flatten()).view(other.shape)
        return _Chunk(rows.view(*other.shape, -1), target.view(other.shape), weight)


def _of(factor: Tensor | float, row: Tensor, dimensions: int) -> Tensor | float:
    """A scalar factor, or the factor of each row with trailing dimensions of length 1."""
    return factor[row].view(-1, *[1] * dimensions) if isinstance(factor, Tensor) and factor.ndim else factor


def _solved(system: Tensor, rhs: Tensor, generator: torch.Generator | None) -> Tensor:
    """`A^-1 b` of each system, `(g, e)`; with a generator a draw from `N(A^-1 b, A^-1)`."""
    root = _cholesky(system)
    half = torch.linalg.solve_triangular(root, rhs[:, :, None], upper=False)
    if generator is not None:
        half += torch.randn(half.shape, generator=generator, device=half.device, dtype=half.dtype)
    solution: Tensor = torch.linalg.solve_triangular(root.mT, half, upper=True)[:, :, 0]
    return solution


def _cholesky(system: Tensor) -> Tensor:
    """Lower Cholesky factors of matrices `(g, e, e)`, with jitter on the diagonal where necessary."""
    root: Tensor
    root, failed = torch.linalg.cholesky_ex(system)
    if not failed.any():
        return root
    level = system.diagonal(dim1=1, dim2=2).mean(1).abs()
    for jitter in JITTERS:
        added = jitter * level * (failed > 0)
        root, still = torch.linalg.cholesky_ex(system + torch.diag_embed(added[:, None].expand(system.shape[:2])))
        if not still.any():
            return root
    raise NotPositiveDefiniteError(
        f"{int((still > 0).sum())} of {len(system)} matrices are not positive definite: the factors overflow float32, "
        "or the regularization is too weak (use model.reg_lambda > 0)"
    )


def _bucket_boundaries(degree: NDArray[np.int64], block: int) -> list[int]:
    """Ends of the groups of rows, given descending degrees: at most `block` padded ratings and little padding."""
    ends, first = [], 0
    while first < len(degree):
        length = max(1, int(degree[first]))
        fitting = min(len(degree), first + max(1, block // length))
        shortest = length - max(length // MAX_PADDING, 2)
        long_enough = first + int(np.searchsorted(-degree[first:fitting], -shortest, side="right"))
        first = max(long_enough, first + 1)
        ends.append(first)
    return ends
