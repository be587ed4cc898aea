"""Normal equations of many rows at once, and how they are solved or sampled.

A row, of a user or of an item, has ratings; each pairs it with a row `z` of the other side's `design` and has a
`target`. With the row's prior these make a linear system of its own,

    A = prior precision + gram_scale * sum z z'        b = prior precision * prior mean + scale * sum z target

whose solution `A^-1 b` is the row's ridge regression (alternating least squares), and of which `N(A^-1 b, A^-1)` is the
conditional distribution that a Gibbs sampler draws from (Salakhutdinov & Mnih 2008).

Rows of similar degree are padded to one length, so that each group of them is a batched product and a batched Cholesky
decomposition, on any device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.models import sparse_ops as products

CPU_NUMBERS = 1 << 18  # of the design's rows looked up at a time: they stay in a core's cache
GPU_NUMBERS = 1 << 26
MAX_PADDING = 8  # a group's shortest row lacks at most a share of 1 / MAX_PADDING of its longest one
JITTERS = (1e-6, 1e-4, 1e-2)  # of a matrix' mean diagonal, added to it where it is not positive definite


class NotPositiveDefiniteError(ValueError):
    """A row's matrix has no Cholesky decomposition, even with some of its diagonal added."""


class Prior(NamedTuple):
    """Precision `shared + diag(diagonal[row])` of each row, and `rhs`: that precision times the prior mean."""

    shared: Tensor  # (e, e)
    diagonal: Tensor | None = None  # (rows, e)
    rhs: Tensor | None = None  # (rows, e)


class Group(NamedTuple):
    """Rows of similar degree; `other` and `place` are filled up with the number of other rows and of ratings."""

    row: Tensor  # (g,) int64
    other: Tensor  # (g, length) int32: the other side's row of each rating
    place: Tensor  # (g, length) int32: which rating


class NormalEquations:
    """The normal equations of one side's rows, users or items, from their ratings, in groups of similar degree.

    Args:
        row: This side's row of every rating, int64 `(ratings,)`.
        other: The other side's, int64 `(ratings,)`.
        n_rows: Rows of this side; one without ratings has its prior.
        n_other: Rows of the other side.
        width: Length `e` of a row's solution.
        numbers: Bound on the numbers in a padded block, `g * length * e`; longer rows are taken in pieces.
    """

    def __init__(self, row: Tensor, other: Tensor, n_rows: int, n_other: int, width: int, numbers: int = 0) -> None:
        self.device = row.device
        self.n_rows, self.n_other, self.ratings = n_rows, n_other, len(row)
        default = CPU_NUMBERS if row.device.type == "cpu" else GPU_NUMBERS
        self.block = max(1, (numbers or default) // width)  # ratings that are looked up at a time
        self.other = other
        self.count = torch.bincount(row, minlength=n_rows)  # (rows,)
        self.groups = self._grouped(products.order(row.cpu(), n_rows).numpy(), other.cpu().numpy())

    def _grouped(self, by_row: NDArray[np.int64], other: NDArray[np.int64]) -> list[Group]:
        count = self.count.cpu().numpy()
        start = np.cumsum(count) - count
        # One more entry, for what is filled up.
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
        generator: torch.Generator | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """The solution of every row, or a draw from its conditional distribution, `(rows, e)`.

        Args:
            design: Rows of the other side, `(n_other, e)`.
            target: Of every rating, `(ratings,)`.
            prior: Of every row.
            offset: Subtracted from the targets of each other row, `(n_other,)`.
            root: Square root of each other row's weight, `(n_other,)`; 1 where absent.
            scale: Factor on the ratings' part, for all or `(rows,)`.
            gram_scale: The same for the matrices alone, where it is another.
            generator: Draw with it; without, solve.
            residual: Filled with target - offset - z . solution of every rating, `(ratings,)`.

        Raises:
            NotPositiveDefiniteError: A row's matrix is not positive definite.
        """
        lookup = _Lookup(design, target, offset, root)
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
        """The group's ratings, cut so that each piece keeps to the bound."""
        columns = max(1, self.block // len(group.row))
        return list(zip(torch.split(group.other, columns, 1), torch.split(group.place, columns, 1), strict=True))


class _Chunk(NamedTuple):
    """What some ratings of a group look up."""

    design: Tensor  # (g, length, e)
    target: Tensor  # (g, length)

    def sums(self) -> tuple[Tensor, Tensor]:
        """`sum z z'`, `(g, e, e)`, and `sum z target`, `(g, e)`; vectors lie as rows: several times as fast."""
        gram = torch.bmm(self.design.transpose(1, 2), self.design)
        return gram, torch.bmm(self.target[:, None], self.design)[:, 0]

    def errors(self, solution: Tensor) -> Tensor:
        """Targets less what the solutions `(g, e)` predict, `(g, length)`."""
        return self.target - torch.bmm(solution[:, None], self.design.transpose(1, 2))[:, 0]


class _Lookup:
    """Tables with one more row of zeros, which is what padded ratings find."""

    def __init__(self, design: Tensor, target: Tensor, offset: Tensor | None, root: Tensor | None) -> None:
        if root is not None:
            design = design * root[:, None]
        self.design = torch.cat([design, design.new_zeros(1, design.shape[1])])
        self.target, self.offset, self.root = (
            None if vector is None else torch.cat([vector, vector.new_zeros(1)]) for vector in (target, offset, root)
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
        return _Chunk(rows.view(*other.shape, -1), target.view(other.shape))


def _of(factor: Tensor | float, row: Tensor, dimensions: int) -> Tensor | float:
    """A factor for all rows, or that of each, with as many dimensions of length 1 behind."""
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
    """The lower roots of positive definite matrices `(g, e, e)`, a little of the diagonal added where one needs it."""
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
        f"{int((still > 0).sum())} of {len(system)} matrices are not positive definite: the factors have grown beyond "
        "float32, or the regularisation is too weak (model.reg_lambda > 0 keeps it away)"
    )


def _bucket_boundaries(degree: NDArray[np.int64], block: int) -> list[int]:
    """Where groups of rows end, from descending degrees: at most `block` padded ratings, little of it padding."""
    ends, first = [], 0
    while first < len(degree):
        length = max(1, int(degree[first]))
        fitting = min(len(degree), first + max(1, block // length))
        shortest = length - max(length // MAX_PADDING, 2)
        long_enough = first + int(np.searchsorted(-degree[first:fitting], -shortest, side="right"))
        first = max(long_enough, first + 1)
        ends.append(first)
    return ends
