"""The arithmetic of a trained model: plain arrays that predict, rank, take in new users and give reasons.

r(u, i) = mean over samples s of link(mu_s + b_us + b_is + p_us . q_is)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.fold_in import FoldIn, UserVector, settled, shares_of
from recsys.bundle.ordinal import Ordinal
from recsys.bundle.schema import FACTOR_SPECS
from recsys.bundle.typing import Float32Array, IndexArray

RIDGE = 1e-5  # added to the diagonal, relative to each term

NO_ATTRIBUTES: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Factors:
    """A trained model as float32 arrays in stars; rows 0..n_users - 1 are the fitted ids, rows 0..n_items - 1 too.

    Items that were not fitted may follow, as the model expects them to be. A row beyond is the zero vector with bias 0,
    which by centring is the average user or item. The
    `[p, b]` of a new user with n ratings minimises, in each sample,

        sum over ratings (r - r^)^2 + sum over terms t (n + prior_offset[t])^prior_exponent[t] d' prior_precision[t] d

    with `d = [p, b] - m` and `m = prior_mean + n^-1/2 sum of item_implicit over the rated items`. An exponent of 0
    is a Gaussian prior in units of the noise, 1 a penalty on every rating; all lie in [0, 1].

    Some models say more, and then `m` also has the `attribute_effects` of the user's attributes, and a rating's noise
    has the precision `precision_s user_precision_us item_precision_is` in each sample: a row never seen has the
    relative precision 1, and a rating's squared error above is weighed by its item's. With `thresholds`, what is
    linear is a score behind the stars (`recsys.bundle.ordinal`). With `drift`, a user's bias goes on from where
    their latest ratings were: `b + sum_k w_k e_k / (sum_k w_k + drift[1])` with
    `w_k = exp(-(later ratings) / drift[0])`.
    """

    mu: Float32Array  # (samples,)
    user_bias: Float32Array  # (n_users, samples)
    item_bias: Float32Array  # (n_items, samples)
    user_factors: Float32Array  # (n_users, samples, dim)
    item_factors: Float32Array  # (n_items, samples, dim)
    prior_mean: Float32Array  # (samples, dim + 1)
    prior_precision: Float32Array  # (terms, samples, dim + 1, dim + 1)
    prior_exponent: Float32Array  # (terms,)
    prior_offset: Float32Array | None = None  # (terms,) added to a user's number of ratings; 0 where absent
    item_implicit: Float32Array | None = None  # (n_items, samples, dim + 1): shift of [p, b] from having rated an item
    precision: Float32Array | None = None  # (samples,) of the noise, in stars^-2
    user_precision: Float32Array | None = None  # (n_users, samples) relative to that, about 1
    item_precision: Float32Array | None = None  # (n_items, samples) relative to that, about 1
    levels: Float32Array | None = None  # (levels,) of the scale, in stars, ascending
    thresholds: Float32Array | None = None  # (samples, levels - 1) between levels, in units of the linear part
    attribute_effects: Float32Array | None = None  # (attributes, samples, dim + 1): shift of [p, b] from an attribute
    newcomer_mean: Float32Array | None = None  # (samples, dim + 1): [p, b] of a user without ratings
    newcomer_effects: Float32Array | None = None  # (attributes, samples, dim + 1): shift of it from an attribute
    drift: Float32Array | None = None  # (2,): ratings after which an error's weight falls by a factor e; shrinkage
    newcomer_items: Float32Array | None = None  # (n_items, samples): shift of a score for a user without ratings

    @property
    def samples(self) -> int:
        return len(self.mu)

    @cached_property
    def ordinal(self) -> Ordinal | None:
        """The link, where stars are levels of a latent score."""
        if self.levels is None or self.thresholds is None:
            return None
        return Ordinal(self.levels, self.thresholds)

    def predict(self, user: IndexArray, item: IndexArray) -> Float32Array:
        """The linear part in stars, `(rows, samples)`, for dense rows; -1 is a row never seen."""
        known_user, known_item = (user >= 0)[:, None], (item >= 0)[:, None]
        biases = np.where(known_user, self.user_bias[user], 0) + np.where(known_item, self.item_bias[item], 0)
        dot = np.einsum("nsd,nsd->ns", self.user_factors[user], self.item_factors[item])
        if self.newcomer_items is not None:
            biases = biases + np.where(~known_user & known_item, self.newcomer_items[item], 0)
        return np.asarray(self.mu + biases + np.where(known_user & known_item, dot, 0), np.float32)

    def user(self, user: int) -> UserVector:
        """The vector of a fitted user's row; of any other row, the average user's."""
        if 0 <= user < len(self.user_bias):
            precision = None if self.user_precision is None else self.user_precision[user]
            return UserVector(self.user_bias[user], self.user_factors[user], precision)
        return self._average_user

    def described(self, attributes: IndexArray) -> UserVector:
        """The vector of someone of whom only attributes are known; without any, the average user's."""
        if not len(attributes) or self.newcomer_mean is None or self.newcomer_effects is None:
            return self._average_user
        mean = np.asarray(self.newcomer_mean + self.newcomer_effects[attributes].sum(0), np.float32)
        return UserVector(mean[:, -1], mean[:, :-1], newcomer=True)

    def noise_precision(self, user: IndexArray, item: IndexArray) -> Float32Array | None:
        """Of the ratings around the linear part, `(rows, samples)`, for dense rows; -1 is a row never seen.

        Around that of someone without ratings they also vary as people do. None where the model does not say.
        """
        if self.precision is None:
            return None
        own = None
        if self.user_precision is not None:
            own = np.where((user >= 0)[:, None], self.user_precision[user], 1)
        return self._precision_of(own, item, user < 0)

    def noise_precision_for(self, vector: UserVector, item: IndexArray) -> Float32Array | None:
        """As `noise_precision`, for one user; around someone folded in they also vary as far as that is uncertain."""
        total = self._precision_of(vector.precision, item, np.full(len(item), vector.newcomer))
        if total is None or vector.folded is None or self.precision is None:
            return total
        design = np.where((item >= 0)[:, None, None], self._design.transpose(1, 0, 2)[item], 0)
        design[:, :, -1] = 1
        spread = np.einsum("nsd,sde,nse->ns", design, vector.folded.covariance, design, optimize=True)
        return np.asarray(total / (1 + total * spread / self.precision), np.float32)

    def _precision_of(
        self, own: Float32Array | None, item: IndexArray, newcomer: NDArray[np.bool_]
    ) -> Float32Array | None:
        if self.precision is None:
            return None
        total = np.broadcast_to(self.precision, (len(item), self.samples))
        if own is not None:
            total = total * own
        if self.item_precision is not None:
            total = total * np.where((item >= 0)[:, None], self.item_precision[item], 1)
        if newcomer.any():
            total = total / (1 + np.where(newcomer[:, None], total * self._spread_of_people[item], 0))
        return np.asarray(total, np.float32)

    @cached_property
    def _spread_of_people(self) -> Float32Array:
        """Variance of the fitted users' linear parts, of each item and, last, of none, `(n_items + 1, samples)`."""
        people = np.concatenate([self.user_factors, self.user_bias[:, :, None]], 2)
        people = people - people.mean(0)
        spread = np.empty((len(self.item_bias) + 1, self.samples), np.float32)
        for s in range(self.samples):
            covariance = people[:, s].T @ people[:, s] / len(people)
            design = np.pad(self._design[s], ((0, 1), (0, 0)))
            design[-1, -1] = 1
            spread[:, s] = np.einsum("id,de,ie->i", design, covariance, design, optimize=True)
        return spread

    def predict_for(self, vector: UserVector, item: int) -> Float32Array:
        """The linear part in stars, `(samples,)`, for one item row; one outside is the average item."""
        if not 0 <= item < len(self.item_bias):
            return np.asarray(self.mu + vector.bias, np.float32)
        dot = np.einsum("sd,sd->s", vector.factors, self.item_factors[item])
        if vector.newcomer and self.newcomer_items is not None:
            dot = dot + self.newcomer_items[item]
        # Summed in the order of predict, so that one prediction equals that of a batch to the last bit.
        return np.asarray(self.mu + (vector.bias + self.item_bias[item]) + dot, np.float32)

    def predict_rows_for(self, vector: UserVector, item: IndexArray) -> Float32Array:
        """As `predict`, `(rows, samples)`, for one user."""
        known = (item >= 0)[:, None]
        dot = np.einsum("nsd,nsd->ns", np.broadcast_to(vector.factors, (len(item), *vector.factors.shape)),
                        self.item_factors[item])  # fmt: skip
        biases = vector.bias + np.where(known, self.item_bias[item], 0)
        if vector.newcomer and self.newcomer_items is not None:
            biases = biases + np.where(known, self.newcomer_items[item], 0)
        return np.asarray(self.mu + biases + np.where(known, dot, 0), np.float32)

    def scores(self, vector: UserVector) -> Float32Array:
        """The mean of the linear part over the samples for every item, `(n_items,)`."""
        weights = vector.factors.reshape(-1) / np.float32(self.samples)
        scores: Float32Array = self._concatenated_items @ weights
        scores += self._item_level
        scores += vector.bias.mean()
        if vector.newcomer and self.newcomer_items is not None:
            scores += self.newcomer_items.mean(1)
        return scores

    def scores_of(self, user: IndexArray) -> Float32Array:
        """As `scores`, `(users, n_items)`, for many users' rows; any row outside the fitted is the average user."""
        known = (user >= 0) & (user < len(self.user_bias))
        row = np.where(known, user, 0)
        weights = self.user_factors[row].reshape(len(user), -1) * (known[:, None] / np.float32(self.samples))
        scores: Float32Array = np.asarray(weights @ self._concatenated_items.T, np.float32)
        scores += self._item_level
        scores += np.where(known, self.user_bias[row].mean(1), 0)[:, None]
        if self.newcomer_items is not None:
            scores += np.where(known[:, None], 0, self.newcomer_items.mean(1))
        return scores

    def similar(self, item: int) -> Float32Array:
        """How alike an item's vector, all samples concatenated, is to every other's: `(n_items,)` in [-1, 1].

        The cosine, where a vector shorter than the median counts as that long: few ratings leave a short vector
        whose direction is chance.
        """
        cosines: Float32Array = self._item_directions @ self._item_directions[item]
        return cosines.clip(-1, 1)  # rounding may leave the range

    def fold_in(self, item: IndexArray, rating: Float32Array, attributes: IndexArray | None = None) -> FoldIn:
        """A user made of ratings, by one ridge solve a sample, or a few where noise or a link asks for them.

        Args:
            item: Item rows, `(n,)`; one rated twice counts as two ratings, and once in `m`.
            rating: Stars, `(n,)`.
            attributes: Positions among the attributes, `(a,)`.
        """
        n = len(item)
        design = self._design[:, item]  # (samples, n, dim + 1)
        mean, surprise = self.prior_mean, rating - self._prior_scores[:, item]  # (samples, n)
        if attributes is None:
            attributes = NO_ATTRIBUTES
        elif len(attributes):
            mean = self._prior_mean_of(attributes)
            surprise = surprise - np.einsum("snd,sd->sn", design, mean - self.prior_mean)
        implicit, shares = None, np.zeros(0, np.float32)
        if self._implicit is not None and n:
            implicit, shares = self._implicit[:, item], shares_of(item)
        system = self.prior_systems(n)
        if not self._is_plain:
            folded = FoldIn(self, item, rating, attributes, mean, design, design, surprise, system, implicit, shares)
            return settled(folded, system)
        # The product in float32, which is twice as fast and costs millionths of a star; the solve in float64.
        system += design.transpose(0, 2, 1) @ design
        return FoldIn(self, item, rating, attributes, mean, design, design, surprise, system, implicit, shares)

    def prior_systems(self, n: int | IndexArray) -> NDArray[np.float64]:
        """What the prior says to users with n ratings each: the sum of its terms, `(*n, samples, dim + 1, dim + 1)`."""
        exponents, offsets, terms = self._prior_terms
        powers = (np.asarray(n)[..., None] + offsets) ** exponents
        return (powers @ terms).reshape(*powers.shape[:-1], *self.prior_precision.shape[1:])

    def _prior_mean_of(self, attributes: IndexArray) -> Float32Array:
        """Of `[p, b]` of someone with these attributes, `(samples, dim + 1)`."""
        if self.attribute_effects is None:
            raise ValueError("attributes: this model knows no attributes of users")
        return np.asarray(self.prior_mean + self.attribute_effects[attributes].sum(0), np.float32)

    @cached_property
    def _is_plain(self) -> bool:
        """Whether every rating weighs the same in a fold-in and stands for itself."""
        return self.item_precision is None and self.ordinal is None

    @cached_property
    def _prior_terms(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Exponents and offsets `(t,)`, and flat precisions of as many terms, `(t, samples * (dim + 1)^2)`.

        Without a penalty, fewer ratings than coordinates leave the system singular: a little added to every
        coordinate then chooses the shortest solution, as far as it outweighs the rounding of float32.
        """
        ridge = RIDGE * np.eye(self.prior_mean.shape[1])
        terms = {(0.0, 0.0): ridge, (1.0, 0.0): ridge * float(np.square(self._design).mean())}
        offset = np.zeros_like(self.prior_exponent) if self.prior_offset is None else self.prior_offset
        growths = zip(self.prior_exponent.tolist(), offset.tolist(), strict=True)
        for growth, precision in zip(growths, self.prior_precision, strict=True):
            terms[growth] = terms.get(growth, 0) + precision.astype(np.float64)
        shape = self.prior_precision.shape[1:]
        exponents, offsets = np.array([*terms]).T
        return exponents, offsets, np.stack([np.broadcast_to(term, shape).ravel() for term in terms.values()])

    @cached_property
    def _implicit(self) -> Float32Array | None:
        """`item_implicit` as `(samples, n_items, dim + 1)`."""
        return None if self.item_implicit is None else np.ascontiguousarray(self.item_implicit.transpose(1, 0, 2))

    @cached_property
    def _design(self) -> Float32Array:
        """What multiplies a user's `[p, b]` in the prediction of each item, `(samples, n_items, dim + 1)`."""
        items, samples, dim = self.item_factors.shape
        design = np.ones((samples, items, dim + 1), np.float32)
        design[:, :, :-1] = self.item_factors.transpose(1, 0, 2)
        return design

    @cached_property
    def _prior_scores(self) -> Float32Array:
        """The linear part for someone of whom only the prior mean is known, `(samples, n_items)`."""
        of_prior: Float32Array = np.einsum("sid,sd->si", self._design, self.prior_mean)
        return of_prior + self.mu[:, None] + self.item_bias.T

    @cached_property
    def _average_user(self) -> UserVector:
        samples, dim = self.item_factors.shape[1:]
        return UserVector(np.zeros(samples, np.float32), np.zeros((samples, dim), np.float32), newcomer=True)

    @cached_property
    def _concatenated_items(self) -> Float32Array:
        return np.ascontiguousarray(self.item_factors.reshape(len(self.item_factors), -1))

    @cached_property
    def _item_level(self) -> Float32Array:
        return np.asarray(self.item_bias.mean(1) + self.mu.mean(), np.float32)

    @cached_property
    def _item_directions(self) -> Float32Array:
        norms = np.linalg.norm(self._concatenated_items, axis=1, keepdims=True)
        norms = np.maximum(norms, np.median(norms))
        return np.asarray(self._concatenated_items / np.maximum(norms, 1e-12), np.float32)


def concat_samples(samples: Sequence[Factors]) -> Factors:
    """Factors of all these samples; arrays without a sample axis are the first one's."""
    arrays = {
        name: np.concatenate([getattr(sample, name) for sample in samples], axis)
        for name, array in FACTOR_SPECS.items()
        if (axis := array.sample_axis) is not None and getattr(samples[0], name) is not None
    }
    return replace(samples[0], **arrays)
