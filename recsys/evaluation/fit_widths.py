"""How many coordinates rows need, learned from validation rows: the fewest that predict about as well as all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.ratings import TRAIN, VAL
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray
from recsys.bundle.widths import WidthRule

WITHIN = 0.001  # stars of validation RMSE that fewer coordinates may lose
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)  # of all coordinates, for the widest row
RATIOS = (0.5, 0.7, 1.0, 1.4, 2.0)  # of the users' factor to the items'
STEPS = 8  # of bisection
MOST_SUMS = 1 << 25  # partial sums that are held: validation rows, evenly spaced, times coordinates


class PartialSums:
    """Predictions of validation rows by any number of coordinates: of two rows, the narrower one says how many count.

    Args:
        bundle: Of one sample in principal coordinates, fitted on training rows alone. Behind an ordinal link the linear
            part is measured.
    """

    def __init__(self, bundle: Bundle) -> None:
        factors, ratings = bundle.factors, bundle.ratings
        users = ratings.user_index()
        held_out = np.flatnonzero(ratings.part == VAL)
        dim = factors.item_factors.shape[2]
        held_out = held_out[:: -(-len(held_out) * (dim + 1) // MOST_SUMS) or 1]
        user, item = users[held_out], ratings.item[held_out].astype(np.int64)
        self.known = np.flatnonzero((user < bundle.n_users) & (item < bundle.n_items))
        self.user, self.item = user[self.known], item[self.known]
        self.scale, self.dim, self.rating = bundle.scale, dim, ratings.rating[held_out]
        self.others = bundle.mean_linear_part(user, item)
        self.sums = np.zeros((len(self.known), dim + 1), np.float32)
        products = factors.user_factors[self.user, 0] * factors.item_factors[self.item, 0]
        np.cumsum(products, axis=1, out=self.sums[:, 1:])
        self.level = self.others[self.known] - self.sums[:, -1]
        trained = ratings.part == TRAIN
        self.counts = tuple(
            np.bincount(row[trained], minlength=n)[:n]
            for row, n in ((users, bundle.n_users), (ratings.item, bundle.n_items))
        )

    def rmse(self, user_width: IndexArray, item_width: IndexArray) -> float:
        """RMSE of the validation rows, in stars, with so many coordinates a row."""
        kept = np.minimum(user_width[self.user], item_width[self.item])
        predicted: Float32Array = self.others.copy()
        predicted[self.known] = self.level + self.sums[np.arange(len(kept)), kept]
        errors: Float64Array = np.clip(predicted, *self.scale).astype(np.float64) - self.rating
        return float(np.sqrt(np.mean(errors**2)))

    def widths(self, rule: WidthRule) -> tuple[IndexArray, IndexArray]:
        """Of all users and all items."""
        users, items = self.counts
        return rule.widths(rule.users, users), rule.widths(rule.items, items)


def fit_widths(bundle: Bundle, within: float = WITHIN) -> tuple[WidthRule, dict[str, float]]:
    """The rule with the fewest numbers whose validation RMSE is within some of that of all coordinates.

    Args:
        bundle: As of `PartialSums`, with validation rows.
        within: Stars of RMSE.

    Returns:
        The rule; and `share` of the numbers that it keeps, `uniform_share` that one width for all rows would keep for
        as good an RMSE, `rmse` and `full_rmse` of validation rows.

    Raises:
        ValueError: There is no validation row.
    """
    if not (bundle.ratings.part == VAL).any():
        raise ValueError(f"{bundle.manifest['data']} has no validation rows, by which compress=auto chooses widths")
    sums = PartialSums(bundle)
    dim = sums.dim
    everything = dim * sum(map(len, sums.counts))
    full = sums.rmse(*sums.widths(WidthRule(dim, 0.0, dim, dim)))
    found = [WidthRule(dim, 0.0, dim, dim), *_candidates(sums, full + within)]
    share = {rule: sum(width.sum() for width in sums.widths(rule)) / everything for rule in found}
    best = min(found, key=lambda rule: share[rule])
    uniform = min(share[rule] for rule in found if rule.exponent == 0 and rule.users == rule.items)
    figures = {"share": share[best], "uniform_share": uniform, "rmse": sums.rmse(*sums.widths(best)),
               "full_rmse": full}  # fmt: skip
    return best, {name: round(float(value), 5) for name, value in figures.items()}


def _candidates(sums: PartialSums, most: float) -> Iterator[WidthRule]:
    """For each shape of rule the smallest factors whose RMSE is `most` at most."""
    for dim in sorted({max(1, round(share * sums.dim)) for share in SHARES}, reverse=True):
        if sums.rmse(*sums.widths(WidthRule(dim, 0.0, dim, dim))) > most:
            return
        for exponent in EXPONENTS:
            for ratio in RATIOS:
                low, high = np.log(1e-3), np.log(4.0 * dim)
                for _ in range(STEPS):
                    middle = (low + high) / 2
                    rule = _rule(dim, exponent, ratio, middle)
                    low, high = (low, middle) if sums.rmse(*sums.widths(rule)) <= most else (middle, high)
                if sums.rmse(*sums.widths(rule := _rule(dim, exponent, ratio, high))) <= most:
                    yield rule


def _rule(dim: int, exponent: float, ratio: float, size: float) -> WidthRule:
    factor, root = np.exp(size), ratio**0.5
    return WidthRule(dim, exponent, float(f"{factor * root:.4g}"), float(f"{factor / root:.4g}"))
