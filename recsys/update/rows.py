"""Rows solved again given the other side: one ridge regression for each user, in one sample.

Items are solved by the same functions, as the users of `Factors.mirrored()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import UserRatings
from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import NO_ATTRIBUTES
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray
from recsys.update.threads import in_threads

SYSTEMS, RATINGS = 256, 8192  # solved together: at most so many users and ratings, or one user
LATENT_ITERATIONS = 4  # for the scores behind stars, from those that the row before gives: each leaves a third
LATE = 12  # ratings that a user's drift looks at, times those that lower a weight by a factor e


class Rated(NamedTuple):
    """The ratings of some users, in compressed rows, each user's in order of time."""

    user: IndexArray  # (users,) their rows
    indptr: IndexArray  # (users + 1,)
    item: IndexArray  # (ratings,) item rows
    rating: Float32Array  # (ratings,) stars


def by_user(ratings: UserRatings, users: IndexArray) -> Rated:
    """The ratings of these users' rows."""
    entries = entries_of(ratings, users)
    indptr = np.append(0, np.cumsum(np.diff(ratings.indptr)[users]))
    return Rated(users, indptr, ratings.item[entries], ratings.rating[entries])


def entries_of(ratings: UserRatings, users: IndexArray) -> IndexArray:
    """Where these users' ratings are, one user's after the other's."""
    start, count = ratings.indptr[users], np.diff(ratings.indptr)[users]
    before = np.cumsum(count) - count
    return np.asarray(np.repeat(start - before, count) + np.arange(count.sum()))


def by_item(ratings: UserRatings, items: IndexArray, n_items: int) -> Rated:
    """The ratings of these items' rows, with users in the place of items."""
    chosen = np.zeros(n_items, bool)
    chosen[items] = True
    entries = np.flatnonzero(chosen[ratings.item])
    item = ratings.item[entries]
    small = item.astype(np.uint16) if n_items <= 1 << 16 else item  # which NumPy sorts by counting
    entries = entries[np.argsort(small, kind="stable")]
    indptr = np.append(0, np.cumsum(np.bincount(item, minlength=n_items)[items]))
    return Rated(items, indptr, ratings.user_index()[entries], ratings.rating[entries])


def prior_means(factors: Factors, rated: Rated, attributes: Sequence[IndexArray] | None) -> Float32Array:
    """The prior mean of each user, given their attributes and what they rated, `(users, dim + 1)`.

    Args:
        factors: Of one sample.
        rated: Their ratings.
        attributes: Positions among the attributes, of each; None: none of any.
    """
    means = np.repeat(factors.prior.mean_given(NO_ATTRIBUTES), len(rated.user), 0)
    if attributes is not None:
        for k, known in enumerate(attributes):
            means[k] = factors.prior.mean_given(known)[0]
    if (implicit := factors.prior.implicit) is not None:
        for k, (start, stop) in enumerate(pairwise(rated.indptr.tolist())):
            if stop > start:
                weight = np.full(stop - start, (stop - start) ** -0.5, np.float32)
                means[k] += weight @ implicit[0].take(rated.item[start:stop], 0)
    return means


def solved_rows(
    factors: Factors, rated: Rated, prior_mean: Float32Array, generator: np.random.Generator | None = None
) -> Float32Array:
    """The `[p, b]` of users given the items, `(users, dim + 1)`: what `fold_in` gives of each, but for the drift.

    A user's own noise counts, where there is one. Behind an ordinal link a star stands for the score that is expected
    behind it.

    Args:
        factors: Of one sample. The users' own rows are where the search for such scores begins.
        rated: The users' ratings.
        prior_mean: Of each user, `(users, dim + 1)`.
        generator: To draw each row from its conditional distribution, as a sampler does; None: its mean.

    Raises:
        ArithmeticError: A row is not finite.
    """
    side = _Side(factors)
    rows = np.empty_like(prior_mean)

    def solve(users: slice) -> None:
        rows[users] = _solved(side, _part(rated, users), prior_mean[users], generator)

    chunks = _chunks(rated.indptr)
    if generator is None:
        in_threads(solve, chunks)
    else:  # whose numbers come in order
        for users in chunks:
            solve(users)
    if not np.isfinite(rows).all():
        raise ArithmeticError("the model has no finite answer to these ratings")
    return rows


def late_residuals(factors: Factors, rated: Rated) -> tuple[Float64Array, Float64Array]:
    """Of each user, the sum of the residuals of the latest ratings by the weights of drift, and that of the weights.

    Args:
        factors: Of one sample, with drift; residuals are from the users' rows.
        rated: The users' ratings.
    """
    assert factors.drift_rule is not None
    n = np.diff(rated.indptr)
    taken = np.minimum(n, int(np.ceil(LATE * factors.drift_rule.ratings)))
    indptr = np.append(0, np.cumsum(taken))
    later = np.repeat(indptr[1:], taken) - 1 - np.arange(indptr[-1])
    entries = np.repeat(rated.indptr[1:], taken) - 1 - later
    late = Rated(rated.user, indptr, rated.item[entries], rated.rating[entries])
    weight = np.exp(-later / factors.drift_rule.ratings)
    residual = np.empty(len(entries))
    side = _Side(factors)
    for users in _chunks(indptr):
        part, place = _part(late, users), slice(indptr[users.start], indptr[users.stop])
        fit = side.fit(part, side.rows_of(part.user))
        stars = part.rating if factors.ordinal is None else side.latent(part, fit)
        residual[place] = stars - fit
    owner = np.repeat(np.arange(len(n)), taken)
    sums = [np.bincount(owner, values, len(n)).astype(np.float64) for values in (weight * residual, weight)]
    return sums[0], sums[1]


class _Side:
    """What the systems of all users have in common."""

    def __init__(self, factors: Factors) -> None:
        self.factors = factors
        self.level = factors.mu[0] + factors.item_bias[:, 0]  # of the average user's prediction of each item
        self.root = None if factors.item_precision is None else np.sqrt(factors.item_precision[:, 0])
        design = factors.design[0]
        self.weighted = design if self.root is None else design * self.root[:, None]

    def rows_of(self, user: IndexArray) -> Float32Array:
        """The users' rows, `(users, dim + 1)`."""
        return np.column_stack([self.factors.user_factors[user, 0], self.factors.user_bias[user]])

    def fit(self, rated: Rated, rows: Float64Array | Float32Array) -> Float64Array:
        """The linear part of each rating by these rows of its users, `(ratings,)`."""
        owner = np.repeat(np.arange(len(rated.user)), np.diff(rated.indptr))
        product = np.einsum("ne,ne->n", self.factors.design[0, rated.item], rows[owner])
        return np.asarray(self.level[rated.item] + product, np.float64)

    def latent(self, rated: Rated, fit: Float64Array) -> Float64Array:
        """The expected score behind each star, `(ratings,)`."""
        factors = self.factors
        assert factors.ordinal is not None
        assert factors.precision is not None
        precision = np.full(len(fit), float(factors.precision[0]))
        if factors.item_precision is not None:
            precision *= factors.item_precision[rated.item, 0]
        if factors.user_precision is not None:
            precision *= np.repeat(factors.user_precision[rated.user, 0], np.diff(rated.indptr))
        return np.asarray(factors.ordinal.latent(rated.rating, fit[None], precision[None]).mean[0])


def _solved(side: _Side, rated: Rated, prior_mean: Float32Array, generator: np.random.Generator | None) -> Float64Array:
    factors, bounds = side.factors, [*pairwise(rated.indptr.tolist())]
    own = np.ones(len(rated.user)) if factors.user_precision is None else factors.user_precision[rated.user, 0]
    weighted = side.weighted.take(rated.item, 0)
    system = factors.prior.precision_given(np.diff(rated.indptr))[:, 0]
    prior = (system @ prior_mean[:, :, None])[:, :, 0]
    for k, (start, stop) in enumerate(bounds):
        z = weighted[start:stop]
        system[k] += own[k] * (z.T @ z)

    def summed(left: NDArray[np.floating]) -> Float64Array:
        return np.array([own[k] * (left[start:stop] @ weighted[start:stop]) for k, (start, stop) in enumerate(bounds)])

    def residual(target: NDArray[np.floating]) -> NDArray[np.floating]:
        left: NDArray[np.floating] = target - side.level[rated.item]
        return left if side.root is None else left * side.root[rated.item]

    prior_noise, noise = 0.0, np.zeros(len(rated.item))
    if generator is not None and factors.precision is not None:
        # The right side gets N(0, A), so that the solution of A x = b gets N(0, A^-1). A = P + Z'Z is the covariance of
        # P^1/2 u + Z'v with standard normal u and v (Papandreou & Yuille 2010).
        count, scale = np.diff(rated.indptr), float(factors.precision[0]) ** -0.5
        prior_noise = scale * factors.prior.drawn(count, generator)[:, 0]
        noise = scale * generator.standard_normal(len(rated.item)) / np.repeat(own**0.5, count)
    if factors.ordinal is None:
        right = prior + prior_noise + summed(residual(rated.rating) + noise)
        return np.asarray(np.linalg.solve(system, right[:, :, None])[:, :, 0])
    inverse, rows = np.linalg.inv(system), side.rows_of(rated.user).astype(np.float64)
    for _ in range(LATENT_ITERATIONS):
        right = prior + summed(residual(side.latent(rated, side.fit(rated, rows))))
        rows = (inverse @ right[:, :, None])[:, :, 0]
    return np.asarray(rows + (inverse @ (prior_noise + summed(noise))[:, :, None])[:, :, 0])


def _chunks(indptr: IndexArray) -> Iterator[slice]:
    """Slices of the users, each with few ratings or of one user."""
    start = 0
    while start < len(indptr) - 1:
        fitting = int(np.searchsorted(indptr, indptr[start] + RATINGS, side="right")) - 1
        stop = min(max(fitting, start + 1), start + SYSTEMS, len(indptr) - 1)
        yield slice(start, stop)
        start = stop


def _part(rated: Rated, users: slice) -> Rated:
    indptr = rated.indptr[users.start : users.stop + 1]
    entries = slice(indptr[0], indptr[-1])
    return Rated(rated.user[users], indptr - indptr[0], rated.item[entries], rated.rating[entries])
