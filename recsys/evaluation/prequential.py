"""Test ratings predicted one after the other, each from all that its user had rated before.

The model stays as it was fitted. What it knows of a user is the fold-in of their strictly earlier ratings, fitted and
test rows alike, as a service would have known them at that moment; ratings at the same time are not the past.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.bundle import TEST, Bundle
from recsys.bundle.typing import Float32Array as Floats
from recsys.bundle.typing import IndexArray as Rows
from recsys.evaluation.baselines import fit_biases, running_user_biases
from recsys.evaluation.holdout import TestSet, predict_test_set
from recsys.evaluation.metrics import rating_metrics

EVALUATIONS = ("standard", "prequential")
IN_TIME = ("user_time", "global_time", "leave_one_out")
AT_ONCE = 2**20  # numbers in the running sums of one piece: 8 MB, some six times as much with all that is made of them

log = logging.getLogger(__name__)

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


def prequential(bundle: Bundle, test: TestSet | None = None) -> dict[str, float | None]:
    """Figures of predicting each test rating from its user's earlier ones, beside those of a baseline.

    The baseline is the fitted item bias plus a running user bias, the shrunk mean of the user's surprises so far.

    Args:
        bundle: The model.
        test: Its test rows, where `predict_test_set` has found them already.

    Returns:
        In stars: `prequential/rmse`, `prequential/mae`, `baseline/running_biases` (RMSE), and of users without a fitted
        rating `prequential/rmse_unseen` and `baseline/running_biases_unseen`, None where there is none;
        `prequential/share_unseen` of the test rows is theirs.

    Raises:
        ValueError: The bundle says too little, or a figure would mean nothing: it ranks, cannot fold in, has no times,
            was split otherwise than in time or fitted on the test rows, or has none.
    """
    _check(bundle)
    test = test or predict_test_set(bundle)
    rows = np.flatnonzero(bundle.ratings.part == TEST)
    log.info("prequential: each of %s test ratings from its user's earlier ones", f"{len(rows):,}")
    seen = test.user < bundle.n_users
    found = rating_metrics(predict_ahead(bundle)[rows], test.rating, seen)
    baseline = rating_metrics(_running_biases(bundle, test.fitted)[rows], test.rating, seen)
    return {
        "prequential/rmse": found["rmse"],
        "prequential/rmse_unseen": found["rmse_cold"],
        "prequential/mae": found["mae"],
        "prequential/share_unseen": found["share_cold"],
        "baseline/running_biases": baseline["rmse"],
        "baseline/running_biases_unseen": baseline["rmse_cold"],
    }


def check_evaluation(evaluation: str, split: str | None = None) -> None:
    """Raise a ValueError where `evaluation` is none, or cannot be had of that split (None: not known yet)."""
    if evaluation not in EVALUATIONS:
        raise ValueError(f"evaluation must be one of {', '.join(EVALUATIONS)}, got {evaluation!r}")
    if evaluation == "prequential" and split not in (None, *IN_TIME):
        raise ValueError(
            f"evaluation=prequential needs a split in time ({', '.join(IN_TIME)}), got {split}, where a "
            "model was fitted on ratings that a test row's user gave later"
        )


def _check(bundle: Bundle) -> None:
    if bundle.is_ranking:
        raise ValueError("evaluation=prequential measures predicted stars, and this model ranks items")
    if not bundle.can_fold_in:
        raise ValueError(f"evaluation=prequential folds in, which a {bundle.manifest.get('model')} cannot")
    if "split" not in bundle.manifest or bundle.ratings.timestamp is None:
        missing = "the time of its ratings" if "split" in bundle.manifest else "how its ratings were split"
        raise ValueError(f"evaluation=prequential: this bundle does not say {missing}; train it again")
    check_evaluation("prequential", bundle.manifest["split"])


def _running_biases(bundle: Bundle, fitted: NDArray[np.bool_]) -> Doubles:
    """The baseline's stars for every rating, `(ratings,)`."""
    rated, user = bundle.ratings, bundle.ratings.user_index()
    item = rated.item.astype(np.int64)
    assert rated.timestamp is not None
    biases = fit_biases(user[fitted], item[fitted], rated.rating[fitted], bundle.n_users, bundle.n_items)
    level = biases.predict(np.full(len(user), -1), np.where(item < bundle.n_items, item, -1))
    return np.clip(level + running_user_biases(user, rated.timestamp, rated.rating - level), *bundle.scale)


def predict_ahead(bundle: Bundle) -> Floats:
    """Stars of every test row, by what its user had rated before: `(ratings,)`, and NaN for the other rows."""
    rated, ahead = bundle.ratings, _Ahead(bundle)
    predicted = np.full(len(rated.part), np.nan, np.float32)
    for user in np.unique(rated.user_index()[rated.part == TEST]).tolist():
        for rows, stars in ahead.predict(user):
            predicted[rows] = stars
    return predicted


@dataclass(frozen=True, eq=False)
class _Ahead:
    """The fold-in of a user's first n ratings for every n, from running sums over them."""

    bundle: Bundle  # whose ratings have times

    def predict(self, user: int) -> Iterator[tuple[Rows, Floats]]:
        """Test rows of a user among `bundle.ratings` and their predicted stars, piece by piece."""
        rated, time = self.bundle.ratings, self.bundle.ratings.timestamp
        assert time is not None
        entries = np.arange(rated.slice_of(user).start, rated.slice_of(user).stop)
        entries = entries[np.argsort(time[entries], kind="stable")]
        past = entries[rated.item[entries] < self.bundle.n_items]
        test = entries[rated.part[entries] == TEST]
        known = np.searchsorted(time[past], time[test])  # how many of `past` come strictly before
        # Without any, and behind an ordinal link, whose steps are not linear in the ratings, it is the fold-in itself.
        alone = len(test) if self.bundle.factors.ordinal is not None else int(np.searchsorted(known, 1))
        for n in np.unique(known[:alone]).tolist():
            folded = self.bundle.fold_in_rows(
                rated.item[past[:n]], rated.rating[past[:n]], attributes_of(self.bundle, user)
            )
            rows = test[:alone][known[:alone] == n]
            yield rows, self.bundle.predictions_for(folded.vector, rated.item[rows]).mean
        test, known = test[alone:], known[alone:]
        for piece, vectors in self._vectors(user, rated.item[past], rated.rating[past], known):
            yield test[piece], self._stars(vectors, rated.item[test[piece]])

    def _vectors(self, user: int, item: Rows, rating: Floats, known: Counts) -> Iterator[tuple[slice, Doubles]]:
        """Pieces of `known`, and a user's `[p, b]` after as many of their ratings, `(piece, samples, dim + 1)`.

        Args:
            user: Row of the user.
            item: Fitted item rows, in the order of time, `(n,)`.
            rating: Stars, `(n,)`.
            known: Numbers of ratings, ascending, in [1, n].
        """
        design = self._design[item]  # (n, samples, dim + 1)
        surprise = rating[:, None] - self._level[item]  # (n, samples)
        paired = np.concatenate([design, surprise[:, :, None]], 2)
        means, late = self._means(user, item), self._late(paired, known)
        if self.bundle.factors.item_precision is not None:
            paired = paired * self.bundle.factors.item_precision[item][:, :, None]
        total, summed = np.zeros((*design.shape[1:], paired.shape[2])), 0
        for piece in _pieces(known, max(1, AT_ONCE // total.size)):
            start, stop = known[piece][[0, -1]]
            total += design[summed:start].transpose(1, 2, 0) @ paired[summed:start].transpose(1, 0, 2)
            products = design[start:stop, :, :, None].astype(float) * paired[start:stop, :, None, :]
            running = np.cumsum(np.concatenate([total[None], products]), 0)  # (1 + stop - start, samples, e, e + 1)
            total, summed = running[-1], stop
            n, place = np.unique(known[piece], return_inverse=True)
            yield piece, self._solved(n, means[n], running[n - start], None if late is None else late[n])[place]

    def _late(self, paired: Floats, known: Counts) -> Floats | None:
        """Sums of `paired (n, samples, e + 1)` up to each number of ratings, the latest weighing most."""
        if self.bundle.factors.drift is None or not len(known):
            return None
        kept = np.exp(-1 / self.bundle.factors.drift[0])
        sums = np.zeros((known[-1] + 1, *paired.shape[1:]), np.float32)
        for n in range(known[-1]):
            sums[n + 1] = kept * sums[n] + paired[n]
        return sums

    def _solved(self, n: Counts, mean: Doubles, sums: Doubles, late: Floats | None) -> Doubles:
        """The ridge solutions of n ratings each, moved by their drift, `(len(n), samples, dim + 1)`."""
        prior = self.bundle.factors.prior_systems(n)
        pull = sums[..., -1:] + prior @ mean[..., None]
        prior += sums[..., :-1]
        solution: Doubles = _solve(torch.from_numpy(prior), torch.from_numpy(pull)).numpy()[..., 0]
        if late is not None and self.bundle.factors.drift is not None:
            ratings, shrinkage = self.bundle.factors.drift.tolist()
            weight = (1 - np.exp(-n / ratings)) / (1 - np.exp(-1 / ratings)) + shrinkage  # of n ratings, summed up
            left = late[..., -1] - np.einsum("nsd,nsd->ns", late[..., :-1], solution)
            solution[..., -1] += left / weight[:, None]
        return solution

    def _means(self, user: int, item: Rows) -> Doubles:
        """What the model expects of a user after 0, 1, ... of their ratings, `(n + 1, samples, dim + 1)`."""
        mean, implicit = prior_mean(self.bundle, user), self.bundle.factors.item_implicit
        if implicit is None:
            return np.broadcast_to(mean, (len(item) + 1, *mean.shape))
        new = np.zeros(len(item))  # an item rated twice counts once
        new[np.unique(item, return_index=True)[1]] = 1
        said: Doubles = np.cumsum(new[:, None, None] * implicit[item], 0) / np.sqrt(np.cumsum(new))[:, None, None]
        return np.asarray(mean + np.concatenate([np.zeros((1, *mean.shape)), said]), np.float64)

    def _stars(self, vectors: Doubles, item: Rows) -> Floats:
        """What the bundle predicts for these vectors and item rows, `(rows,)`, behind an identity link."""
        item = np.minimum(item, self.bundle.n_items)
        linear = self._level[item] + np.einsum("nsd,nsd->ns", vectors.astype(np.float32), self._design[item])
        return np.asarray(self.bundle.apply_link(linear).mean(1), np.float32)

    @cached_property
    def _design(self) -> Floats:
        """What multiplies `[p, b]`, of each fitted item and, last, of the average one, `(n_items + 1, samples, e)`."""
        n_items, samples, dim = self.bundle.factors.item_factors.shape
        design = np.zeros((n_items + 1, samples, dim + 1), np.float32)
        design[:-1, :, :-1], design[:, :, -1] = self.bundle.factors.item_factors, 1
        return design

    @cached_property
    def _level(self) -> Floats:
        """The linear part for the average user, `(n_items + 1, samples)`."""
        factors = self.bundle.factors
        return np.append(factors.item_bias, np.zeros((1, factors.samples), np.float32), 0) + factors.mu


def attributes_of(bundle: Bundle, user: int) -> Rows:
    """What is known of a user besides ratings; nothing, where the model knows no attributes."""
    known = bundle.user_attributes
    return np.zeros(0, np.int64) if known is None else known.of(user)


def prior_mean(bundle: Bundle, user: int) -> Doubles:
    """What the model expects of a user's `[p, b]` before any rating, `(samples, dim + 1)`, by their attributes."""
    mean, effects = bundle.factors.prior_mean.astype(np.float64), bundle.factors.attribute_effects
    return mean if effects is None else mean + effects[attributes_of(bundle, user)].sum(0)


def _pieces(known: Counts, at_once: int) -> Iterator[slice]:
    """Cuts of ascending numbers so that each has at most `at_once` of them, as far apart at most."""
    start = 0
    while start < len(known):
        stop = min(start + at_once, int(np.searchsorted(known, known[start] + at_once, side="right")))
        yield slice(start, stop)
        start = stop


def _solve(systems: torch.Tensor, pull: torch.Tensor) -> torch.Tensor:
    """By Cholesky, half as long as the general solver, which is asked where a prior's rounding left no square root."""
    factor, failed = torch.linalg.cholesky_ex(systems)
    return torch.linalg.solve(systems, pull) if failed.any() else torch.cholesky_solve(pull, factor)
