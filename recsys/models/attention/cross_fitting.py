"""What a transformer for stars adds to: a factorization, and in training its fold-in by items that are cross-fitted.

Items that were solved for with a user's ratings leave errors of that user that are smaller than those of somebody new.
So users are in folds, and in training each one is read, folded in and scored by items that were solved for without
their fold (cross-fitting, Chernozhukov et al. 2018). That starts from the users and items of all ratings, so that all
folds have the same coordinates; a trace of the fold stays in them. Outside training the items are those of all ratings.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys import load
from recsys.bundle import TEST, Bundle, UserRatings
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.factors import Factors, concat_samples
from recsys.bundle.fold_in import fold_in
from recsys.bundle.running_fold_ins import running_fold_ins
from recsys.bundle.sides import append_items, append_users, take_items, take_users, zero_rows
from recsys.bundle.typing import Float32Array, IndexArray
from recsys.data.datamodule import RatingDataModule
from recsys.update.solve import Touched, Turns, is_drawn, one_sample, why_not
from recsys.update.threads import in_threads

log = logging.getLogger(__name__)

FOLDS = 5  # of users
SWEEPS = 1  # over the users and items of the other folds, from the items of all; best prequentially on ML-1M
USERS = 64  # folded in by a thread at a time
AHEAD = 32  # ratings after each row
LEAST_FACTORS = 1e-4  # deviation of the items' factors, in the root of the scale's length


class Attributes(NamedTuple):
    """Of all users and items, by row; None: the base knows none."""

    users: RowAttributes | None = None
    items: RowAttributes | None = None

    def of_user(self, user: int) -> IndexArray | None:
        return None if self.users is None else self.users.of(user)


class CrossFitted(NamedTuple):
    """A base of the fitted rows, and what training reads of it."""

    factors: Factors  # users as the fold-ins of their ratings
    fold: NDArray[np.int64]  # (n_users,)
    item_factors: Float32Array  # (FOLDS, n_items, samples, dim), by the fold that they do not know
    item_bias: Float32Array  # (FOLDS, n_items, samples)
    predicted: NDArray[np.float32]  # (rows, AHEAD) after each row, by those: the user's next ratings, 0 beyond them


def load_base(path: str, data: RatingDataModule) -> tuple[Factors, Attributes]:
    """The model of a bundle, or of a run's folder, for the rows of the fitted users and items.

    Raises:
        BundleError: There is no bundle.
        ValueError: It cannot be a base, or was fitted on other data or on test rows; the message says why.
    """
    bundle = load(path)
    manifest, name = bundle.manifest, f"model.base: {path}, a bundle of {bundle.manifest.get('model')},"
    if bundle.encoder is not None:
        raise ValueError(f"{name} cannot be one: it is of attention itself")
    if (reason := why_not(bundle)) is not None:
        raise ValueError(f"{name} cannot be one: {reason}")
    if bundle.factors.ordinal is not None:
        raise ValueError(f"{name} cannot be one: behind an ordinal link, ratings do not add up")
    span = data.dataset.rating_max - data.dataset.rating_min
    if not bundle.factors.item_factors.std() > LEAST_FACTORS * span**0.5:
        raise ValueError(f"{name} cannot be one: it has biases alone")
    if (theirs := manifest.get("data_sha256")) != data.dataset.sha256:
        raise ValueError(
            f"{name} was not fitted on these data: {data.dataset.name} has the SHA-256 {data.dataset.sha256:.12}…, and "
            + ("the bundle does not say on what" if theirs is None else f"{manifest['data']} had {theirs:.12}…")
        )
    if not _holds_out_the_same(bundle, data):
        raise ValueError(f"{name} must hold out the test rows of this split, {data.split_name}, and does not")
    if data.fit_on == "train" and manifest["fit_on"] != "train":
        log.warning(
            "model.base was fitted on validation rows too, so their errors are lower than those of rows to come: to "
            "compare runs by them, train it with refit=none"
        )
    tables = []
    for effects, names, table in (
        (bundle.factors.attribute_effects, bundle.attributes, data.user_attributes),
        (bundle.factors.item_attribute_effects, bundle.item_attribute_names, data.item_attributes),
    ):
        known = None if effects is None else table()
        if effects is not None and (known is None or known.names != names):
            unlike = set(names) ^ set([] if known is None else known.names)
            raise ValueError(f"{name} knows other attributes than the data have, such as {min(unlike, default='')}")
        tables.append(None if known is None else RowAttributes(known.indptr, known.index))
    factors = take_items(bundle.factors, slice(bundle.fitted_items))
    factors = append_users(append_items(factors, zero_rows(factors, 1)), zero_rows(factors, 1))  # for those without one
    users, items = (
        np.array([known.get(value, n) for value in ids.tolist()]).clip(max=n)
        for ids, known, n in (
            (data.users.values, bundle.user_row, bundle.n_users),
            (data.items.values, bundle.item_row, bundle.fitted_items),
        )
    )
    return take_users(take_items(factors, items), users), Attributes(*tables)


def _holds_out_the_same(bundle: Bundle, data: RatingDataModule) -> bool:
    if bundle.manifest["fit_on"] == "all":
        return data.fit_on == "all"
    ratings, (user_ids, user), (item_ids, item) = bundle.ratings, data.all_users(), data.all_items()
    is_test = ratings.part == TEST
    theirs = (bundle.user_ids[ratings.user_index()[is_test]], bundle.item_ids[ratings.item[is_test]])
    rows = data.split.test
    ours = (user_ids[user[rows]], item_ids[item[rows]])
    return sorted(zip(*map(list, theirs), strict=True)) == sorted(zip(*map(list, ours), strict=True))


def cross_fit(factors: Factors, ratings: UserRatings, attributes: Attributes, seed: int) -> CrossFitted:
    """Solve a base for the fitted ratings, with all of them and without each fold.

    Args:
        factors: With a prior of users and of items; their rows are where the search begins.
        ratings: Of all fitted users, each user's in order of time.
        attributes: Of the base.
        seed: Of the folds, and of drawing the rows of a posterior's samples.
    """
    n_users, n_items = len(factors.user_bias), len(factors.item_bias)
    fold = np.random.default_rng(seed).permutation(np.arange(n_users) % FOLDS)

    def turns_without(left_out: int) -> Turns:
        return Turns(
            _of_users(ratings, fold != left_out),
            n_items,
            Touched(np.flatnonzero(fold != left_out), np.arange(n_items)),
            user_attributes=attributes.users,
            item_attributes=attributes.items,
        )

    turns = [turns_without(left_out) for left_out in range(FOLDS + 1)]  # the last leaves nobody out

    def solved(left_out: int, number: int) -> Factors:
        # Draws for the samples of a posterior, as its sampler makes them; means where their noise would only blur.
        is_whole = left_out == FOLDS
        generator = np.random.default_rng([seed, number]) if is_whole and is_drawn(factors) else None
        sample = turns[left_out].with_users(one_sample(factors, number), generator)
        for _ in range(SWEEPS):
            sample = turns[left_out].swept(sample, generator)
        return sample

    jobs = [(left_out, number) for left_out in range(FOLDS + 1) for number in range(factors.samples)]
    found = in_threads(lambda job: solved(*job), jobs)
    every = [concat_samples(found[first : first + factors.samples]) for first in range(0, len(jobs), factors.samples)]
    whole, parts = every[FOLDS], every[:FOLDS]
    return CrossFitted(
        _with_folded_in(whole, ratings, attributes),
        fold,
        np.stack([part.item_factors for part in parts]),
        np.stack([part.item_bias for part in parts]),
        _predicted_next(parts, fold, ratings, attributes),
    )


def _of_users(ratings: UserRatings, chosen: NDArray[np.bool_]) -> UserRatings:
    """The ratings of some users; the others have none."""
    kept = np.repeat(chosen, np.diff(ratings.indptr))
    counts = np.where(chosen, np.diff(ratings.indptr), 0)
    time = None if ratings.timestamp is None else ratings.timestamp[kept]
    return UserRatings(
        np.append(0, np.cumsum(counts)), ratings.item[kept], ratings.rating[kept], ratings.part[kept], time
    )


def _with_folded_in(factors: Factors, ratings: UserRatings, attributes: Attributes) -> Factors:
    """The model with each user's row as `fold_in` gives it."""
    user_factors, user_bias = np.empty_like(factors.user_factors), np.empty_like(factors.user_bias)

    def solve(users: range) -> None:
        for user in users:
            rated = ratings.slice_of(user)
            vector = fold_in(factors, ratings.item[rated], ratings.rating[rated], attributes.of_user(user)).vector
            user_factors[user], user_bias[user] = vector.factors, vector.bias

    in_threads(solve, _pieces(len(user_bias)))
    return replace(factors, user_factors=user_factors, user_bias=user_bias)


def _predicted_next(
    parts: list[Factors], fold: NDArray[np.int64], ratings: UserRatings, attributes: Attributes
) -> NDArray[np.float32]:
    """`CrossFitted.predicted`."""
    found = np.zeros((len(ratings.item), AHEAD), np.float32)
    levels = [(part.mu + part.item_bias).mean(1) for part in parts]

    def solve(users: range) -> None:
        for user in users:
            rated = ratings.slice_of(user)
            item, stars = ratings.item[rated], ratings.rating[rated]
            part, level = parts[fold[user]], levels[fold[user]]
            for piece, vector in running_fold_ins(part, item, stars, np.arange(1, len(item)), attributes.of_user(user)):
                vectors, bias = vector.factors.reshape(len(vector.bias), -1), vector.bias.mean(1)
                for first in range(piece.start, piece.stop, AHEAD):
                    stop = min(first + AHEAD, piece.stop)
                    some = slice(first - piece.start, stop - piece.start)
                    coming = item[first + 1 : stop + AHEAD]
                    scores = vectors[some] @ part.concatenated_items[coming].T / part.samples
                    scores += bias[some, None] + level[coming]
                    for number, row in enumerate(range(rated.start + first, rated.start + stop)):
                        next_ones = scores[number, number : number + AHEAD]
                        found[row, : len(next_ones)] = next_ones

    in_threads(solve, _pieces(len(fold)))
    return found


def _pieces(n_users: int) -> list[range]:
    return [range(first, min(first + USERS, n_users)) for first in range(0, n_users, USERS)]
