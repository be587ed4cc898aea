"""Solve, or sample from, the normal equations of some rows at once, by padded batches.

Rows with a similar number of ratings are padded to the same length, so that each group needs one batched product and
one batched Cholesky decomposition, on any device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.models.sparse_ops import looked_up

CPU_NUMBERS = 1 << 18  # numbers of the design looked up at a time, to fit a core's cache
GPU_NUMBERS = 1 << 26
MAX_PADDING = 8  # at most 1 / MAX_PADDING of the longest row in a group is padding of the shortest
CHEAP_PADDING = 1000  # or so many padded ratings of a group, which take less time than another group
JITTERS = (1e-6, 1e-4, 1e-2)  # relative to the mean diagonal; added to matrices that are not positive definite


class NotPositiveDefiniteError(ValueError):
    """A matrix has no Cholesky decomposition, even with jitter."""


class Prior(NamedTuple):
    """Precision `shared + diag(diagonal[row])` of each row, and `rhs`: that precision times the prior mean."""

    shared: Tensor  # (e, e)
    diagonal: Tensor | None = None  # (rows, e)
    rhs: Tensor | None = None  # (rows, e)

    def rows(self, first: int, stop: int) -> Prior:
        """That of the rows from `first` to `stop`."""
        of_rows = (None if part is None else part[first:stop] for part in (self.diagonal, self.rhs))
        return Prior(self.shared, *of_rows)


class Design:
    """Lookup tables of the other side, with an extra row of zeros for padding.

    Args:
        rows: `z` of each row of the other side, `(n_other, e)`.
        offset: Subtracted from the targets, by other row, `(n_other,)`.
        root: Square root of the weight of each other row, `(n_other,)`; default 1.
    """

    def __init__(self, rows: Tensor, offset: Tensor | None, root: Tensor | None) -> None:
        self.rows = _with_zero(rows if root is None else rows * root[:, None])
        self.offset, self.root = (None if vector is None else _with_zero(vector) for vector in (offset, root))


class Group(NamedTuple):
    """Rows of similar degree; `other` and `place` are padded with the number of other rows and of ratings."""

    row: Tensor  # (g,) int64
    other: Tensor  # (g, length) int32: the other side's row of each rating
    place: Tensor  # (g, length) int32: which rating


class PaddedRows:
    """Some rows' ratings, grouped by similar number of them.

    Args:
        other: The other side's row of each rating, sorted by row, int32 `(ratings,)`.
        indptr: Where each row's ratings start, and their end, int64 `(rows + 1,)`.
        n_other: Rows of the other side.
        width: Length `e` of a row's solution.
        numbers: Bound on the size of a padded piece, `g * length * e`; longer rows are split.
    """

    def __init__(self, other: Tensor, indptr: Tensor, n_other: int, width: int, numbers: int = 0) -> None:
        default = CPU_NUMBERS if other.device.type == "cpu" else GPU_NUMBERS
        self.piece = max(1, (numbers or default) // width)  # ratings that are looked up at a time
        self.groups = self._groups(other, indptr, n_other)

    def _groups(self, other: Tensor, indptr: Tensor, n_other: int) -> list[Group]:
        start = indptr.cpu().numpy()
        count, start = np.diff(start), start[:-1]
        others = np.append(other.cpu().numpy(), np.int32(n_other))  # one more, for the padding
        by_degree = np.argsort(-count, kind="stable")
        groups, first = [], 0
        for last in _bucket_boundaries(count[by_degree], self.piece):
            rows = by_degree[first:last]
            step = np.arange(max(1, count[rows[0]]), dtype=np.int32)
            place = np.where(step < count[rows, None], start[rows, None].astype(np.int32) + step, len(others) - 1)
            arrays = (rows, others[place], place.astype(np.int32, copy=False))
            groups.append(Group(*(torch.from_numpy(array).to(other.device) for array in arrays)))
            first = last
        return groups

    def solve(
        self,
        design: Design,
        target: Tensor,
        prior: Prior,
        *,
        scale: Tensor | float,
        gram_scale: Tensor | float,
        gram_weight: Tensor | None,
        noise: Tensor | None,
        residual: Tensor | None,
    ) -> Tensor:
        """As `NormalEquations.solve`, of these rows, whose ratings are in the order of the rows; `noise (rows, e)`."""
        lookup = _Lookup(design, target, gram_weight)
        solution = design.rows.new_empty(sum(len(group.row) for group in self.groups), design.rows.shape[1])
        errors = None if residual is None else residual.new_empty(len(residual) + 1)
        for group in self.groups:
            pieces = self._pieces(group)
            looked_up = lookup(*pieces[0])
            system, rhs = looked_up.sums()
            for piece in pieces[1:]:
                more = lookup(*piece).sums()
                system, rhs = system + more[0], rhs + more[1]
            system *= _of(gram_scale, group.row, 2)
            system += prior.shared
            rhs *= _of(scale, group.row, 1)
            if prior.diagonal is not None:
                system.diagonal(dim1=1, dim2=2).add_(prior.diagonal[group.row])
            if prior.rhs is not None:
                rhs += prior.rhs[group.row]
            found = _solved(system, rhs, None if noise is None else noise[group.row])
            solution[group.row] = found
            if errors is not None:
                for number, piece in enumerate(pieces):
                    rows = lookup(*piece) if number else looked_up
                    errors.index_copy_(0, piece[1].flatten().long(), rows.errors(found).flatten())
        if residual is not None and errors is not None:
            residual.copy_(errors[:-1])
        return solution

    def _pieces(self, group: Group) -> list[tuple[Tensor, Tensor]]:
        """The group's ratings in pieces within the size bound."""
        columns = max(1, self.piece // len(group.row))
        return list(zip(torch.split(group.other, columns, 1), torch.split(group.place, columns, 1), strict=True))


class _Chunk(NamedTuple):
    """Design rows and targets of some ratings of a group."""

    design: Tensor  # (g, length, e)
    target: Tensor  # (g, length)
    weight: Tensor | None  # (g, length)
    root: Tensor | None  # (g, length)

    def sums(self) -> tuple[Tensor, Tensor]:
        """`sum weight z z'`, `(g, e, e)`, and `sum z target`, `(g, e)`; row vectors are several times faster."""
        weighted = self.design if self.weight is None else self.design * self.weight[:, :, None]
        gram = torch.bmm(self.design.transpose(1, 2), weighted)
        return gram, torch.bmm(self.target[:, None], self.design)[:, 0]

    def errors(self, solution: Tensor) -> Tensor:
        """Targets minus the predictions of the solutions `(g, e)`, `(g, length)`; of padding, anything."""
        errors = self.target - torch.bmm(solution[:, None], self.design.transpose(1, 2))[:, 0]
        return errors if self.root is None else errors / self.root


class _Lookup:
    """Looks up what belongs to ratings."""

    def __init__(self, design: Design, target: Tensor, weight: Tensor | None) -> None:
        self.design, self.target = design, _with_zero(target)
        self.weight = None if weight is None else _with_zero(weight)

    def __call__(self, other: Tensor, place: Tensor) -> _Chunk:
        """The design's rows and the targets, offset subtracted and weighted, of ratings `(g, length)`."""
        flat, places = other.flatten(), place.flatten()
        rows = looked_up(self.design.rows, flat)
        target = self.target.index_select(0, places)
        if self.design.offset is not None:
            target -= self.design.offset.index_select(0, flat)
        root = None
        if self.design.root is not None:
            root = self.design.root.index_select(0, flat)
            target *= root
            root = root.view(other.shape)
        weight = None if self.weight is None else self.weight.index_select(0, places).view(other.shape)
        return _Chunk(rows.view(*other.shape, -1), target.view(other.shape), weight, root)


def _with_zero(table: Tensor) -> Tensor:
    return torch.cat([table, table.new_zeros(1, *table.shape[1:])])


def _of(factor: Tensor | float, row: Tensor, dimensions: int) -> Tensor | float:
    """A scalar factor, or the factor of each row with trailing dimensions of length 1."""
    return factor[row].view(-1, *[1] * dimensions) if isinstance(factor, Tensor) and factor.ndim else factor


def _solved(system: Tensor, rhs: Tensor, noise: Tensor | None) -> Tensor:
    """`A^-1 b` of each system, `(g, e)`; with standard normal noise a draw from `N(A^-1 b, A^-1)`."""
    root = _cholesky(system)
    half = torch.linalg.solve_triangular(root, rhs[:, :, None], upper=False)
    if noise is not None:
        half += noise[:, :, None]
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


def _bucket_boundaries(degree: NDArray[np.int64], piece: int) -> list[int]:
    """Ends of the groups of rows, given descending degrees: at most `piece` padded ratings and little padding."""
    ends, first, total = [], 0, np.append(0, np.cumsum(degree))
    while first < len(degree):
        length = max(1, int(degree[first]))
        fitting = min(len(degree), first + max(1, piece // length))
        shortest = length - max(length // MAX_PADDING, 2)
        long_enough = first + int(np.searchsorted(-degree[first:fitting], -shortest, side="right"))
        padding = length * np.arange(fitting - first + 1) - (total[first : fitting + 1] - total[first])
        cheap = first + int(np.searchsorted(padding, CHEAP_PADDING, side="right")) - 1
        first = max(long_enough, cheap, first + 1)
        ends.append(first)
    return ends
