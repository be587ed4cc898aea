"""Fold-in of new users: one ridge solve per posterior sample, and per-rating contributions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.factors import Factors, Posterior, UserVector
from recsys.bundle.prior import implicit_weights
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray

__all__ = ["NO_ATTRIBUTES", "FoldIn", "RidgeFoldIn", "fold_in", "residuals"]

LATENT_ITERATIONS = 10  # for the latent scores of an ordinal model: each leaves about a third of the error
CONTRIBUTIONS = 1 << 24  # of ratings to scores, in all samples, at a time: 64 MB, three times with intermediates

NO_ATTRIBUTES = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class FoldIn(ABC):
    """A user made of ratings, and what each of them contributes to a score.

    Ratings are in order of time, the latest last, which matters to a model with drift or with a history.
    """

    model: Factors
    items: IndexArray  # (n,) item rows
    rating: Float32Array  # (n,) stars
    time: NDArray[Any] | None = field(default=None, kw_only=True)  # (n,) unix seconds; None: not known

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ratings={len(self.items)})"

    @property
    @abstractmethod
    def vector(self) -> UserVector:
        """What the user is to the model; without ratings, the average user."""

    @abstractmethod
    def contributions(self, targets: IndexArray) -> tuple[Float32Array, Float32Array]:
        """Decompose the scores of some items: `score = base + sum of contributions`.

        Args:
            targets: Item rows, `(t,)`.

        Returns:
            `base (t,)`, the score of each item without ratings, and the `contributions (t, n)` of each rating.
        """


@dataclass(frozen=True, eq=False, repr=False)
class RidgeFoldIn(FoldIn):
    """A user folded in by ridge regression, and the linear algebra behind the contributions.

    Without ratings it is the cold-start vector of the attributes, and without these the average user.
    """

    attributes: IndexArray  # (attributes of this user,)
    mean: Float32Array  # (samples, dim + 1) prior mean given the attributes
    design: Float32Array  # (samples, n, dim + 1)
    weighted: Float32Array  # (samples, n, dim + 1): the design times each rating's relative precision; itself if all 1
    residual: Float32Array  # (samples, n): stars, or latent scores, minus the prediction at the prior mean
    system: Float64Array  # (samples, dim + 1, dim + 1)
    implicit: Float32Array | None  # (samples, n, dim + 1)
    shares: Float32Array  # (n,) weight of each item in the implicit part of the mean; empty if there is none

    @cached_property
    def vector(self) -> UserVector:
        """The user's bias and factors.

        Raises:
            ArithmeticError: The prior is so far from these ratings, or so weak, that they are no finite numbers.
        """
        if not len(self.items):
            return self.model.user_from_attributes(self.attributes)
        mean, residual = self.mean.astype(np.float64), self.residual
        if self.implicit is not None:
            shift = self.shares @ self.implicit  # (samples, dim + 1)
            mean, residual = mean + shift, residual - np.einsum("snd,sd->sn", self.design, shift)
        deviation = _solve(self.system, self.weighted.transpose(0, 2, 1) @ residual[:, :, None])
        solution = mean + deviation
        if self.model.drift_rule is not None:
            left = residual - np.einsum("snd,sd->sn", self.design, deviation)
            solution[:, -1] += left @ self.model.drift_rule.weights(len(self.items))
        single = _finite(solution.astype(np.float32))
        return UserVector(single[:, -1], single[:, :-1], posterior=Posterior(self.system))

    def contributions(self, targets: IndexArray) -> tuple[Float32Array, Float32Array]:
        """Decompose the scores of some items: `score = base + sum of contributions`, in stars.

        The parts are exact, since the ridge solution is linear in the ratings. Behind an ordinal link they are parts of
        the linear part, and a rating is represented by its expected latent score.

        Args:
            targets: Item rows, `(t,)`.

        Returns:
            `base (t,)`, the score of each item at the prior mean, and the `contributions (t, n)` of each rating.

        Raises:
            ArithmeticError: As `vector`.
            numpy.linalg.LinAlgError: As `fold_in`.
        """
        model = self.model
        if not len(self.items):
            return model.scores(self.vector)[targets], np.zeros((len(targets), 0), np.float32)
        most = max(1, CONTRIBUTIONS // (model.samples * len(self.items)))
        if len(targets) > most:
            pieces = [self.contributions(targets[start : start + most]) for start in range(0, len(targets), most)]
            return np.concatenate([base for base, _ in pieces]), np.concatenate([parts for _, parts in pieces])
        wanted = model.design[:, targets]  # (samples, t, dim + 1)
        # Transposed throughout, so that the result's rows are contiguous.
        solved = np.linalg.solve(self.system, wanted.transpose(0, 2, 1)).transpose(0, 2, 1)
        weight = solved.astype(np.float32) @ self.weighted.transpose(0, 2, 1)  # (samples, t, n)
        left = wanted - weight @ self.design  # of each target, the part that the ratings leave undetermined
        if model.drift_rule is not None:  # a share of each rating's remaining residual is added to every target
            drift = np.broadcast_to(model.drift_rule.weights(len(self.items)), self.residual.shape)
            rhs = (drift[:, None, :] @ self.design).transpose(0, 2, 1)  # (samples, dim + 1, 1)
            fitted = (np.linalg.solve(self.system, rhs).transpose(0, 2, 1) @ self.weighted.transpose(0, 2, 1))[:, 0]
            weight = weight + (drift - fitted).astype(np.float32)[:, None, :]
            left = wanted - weight @ self.design
        parts = weight * self.residual[:, None, :]
        if self.implicit is not None:
            parts += (left @ self.implicit.transpose(0, 2, 1)) * self.shares
        base = model.prior_scores[:, targets]  # (samples, t)
        if len(self.attributes):
            base = base + np.einsum("std,sd->st", wanted, self.mean - model.prior_mean)
        _finite(parts)
        if len(parts) == 1:
            return base[0], parts[0]
        return base.mean(0), parts.mean(0)


def fold_in(
    factors: Factors, item: IndexArray, rating: Float32Array, attributes: IndexArray | None = None
) -> RidgeFoldIn:
    """Fold in a user from their ratings: one ridge solve per sample, iterated for ordinal models.

    Args:
        factors: The model.
        item: Item rows, `(n,)`; an item rated twice counts as two ratings, and once in the implicit part of the mean.
        rating: Stars, `(n,)`.
        attributes: Positions among the attributes, `(a,)`.

    Raises:
        numpy.linalg.LinAlgError: The prior makes the system singular.
    """
    n, prior = len(item), factors.prior
    attributes = NO_ATTRIBUTES if attributes is None else attributes
    mean, design = prior.mean_given(attributes), factors.design.take(item, 1)  # design: (samples, n, dim + 1)
    residual = residuals(factors, item, rating, design, mean)
    implicit, shares = None, np.zeros(0, np.float32)
    if prior.implicit is not None and n:
        implicit, shares = prior.implicit.take(item, 1), implicit_weights(item)
    system, weighted = prior.precision_given(n), design
    if factors.item_precision is not None:
        weighted = design * np.ascontiguousarray(factors.item_precision[item].T)[:, :, None]
    # The product in float32, which is twice as fast and costs millionths of a star; the solve in float64.
    system += design.transpose(0, 2, 1) @ weighted
    folded = RidgeFoldIn(factors, item, rating, attributes, mean, design, weighted, residual, system, implicit, shares)
    return folded if factors.ordinal is None or not n else _with_latent_scores(folded)


def residuals(
    factors: Factors, item: IndexArray, rating: Float32Array, design: Float32Array, mean: Float32Array
) -> Float32Array:
    """Stars minus the prediction at the prior mean given the attributes, `(samples, n)`."""
    residual = rating - factors.prior_scores[:, item]
    if mean is not factors.prior_mean:
        residual = residual - np.einsum("snd,sd->sn", design, mean - factors.prior_mean)
    return np.asarray(residual, np.float32)


def _finite(numbers: Float32Array) -> Float32Array:
    if not np.isfinite(numbers).all():
        raise ArithmeticError("the model has no finite answer to these ratings")
    return numbers


def _solve(system: Float64Array, rhs: NDArray[np.floating]) -> Float64Array:
    """The deviation from the prior mean, `(..., dim + 1)`, for `rhs (..., dim + 1, 1)`."""
    return np.asarray(np.linalg.solve(system, rhs)[..., 0])


def _with_latent_scores(folded: RidgeFoldIn) -> RidgeFoldIn:
    """The fold-in of an ordinal model, whose ratings stand for latent scores.

    Each star is replaced by the expectation of its latent score given the fit so far (Albert & Chib 1993); the
    iteration converges to the mode.
    """
    model = folded.model
    assert model.ordinal is not None
    assert model.precision is not None
    weight = 1.0 if model.item_precision is None else model.item_precision[folded.items].T
    precision = np.broadcast_to(model.precision[:, None] * weight, folded.residual.shape)  # (samples, n)
    level = folded.rating - folded.residual
    shift = np.zeros_like(folded.mean) if folded.implicit is None else folded.shares @ folded.implicit
    offset = level + np.einsum("snd,sd->sn", folded.design, shift)
    latent, inverse = np.broadcast_to(folded.rating, level.shape).astype(np.float64), np.linalg.inv(folded.system)
    for _ in range(LATENT_ITERATIONS):
        rhs = folded.weighted.transpose(0, 2, 1) @ (latent - offset)[:, :, None]
        fit = offset + (folded.design @ (inverse @ rhs))[:, :, 0]
        latent, _ = model.ordinal.latent(folded.rating, fit, precision)
    return replace(folded, residual=(latent - level).astype(np.float32))
