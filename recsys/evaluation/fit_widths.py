"""How many coordinates rows need, learned from validation rows: the fewest that predict about as well as any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.ratings import TRAIN, VAL
from recsys.bundle.typing import Float64Array, IndexArray
from recsys.bundle.widths import WidthRule

WITHIN = 0.001  # stars of validation RMSE that narrower rows may lose
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)  # of all coordinates, for the widest row
RATIOS = (0.5, 0.7, 1.0, 1.4, 2.0)  # of the users' factor to the items'
SMALLEST, STEP, HALVINGS = 1e-3, 1.5, 3  # factors are tried upwards by steps, and halfway back
MOST_SUMS = 1 << 23  # partial sums that are held: validation rows, evenly spaced, times coordinates


class _Counts(NamedTuple):
    """Numbers of ratings of one side's rows, each number once."""

    value: IndexArray  # (numbers,) ascending
    rows: IndexArray  # (numbers,) rows that have so many
    of_pair: IndexArray  # (pairs,) which of them the row of a validation rating has


class PartialSums:
    """Predictions of validation rows by any number of coordinates: of two rows, the narrower one says how many count.

    Args:
        bundle: Of one sample in principal coordinates, fitted on training rows alone. Behind an ordinal link the linear
            part is measured.
    """

    def __init__(self, bundle: Bundle) -> None:
        factors, ratings = bundle.factors, bundle.ratings
        users, trained = ratings.user_index(), ratings.part == TRAIN
        held_out = np.flatnonzero(ratings.part == VAL)
        self.dim: int = factors.item_factors.shape[2]
        held_out = held_out[:: -(-len(held_out) * (self.dim + 1) // MOST_SUMS) or 1]
        user, item = users[held_out], ratings.item[held_out].astype(np.int64)
        self.known = np.flatnonzero((user < bundle.n_users) & (item < bundle.n_items))
        self.scale, self.rating = bundle.scale, ratings.rating[held_out]
        self.linear = bundle.mean_linear_part(user, item)
        user, item = user[self.known], item[self.known]
        self.sums = np.zeros((len(self.known), self.dim + 1), np.float32)
        np.cumsum(factors.user_factors[user, 0] * factors.item_factors[item, 0], axis=1, out=self.sums[:, 1:])
        self.users = _counts(users[trained], bundle.n_users, user)
        self.items = _counts(ratings.item[trained], bundle.n_items, item)
        self.rows = bundle.n_users + bundle.n_items

    def rmse(self, rule: WidthRule) -> float:
        """RMSE of the validation rows, in stars, with rows of these widths."""
        user, item = rule.widths(rule.users, self.users.value), rule.widths(rule.items, self.items.value)
        kept = np.minimum(user[self.users.of_pair], item[self.items.of_pair])
        predicted = self.linear.astype(np.float64)
        predicted[self.known] += self.sums[np.arange(len(kept)), kept] - self.sums[:, -1]
        errors: Float64Array = np.clip(predicted, *self.scale) - self.rating
        return float(np.sqrt(np.mean(errors**2)))

    def share(self, rule: WidthRule) -> float:
        """Of all coordinates of all rows, those that these widths keep."""
        user, item = rule.widths(rule.users, self.users.value), rule.widths(rule.items, self.items.value)
        return float(user @ self.users.rows + item @ self.items.rows) / (self.dim * self.rows)


def fit_widths(bundle: Bundle, within: float = WITHIN) -> tuple[WidthRule, dict[str, float]]:
    """The rule with the fewest numbers whose validation RMSE is within some of the best that one width for all has.

    Args:
        bundle: As of `PartialSums`, with validation rows.
        within: Stars of RMSE.

    Returns:
        The rule; and `share` of the numbers that it keeps, `uniform_share` that one width for all rows would keep for
        as good an RMSE, and the RMSE of validation rows: `rmse`, `full_rmse` of all coordinates, and `best_rmse` of
        the best width for all.

    Raises:
        ValueError: There is no validation row.
    """
    if not (bundle.ratings.part == VAL).any():
        raise ValueError(f"{bundle.manifest['data']} has no validation rows, by which compress=auto chooses widths")
    sums = PartialSums(bundle)
    uniform = [WidthRule(dim, 0.0, dim, dim) for dim in range(1, sums.dim + 1)]
    found = [sums.rmse(rule) for rule in uniform]
    most = min(found) + within
    start = next(rule for rule, rmse in zip(uniform, found, strict=True) if rmse <= most)
    rule = start
    for shape in _shapes(sums.dim):
        rule = _narrower(sums, most, shape, rule)
    figures = {"share": sums.share(rule), "uniform_share": sums.share(start), "rmse": sums.rmse(rule),
               "full_rmse": found[-1], "best_rmse": min(found)}  # fmt: skip
    return rule, {name: round(value, 5) for name, value in figures.items()}


def _counts(row: NDArray[Any], n: int, pairs: IndexArray) -> _Counts:
    value, which, rows = np.unique(np.bincount(row, minlength=n)[:n], return_inverse=True, return_counts=True)
    return _Counts(value, rows, which[pairs])


def _shapes(dim: int) -> Iterator[WidthRule]:
    """Rules of every kind, with the smallest factors."""
    for most in sorted({max(1, round(share * dim)) for share in SHARES}):
        for exponent in EXPONENTS:
            for ratio in RATIOS:
                yield WidthRule(most, exponent, SMALLEST * ratio**0.5, SMALLEST / ratio**0.5)


def _narrower(sums: PartialSums, most: float, shape: WidthRule, best: WidthRule) -> WidthRule:
    """The rule of this shape with the smallest factors whose RMSE is `most` at most; `best` if that keeps fewer."""
    share, size, step = sums.share(best), 1.0, STEP
    while sums.share(rule := _scaled(shape, size)) < share and sums.rmse(rule) > most:
        size *= step
        if size * SMALLEST > 4 * sums.dim:
            return best
    for _ in range(HALVINGS + 1):  # the last size was too narrow, or this one is not narrower than the best
        rule = _scaled(shape, size)
        good = sums.share(rule) < share and sums.rmse(rule) <= most
        if good:
            best, share = rule, sums.share(rule)
        step **= 0.5
        size = size / step if good or sums.share(rule) >= share else size * step
    return best


def _scaled(rule: WidthRule, size: float) -> WidthRule:
    users, items = (float(f"{factor * size:.4g}") for factor in (rule.users, rule.items))
    return rule._replace(users=users, items=items)
