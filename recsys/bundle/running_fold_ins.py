"""The fold-ins of a user's first n ratings, for many n at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.factors import Factors, UserVector
from recsys.bundle.fold_in import NO_ATTRIBUTES, residuals
from recsys.bundle.prior import is_first
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray

__all__ = ["running_fold_ins"]

BLOCK = 32  # ratings whose effects on each other are solved for together
SUMS = 2**20  # numbers in the running sums of one piece: 8 MB, and a few times as much with intermediates


def running_fold_ins(
    factors: Factors,
    item: IndexArray,
    rating: Float32Array,
    known: NDArray[np.int64],
    attributes: IndexArray | None = None,
) -> Iterator[tuple[slice, UserVector]]:
    """The fold-ins of a user's first n ratings, for many n, from running sums; not for ordinal models.

    Args:
        factors: The model.
        item: Item rows, in order of time, `(ratings,)`.
        rating: Stars, `(ratings,)`.
        known: Numbers n of ratings, ascending, in [1, ratings].
        attributes: Positions among the attributes, `(a,)`.

    Yields:
        A slice of `known`, and one user vector per number in it, with arrays `(piece, samples)` and
        `(piece, samples, dim)`.
    """
    if not len(known):
        return
    sums = _RunningSums(factors, item, rating, NO_ATTRIBUTES if attributes is None else attributes)
    late = None
    if factors.drift_rule is not None:
        paired = np.concatenate([sums.design, sums.residual[:, :, None]], 2).transpose(1, 0, 2)
        late = factors.drift_rule.discounted_sums(paired, int(known[-1]))
    counts, place = np.unique(known, return_inverse=True)
    found = _by_blocks(sums, counts) if factors.prior.is_about_constant else _one_by_one(sums, counts)
    for part, deviation in found:
        n = counts[part]
        solution = sums.mean + deviation
        if late is not None and factors.drift_rule is not None:
            left = late[n][..., -1] - np.einsum("nsd,nsd->ns", late[n][..., :-1], deviation)
            solution[..., -1] += left / factors.drift_rule.total_weight(n)[:, None]
        first, stop = np.searchsorted(place, [part.start, part.stop]).tolist()
        single = solution.astype(np.float32)[place[first:stop] - part.start]
        yield slice(first, stop), UserVector(single[..., -1], single[..., :-1])


class _RunningSums:
    """A user's ratings, as in `RidgeFoldIn`, and sums over the first n of them.

    Args:
        factors: The model.
        item: Item rows, `(ratings,)`.
        rating: Stars, `(ratings,)`.
        attributes: Positions among the attributes, `(a,)`.
    """

    def __init__(self, factors: Factors, item: IndexArray, rating: Float32Array, attributes: IndexArray) -> None:
        self.prior, self.item = factors.prior, item
        self.mean = self.prior.mean_given(attributes)
        self.design = factors.design.take(item, 1)  # (samples, ratings, dim + 1)
        self.residual = residuals(factors, item, rating, self.design, self.mean)  # (samples, ratings)
        # Like the residual, or one row for all; precisions may be of any size.
        self.weight: NDArray[np.floating] = np.ones((1, len(item)), np.float32)
        if factors.item_precision is not None:
            self.weight = factors.item_precision[item].T.astype(np.float64)
        self.is_new = is_first(item)  # an item counts once in the implicit part
        samples, width = self.mean.shape
        self.n = 0
        self.gram, self.right = np.zeros((samples, width, width)), np.zeros((samples, width))
        self._implicit, self._items = np.zeros((samples, width)), 0

    def add_until(self, n: int) -> None:
        rows = slice(self.n, n)
        weighted = self.weight[:, rows, None] * self.design[:, rows]
        self.gram += self.design[:, rows].transpose(0, 2, 1) @ weighted
        self.right += (self.residual[:, None, rows] @ weighted)[:, 0]
        if self.prior.implicit is not None:
            new = self.item[rows][self.is_new[rows]]
            self._implicit += self.prior.implicit[:, new].sum(1)
            self._items += len(new)
        self.n = n

    @property
    def shift(self) -> Float64Array:
        """Of the prior mean, by the items rated so far, `(samples, dim + 1)`."""
        return np.asarray(self._implicit / max(self._items, 1) ** 0.5)

    def shifts(self, n: int) -> Float64Array:
        """The shift after each of the next ratings up to the n-th, `(samples, next, dim + 1)`."""
        assert self.prior.implicit is not None
        rows = slice(self.n, n)
        is_new = self.is_new[rows]
        added = self.prior.implicit[:, self.item[rows]] * is_new[:, None]
        items = self._items + np.cumsum(is_new)
        return np.asarray((self._implicit[:, None] + np.cumsum(added, 1, np.float64)) / np.sqrt(items)[:, None])


def _one_by_one(sums: _RunningSums, counts: NDArray[np.int64]) -> Iterator[tuple[slice, Float64Array]]:
    """Deviations from the prior mean after these numbers of ratings, by a system for each of them.

    Yields:
        A slice of `counts`, and the deviations `(piece, samples, dim + 1)`.
    """
    for start in range(0, len(counts), at_once := max(1, SUMS // sums.gram.size)):
        n = counts[start : start + at_once]
        gram, right = np.empty((len(n), *sums.gram.shape)), np.empty((len(n), *sums.right.shape))
        shift = np.zeros_like(right)
        for number, stop in enumerate(n.tolist()):
            sums.add_until(stop)
            gram[number], right[number], shift[number] = sums.gram, sums.right, sums.shift
        right -= (gram @ shift[..., None])[..., 0]
        solved = np.linalg.solve(sums.prior.precision_given(n) + gram, right[..., None])[..., 0]
        yield slice(start, start + len(n)), shift + solved


def _by_blocks(sums: _RunningSums, counts: NDArray[np.int64]) -> Iterator[tuple[slice, Float64Array]]:
    """As `_one_by_one`, several times as fast, for a prior that is about constant.

    The system of the ratings before a block is inverted to `P`. With the block's design `X` and precisions `W`, and
    `L L' = W^-1 + X P X'`, the inverse after n ratings of the block is `P - U_n' U_n`, of the first n rows `U_n` of
    `U = L^-1 X P`, since `L` is lower triangular. That is of the ridge at the block's end, which a step of refinement
    corrects, to about 1e-5 of the deviation at worst (`ABOUT_NOTHING`).
    """
    start = 0
    growth = sums.prior.precision_given(1) - sums.prior.precision_given(0)  # with each rating, of the ridge alone
    while start < len(counts):
        sums.add_until(first := int(counts[start]) - 1)
        stop = int(np.searchsorted(counts, first + BLOCK, "right"))
        block = slice(first, int(counts[stop - 1]))
        precision = sums.prior.precision_given(block.stop)
        inverse = np.linalg.inv(precision + sums.gram)
        design = sums.design[:, block].astype(np.float64)
        weight = sums.weight[:, block, None]
        effect = design @ inverse  # (samples, block, dim + 1)
        kernel = effect @ design.transpose(0, 2, 1) + np.eye(design.shape[1]) / weight
        update = np.linalg.inv(np.linalg.cholesky(kernel)) @ effect

        def solved(right: Float64Array) -> Float64Array:
            """By the system after each rating of the block, `(samples, block, dim + 1)`."""
            explained: Float64Array = np.tril(right @ update.transpose(0, 2, 1)) @ update  # noqa: B023
            return right @ inverse - explained  # noqa: B023

        early = np.arange(design.shape[1] - 1, -1, -1)[:, None]  # ratings until the block's end
        right = sums.right[:, None] + np.cumsum(weight * design * sums.residual[:, block, None], 1)
        if sums.prior.implicit is not None:
            shift = sums.shifts(block.stop)
            right += shift @ precision - early * (shift @ growth)
        deviation = solved(right)
        deviation += solved(early * (deviation @ growth))
        yield slice(start, stop), deviation[:, counts[start:stop] - first - 1].transpose(1, 0, 2)
        start = stop
