"""A trained model as plain arrays: predictions and scores.

r(u, i) = mean over samples s of link(mu_s + b_us + b_is + p_us . q_is)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from recsys.bundle.drift import Drift
from recsys.bundle.history import History, weights_at, weights_of_all
from recsys.bundle.ordinal import Ordinal
from recsys.bundle.prior import UserPrior
from recsys.bundle.schema import FACTOR_SPECS
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray

__all__ = ["Factors", "Posterior", "UserVector", "concat_samples"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Uncertainty of a folded-in user's `[p, b]`, in units of the noise."""

    precision: Float64Array  # (samples, dim + 1, dim + 1)

    @cached_property
    def covariance(self) -> Float32Array:
        """`(samples, dim + 1, dim + 1)`."""
        return np.asarray(np.linalg.inv(self.precision), np.float32)

    def variance(self, design: Float32Array) -> Float32Array:
        """Of the linear parts `(n, samples)` with these coefficients of `[p, b]`, `(n, samples, dim + 1)`."""
        if len(design) < self.precision.shape[1] and "covariance" not in self.__dict__:  # then solving takes less
            solved = np.linalg.solve(self.precision, design.transpose(1, 2, 0))
            return np.asarray(np.einsum("nsd,sdn->ns", design, solved), np.float32)
        return np.asarray(np.einsum("nsd,sde,nse->ns", design, self.covariance, design, optimize=True), np.float32)


class UserVector(NamedTuple):
    """A user's bias and factors; all zeros is the average user."""

    bias: Float32Array  # (samples,)
    factors: Float32Array  # (samples, dim)
    precision: Float32Array | None = None  # (samples,) of the user's noise, relative to the global one; None: 1
    cold_start: bool = False  # whether the user has no ratings
    posterior: Posterior | None = None  # of a folded-in user
    history: History | None = None  # of a user of a model with `item_weights`


@dataclass(frozen=True, eq=False)
class Factors:
    """A trained model as float32 arrays in stars; rows 0..n_users - 1 are the fitted ids, rows 0..n_items - 1 too.

    Items that were not fitted may follow, predicted from their attributes. A row beyond is the zero vector with bias 0,
    which by centring is the average user or item. The
    `[p, b]` of a new user with n ratings minimises, in each sample,

        sum over ratings (r - r^)^2 + sum over terms t (n + prior_offset[t])^prior_exponent[t] d' prior_precision[t] d

    with `d = [p, b] - m` and `m = prior_mean + n^-1/2 sum of item_implicit over the rated items`. An exponent of 0
    is a Gaussian prior in units of the noise, 1 a penalty per rating; all lie in [0, 1].

    Optional arrays refine this. `m` also has the `attribute_effects` of the user's attributes. A rating's noise
    has the precision `precision_s user_precision_us item_precision_is` in each sample: an unseen row has the
    relative precision 1, and a squared error above is weighted by its item's. With `thresholds`, the linear part is
    a latent score behind the stars (`recsys.bundle.ordinal`). With `drift`, a user's bias follows their latest
    residuals (`recsys.bundle.drift`).

    The `item_prior_*` arrays, `item_attribute_effects` and `user_implicit` say the same of an item's `[q, b]`, which is
    a user's of the `mirrored` model: so an item that was not fitted is folded in from the ratings of users.

    With `item_weights`, a linear part also has the sum of the weights of the user's history (`recsys.bundle.history`),
    and a user is that history alone. Items from the last row of the weights on have none.

    A `b` is in stars, a `p` or `q` in the root of a star. What is added to a matrix so that it can be inverted is in
    units of `unit`, so that it means the same on every scale.
    """

    mu: Float32Array  # (samples,)
    user_bias: Float32Array  # (n_users, samples)
    item_bias: Float32Array  # (n_items, samples)
    user_factors: Float32Array  # (n_users, samples, dim)
    item_factors: Float32Array  # (n_items, samples, dim)
    prior_mean: Float32Array  # (samples, dim + 1)
    prior_precision: Float32Array  # (terms, samples, dim + 1, dim + 1)
    prior_exponent: Float32Array  # (terms,)
    prior_offset: Float32Array | None = None  # (terms,) added to the number of ratings; 0 if absent
    item_implicit: Float32Array | None = None  # (n_items, samples, dim + 1) shift of the prior mean by a rated item
    precision: Float32Array | None = None  # (samples,) of the noise, in stars^-2
    user_precision: Float32Array | None = None  # (n_users, samples) relative to `precision`, about 1
    item_precision: Float32Array | None = None  # (n_items, samples) relative to `precision`, about 1
    levels: Float32Array | None = None  # (levels,) of the rating scale, ascending
    thresholds: Float32Array | None = None  # (samples, levels - 1) between levels, in the unit of the linear part
    attribute_effects: Float32Array | None = None  # (attributes, samples, dim + 1) shift of the prior mean
    cold_start_mean: Float32Array | None = None  # (samples, dim + 1): [p, b] of a user without ratings
    cold_start_effects: Float32Array | None = None  # (attributes, samples, dim + 1) added to it for an attribute
    drift: Float32Array | None = None  # (2,): ratings and shrinkage of `recsys.bundle.drift.Drift`
    cold_start_items: Float32Array | None = None  # (n_items, samples) item bias for users without ratings
    unit: Float32Array | None = None  # (1,) a quarter of the rating scale, in stars; 1 if absent
    item_prior_mean: Float32Array | None = None  # (samples, dim + 1); None: items cannot be folded in
    item_prior_precision: Float32Array | None = None  # (item terms, samples, dim + 1, dim + 1)
    item_prior_exponent: Float32Array | None = None  # (item terms,)
    item_prior_offset: Float32Array | None = None  # (item terms,) added to the number of ratings; 0 if absent
    item_attribute_effects: Float32Array | None = None  # (item attributes, samples, dim + 1) shift of the prior mean
    item_cold_start_mean: Float32Array | None = None  # (samples, dim + 1): [q, b] without ratings and attributes
    user_implicit: Float32Array | None = None  # (n_users, samples, dim + 1) shift of the prior mean by a rater
    item_weights: Float32Array | None = None  # (fitted items, fitted items), by item of the history and item scored
    history_half_life: Float32Array | None = None  # (1,) later items that halve the weight of one; absent: no decay

    @property
    def samples(self) -> int:
        """The number of posterior samples."""
        return len(self.mu)

    @property
    def can_fold_in_items(self) -> bool:
        """Whether there is a prior of an item's `[q, b]`."""
        return self.item_prior_mean is not None

    def mirrored(self) -> Factors:
        """The same model with its sides swapped, so that a fold-in of it is one of an item by its raters.

        What belongs to users alone is left out: drift and `cold_start_items`. An item without ratings has the row of
        its attributes, by `item_cold_start_mean`. Arrays are shared, not copied.

        Raises:
            ValueError: The model has no prior of items.
        """
        if self.item_prior_mean is None or self.item_prior_precision is None or self.item_prior_exponent is None:
            raise ValueError("this model has no prior of an item's row; train it again to fold in items")
        cold_start = self.item_cold_start_mean
        return Factors(
            mu=self.mu,
            user_bias=self.item_bias,
            item_bias=self.user_bias,
            user_factors=self.item_factors,
            item_factors=self.user_factors,
            prior_mean=self.item_prior_mean,
            prior_precision=self.item_prior_precision,
            prior_exponent=self.item_prior_exponent,
            prior_offset=self.item_prior_offset,
            item_implicit=self.user_implicit,
            precision=self.precision,
            user_precision=self.item_precision,
            item_precision=self.user_precision,
            levels=self.levels,
            thresholds=self.thresholds,
            attribute_effects=self.item_attribute_effects,
            cold_start_mean=cold_start,
            cold_start_effects=None if cold_start is None else self.item_attribute_effects,
            unit=self.unit,
            item_prior_mean=self.prior_mean,
            item_prior_precision=self.prior_precision,
            item_prior_exponent=self.prior_exponent,
            item_prior_offset=self.prior_offset,
            item_attribute_effects=self.attribute_effects,
            user_implicit=self.item_implicit,
        )

    @cached_property
    def ordinal(self) -> Ordinal | None:
        """The link, if stars are levels of a latent score."""
        if self.levels is None or self.thresholds is None:
            return None
        return Ordinal(self.levels, self.thresholds)

    @cached_property
    def drift_rule(self) -> Drift | None:
        """The drift of a user's bias, if the model has one."""
        return None if self.drift is None else Drift(*self.drift.tolist())

    def predict(self, user: IndexArray, item: IndexArray) -> Float32Array:
        """The linear part in stars, `(rows, samples)`, for dense rows; -1 is an unseen row. Histories are not in it."""
        known_user, known_item = (user >= 0)[:, None], (item >= 0)[:, None]
        biases = np.where(known_user, self.user_bias[user], 0) + np.where(known_item, self.item_bias[item], 0)
        dot = np.einsum("nsd,nsd->ns", self.user_factors[user], self.item_factors[item])
        if self.cold_start_items is not None:
            biases = biases + np.where(~known_user & known_item, self.cold_start_items[item], 0)
        return np.asarray(self.mu + biases + np.where(known_user & known_item, dot, 0), np.float32)

    def user(self, user: int) -> UserVector:
        """The vector of a fitted user's row; the average user's for any other row."""
        if 0 <= user < len(self.user_bias):
            precision = None if self.user_precision is None else self.user_precision[user]
            return UserVector(self.user_bias[user], self.user_factors[user], precision)
        return self._average_user

    def user_from_attributes(self, attributes: IndexArray) -> UserVector:
        """The vector of a user with these attributes and no ratings; without attributes, the average user's."""
        if not len(attributes) or self.cold_start_mean is None or self.cold_start_effects is None:
            return self._average_user
        mean = np.asarray(self.cold_start_mean + self.cold_start_effects[attributes].sum(0), np.float32)
        return UserVector(mean[:, -1], mean[:, :-1], cold_start=True)

    def predict_for(self, vector: UserVector, item: int) -> Float32Array:
        """The linear part in stars, `(samples,)`, for one item row; one outside is the average item."""
        if not 0 <= item < len(self.item_bias):
            return np.asarray(self.mu + vector.bias, np.float32)
        dot = np.einsum("sd,sd->s", vector.factors, self.item_factors[item])
        if vector.cold_start and self.cold_start_items is not None:
            dot = dot + self.cold_start_items[item]
        if vector.history is not None and self.item_weights is not None:
            dot = dot + weights_at(self.item_weights, vector.history, np.array([item]))
        # Summed in the order of predict, so that one prediction equals that of a batch to the last bit.
        return np.asarray(self.mu + (vector.bias + self.item_bias[item]) + dot, np.float32)

    def predict_rows_for(self, vector: UserVector, item: IndexArray) -> Float32Array:
        """As `predict`, `(rows, samples)`, for one user, or for one user per row, whose arrays have a first axis."""
        known = (item >= 0)[:, None]
        dot = np.einsum("nsd,nsd->ns", np.broadcast_to(vector.factors, (len(item), *vector.factors.shape[-2:])),
                        self.item_factors[item])  # fmt: skip
        biases = vector.bias + np.where(known, self.item_bias[item], 0)
        if vector.cold_start and self.cold_start_items is not None:
            biases = biases + np.where(known, self.cold_start_items[item], 0)
        if vector.history is not None and self.item_weights is not None:
            dot = dot + weights_at(self.item_weights, vector.history, item)[:, None]
        return np.asarray(self.mu + biases + np.where(known, dot, 0), np.float32)

    def linear_parts(self, vector: UserVector) -> Float32Array:
        """The linear part in stars of every item for one user, `(n_items, samples)`."""
        linear: Float32Array = np.einsum("isd,sd->is", self.item_factors, vector.factors)
        linear += self.item_bias
        linear += self.mu + vector.bias
        if vector.cold_start and self.cold_start_items is not None:
            linear += self.cold_start_items
        if vector.history is not None and self.item_weights is not None:
            linear[: len(self.item_weights)] += weights_of_all(self.item_weights, vector.history)[:, None]
        return linear

    def scores(self, vector: UserVector) -> Float32Array:
        """The mean of the linear part over the samples for every item, `(n_items,)`."""
        weights, bias = vector.factors.reshape(-1), vector.bias[0]
        if self.samples > 1:
            weights, bias = np.asarray(weights / np.float32(self.samples)), vector.bias.mean()
        scores: Float32Array = self.concatenated_items @ weights
        scores += self.item_level
        scores += bias
        if vector.cold_start and self.cold_start_items is not None:
            scores += self.cold_start_items.mean(1)
        if vector.history is not None and self.item_weights is not None:
            scores[: len(self.item_weights)] += weights_of_all(self.item_weights, vector.history)
        return scores

    def scores_of(self, user: IndexArray) -> Float32Array:
        """As `scores`, `(users, n_items)`, for the rows of many users; a row that was not fitted is the average.

        A history is not among the rows: see `Scoring.scores_of`.
        """
        known = (user >= 0) & (user < len(self.user_bias))
        row = np.where(known, user, 0)
        weights = self.user_factors[row].reshape(len(user), -1) * (known[:, None] / np.float32(self.samples))
        scores: Float32Array = np.asarray(weights @ self.concatenated_items.T, np.float32)
        scores += self.item_level
        scores += np.where(known, self.user_bias[row].mean(1), 0)[:, None]
        if self.cold_start_items is not None:
            scores += np.where(known[:, None], 0, self.cold_start_items.mean(1))
        return scores

    def scores_of_rows(self, rows: UserVector) -> Float32Array:
        """As `scores`, `(users, n_items)`, for users with ratings, whose arrays have a first axis."""
        weights = rows.factors.reshape(len(rows.bias), -1) / np.float32(self.samples)
        scores: Float32Array = np.asarray(weights @ self.concatenated_items.T, np.float32)
        scores += self.item_level
        scores += rows.bias.mean(1)[:, None]
        return scores

    def similar(self, item: int) -> Float32Array:
        """The similarity of an item's vector, all samples concatenated, to every other's: `(n_items,)` in [-1, 1].

        The cosine, but vectors shorter than the median are scaled by the median: few ratings leave a short vector
        whose direction is noise.
        """
        cosines: Float32Array = self.item_directions @ self.item_directions[item]
        return cosines.clip(-1, 1)  # rounding may leave the range

    def weights_from(self, item: int) -> Float32Array:
        """What having an item adds to the score of every other, `(n_items,)` in [-1, 1]; -inf where that is nothing.

        The weights themselves, divided by the largest magnitude of all where that is above 1.
        """
        weights = np.full(len(self.item_bias), -np.inf, np.float32)
        if self.item_weights is not None and item < len(self.item_weights):
            row = self.item_weights[item]
            weights[: len(row)][row != 0] = row[row != 0] / self._largest_weight
        return weights

    @cached_property
    def prior(self) -> UserPrior:
        """The prior of a user's `[p, b]`."""
        # The design is not made for this: of the mirrored model its rows are users, who may be many.
        squares = np.einsum("isd,isd->d", self.item_factors, self.item_factors, dtype=np.float64)
        rows, units = max(1, self.item_bias.size), self.precision_units
        power = float(np.append(squares / rows, 1.0) @ (1 / units)) / len(units)
        return UserPrior(self.prior_mean, self.prior_precision, self.prior_exponent, self.prior_offset,
                         self.attribute_effects, self.item_implicit, power, self.precision_units)  # fmt: skip

    @cached_property
    def precision_units(self) -> Float32Array:
        """The unit of a precision of each coordinate of `[p, b]`, that of a squared coefficient: `(dim + 1,)`."""
        units = np.ones(self.prior_mean.shape[1], np.float32)
        if self.unit is not None:
            units[:-1] = self.unit
        return units

    @cached_property
    def prior_scores(self) -> Float32Array:
        """The linear part at the prior mean, `(samples, n_items)`."""
        scores: Float32Array = np.einsum("sid,sd->si", self.design, self.prior_mean)
        return scores + self.mu[:, None] + self.item_bias.T

    @cached_property
    def design(self) -> Float32Array:
        """The coefficients of a user's `[p, b]` in the prediction of each item, `(samples, n_items, dim + 1)`."""
        items, samples, dim = self.item_factors.shape
        design = np.ones((samples, items, dim + 1), np.float32)
        design[:, :, :-1] = self.item_factors.transpose(1, 0, 2)
        return design

    @cached_property
    def _average_user(self) -> UserVector:
        samples, dim = self.item_factors.shape[1:]
        return UserVector(np.zeros(samples, np.float32), np.zeros((samples, dim), np.float32), cold_start=True)

    @cached_property
    def concatenated_items(self) -> Float32Array:
        """The factors of all samples of each item, `(n_items, samples * dim)`."""
        return np.ascontiguousarray(self.item_factors.reshape(len(self.item_factors), -1))

    @cached_property
    def item_level(self) -> Float32Array:
        """The mean linear part of each item for the average user, `(n_items,)`."""
        return np.asarray(self.item_bias.mean(1) + self.mu.mean(), np.float32)

    @cached_property
    def _largest_weight(self) -> np.float32:
        matrix = self.item_weights
        assert matrix is not None
        return np.float32(max(1, matrix.max(initial=0), -matrix.min(initial=0)))

    @cached_property
    def item_directions(self) -> Float32Array:
        """The vectors that `similar` compares, `(n_items, samples * dim)`, of length 1 at most."""
        norms = np.linalg.norm(self.concatenated_items, axis=1, keepdims=True)
        norms = np.maximum(norms, np.median(norms))
        return np.asarray(self.concatenated_items / np.maximum(norms, 1e-12), np.float32)


def concat_samples(parts: Sequence[Factors]) -> Factors:
    """Factors with the samples of all parts; arrays without a sample axis are those of the first."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts], spec.sample_axis)
        for name, spec in FACTOR_SPECS.items()
        if spec.sample_axis is not None and getattr(parts[0], name) is not None
    }
    return replace(parts[0], **arrays)
