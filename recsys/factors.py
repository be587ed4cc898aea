"""The arithmetic of a trained model: plain arrays that predict, rank, take in new users and give reasons.

r(u, i) = mean over samples s of link(mu_s + b_us + b_is + p_us . q_is)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RIDGE = 1e-5  # of what is added to every coordinate's precision

Floats = NDArray[np.float32]
Rows = NDArray[np.int64] | NDArray[np.int32]


class UserVector(NamedTuple):
    """What a model knows of one user; all zeros is the average user."""

    bias: Floats  # (samples,)
    factors: Floats  # (samples, dim)


@dataclass(frozen=True, eq=False)
class Factors:
    """A trained model as float32 arrays in stars; row 0..n_users - 1 and 0..n_items - 1 are the fitted ids.

    A row never seen is the zero vector with bias 0, which by centring is the average user or item. The
    `[p, b]` of a new user with n ratings minimises, in each sample,

        sum over ratings (r - r^)^2 + sum over terms t n^prior_exponent[t] d' prior_precision[t] d

    with `d = [p, b] - m` and `m = prior_mean + n^-1/2 sum of item_implicit over the rated items`. An exponent of 0
    is a Gaussian prior in units of the noise, 1 a penalty on every rating; all lie in [0, 1].
    """

    mu: Floats  # (samples,)
    user_bias: Floats  # (n_users, samples)
    item_bias: Floats  # (n_items, samples)
    user_factors: Floats  # (n_users, samples, dim)
    item_factors: Floats  # (n_items, samples, dim)
    prior_mean: Floats  # (samples, dim + 1)
    prior_precision: Floats  # (terms, samples, dim + 1, dim + 1)
    prior_exponent: Floats  # (terms,)
    item_implicit: Floats | None = None  # (n_items, samples, dim + 1): what having rated an item says of [p, b]

    @property
    def samples(self) -> int:
        return len(self.mu)

    def predict(self, user: Rows, item: Rows) -> Floats:
        """The linear part in stars, `(rows, samples)`, for dense rows; -1 is a row never seen."""
        known_user, known_item = (user >= 0)[:, None], (item >= 0)[:, None]
        biases = np.where(known_user, self.user_bias[user], 0) + np.where(known_item, self.item_bias[item], 0)
        dot = np.einsum("nsd,nsd->ns", self.user_factors[user], self.item_factors[item])
        return np.asarray(self.mu + biases + np.where(known_user & known_item, dot, 0), np.float32)

    def user(self, user: int) -> UserVector:
        """The vector of a fitted user's row; of any other row, the average user's."""
        if 0 <= user < len(self.user_bias):
            return UserVector(self.user_bias[user], self.user_factors[user])
        return self._average_user

    def predict_for(self, vector: UserVector, item: int) -> Floats:
        """The linear part in stars, `(samples,)`, for one item row; one outside the fitted is the average item."""
        if not 0 <= item < len(self.item_bias):
            return np.asarray(self.mu + vector.bias, np.float32)
        dot = np.einsum("sd,sd->s", vector.factors, self.item_factors[item])
        # Summed in the order of predict, so that one prediction equals that of a batch to the last bit.
        return np.asarray(self.mu + (vector.bias + self.item_bias[item]) + dot, np.float32)

    def scores(self, vector: UserVector) -> Floats:
        """The mean of the linear part over the samples for every fitted item, `(n_items,)`."""
        weights = vector.factors.reshape(-1) / np.float32(self.samples)
        scores: Floats = self._concatenated_items @ weights
        scores += self._item_level
        scores += vector.bias.mean()
        return scores

    def scores_of(self, user: Rows) -> Floats:
        """As `scores`, `(users, n_items)`, for many users' rows; any row outside the fitted is the average user."""
        known = (user >= 0) & (user < len(self.user_bias))
        row = np.where(known, user, 0)
        weights = self.user_factors[row].reshape(len(user), -1) * (known[:, None] / np.float32(self.samples))
        scores: Floats = np.asarray(weights @ self._concatenated_items.T, np.float32)
        scores += self._item_level
        scores += np.where(known, self.user_bias[row].mean(1), 0)[:, None]
        return scores

    def similar(self, item: int) -> Floats:
        """How alike an item's vector, all samples concatenated, is to every other's: `(n_items,)` in [-1, 1].

        The cosine, where a vector shorter than the median counts as that long: few ratings leave a short vector
        whose direction is chance.
        """
        cosines: Floats = self._item_directions @ self._item_directions[item]
        return cosines.clip(-1, 1)  # rounding may leave the range

    def fold_in(self, item: Rows, rating: Floats) -> FoldIn:
        """A user made of ratings, by one ridge solve a sample.

        Args:
            item: Fitted item rows, `(n,)`; one rated twice counts as two ratings, and once in `m`.
            rating: Stars, `(n,)`.
        """
        n = len(item)
        design = self._design[:, item]  # (samples, n, dim + 1)
        surprise = rating - self._prior_scores[:, item]  # (samples, n)
        # The product in float32, which is twice as fast and costs millionths of a star; the solve in float64.
        system = self.prior_systems(n)
        system += design.transpose(0, 2, 1) @ design
        implicit, shares = None, np.zeros(0, np.float32)
        if self._implicit is not None and n:
            implicit, shares = self._implicit[:, item], _shares(item)
        return FoldIn(self, item, rating, design, surprise, system, implicit, shares)

    def prior_systems(self, n: int | Rows) -> NDArray[np.float64]:
        """What the prior says to users with n ratings each: the sum of its terms, `(*n, samples, dim + 1, dim + 1)`."""
        exponents, terms = self._prior_terms
        powers = np.asarray(n)[..., None] ** exponents
        return (powers @ terms).reshape(*powers.shape[:-1], *self.prior_precision.shape[1:])

    @cached_property
    def _prior_terms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Exponents `(t,)`, and flat precisions of as many terms, `(t, samples * (dim + 1)^2)`.

        Without a penalty, fewer ratings than coordinates leave the system singular: a little added to every
        coordinate then chooses the shortest solution, as far as it outweighs the rounding of float32.
        """
        ridge = RIDGE * np.eye(self.prior_mean.shape[1])
        terms = {0.0: ridge, 1.0: ridge * float(np.square(self._design).mean())}
        for exponent, precision in zip(self.prior_exponent.tolist(), self.prior_precision, strict=True):
            terms[exponent] = terms.get(exponent, 0) + precision.astype(np.float64)
        shape = self.prior_precision.shape[1:]
        return np.array([*terms]), np.stack([np.broadcast_to(term, shape).ravel() for term in terms.values()])

    @cached_property
    def _implicit(self) -> Floats | None:
        """`item_implicit` as `(samples, n_items, dim + 1)`."""
        return None if self.item_implicit is None else np.ascontiguousarray(self.item_implicit.transpose(1, 0, 2))

    @cached_property
    def _design(self) -> Floats:
        """What multiplies a user's `[p, b]` in the prediction of each item, `(samples, n_items, dim + 1)`."""
        items, samples, dim = self.item_factors.shape
        design = np.ones((samples, items, dim + 1), np.float32)
        design[:, :, :-1] = self.item_factors.transpose(1, 0, 2)
        return design

    @cached_property
    def _prior_scores(self) -> Floats:
        """The linear part for someone of whom only the prior mean is known, `(samples, n_items)`."""
        of_prior: Floats = np.einsum("sid,sd->si", self._design, self.prior_mean)
        return of_prior + self.mu[:, None] + self.item_bias.T

    @cached_property
    def _average_user(self) -> UserVector:
        samples, dim = self.item_factors.shape[1:]
        return UserVector(np.zeros(samples, np.float32), np.zeros((samples, dim), np.float32))

    @cached_property
    def _concatenated_items(self) -> Floats:
        return np.ascontiguousarray(self.item_factors.reshape(len(self.item_factors), -1))

    @cached_property
    def _item_level(self) -> Floats:
        return np.asarray(self.item_bias.mean(1) + self.mu.mean(), np.float32)

    @cached_property
    def _item_directions(self) -> Floats:
        norms = np.linalg.norm(self._concatenated_items, axis=1, keepdims=True)
        norms = np.maximum(norms, np.median(norms))
        return np.asarray(self._concatenated_items / np.maximum(norms, 1e-12), np.float32)


@dataclass(frozen=True, eq=False)
class FoldIn:
    """A user made of ratings, and the linear algebra that says what each rating contributed to a score.

    Without ratings it is the average user.
    """

    model: Factors
    items: Rows  # (n,) fitted item rows
    rating: Floats  # (n,) stars
    design: Floats  # (samples, n, dim + 1)
    surprise: Floats  # (samples, n): stars above what the prior mean predicts
    system: NDArray[np.float64]  # (samples, dim + 1, dim + 1)
    implicit: Floats | None  # (samples, n, dim + 1)
    shares: Floats  # (n,) of each item in the implicit part of the mean; empty where there is none

    @cached_property
    def vector(self) -> UserVector:
        if not len(self.items):
            return self.model.user(-1)
        mean, surprise = self.model.prior_mean.astype(np.float64), self.surprise
        if self.implicit is not None:
            shift = self.shares @ self.implicit  # (samples, dim + 1)
            mean, surprise = mean + shift, surprise - np.einsum("snd,sd->sn", self.design, shift)
        pull = self.design.transpose(0, 2, 1) @ surprise[:, :, None]
        solution = (mean + np.linalg.solve(self.system, pull)[:, :, 0]).astype(np.float32)
        return UserVector(solution[:, -1], solution[:, :-1])

    def contributions(self, targets: Rows) -> tuple[Floats, Floats]:
        """How the scores of some items come about: `score = base + sum of contributions`, in stars.

        Since the ridge solution is linear in what was rated, the parts are exact.

        Args:
            targets: Fitted item rows, `(t,)`.

        Returns:
            `base (t,)`, what the model says of each item to someone of whom it knows only the prior mean, and
            `contributions (t, n)` of each rating.
        """
        model = self.model
        if not len(self.items):
            return model.scores(model.user(-1))[targets], np.zeros((len(targets), 0), np.float32)
        wanted = model._design[:, targets]  # (samples, t, dim + 1)
        # Transposed all along, so that the result's rows lie in one piece.
        solved = np.linalg.solve(self.system, wanted.transpose(0, 2, 1)).transpose(0, 2, 1)
        weight = solved.astype(np.float32) @ self.design.transpose(0, 2, 1)  # (samples, t, n)
        parts = weight * self.surprise[:, None, :]
        if self.implicit is not None:
            parts += ((wanted - weight @ self.design) @ self.implicit.transpose(0, 2, 1)) * self.shares
        base = model._prior_scores[:, targets]  # (samples, t)
        if len(parts) == 1:
            return base[0], parts[0]
        return base.mean(0), parts.mean(0)


def _shares(item: Rows) -> Floats:
    """`n^-1/2` for each of n items, divided among the ratings of one that was rated repeatedly, `(n,)`."""
    if len(set(item.tolist())) == len(item):
        return np.full(len(item), len(item) ** -0.5, np.float32)
    _, position, count = np.unique(item, return_inverse=True, return_counts=True)
    return np.asarray(1 / (count[position] * np.sqrt(len(count))), np.float32)


def centred_factors(
    mu: float,
    user_bias: NDArray[np.float64],
    item_bias: NDArray[np.float64],
    user_factors: NDArray[np.float64],
    item_factors: NDArray[np.float64],
    prior_mean: NDArray[np.float64],
    prior_precision: NDArray[np.float64],
    prior_exponent: Sequence[float],
    item_implicit: NDArray[np.float64] | None = None,
) -> Factors:
    """One sample of factors, moved so that the mean row of each side is the zero vector with bias 0.

    With means `p0, q0`: `p.q = (p - p0).(q - q0) + p.q0 + p0.q - p0.q0`, so that each side's bias takes the
    product with the other side's mean. Predictions stay as they are.

    Args:
        mu: Global level in stars.
        user_bias: `(n_users,)`.
        item_bias: `(n_items,)`.
        user_factors: `(n_users, dim)`.
        item_factors: `(n_items, dim)`.
        prior_mean: Of a user's `[p, b]` before centring, `(dim + 1,)`.
        prior_precision: The diagonal of each term, before centring, `(terms, dim + 1)`.
        prior_exponent: How each term grows with a user's number of ratings.
        item_implicit: What having rated an item adds to `p`, times the root of the number of ratings,
            `(n_items, dim)`.
    """
    p0, q0 = user_factors.mean(0), item_factors.mean(0)
    user_bias, item_bias = user_bias + user_factors @ q0, item_bias + item_factors @ p0
    mu = mu - float(p0 @ q0) + float(user_bias.mean() + item_bias.mean())
    # The user's new coordinates are y = T x - t; the prior follows them.
    to_new = np.eye(len(prior_mean))
    to_new[-1, :-1] = q0
    to_old = np.eye(len(prior_mean))
    to_old[-1, :-1] = -q0
    origin = np.append(p0, user_bias.mean())
    precision = np.stack([to_old.T * diagonal @ to_old for diagonal in prior_precision])
    implicit = None if item_implicit is None else (item_implicit @ to_new[:, :-1].T).astype(np.float32)[:, None]
    return Factors(
        mu=np.array([mu], np.float32),
        user_bias=(user_bias - user_bias.mean()).astype(np.float32)[:, None],
        item_bias=(item_bias - item_bias.mean()).astype(np.float32)[:, None],
        user_factors=(user_factors - p0).astype(np.float32)[:, None],
        item_factors=(item_factors - q0).astype(np.float32)[:, None],
        prior_mean=(to_new @ prior_mean - origin).astype(np.float32)[None],
        prior_precision=precision.astype(np.float32)[:, None],
        prior_exponent=np.array(prior_exponent, np.float32),
        item_implicit=implicit,
    )
