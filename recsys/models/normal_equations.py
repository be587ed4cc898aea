"""Solve, or sample from, the normal equations of all rows of one side, in blocks of rows.

Each rating of a row (a user or an item) has a row `z` of the other side's `design` and a `target`. Together with the
row's prior, its ratings form a linear system,

    A = prior precision + gram_scale * sum z z'        b = prior precision * prior mean + scale * sum z target

whose solution `A^-1 b` is the row's ridge regression (alternating least squares), while `N(A^-1 b, A^-1)` is the
conditional distribution that a Gibbs sampler draws from (Salakhutdinov & Mnih 2008).

A block is some consecutive rows with about as many ratings as other blocks have. Blocks follow from the data alone, and
sums over all rows are those of the blocks, added in their order: so results do not depend on which process solves which
block. What a block looks up of its own ratings stays in a core's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.models import sparse_ops
from recsys.models.padded_rows import Design, PaddedRows, Prior
from recsys.models.ranks import Ranks

BLOCK = 1 << 19  # ratings of a block, at most
SMALL_BLOCK, SMALL_BLOCKS = 1 << 16, 8  # ratings of a block, at least, until there are so many: small groups are slow
FEWEST_BLOCKS = 2
ROW_COST = 16  # ratings that take as long as a row's own system

Noise = Callable[[int, int], Tensor]  # standard normal numbers (stop - first, e) of the rows from first to stop


class Block:
    """Consecutive rows and their ratings.

    Args:
        first: First row.
        stop: One past the last row.
        start: The first of its ratings, in the order of the side.
        other: The other side's row of each rating, sorted by row, int32 `(ratings of the block,)`.
        indptr: Where each row's ratings start among these, and their end, int64 `(rows + 1,)`.
        n_other: Rows of the other side.
        width: See `NormalEquations`.
        numbers: See `NormalEquations`.
    """

    def __init__(
        self, first: int, stop: int, start: int, other: Tensor, indptr: Tensor, n_other: int, width: int, numbers: int
    ) -> None:
        self.first, self.stop, self.start = first, stop, start
        self.other, self.indptr, self.n_other, self.width, self.numbers = other, indptr, n_other, width, numbers

    def of(self, values: Tensor) -> Tensor:
        """The part of its ratings, of values in the order of the side."""
        return values[self.start : self.start + len(self.other)]

    @cached_property
    def padded(self) -> PaddedRows:
        return PaddedRows(self.other, self.indptr, self.n_other, self.width, self.numbers)

    @cached_property
    def pairs(self) -> sparse_ops.SortedPairs:
        """The ratings as pairs of a row, from 0, and the other side's row, for products without padding."""
        return sparse_ops.SortedPairs(self.indptr, self.other, self.n_other)


class NormalEquations:
    """Normal equations of one side's rows (users or items), in one process or several.

    Each rank solves some of the blocks, and all of them get all rows. What belongs to ratings, such as targets, is in
    the order of this side: sorted by row, and of the ratings of the rank's own blocks alone (see `sorted`).

    Args:
        row: This side's row of every rating, int64 `(ratings,)`.
        other: The other side's, int64 `(ratings,)`.
        n_rows: Rows of this side; a row without ratings gets its prior.
        n_other: Rows of the other side.
        width: Length `e` of a row's solution.
        value: What is known of each rating, such as its stars, `(ratings,)`; None: that it is there.
        numbers: Bound on what is looked up at a time; 0: as the device likes it (see `PaddedRows`).

    Attributes:
        value: In the order of this side.
        other: In the order of this side, int32.
        count: Ratings of each row, int64 `(rows,)`.
        blocks: Those of this rank, in order.
        ratings: Their number, of all ranks.
    """

    def __init__(
        self,
        row: Tensor,
        other: Tensor,
        n_rows: int,
        n_other: int,
        width: int,
        value: Tensor | None = None,
        numbers: int = 0,
    ) -> None:
        self.n_rows, self.n_other, self.ratings, self.ranks = n_rows, n_other, len(row), Ranks()
        self.count = torch.bincount(row, minlength=n_rows)
        indptr = torch.nn.functional.pad(self.count.cumsum(0), (1, 0))
        bounds = _block_bounds(self.count.cpu().numpy())
        starts = indptr.cpu()[bounds].tolist()
        if len(bounds) <= self.ranks.world:
            raise ValueError(
                f"trainer.devices must be <= {len(bounds) - 1} for {len(row):,} ratings, as they are cut into so many "
                f"blocks, got {self.ranks.world}"
            )
        shares = self.ranks.shares(len(bounds) - 1)
        self._sizes = {  # of each rank
            "blocks": [len(share) for share in shares],
            "rows": [bounds[share.stop] - bounds[share.start] for share in shares],
            "ratings": [starts[share.stop] - starts[share.start] for share in shares],
        }
        mine = shares[self.ranks.rank]
        self._rows, self._ratings = (slice(at[mine.start], at[mine.stop]) for at in (bounds, starts))
        is_sorted = not bool((row[1:] < row[:-1]).any())
        self.order = None if is_sorted else sparse_ops.order(row.cpu(), n_rows).to(row.device)  # of all ratings
        self.other = self.sorted(other).to(torch.int32)
        self.value = None if value is None else self.sorted(value)
        self.blocks = []
        for k in mine:
            start, end = (at - self._ratings.start for at in starts[k : k + 2])
            first, stop = bounds[k : k + 2]
            of_rows = indptr[first : stop + 1] - starts[k]
            self.blocks.append(Block(first, stop, start, self.other[start:end], of_rows, n_other, width, numbers))

    @property
    def known(self) -> Tensor:
        """What is known of each rating, where it is."""
        assert self.value is not None
        return self.value

    @cached_property
    def weight(self) -> Tensor:
        """The sum of each row's values, `(rows,)`; where there are none, the number of its ratings."""
        return self.count if self.value is None else self.sums(self.value)

    @property
    def row(self) -> Tensor:
        """The row of each rating, in this side's order, int64 `(ratings,)`."""
        rows = torch.arange(self.n_rows, device=self.count.device)[self._rows]
        return rows.repeat_interleave(self.count[self._rows])

    @property
    def first_rating(self) -> int:
        """Where this rank's ratings start among those of all ranks, in this side's order."""
        return int(self._ratings.start)

    def sorted(self, values: Tensor) -> Tensor:
        """Values of all ratings as they were given, `(ratings,)`, in this side's order."""
        return values[self._ratings] if self.order is None else values.index_select(0, self.order[self._ratings])

    def restored(self, values: Tensor) -> Tensor:
        """Values in this side's order, as the ratings were given: those of all ranks, `(ratings,)`."""
        values = self._joined(values, "ratings")
        return values if self.order is None else torch.empty_like(values).index_copy_(0, self.order, values)

    def rows(self, found: Sequence[Tensor]) -> Tensor:
        """What was found of the rows of each of `blocks`, of all rows of all ranks, `(rows, …)`."""
        return self._joined(torch.cat(list(found)), "rows")

    def added(self, found: Sequence[Tensor]) -> Tensor:
        """What was found of each of `blocks`, added in double precision in the order of all blocks."""
        return self._joined(torch.stack(list(found)).double(), "blocks").sum(0)

    def _joined(self, part: Tensor, what: str) -> Tensor:
        """What all ranks have of their blocks, rows or ratings."""
        return self.ranks.joined(part, self._sizes[what])

    def sums(self, values: Tensor, factor: Tensor | None = None) -> Tensor:
        """The sum of each row's values, float64 `(rows,)`.

        Args:
            values: In this side's order, `(ratings,)`.
            factor: Of the values, by row of the other side, `(n_other,)`; default 1.
        """
        found = []
        for block in self.blocks:
            mine = block.of(values)
            if factor is not None:
                mine = mine * factor.index_select(0, block.other)
            found.append(torch.segment_reduce(mine.double(), "sum", offsets=block.indptr, initial=0))
        return self.rows(found)

    def sums_of_other(self, values: Tensor, factor: Tensor) -> Tensor:
        """The sum of the values of each row of the other side, float64 `(n_other,)`.

        Any block has ratings of any row of the other side. So what is added is rounded to multiples of a power of two,
        of which double precision holds all sums exactly, in whichever order.

        Args:
            values: At least 0, in this side's order, `(ratings,)`.
            factor: Of the values, by row of this side, at least 0, `(rows,)`.
        """
        high = self.ranks.highest(values.max() if len(values) else values.new_zeros(())).double() * factor.max()
        most = high.clamp_min(torch.finfo(values.dtype).tiny) * self.ratings
        step = torch.exp2(torch.ceil(torch.log2(most)) - 52)
        counted = torch.zeros(self.n_other, dtype=torch.float64, device=values.device)
        for block in self.blocks:
            of_row = factor[block.first : block.stop].double() / step
            whole = torch.round(block.of(values) * of_row.repeat_interleave(block.indptr.diff()))
            counted += torch.bincount(block.other, whole, minlength=self.n_other)
        return self.ranks.added(counted) * step

    def total(self, values: Tensor) -> Tensor:
        """The sum of all values, which are in this side's order, a scalar in float64."""
        return self.sums(values).sum()

    def gram(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """`sum weight z z'` over this side's rows `z (rows, e)`, in the rows' dtype, `(e, e)`.

        Args:
            rows: The rows.
            weight: Of each row, `(rows,)`; default 1.
        """
        found = []
        for block in self.blocks:
            z = rows[block.first : block.stop]
            weighted = z if weight is None else z * weight[block.first : block.stop, None]
            found.append(weighted.T @ z)
        return self.added(found).to(rows.dtype)

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
        noise: Noise | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """Solve for all rows, or draw from their conditional distributions, `(rows, e)`.

        Args:
            design: Rows of the other side, `(n_other, e)`.
            target: Target of each rating in this side's order, `(ratings,)`.
            prior: Prior of each row.
            offset: Subtracted from the targets, by other row, `(n_other,)`.
            root: Square root of the weight of each other row, `(n_other,)`; default 1.
            scale: Factor on the ratings' terms, a scalar or `(rows,)`.
            gram_scale: Factor on the ratings' terms in the matrices; default `scale`.
            gram_weight: Weight of each rating's term in the matrices alone, `(ratings,)`; default 1.
            noise: Draw with these numbers; None: solve.
            residual: Output for target - offset - z . solution of each rating, `(ratings,)`.

        Raises:
            NotPositiveDefiniteError: A row's matrix is not positive definite.
        """
        table, found = Design(design, offset, root), []
        for block in self.blocks:
            first, stop = block.first, block.stop
            of_rows = [
                factor[first:stop] if isinstance(factor, Tensor) and factor.ndim else factor
                for factor in (scale, scale if gram_scale is None else gram_scale)
            ]
            found.append(block.padded.solve(
                table, block.of(target), prior.rows(first, stop), scale=of_rows[0], gram_scale=of_rows[1],
                gram_weight=None if gram_weight is None else block.of(gram_weight),
                noise=None if noise is None else noise(first, stop),
                residual=None if residual is None else block.of(residual),
            ))  # fmt: skip
        return self.rows(found)


def _block_bounds(count: NDArray[np.int64]) -> list[int]:
    """First rows of the blocks, and the number of rows: `count (rows,)` are the rows' ratings."""
    cost = np.cumsum(count + ROW_COST)
    ratings = int(count.sum())
    blocks = max(FEWEST_BLOCKS, min(SMALL_BLOCKS, ratings // SMALL_BLOCK), -(-ratings // BLOCK))
    ends = np.searchsorted(cost, cost[-1] * np.arange(1, blocks) / blocks, side="right") if len(cost) else []
    return sorted({0, *(int(end) for end in ends), len(count)})
