"""Where a model errs: test errors by user activity, item popularity and rating, calibration, best and worst items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import TEST, TRAIN, Bundle
from recsys.evaluation.baselines import Biases, Floats, Rows, fit_biases, fit_item_means

COUNTS = (0, 1, 5, 10, 20, 50, 100, 200, 500, 1000)  # where the groups of fitted ratings begin
MOST_RATINGS = 20  # distinct ones, each with its own row; beyond that, bins
RATING_BINS, CALIBRATION_BINS = 10, 16
LISTED, LEAST_ROWS = 10, 5  # items in each list, and test rows of an item in it: nobody's single rating shows
DIGITS = 5

Groups = list[dict[str, Any]]


class HeldOut(NamedTuple):
    """The test rows of a bundle, and what the model and the baselines, fitted on the same rows, say of them."""

    user: Rows  # (test rows,) rows of `user_ids`, also those past the fitted
    item: Rows  # (test rows,)
    rating: Floats  # (test rows,) stars
    fitted: NDArray[np.bool_]  # (ratings,) which of `bundle.ratings` the model was fitted on
    predicted: NDArray[np.floating]  # (test rows,) by the model, within the scale
    baselines: Mapping[str, Floats]  # (test rows,) by the global mean, item means and biases, within the scale


def measuring(bundle: Bundle) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The positions in `bundle.ratings` of the rows that measure its model, and which rows the model was fitted on.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    if bundle.manifest["fit_on"] == "all":
        raise ValueError(
            "this bundle was fitted on the test rows too (refit=all), so they cannot measure it; its manifest's "
            "metrics are those of the model before"
        )
    part = bundle.ratings.part
    test = np.flatnonzero(part == TEST)
    if not len(test):
        raise ValueError("this bundle has no test rows")
    return test, part != TEST if bundle.manifest["fit_on"] == "train_val" else part == TRAIN


def held_out(bundle: Bundle) -> HeldOut:
    """The rows that measure a bundle's model, predicted.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    test, fitted = measuring(bundle)
    rated = bundle.ratings
    user, item = rated.users()[test], rated.item[test].astype(np.int64)
    known = [np.where(row < count, row, -1) for row, count in ((user, bundle.n_users), (item, bundle.fitted_items))]
    baselines = {name: np.clip(b.predict(*known), *bundle.scale) for name, b in _baselines(bundle, fitted).items()}
    return HeldOut(user, item, rated.rating[test].astype(float), fitted, bundle.predict_rows(user, item), baselines)


def _baselines(bundle: Bundle, fitted: NDArray[np.bool_]) -> dict[str, Biases]:
    user, item, rating = bundle.ratings.users()[fitted], bundle.ratings.item[fitted], bundle.ratings.rating[fitted]
    items = fit_item_means(item.astype(np.int64), rating, bundle.n_users, bundle.fitted_items)
    return {
        "global_mean": Biases(items.mu, np.zeros(bundle.n_users), np.zeros(bundle.fitted_items)),
        "item_mean": items,
        "biases": fit_biases(user, item.astype(np.int64), rating, bundle.n_users, bundle.fitted_items),
    }


def analyse(bundle: Bundle, test: HeldOut | None = None) -> dict[str, Any]:
    """Errors on the test rows, taken apart; numbers and strings only, ready for JSON.

    Groups without rows are left out.

    Args:
        bundle: The model.
        test: Its test rows, where `held_out` has found them already.

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
    test = test or held_out(bundle)
    predicted = test.predicted.astype(np.float64)
    error = (predicted - test.rating) ** 2
    baseline = (test.baselines["biases"] - test.rating) ** 2
    users, items = bundle.ratings.users()[test.fitted], bundle.ratings.item[test.fitted]
    activity = np.bincount(users, minlength=len(bundle.user_ids))[test.user]
    popularity = np.bincount(items, minlength=len(bundle.item_ids))[test.item]
    return {
        "by_user_activity": _by_count(activity, error, baseline),
        "by_item_popularity": _by_count(popularity, error, baseline),
        "by_rating": _by_rating(test.rating, predicted, error, bundle.scale),
        "calibration": _calibration(test.rating, predicted, bundle.scale),
        "items": _best_and_worst(bundle, test, predicted, error),
    }


def _grouped(group: Rows, **values: Floats) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each group that has rows: its number, `rows`, and the mean of each value; of squared errors, the root."""
    rows = np.bincount(group)
    means = {name: np.bincount(group, value) / np.maximum(rows, 1) for name, value in values.items()}
    for g in np.flatnonzero(rows).tolist():
        found = {name: mean[g] ** 0.5 if name in ("rmse", "baseline") else mean[g] for name, mean in means.items()}
        yield g, {"rows": int(rows[g])} | {name: round(float(value), DIGITS) for name, value in found.items()}


def _by_count(count: Rows, error: Floats, baseline: Floats) -> Groups:
    ends = [start - 1 for start in COUNTS[1:]] + [None]
    group = np.searchsorted(COUNTS, count, side="right") - 1
    return [{"from": COUNTS[g], "to": ends[g]} | found for g, found in _grouped(group, rmse=error, baseline=baseline)]


def _by_rating(rating: Floats, predicted: Floats, error: Floats, scale: tuple[float, float]) -> Groups:
    values, group = np.unique(rating, return_inverse=True)
    if len(values) > MOST_RATINGS:
        group, values = _binned(rating, RATING_BINS, scale)
    grouped = _grouped(group, mean_predicted=predicted, rmse=error)
    return [{"rating": round(float(values[g]), DIGITS)} | found for g, found in grouped]


def _calibration(rating: Floats, predicted: Floats, scale: tuple[float, float]) -> Groups:
    group, edges = _binned(predicted, CALIBRATION_BINS, scale)
    named = [round(edge, DIGITS) for edge in edges.tolist()]
    grouped = _grouped(group, mean_predicted=predicted, mean_rating=rating)
    return [{"from": named[g], "to": named[g + 1]} | found for g, found in grouped]


def _binned(value: Floats, bins: int, scale: tuple[float, float]) -> tuple[Rows, Floats]:
    """The bin of each value, and the bins' edges, equal over the scale; its upper end is in the last one."""
    edges = np.linspace(*scale, bins + 1)
    return np.clip(np.searchsorted(edges, value, side="right") - 1, 0, bins - 1), edges


def _best_and_worst(bundle: Bundle, test: HeldOut, predicted: Floats, error: Floats) -> Mapping[str, Groups]:
    grouped = _grouped(test.item, rmse=error, mean_rating=test.rating, mean_predicted=predicted)
    named = [
        {"item_id": str(bundle.item_id(row)), "title": bundle.items[row]["title"]} | found
        for row, found in grouped
        if found["rows"] >= LEAST_ROWS
    ]
    named.sort(key=lambda item: item["rmse"])
    half = len(named) // 2  # where there are few, none is both
    return {"best": named[: min(LISTED, len(named) - half)], "worst": named[::-1][: min(LISTED, half)]}
