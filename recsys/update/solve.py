"""A bundle after new events: users and items are solved again in turn, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle, UserRatings
from recsys.bundle.attributes import RowAttributes, item_attribute_rows, undescribed
from recsys.bundle.factors import Factors, concat_samples
from recsys.bundle.ratings import LAST_PART
from recsys.bundle.schema import FACTOR_SPECS
from recsys.bundle.sides import append_items, append_users, zero_rows
from recsys.bundle.typing import IndexArray
from recsys.events.merge import MergedRatings
from recsys.update import SWEEPS, SWEEPS_OF_SAMPLES
from recsys.update.known import Known
from recsys.update.rows import Rated, by_item, by_user, late_residuals, prior_means, solved_rows
from recsys.update.threads import in_threads

OF_A_FIT = ("data_sha256", "git_commit", "metrics", "split")  # keys of a manifest that say nothing of an update


class Touched(NamedTuple):
    """Rows that are solved again, ascending."""

    users: IndexArray
    items: IndexArray


def why_not(bundle: Bundle) -> str | None:
    """Why this model can only be fitted again as a whole; None if its rows can be solved."""
    if bundle.has_histories:
        return "its item weights depend on all ratings together; people's new ratings count without an update"
    if bundle.encoder is not None:
        return "its encoder depends on all ratings together; people's new ratings count without an update"
    if bundle.is_ranking:
        return "a ranking model's rows depend on all others, also where nothing was chosen"
    if not bundle.can_fold_in_items:
        return "its bundle has no prior of users' and items' rows"
    return None


def default_sweeps(bundle: Bundle) -> int:
    """Over all users and items in an update, unless told otherwise."""
    return SWEEPS_OF_SAMPLES if is_drawn(bundle.factors) else SWEEPS


def is_drawn(factors: Factors) -> bool:
    """Whether the rows are samples of a posterior."""
    return factors.samples > 1 and factors.precision is not None


def updated(
    bundle: Bundle,
    merged: MergedRatings,
    known: Known | None = None,
    *,
    sweeps: int | None = None,
    **manifest: Any,
) -> Bundle:
    """The bundle fitted to more ratings.

    First the users of new ratings are solved for, as new ones have no row yet. Each sweep then solves for the items
    given all users and for the users given all items, so that a user's row is the fold-in of their ratings. The rows of
    a posterior's samples are drawn, as its sampler would, and always the same for the same ratings. Penalties that grow
    with the number of ratings are kept at the same mean over them.

    Args:
        bundle: With priors of users and of items, see `why_not`.
        merged: Its ratings and later events.
        known: Descriptions of items and attributes of users.
        sweeps: Over all users and items; 0: one over those of new ratings, while the others stay as they are; None: as
            `default_sweeps` says.
        manifest: Further keys of the manifest.

    Raises:
        ValueError: The model cannot be updated.
        ArithmeticError: A row is not finite.
    """
    if (reason := why_not(bundle)) is not None:
        raise ValueError(f"model {bundle.manifest.get('model')} cannot be updated, only fitted again: {reason}")
    known = known or Known()
    sweeps = default_sweeps(bundle) if sweeps is None else sweeps
    n_users, n_items, n_ratings = len(merged.user_ids), len(merged.item_ids), len(merged.ratings.item)
    users = _table_of_users(bundle, merged.user_ids, known)
    about, items = _about_items(bundle, merged.item_ids, known)
    factors = follow_counts(bundle.factors, bundle.ratings, merged.ratings)
    factors = append_users(factors, zero_rows(factors, n_users - bundle.n_users))
    factors = append_items(factors, zero_rows(factors, n_items - bundle.n_items))
    kept = {key: value for key, value in bundle.manifest.items() if key not in OF_A_FIT}
    counts = {"users": n_users, "items": n_items, "ratings": n_ratings, "fitted_ratings": n_ratings, "test_ratings": 0}
    whole = Bundle(
        kept | {"fit_on": "all", "counts": counts} | manifest,
        factors,
        merged.user_ids,
        merged.item_ids,
        merged.ratings,
        about,
        user_attributes=users,
        item_attributes=items,
    )
    turns_of = partial(Turns, merged.ratings, n_items, user_attributes=users, item_attributes=items)
    changed = turns_of(touched_rows(bundle, merged, users))
    turns = turns_of(Touched(np.arange(n_users), np.arange(n_items))) if sweeps else changed
    draws = is_drawn(factors)

    def solved(number: int) -> Factors:
        generator = np.random.default_rng([n_ratings, number]) if draws else None
        sample = changed.with_users(one_sample(factors, number), generator)
        for _ in range(max(sweeps, 1)):
            sample = turns.swept(sample, generator)
        return sample

    samples = in_threads(solved, range(factors.samples))
    return replace(whole, factors=concat_samples(samples) if len(samples) > 1 else samples[0])


def touched_rows(bundle: Bundle, merged: MergedRatings, attributes: RowAttributes | None = None) -> Touched:
    """The users and items of events, and of ratings that the fit left out; those without a row; changed users."""
    rated = bundle.ratings
    left_out = rated.part > LAST_PART[bundle.manifest.get("fit_on", "all")]
    users, items = np.zeros(len(merged.user_ids), bool), np.zeros(len(merged.item_ids), bool)
    users[bundle.n_users :] = items[bundle.fitted_items :] = True
    users[merged.touched_users] = items[merged.touched_items] = True
    users[rated.user_index()[left_out]] = items[rated.item[left_out]] = True
    before = bundle.user_attributes
    if attributes is not None and before is not None:
        changed = [not np.array_equal(before.of(row), attributes.of(row)) for row in range(bundle.n_users)]
        users[: bundle.n_users] |= changed
    return Touched(np.flatnonzero(users), np.flatnonzero(items))


def follow_counts(factors: Factors, before: UserRatings, now: UserRatings) -> Factors:
    """Factors whose penalties are as a fit on the ratings of now would have them.

    A penalty that grows as a power between 0 and 1 of a row's number of ratings is scaled by a fit so that its mean
    over the ratings is that of a penalty for each.
    """
    arrays = {}
    for prefix, counts in (("", _counts_of_users), ("item_", _counts_of_items)):
        exponents, precision = getattr(factors, f"{prefix}prior_exponent"), getattr(factors, f"{prefix}prior_precision")
        scale = [_level(counts(now), e) / _level(counts(before), e) if 0 < e < 1 else 1 for e in exponents.tolist()]
        arrays[f"{prefix}prior_precision"] = precision * np.array(scale, np.float32)[:, None, None, None]
    return replace(factors, **arrays)


def _counts_of_users(ratings: UserRatings) -> NDArray[np.int64]:
    return np.diff(ratings.indptr)


def _counts_of_items(ratings: UserRatings) -> NDArray[np.int64]:
    return np.bincount(ratings.item)


def _level(count: NDArray[np.int64], exponent: float) -> float:
    """The factor by which `n^exponent`, summed over the rows, is the number of ratings."""
    count = count[count > 0]
    return float(count.sum() / (count**exponent).sum()) if len(count) else 1.0


def one_sample(factors: Factors, number: int) -> Factors:
    """The factors of one of the samples."""
    return some_samples(factors, [number])


def some_samples(factors: Factors, numbers: Sequence[int]) -> Factors:
    """The factors of these samples."""
    arrays = {
        name: np.ascontiguousarray(np.take(array, numbers, spec.sample_axis))
        for name, spec in FACTOR_SPECS.items()
        if spec.sample_axis is not None and (array := getattr(factors, name)) is not None
    }
    return replace(factors, **arrays)


class Turns:
    """Solves for some users and items in turn.

    Args:
        ratings: Of all users.
        n_items: Items that there are.
        touched: Which users and items.
        user_attributes: Of all users; None: none of any.
        item_attributes: Likewise.
    """

    def __init__(
        self,
        ratings: UserRatings,
        n_items: int,
        touched: Touched,
        *,
        user_attributes: RowAttributes | None,
        item_attributes: RowAttributes | None,
    ) -> None:
        self.users = by_user(ratings, touched.users)
        self.items = by_item(ratings, touched.items, n_items)
        self.ratings = ratings
        self.of_users = _of(user_attributes, touched.users)
        self.of_items = _of(item_attributes, touched.items)

    @cached_property
    def raters(self) -> Rated:
        """All ratings of the items' raters."""
        is_rater = np.zeros(len(self.ratings.indptr) - 1, bool)
        is_rater[self.items.item] = True
        return by_user(self.ratings, np.flatnonzero(is_rater))

    def swept(self, factors: Factors, generator: np.random.Generator | None = None) -> Factors:
        """The factors of one sample, solved for the items given all users, and then for the users given all items.

        Args:
            factors: Of one sample.
            generator: To draw rows; None: to solve for them.
        """
        return self.with_users(self._with_items(factors, generator), generator)

    def with_users(self, factors: Factors, generator: np.random.Generator | None = None) -> Factors:
        """The factors of one sample, solved for the users alone."""
        rows = solved_rows(factors, self.users, prior_means(factors, self.users, self.of_users), generator)
        user_factors, user_bias = factors.user_factors.copy(), factors.user_bias.copy()
        user_factors[self.users.user, 0], user_bias[self.users.user, 0] = rows[:, :-1], rows[:, -1]
        factors = replace(factors, user_factors=user_factors, user_bias=user_bias)
        if factors.drift_rule is None:
            return factors
        total, weight = late_residuals(factors, self.users)
        return _with_biases(factors, self.users, total / np.maximum(weight + factors.drift_rule.shrinkage, 1e-9))

    def _with_items(self, factors: Factors, generator: np.random.Generator | None) -> Factors:
        """Items are solved given users without their drift, which is of the latest ratings only."""
        mirrored = self._undrifted(factors).mirrored()
        rows = solved_rows(mirrored, self.items, prior_means(mirrored, self.items, self.of_items), generator)
        item_factors, item_bias = factors.item_factors.copy(), factors.item_bias.copy()
        item_factors[self.items.user, 0], item_bias[self.items.user, 0] = rows[:, :-1], rows[:, -1]
        return replace(factors, item_factors=item_factors, item_bias=item_bias)

    def _undrifted(self, factors: Factors) -> Factors:
        """Without the drift in the biases of the items' raters.

        A drift `d = sum w e / (sum w + c)` of residuals e leaves residuals `e - d`, whose sum `sum w (e - d)` is `c d`.
        """
        if factors.drift_rule is None or not factors.drift_rule.shrinkage:
            return factors
        total, _ = late_residuals(factors, self.raters)
        return _with_biases(factors, self.raters, -total / factors.drift_rule.shrinkage)


def _with_biases(factors: Factors, rated: Rated, added: NDArray[np.float64]) -> Factors:
    user_bias = factors.user_bias.copy()
    user_bias[rated.user, 0] += added.astype(np.float32)
    return replace(factors, user_bias=user_bias)


def _of(table: RowAttributes | None, rows: IndexArray) -> list[IndexArray] | None:
    return None if table is None else [table.of(row) for row in rows.tolist()]


def _table_of_users(bundle: Bundle, ids: NDArray[Any], known: Known) -> RowAttributes | None:
    """The attributes of all users: as they were set last, without what the model does not know."""
    if not bundle.attributes:
        return bundle.user_attributes
    place = {name: number for number, name in enumerate(bundle.attributes)}
    rows: list[IndexArray] = []
    for row, user in enumerate(ids.tolist()):
        told = known.users.get(user)
        if told is None:
            found = bundle.attributes_of(row)
            rows.append(np.zeros(0, np.int64) if found is None else found)
        else:
            texts = (f"{name}={value}" for name, value in told.items())
            rows.append(np.array(sorted(place[text] for text in texts if text in place), np.int64))
    return RowAttributes.of_rows(rows)


def _about_items(bundle: Bundle, ids: NDArray[Any], known: Known) -> tuple[list[dict[str, Any]], RowAttributes | None]:
    """Title, year and genres of all items, and their attributes, as they were set last."""
    about: list[dict[str, Any]] = []
    rows: list[IndexArray] = []
    before = bundle.item_attributes
    for row, item in enumerate(ids.tolist()):
        told = known.items.get(item)
        if told is not None:
            one = {name: told[name] for name in ("title", "year", "genres")}
        else:
            one = bundle.items[row] if row < len(bundle.items) else undescribed(item)
        about.append(one)
        if not bundle.item_attribute_names:
            continue
        if told is not None or before is None or row >= len(before.indptr) - 1:
            more = None if told is None else told["attributes"]
            rows.append(item_attribute_rows(bundle.item_attribute_names, one, more))
        else:
            rows.append(before.of(row))
    return about, RowAttributes.of_rows(rows) if bundle.item_attribute_names else before
