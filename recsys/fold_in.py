"""Someone made of ratings: a ridge solve a sample, and what each rating contributed to a score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from recsys.factors import Factors

Floats = NDArray[np.float32]
Rows = NDArray[np.int64] | NDArray[np.int32]

PRECISION_STEPS = 3  # of expectation and maximisation, for a newcomer's own noise
LATENT_STEPS = 10  # for the scores behind stars: each leaves about a third of the error


class UserVector(NamedTuple):
    """What a model knows of one user; all zeros is the average user."""

    bias: Floats  # (samples,)
    factors: Floats  # (samples, dim)
    precision: Floats | None = None  # (samples,) of the user's noise, relative to everybody's; None: 1
    newcomer: bool = False  # whether they have rated nothing


@dataclass(frozen=True, eq=False)
class FoldIn:
    """A user made of ratings, and the linear algebra that says what each rating contributed to a score.

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
    precision: Floats | None = None  # (samples,) of this user's noise, relative to everybody's; None: 1

    @cached_property
    def vector(self) -> UserVector:
        if not len(self.items):
            return self.model.described(self.attributes)
        mean, surprise = self.mean.astype(np.float64), self.surprise
        if self.implicit is not None:
            shift = self.shares @ self.implicit  # (samples, dim + 1)
            mean, surprise = mean + shift, surprise - np.einsum("snd,sd->sn", self.design, shift)
        pull = self.weighted.transpose(0, 2, 1) @ surprise[:, :, None]
        solution = (mean + np.linalg.solve(self.system, pull)[:, :, 0]).astype(np.float32)
        return UserVector(solution[:, -1], solution[:, :-1], self.precision)

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
        parts = weight * self.surprise[:, None, :]
        if self.implicit is not None:
            parts += ((wanted - weight @ self.design) @ self.implicit.transpose(0, 2, 1)) * self.shares
        base = model._prior_scores[:, targets]  # (samples, t)
        if len(self.attributes):
            base = base + np.einsum("std,sd->st", wanted, self.mean - model.prior_mean)
        if len(parts) == 1:
            return base[0], parts[0]
        return base.mean(0), parts.mean(0)


def settled(folded: FoldIn, prior: NDArray[np.float64]) -> FoldIn:
    """The fold-in of a model whose ratings differ in noise or are levels of a scale.

    Ratings of an item weigh as its relative precision. The user's own, g, has the prior Gamma(shape, rate = shape); a
    few steps of expectation and maximisation find it from how far their n ratings lie from the fit,

        g = (shape + n / 2) / (shape + (sum over ratings of w precision E[(r - r^)^2]) / 2)

    where the expectation is over the user's vector, given g. Behind an ordinal link a star stands for the mean of its
    score given the fit so far (Albert & Chib 1993); the steps end at the mode of both.

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
    expected = folded.rating - folded.surprise  # (samples, n)
    shift = 0.0 if folded.implicit is None else folded.shares @ folded.implicit
    above = expected + np.einsum("snd,sd->sn", folded.design, np.broadcast_to(shift, folded.mean.shape))
    weighted = folded.design * weight[:, :, None]
    gram = (folded.design.transpose(0, 2, 1) @ weighted).astype(np.float64)
    own = np.ones(len(prior))  # g
    latent, variance = np.broadcast_to(folded.rating, expected.shape).astype(np.float64), np.zeros(expected.shape)
    shape, ordinal = model.precision_shape, model.ordinal
    inverse = np.linalg.inv(prior + gram)
    for _ in range(LATENT_STEPS if ordinal else PRECISION_STEPS if shape is not None else 0):
        pull = weighted.transpose(0, 2, 1) @ (latent - above)[:, :, None] * own[:, None, None]
        fit = above + (folded.design @ (inverse @ pull))[:, :, 0]
        if shape is not None:
            assert model.precision is not None
            misfit = (weight * ((latent - fit) ** 2 + variance)).sum(1) * model.precision
            misfit += np.einsum("sde,sed->s", inverse, gram)  # the vector's own uncertainty
            own = (shape + n / 2) / (shape + misfit / 2)
            inverse = np.linalg.inv(prior + own[:, None, None] * gram)
        if ordinal is not None:
            assert model.precision is not None
            latent, variance = ordinal.latent(folded.rating, fit, (model.precision * own)[:, None] * weight)
    return replace(
        folded,
        weighted=(weighted * own[:, None, None]).astype(np.float32),
        surprise=(latent - expected).astype(np.float32),
        system=prior + own[:, None, None] * gram,
        precision=own.astype(np.float32) if shape is not None else None,
    )


def shares_of(item: Rows) -> Floats:
    """`n^-1/2` for each of n items, divided among the ratings of one that was rated repeatedly, `(n,)`."""
    if len(set(item.tolist())) == len(item):
        return np.full(len(item), len(item) ** -0.5, np.float32)
    _, position, count = np.unique(item, return_inverse=True, return_counts=True)
    return np.asarray(1 / (count[position] * np.sqrt(len(count))), np.float32)
