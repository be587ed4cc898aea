"""The order of a bundle's lists, learned from its validation rows: weights, thresholds, and which order is best.

The model must not have been fitted on these rows. A validation row says that a user picked an item; which stars they
gave it does not enter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.choice import ChoiceModel
from recsys.bundle.factors import UserVector
from recsys.bundle.ranker import Ranker
from recsys.bundle.ranking import KEY, MAX_WEIGHT, POPULARITY, RANK_BY, Order
from recsys.bundle.ratings import HISTORY, LAST_PART, VAL
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray, Int64Array
from recsys.evaluation.holdout import vector_of

FEWEST_ROWS = 100  # validation rows below which nothing is learned
MOST_USERS = 6_100  # that are looked at, evenly spaced; all of MovieLens 1M
FEWEST_USERS = 500  # even where lists cost much
WORK = 2**34  # multiplications of all lists that are made
ALTERNATIVES = 300  # items drawn for each user, beside those picked (McFadden 1978)
STEPS, TOLERANCE = 12, 1e-4  # of Newton's method
RIDGE = 1e-3  # added to the Hessian of the mean log-likelihood
THRESHOLDS = (0, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # of min_ratings
LEAST_SHARE = 0.1  # of the items that have as many ratings: lists of ever the same few would win otherwise
AS_GOOD = 0.995  # part of the best NDCG that a list of fewer items must have
Z = (0.5, 1.0, 2.0)  # standard deviations in `bound`
LENGTH = 10
BLOCK = 256  # users whose scores of all items are held at once


class _User(NamedTuple):
    row: int
    history: IndexArray  # item rows that the model was fitted on, the latest last
    picks: IndexArray  # item rows of validation, with factors


def fit_lists(bundle: Bundle) -> dict[str, Any] | None:
    """The manifest's `ranking`; None for a ranking model, or where there are fewer than `FEWEST_ROWS` validation rows.

    Weights of the choice model maximise the likelihood of the picks. Thresholds, z and the default order have the
    highest NDCG@10 of full-catalogue lists; where two are equal, the simpler.

    Args:
        bundle: Fitted on training rows alone.
    """
    users = list(_users(bundle))
    if bundle.is_ranking or sum(len(user.picks) for user in users) < FEWEST_ROWS:
        return None
    ranker = bundle.ranker
    weights = dict(zip(ranker.choice.names, _fitted_weights(bundle, ranker, users), strict=True))
    settings: dict[str, Any] = {"weights": {name: round(weight, 6) for name, weight in weights.items()}}
    kinds = [("stars", 0.0), ("gain", 0.0), *(("bound", z) for z in Z if bundle.factors.samples > 1), ("liking", 0.0)]
    least = _thresholds(ranker.counts)
    found = np.zeros((len(kinds), len(least)))
    rankers = [_ranker(bundle, settings | {"z": z}) for _, z in kinds]
    for user, vector, linear in _scored(bundle, users):
        for place, ((rank_by, _), one) in enumerate(zip(kinds, rankers, strict=True)):
            scores = one.scores(vector, Order(rank_by), user.history, linear)
            found[place] += _ndcg(scores, user, ranker.counts, least)
    found /= len(users)
    best = {}
    for rank_by in RANK_BY:
        places = [place for place, (name, _) in enumerate(kinds) if name == rank_by]
        if options := [(place, row) for place in places for row in range(len(least))]:
            best[rank_by] = max(options, key=lambda option: (round(float(found[option]), 6), -option[1]))
            if rank_by == "liking":  # fewer items take less, and popularity is in the order already
                enough = [one for one in options if found[one] >= AS_GOOD * found[best[rank_by]]]
                best[rank_by] = max(enough, key=lambda option: option[1])
    ndcg = {rank_by: round(float(found[place]), 6) for rank_by, place in best.items()}
    settings |= {
        "rank_by": max(ndcg, key=ndcg.__getitem__),  # of equal ones the first
        "min_ratings": {rank_by: int(least[row]) for rank_by, (_, row) in best.items()},
        "half_life": ranker.settings.half_life,
        "ndcg": ndcg,
        "users": len(users),
    }
    if "bound" in best:
        settings["z"] = kinds[best["bound"][0]][1]
    return settings


def sentence(settings: dict[str, Any]) -> str:
    """The default order with the figures that decided, for the log."""
    figures = ", ".join(f"{name} {value:.4f}" for name, value in settings["ndcg"].items())
    return f"lists by {settings['rank_by']} (NDCG@10 on validation rows of {settings['users']:,} users: {figures})"


def with_lists(bundle: Bundle, settings: dict[str, Any] | None) -> Bundle:
    """The bundle with these settings of its lists, if there are any and its model predicts stars.

    A `bound` needs samples; of a compressed posterior there are none left, so the next best order takes its place.
    """
    if settings is None or bundle.is_ranking:
        return bundle
    if settings["rank_by"] == "bound" and bundle.factors.samples == 1:
        left = {name: value for name, value in settings["ndcg"].items() if name != "bound"}
        settings = settings | {"rank_by": max(left, key=left.__getitem__)}
    return replace(bundle, manifest=bundle.manifest | {KEY: settings}, sha256=None)


def _ranker(bundle: Bundle, settings: dict[str, Any]) -> Ranker:
    changed = Ranker(replace(bundle, manifest=bundle.manifest | {KEY: settings}), bundle.ranker.counts)
    changed.__dict__["directions"] = bundle.ranker.directions  # which take long with many samples
    return changed


def _users(bundle: Bundle) -> Iterator[_User]:
    """Users with validation rows, evenly spaced over all of them."""
    rated, last = bundle.ratings, LAST_PART[bundle.manifest["fit_on"]]
    known, held_out = (rated.part <= last) | (rated.part == HISTORY), rated.part == VAL
    if last >= VAL:
        raise ValueError("fit_lists needs a model that was not fitted on validation rows")
    rows = np.unique(rated.user_index()[held_out & (rated.item < bundle.n_items)])
    factors = bundle.factors
    affordable = WORK // max(1, factors.samples * factors.item_factors.shape[2] * bundle.n_items)
    most = max(FEWEST_USERS, min(MOST_USERS, affordable))
    if len(rows) > most:
        rows = rows[np.arange(most) * len(rows) // most]
    for row in rows.tolist():
        entries = rated.slice_of(row)
        item = rated.item[entries]
        yield _User(row, item[known[entries]], item[held_out[entries] & (item < bundle.n_items)])


def _scored(bundle: Bundle, users: list[_User]) -> Iterator[tuple[_User, UserVector, Float32Array]]:
    """Each user with their vector and the mean linear part of every item, which costs less of many at once."""
    for start in range(0, len(users), BLOCK):
        block = users[start : start + BLOCK]
        rows = bundle.factors.scores_of(np.array([user.row for user in block]))
        for user, linear in zip(block, rows, strict=True):
            vector = vector_of(bundle, user.row)
            yield user, vector, linear if user.row < bundle.n_users else bundle.factors.scores(vector)


def _fitted_weights(bundle: Bundle, ranker: Ranker, users: list[_User]) -> list[float]:
    """The weights of the choice model, by Newton's method on the picks, each among items drawn at random.

    Drawing alternatives uniformly leaves the estimate consistent (McFadden 1978).
    """
    rng, choice = np.random.default_rng(0), ranker.choice
    chosen, others, unseen = [], [], np.ones(bundle.n_items, bool)
    for user, vector, linear in _scored(bundle, users):
        features = choice.features(ranker.gain(vector, linear), user.history)
        drawn = rng.integers(0, bundle.n_items, ALTERNATIVES)
        unseen[user.history], unseen[user.picks] = False, False
        drawn = drawn[unseen[drawn]]
        unseen[user.history], unseen[user.picks] = True, True
        for pick in user.picks[:: -(-len(user.picks) // LENGTH)].tolist():
            chosen.append(features[pick])
            others.append(features[drawn])
    return [float(weight) for weight in _logit(np.array(chosen), others, choice)]


def _logit(chosen: Float32Array, others: list[Float32Array], choice: ChoiceModel) -> Float64Array:
    """Weights that maximise the mean log-likelihood of each pick against its alternatives."""
    n, names = len(chosen), choice.names
    padded = np.zeros((n, 1 + max(map(len, others)), len(names)))  # of each row, its alternatives minus the pick
    outside = np.ones(padded.shape[:2], bool)
    outside[:, 0] = False
    for row, features in enumerate(others):
        padded[row, 1 : 1 + len(features)] = features - chosen[row]
        outside[row, 1 : 1 + len(features)] = False
    weights = np.array([float(name == POPULARITY) for name in names])
    for _ in range(STEPS):
        utility = padded @ weights
        utility[outside] = -np.inf
        chance = np.exp(utility - utility.max(1, keepdims=True))
        chance /= chance.sum(1, keepdims=True)
        mean = np.einsum("na,naf->nf", chance, padded)
        spread = np.einsum("naf,nag->fg", padded * chance[..., None], padded) - mean.T @ mean
        step = np.linalg.solve(spread / n + RIDGE * np.eye(len(names)), -mean.mean(0) - RIDGE * weights)
        weights = np.clip(weights + step, -MAX_WEIGHT, MAX_WEIGHT)
        if np.abs(step).max() < TOLERANCE:
            break
    return weights


def _thresholds(counts: Float64Array) -> Int64Array:
    """Those that leave enough items."""
    fewest = max(LENGTH + 1, LEAST_SHARE * len(counts))
    return np.array([least for least in THRESHOLDS if not least or (counts >= least).sum() >= fewest], np.int64)


def _ndcg(scores: Float32Array, user: _User, counts: Float64Array, least: Int64Array) -> Float64Array:
    """NDCG@10 of a user's list for each threshold of `min_ratings`, `(thresholds,)`."""
    scores[user.history] = -np.inf
    discount = 1 / np.log2(np.arange(2, LENGTH + 2))
    best = discount[: len(np.unique(user.picks))].sum()
    found, is_pick = np.zeros(len(least)), np.zeros(len(scores), bool)
    is_pick[user.picks] = True
    for place, threshold in enumerate(least.tolist()):
        rows = np.arange(len(scores)) if not threshold else np.flatnonzero(counts >= threshold)
        among = scores[rows]
        top = rows[np.argpartition(-among, LENGTH - 1)[:LENGTH]] if len(rows) > LENGTH else rows
        top = top[np.argsort(-scores[top], kind="stable")]
        found[place] = is_pick[top] @ discount[: len(top)] / best
    return found
