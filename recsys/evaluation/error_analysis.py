"""Error analysis: test errors by user activity, item popularity and rating, calibration, best and worst items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.typing import Float64Array, Int64Array
from recsys.evaluation.holdout import TestSet, predict_test_set

GROUP_STARTS = (0, 1, 5, 10, 20, 50, 100, 200, 500, 1000)  # number of fitted ratings
MAX_DISTINCT_RATINGS = 20  # with a group each; more are binned
RATING_BINS, CALIBRATION_BINS = 10, 16
MAX_ITEMS = 10  # in each list of items
MIN_ITEM_ROWS = 5  # test rows of a listed item, so that nobody's single rating shows
DIGITS = 5

Groups = list[dict[str, Any]]


def analyse(bundle: Bundle, test_set: TestSet | None = None) -> dict[str, Any]:
    """Break the test errors down by group; numbers and strings only, ready for JSON.

    Groups without rows are left out.

    Args:
        bundle: The model.
        test_set: Its predicted test rows, if they are at hand.

    Returns:
        `by_user_activity` and `by_item_popularity`: `from`, `to` (None: no end), `rows`, `rmse` and `baseline` (the
        biases' RMSE on the same rows), by how many ratings of the row's user or item the model was fitted on.
        `by_rating`: `rating`, `rows`, `mean_predicted`, `rmse`, by the rating given, or the lower edge of its bin.
        `calibration`: `from`, `to`, `rows`, `mean_predicted`, `mean_rating`, by the prediction.
        `items`: `best` and `worst` by RMSE, the most extreme first: `item_id`, `title`, `rows`, `rmse`,
        `mean_rating`, `mean_predicted`.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    test_set = test_set or predict_test_set(bundle)
    predicted = test_set.predicted.astype(np.float64)
    error = predicted - test_set.rating
    baseline_error = test_set.baselines["biases"] - test_set.rating
    users, items = bundle.ratings.user_index()[test_set.fitted], bundle.ratings.item[test_set.fitted]
    activity = np.bincount(users, minlength=len(bundle.user_ids))[test_set.user]
    popularity = np.bincount(items, minlength=len(bundle.item_ids))[test_set.item]
    return {
        "by_user_activity": _by_count(activity, error, baseline_error),
        "by_item_popularity": _by_count(popularity, error, baseline_error),
        "by_rating": _by_rating(test_set.rating, predicted, error, bundle.scale),
        "calibration": _calibration(test_set.rating, predicted, bundle.scale),
        "items": _best_and_worst(bundle, test_set, predicted, error),
    }


def _group_statistics(
    group: Int64Array, errors: Mapping[str, Float64Array], values: Mapping[str, Float64Array]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each group that has rows: its number, and `rows`, the RMSE of each error and the mean of each value."""
    rows = np.bincount(group)

    def mean(column: Float64Array) -> Float64Array:
        return np.asarray(np.bincount(group, column) / np.maximum(rows, 1))

    columns = {name: np.sqrt(mean(error**2)) for name, error in errors.items()}
    columns |= {name: mean(column) for name, column in values.items()}
    for g in np.flatnonzero(rows).tolist():
        yield g, {"rows": int(rows[g])} | {name: round(float(column[g]), DIGITS) for name, column in columns.items()}


def _by_count(count: Int64Array, error: Float64Array, baseline_error: Float64Array) -> Groups:
    ends = [start - 1 for start in GROUP_STARTS[1:]] + [None]
    group = np.searchsorted(GROUP_STARTS, count, side="right") - 1
    grouped = _group_statistics(group, {"rmse": error, "baseline": baseline_error}, {})
    return [{"from": GROUP_STARTS[g], "to": ends[g]} | statistics for g, statistics in grouped]


def _by_rating(
    rating: Float64Array, predicted: Float64Array, error: Float64Array, scale: tuple[float, float]
) -> Groups:
    values, group = np.unique(rating, return_inverse=True)
    if len(values) > MAX_DISTINCT_RATINGS:
        group, values = _binned(rating, RATING_BINS, scale)
    grouped = _group_statistics(group, {"rmse": error}, {"mean_predicted": predicted})
    return [{"rating": round(float(values[g]), DIGITS)} | statistics for g, statistics in grouped]


def _calibration(rating: Float64Array, predicted: Float64Array, scale: tuple[float, float]) -> Groups:
    group, edges = _binned(predicted, CALIBRATION_BINS, scale)
    rounded = [round(edge, DIGITS) for edge in edges.tolist()]
    grouped = _group_statistics(group, {}, {"mean_predicted": predicted, "mean_rating": rating})
    return [{"from": rounded[g], "to": rounded[g + 1]} | statistics for g, statistics in grouped]


def _binned(values: Float64Array, bins: int, scale: tuple[float, float]) -> tuple[Int64Array, Float64Array]:
    """The bin of each value, and the edges of equal bins over the scale; the upper end belongs to the last bin."""
    edges = np.linspace(*scale, bins + 1)
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1), edges


def _best_and_worst(
    bundle: Bundle, test_set: TestSet, predicted: Float64Array, error: Float64Array
) -> Mapping[str, Groups]:
    values = {"mean_rating": test_set.rating, "mean_predicted": predicted}
    listed = [
        {"item_id": str(bundle.item_id(row)), "title": bundle.title(row)} | statistics
        for row, statistics in _group_statistics(test_set.item, {"rmse": error}, values)
        if statistics["rows"] >= MIN_ITEM_ROWS
    ]
    listed.sort(key=lambda item: item["rmse"])
    half = len(listed) // 2  # so that no item is in both
    return {"best": listed[: min(MAX_ITEMS, len(listed) - half)], "worst": listed[::-1][: min(MAX_ITEMS, half)]}
