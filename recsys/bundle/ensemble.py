"""Weighted sums of models as one model: coordinates in a row, biases added.

sum_m w_mu (mu_m + b_um + b_im + p_um . q_im) = mu + b_u + b_i + p_u . q_i,  p_u = [w_mu p_um]_m,  q_i = [q_im]_m

Weights that differ by user take a coordinate more for each model: `w_mu - w_m` times `b_im`, with w_m the users' mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recsys.bundle.compression import empirical_precision
from recsys.bundle.factors import Factors
from recsys.bundle.typing import Float32Array, Float64Array

__all__ = ["Member", "union", "weighted_sum"]

Arrays = Sequence[Float32Array | None]  # (rows, 1, dim + 1), or (1, dim + 1) of one row, by member; None: zeros


class Member(NamedTuple):
    """A model of one sample with the users and items of the others; rows of unfitted items may be missing."""

    factors: Factors
    attributes: Sequence[str]  # of users, as in `attribute_effects`
    item_attributes: Sequence[str]  # of items, as in `item_attribute_effects`


def weighted_sum(members: Sequence[Member], weights: Float64Array, intercept: float, noise: float) -> Factors:
    """One sample whose linear part is the weighted sum of the members', for all fitted users exactly.

    What attributes, rated items and raters say of a new row is the sum as well, with the users' mean weights. How sure
    the prior is comes from the covariance of the fitted rows over all members together: models of the same ratings err
    alike, and priors side by side, as of independent models, would shrink a new user too much. Of several drifts that
    of the heaviest member is kept, if members with most of the weight have one.

    Args:
        members: One or more.
        weights: By fitted user, `(n_users, members)`.
        intercept: Added to the sum, in stars.
        noise: Standard deviation of a rating around the sum, in stars.

    Raises:
        ValueError: A member has several samples, or they differ in their users or their unit.
    """
    every, first = [member.factors for member in members], members[0].factors
    if any(factors.samples != 1 for factors in every):
        raise ValueError(f"members must have one sample each, got {[factors.samples for factors in every]}")
    if len({(len(factors.user_bias), _unit(factors)) for factors in every}) > 1:
        raise ValueError("members must have the same users and the same unit")
    rows = _JointRows(every, weights.mean(0), by_user=bool((weights != weights[0]).any()))
    user, item = rows.fitted_users(weights), rows.items([_rows(f.item_factors, f.item_bias) for f in every])
    prior_mean = rows.users([f.prior_mean for f in every])
    assert item is not None
    assert prior_mean is not None
    effects = _by_name([(m.factors.attribute_effects, m.attributes) for m in members])
    cold_start_effects = _by_name([(m.factors.cold_start_effects, m.attributes) for m in members])
    item_effects = _by_name([(m.factors.item_attribute_effects, m.item_attributes) for m in members])
    of_items: dict[str, Float32Array | None] = {}
    if all(factors.can_fold_in_items for factors in every):
        of_items = {
            "item_prior_mean": rows.items([f.item_prior_mean for f in every]),
            "item_prior_precision": empirical_precision(item[:, 0], noise**2, first.unit)[None, None],
            "item_prior_exponent": np.zeros(1, np.float32),
            "item_attribute_effects": rows.items(item_effects),
            "item_cold_start_mean": rows.items([f.item_cold_start_mean for f in every]),
            "user_implicit": rows.items([f.user_implicit for f in every]),
        }
    return Factors(
        mu=np.array([rows.mean @ [float(f.mu[0]) for f in every] + intercept], np.float32),
        user_bias=np.ascontiguousarray(user[:, :, -1]),
        item_bias=np.ascontiguousarray(item[:, :, -1]),
        user_factors=np.ascontiguousarray(user[:, :, :-1]),
        item_factors=np.ascontiguousarray(item[:, :, :-1]),
        prior_mean=prior_mean,
        prior_precision=empirical_precision(user[:, 0], noise**2, first.unit)[None, None],
        prior_exponent=np.zeros(1, np.float32),
        item_implicit=rows.users([f.item_implicit for f in every], len(item)),
        attribute_effects=rows.users(effects),
        cold_start_mean=rows.users([f.cold_start_mean for f in every]),
        cold_start_effects=rows.users(cold_start_effects),
        cold_start_items=rows.level([f.cold_start_items for f in every], len(item)),
        drift=_drift(every, rows.mean),
        unit=first.unit,
        **of_items,
    )


def union(lists: Iterable[Sequence[str]]) -> list[str]:
    """All names, each once, in the order in which they first come."""
    return list(dict.fromkeys(name for names in lists for name in names))


@dataclass(frozen=True)
class _JointRows:
    """Rows of several members as rows of their sum: `[p, b]` with weighted, `[q, b]` with plain coordinates."""

    members: Sequence[Factors]
    mean: Float64Array  # (members,) of the users' weights
    by_user: bool  # whether the weights differ by user

    def fitted_users(self, weights: Float64Array) -> Float32Array:
        """`[p, b]` of the fitted users, `(n_users, 1, dim + 1)`."""
        more = weights - self.mean
        parts = [f.user_factors[:, 0] * weights[:, [m]] for m, f in enumerate(self.members)]
        biases = [f.user_bias * weights[:, [m]] + more[:, [m]] * f.mu for m, f in enumerate(self.members)]
        return _stacked([*parts, *([more] if self.by_user else []), np.sum(biases, 0)])

    def users(self, arrays: Arrays, n: int | None = None) -> Float32Array | None:
        """Moves of `[p, b]`, with the mean weights; None if no member has any."""
        return self._joined(arrays, n, self.mean, extra=False)

    def items(self, arrays: Arrays) -> Float32Array | None:
        """Rows or moves of `[q, b]`; None if no member has any."""
        return self._joined(arrays, None, np.ones(len(self.mean)), extra=self.by_user)

    def level(self, arrays: Arrays, n: int) -> Float32Array | None:
        """Moves of a bias, `(n, 1)`."""
        found = [(w, array) for w, array in zip(self.mean, arrays, strict=True) if array is not None]
        return np.asarray(sum(w * _padded(array, n) for w, array in found), np.float32) if found else None

    def _joined(self, arrays: Arrays, n: int | None, scale: Float64Array, *, extra: bool) -> Float32Array | None:
        found = [array for array in arrays if array is not None]
        if not found:
            return None
        is_row = found[0].ndim == 2
        n = 1 if is_row else max(n or 0, *map(len, found))
        widths = [factors.item_factors.shape[2] + 1 for factors in self.members]
        blocks = [
            np.zeros((n, width)) if array is None else _padded(array.reshape(-1, width), n)
            for width, array in zip(widths, arrays, strict=True)
        ]
        biases = np.stack([block[:, -1] for block in blocks], 1)  # (n, members)
        parts = [block[:, :-1] * w for block, w in zip(blocks, scale, strict=True)]
        more = [biases if extra else np.zeros_like(biases)] if self.by_user else []
        joined = _stacked([*parts, *more, (biases @ self.mean)[:, None]])
        return joined[0] if is_row else joined


def _by_name(effects: Sequence[tuple[Float32Array | None, Sequence[str]]]) -> Arrays:
    """The members' effects `(attributes, 1, dim + 1)` in the order of the union of all names."""
    place = {name: row for row, name in enumerate(union(names for _, names in effects))}
    arrays: list[Float32Array | None] = []
    for effect, names in effects:
        if effect is None:
            arrays.append(None)
            continue
        placed = np.zeros((len(place), *effect.shape[1:]), np.float32)
        placed[[place[name] for name in names]] = effect
        arrays.append(placed)
    return arrays


def _drift(members: Sequence[Factors], weight: Float64Array) -> Float32Array | None:
    found = [(w, f.drift) for f, w in zip(members, weight.tolist(), strict=True) if f.drift is not None]
    with_most = 2 * sum(w for w, _ in found) > weight.sum()
    return max(found, key=lambda pair: pair[0])[1] if with_most else None


def _rows(factors: Float32Array, bias: Float32Array) -> Float32Array:
    return np.concatenate([factors, bias[:, :, None]], 2)


def _padded(rows: Float32Array, n: int) -> Float32Array:
    """The rows, and as many zeros that there are n."""
    return np.pad(rows, ((0, n - len(rows)), (0, 0)))


def _stacked(columns: Sequence[Float64Array]) -> Float32Array:
    return np.concatenate(columns, 1).astype(np.float32)[:, None]


def _unit(factors: Factors) -> float:
    return 1.0 if factors.unit is None else float(factors.unit[0])
