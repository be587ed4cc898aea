"""Someone made of ratings: a ridge solve a sample, and what each rating contributed to a score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from recsys.bundle.factors import Factors

Floats = NDArray[np.float32]
Rows = NDArray[np.int64] | NDArray[np.int32]

LATENT_STEPS = 10  # for the scores behind stars: each leaves about a third of the error


class UserVector(NamedTuple):
    """What a model knows of one user; all zeros is the average user."""

    bias: Floats  # (samples,)
    factors: Floats  # (samples, dim)
    precision: Floats | None = None  # (samples,) of the user's noise, relative to everybody's; None: 1
    newcomer: bool = False  # whether they have rated nothing
    folded: FoldIn | None = None  # what they are made of, which knows how sure it is


@dataclass(frozen=True, eq=False)
class FoldIn:
    """A user made of ratings, and the linear algebra that says what each rating contributed to a score.

    Ratings are in the order in which they were given, which a model that follows drift looks at: the latest last.
    Without ratings it is what their attributes say of them, and without these the average user.
    """

    model: Factors
    items: Rows  # (n,) item rows
    rating: Floats  # (n,) stars
    attributes: Rows  # (attributes of this user,)
    mean: Floats  # (samples, dim + 1): the prior mean, which the attributes shift
    design: Floats  # (samples, n, dim + 1)
    weighted: Floats  # (samples, n, dim + 1): the design times each rating's relative precision; where all is 1, itself
    surprise: Floats  # (samples, n): stars, or the scores behind them, above what the prior mean predicts
    system: NDArray[np.float64]  # (samples, dim + 1, dim + 1)
    implicit: Floats | None  # (samples, n, dim + 1)
    shares: Floats  # (n,) of each item in the implicit part of the mean; empty where there is none

    @cached_property
    def vector(self) -> UserVector:
        if not len(self.items):
            return self.model.described(self.attributes)
        mean, surprise = self.mean.astype(np.float64), self.surprise
        if self.implicit is not None:
            shift = self.shares @ self.implicit  # (samples, dim + 1)
            mean, surprise = mean + shift, surprise - np.einsum("snd,sd->sn", self.design, shift)
        pull = self.weighted.transpose(0, 2, 1) @ surprise[:, :, None]
        above = np.linalg.solve(self.system, pull)[:, :, 0]
        solution = mean + above
        if self.model.drift is not None:
            left = surprise - np.einsum("snd,sd->sn", self.design, above)
            solution[:, -1] += left @ drift_weights(len(self.items), *self.model.drift.tolist())
        single = solution.astype(np.float32)
        return UserVector(single[:, -1], single[:, :-1], folded=self)

    @cached_property
    def covariance(self) -> Floats:
        """Of `[p, b]` given the ratings, in units of the noise variance, `(samples, dim + 1, dim + 1)`."""
        return np.asarray(np.linalg.inv(self.system), np.float32)

    def contributions(self, targets: Rows) -> tuple[Floats, Floats]:
        """How the scores of some items come about: `score = base + sum of contributions`, in stars.

        Since the ridge solution is linear in what was rated, the parts are exact. Behind an ordinal link they are of
        the linear part, and what was rated is the score that the star stands for.

        Args:
            targets: Item rows, `(t,)`.

        Returns:
            `base (t,)`, what the model says of each item to someone of whom it knows only the prior mean, and
            `contributions (t, n)` of each rating.
        """
        model = self.model
        if not len(self.items):
            return model.scores(self.vector)[targets], np.zeros((len(targets), 0), np.float32)
        wanted = model._design[:, targets]  # (samples, t, dim + 1)
        # Transposed all along, so that the result's rows lie in one piece.
        solved = np.linalg.solve(self.system, wanted.transpose(0, 2, 1)).transpose(0, 2, 1)
        weight = solved.astype(np.float32) @ self.weighted.transpose(0, 2, 1)  # (samples, t, n)
        left = wanted - weight @ self.design  # of each target, what its ratings do not tell of
        if model.drift is not None:  # of what is left of each rating, a share goes to every target
            last = np.broadcast_to(drift_weights(len(self.items), *model.drift.tolist()), self.surprise.shape)
            pulled = (last[:, None, :] @ self.design).transpose(0, 2, 1)  # (samples, dim + 1, 1)
            told = (np.linalg.solve(self.system, pulled).transpose(0, 2, 1) @ self.weighted.transpose(0, 2, 1))[:, 0]
            weight = weight + (last - told).astype(np.float32)[:, None, :]
            left = wanted - weight @ self.design
        parts = weight * self.surprise[:, None, :]
        if self.implicit is not None:
            parts += (left @ self.implicit.transpose(0, 2, 1)) * self.shares
        base = model._prior_scores[:, targets]  # (samples, t)
        if len(self.attributes):
            base = base + np.einsum("std,sd->st", wanted, self.mean - model.prior_mean)
        if len(parts) == 1:
            return base[0], parts[0]
        return base.mean(0), parts.mean(0)


def settled(folded: FoldIn, prior: NDArray[np.float64]) -> FoldIn:
    """The fold-in of a model whose ratings differ in noise or are levels of a scale.

    Ratings of an item weigh as its relative precision. Behind an ordinal link a star stands for the mean of its score
    given the fit so far (Albert & Chib 1993); the steps end at the mode.

    Args:
        folded: As without all that: each rating weighs 1 and stands for itself.
        prior: What the system is without ratings, `(samples, dim + 1, dim + 1)`.
    """
    model, n = folded.model, len(folded.items)
    if not n:
        return folded
    weight = np.ones(folded.surprise.shape, np.float32)
    if model.item_precision is not None:
        weight = np.ascontiguousarray(model.item_precision[folded.items].T)
    weighted = folded.design * weight[:, :, None]
    system = prior + (folded.design.transpose(0, 2, 1) @ weighted).astype(np.float64)
    folded = replace(folded, weighted=weighted, system=system)
    if model.ordinal is None:
        return folded
    assert model.precision is not None
    precision, level = model.precision[:, None] * weight, folded.rating - folded.surprise  # (samples, n)
    shift = 0.0 if folded.implicit is None else folded.shares @ folded.implicit
    above = level + np.einsum("snd,sd->sn", folded.design, np.broadcast_to(shift, folded.mean.shape))
    latent, inverse = np.broadcast_to(folded.rating, level.shape).astype(np.float64), np.linalg.inv(system)
    for _ in range(LATENT_STEPS):
        pull = weighted.transpose(0, 2, 1) @ (latent - above)[:, :, None]
        fit = above + (folded.design @ (inverse @ pull))[:, :, 0]
        latent, _ = model.ordinal.latent(folded.rating, fit, precision)
    return replace(folded, surprise=(latent - level).astype(np.float32))


def drift_weights(n: int, ratings: float, shrinkage: float) -> NDArray[np.float64]:
    """Of each of n errors, the latest last, in what their user has drifted by, `(n,)`."""
    weight = np.exp(-np.arange(n - 1, -1, -1) / ratings)
    return np.asarray(weight / (weight.sum() + shrinkage))


def shares_of(item: Rows) -> Floats:
    """`n^-1/2` for each of n items, divided among the ratings of one that was rated repeatedly, `(n,)`."""
    if len(set(item.tolist())) == len(item):
        return np.full(len(item), len(item) ** -0.5, np.float32)
    _, position, count = np.unique(item, return_inverse=True, return_counts=True)
    return np.asarray(1 / (count[position] * np.sqrt(len(count))), np.float32)
