"""Prequential evaluation of items that were not fitted: each is folded in from its own earlier ratings.

Before a test rating, its item is the fold-in of the ratings that it got strictly earlier, by raters with the rows that
they had when they rated it: the fold-ins of their own strictly earlier ratings. Users and fitted items are as they
are without it, so that the difference is that of the item's row alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.bundle import TEST, Bundle
from recsys.bundle.factors import Factors, UserVector
from recsys.bundle.fold_in import FoldIn, fold_in
from recsys.bundle.noise import RatingNoise
from recsys.bundle.running_fold_ins import running_fold_ins
from recsys.bundle.sides import append_items, stack_vectors, take_items, take_users
from recsys.bundle.typing import Float32Array, IndexArray
from recsys.evaluation.past_vectors import past_of, vectors_before
from recsys.progress import track

__all__ = ["predict_new_items"]


def predict_new_items(bundle: Bundle) -> Float32Array:
    """Stars of the test rows whose item was not fitted and has earlier ratings: `(ratings,)`, NaN for all others.

    Raises:
        ValueError: The bundle cannot fold in items.
    """
    if not bundle.can_fold_in_items:
        raise ValueError("items=fold_in needs a bundle with a prior of items; train it again")
    rated = bundle.ratings
    predicted = np.full(len(rated.part), np.nan, np.float32)
    rows = np.flatnonzero(rated.item >= bundle.fitted_items)
    if not len(rows):
        return predicted
    user = np.searchsorted(rated.indptr, rows, side="right") - 1
    raters = _raters(bundle, rows, user)
    order = np.argsort(rated.item[rows], kind="stable")
    starts = np.unique(rated.item[rows][order], return_index=True)[1]
    for place in track(np.split(order, starts[1:]), "folding in items in time order"):
        for found, stars in _predict_item(bundle, rows[place], user[place], _take(raters, place)):
            predicted[found] = stars
    return predicted


def _raters(bundle: Bundle, rows: IndexArray, user: IndexArray) -> UserVector:
    """The user of each rating as they were before it, `(rows, samples)` and `(rows, samples, dim)`."""
    samples, dim = bundle.factors.item_factors.shape[1:]
    bias, factors = np.empty((len(rows), samples), np.float32), np.empty((len(rows), samples, dim), np.float32)
    for one in np.unique(user).tolist():
        for found, vector in vectors_before(bundle, one, rows[user == one]):
            place = np.searchsorted(rows, found)
            bias[place], factors[place] = vector.bias, vector.factors
    return UserVector(bias, factors)


def _take(vectors: UserVector, place: IndexArray) -> UserVector:
    return UserVector(vectors.bias[place], vectors.factors[place])


def _predict_item(
    bundle: Bundle, rows: IndexArray, user: IndexArray, raters: UserVector
) -> list[tuple[IndexArray, Float32Array]]:
    """Test rows of an item that has earlier ratings, and their predicted stars.

    Args:
        bundle: With timestamps.
        rows: All ratings of the item.
        user: The user of each.
        raters: And their vectors at the time.
    """
    rated, time = bundle.ratings, bundle.ratings.timestamp
    assert time is not None
    order = np.argsort(time[rows], kind="stable")
    rows, user, raters = rows[order], user[order], _take(raters, order)
    known = np.searchsorted(time[rows], time[rows])  # number of the item's ratings that are strictly earlier
    wanted = np.flatnonzero((rated.part[rows] == TEST) & (known > 0))
    if not len(wanted):
        return []
    mirrored, everyone = _mirrored(bundle.factors, user, raters), np.arange(len(rows))
    attributes = None if bundle.item_attributes is None else bundle.item_attributes.of(int(rated.item[rows[0]]))
    if bundle.factors.ordinal is not None:
        stars = np.empty(len(wanted), np.float32)
        for number, row in enumerate(wanted.tolist()):
            n = int(known[row])
            folded = fold_in(mirrored, everyone[:n], rated.rating[rows[:n]], attributes)
            stars[number] = _ordinal_prediction(bundle, int(user[row]), int(rows[row]), folded)
        return [(rows[wanted], stars)]
    found = []
    for piece, item in running_fold_ins(mirrored, everyone, rated.rating[rows], known[wanted], attributes):
        place = wanted[piece]
        dot = np.einsum("nsd,nsd->ns", raters.factors[place], item.factors)
        linear = bundle.factors.mu + (raters.bias[place] + item.bias) + dot
        found.append((rows[place], np.asarray(bundle.apply_link(linear).mean(1), np.float32)))
    return found


def _mirrored(factors: Factors, user: IndexArray, raters: UserVector) -> Factors:
    """The mirrored model of an item's raters: with what the model knows of them, and their rows at the time."""
    fitted = (user < len(factors.user_bias))[:, None]
    known = take_users(factors, np.where(fitted[:, 0], user, 0))
    precision, implicit = known.user_precision, known.user_implicit
    return replace(
        known,
        user_bias=raters.bias,
        user_factors=raters.factors,
        user_precision=None if precision is None else np.where(fitted, precision, 1).astype(np.float32),
        user_implicit=None if implicit is None else np.where(fitted[:, :, None], implicit, 0).astype(np.float32),
    ).mirrored()


def _ordinal_prediction(bundle: Bundle, user: int, row: int, item: FoldIn) -> float:
    """The expected stars of a user, as they were before a rating, and of an item that is folded in."""
    time = bundle.ratings.timestamp
    assert time is not None
    past = past_of(bundle, user)
    past = past[time[past] < time[row]]
    vector = bundle.fold_in_entries(user, past).vector
    factors = append_items(take_items(bundle.factors, slice(0)), stack_vectors([item.vector]))
    precision = RatingNoise(factors).precision_for(vector, np.zeros(1, np.int64))
    ordinal, posterior = factors.ordinal, item.vector.posterior
    assert ordinal is not None
    assert precision is not None
    assert posterior is not None
    assert factors.precision is not None
    design = np.append(vector.factors, np.ones((factors.samples, 1), np.float32), 1)
    variance = posterior.variance(design[None])[0] / factors.precision
    linear = factors.predict_rows_for(vector, np.zeros(1, np.int64))
    return float(ordinal.probabilities(linear, 1 / (1 / precision + variance))[0] @ ordinal.levels)
