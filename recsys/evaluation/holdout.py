"""The test rows of a bundle, with the predictions of the model and of the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import HISTORY, TEST, Bundle, Predictions
from recsys.bundle.factors import UserVector
from recsys.bundle.ratings import LAST_PART
from recsys.bundle.typing import Float64Array, Int64Array
from recsys.evaluation.baselines import Biases, fit_biases, fit_item_means


@dataclass(frozen=True, eq=False)
class TestSet:
    """Test rows with the predictions of the model and of baselines that were fitted on the same rows."""

    __test__: ClassVar = False  # no test case, whatever pytest takes the name for

    user: Int64Array  # (test rows,) rows of `user_ids`, beyond the fitted ones too
    item: Int64Array  # (test rows,)
    rating: Float64Array  # (test rows,) stars
    fitted: NDArray[np.bool_]  # (ratings,) which of `bundle.ratings` the model was fitted on
    predicted: NDArray[np.floating]  # (test rows,) clipped to the scale
    baselines: Mapping[str, Float64Array]  # by name, each (test rows,), clipped to the scale


def test_rows(bundle: Bundle) -> tuple[Int64Array, NDArray[np.bool_]]:
    """Positions of the test rows in `bundle.ratings`, and a mask of the rows that the model was fitted on.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    if bundle.manifest["fit_on"] == "all":
        raise ValueError(
            "this bundle was fitted on the test rows too (refit=all), so they cannot evaluate it; the metrics in its "
            "manifest are those of the model before"
        )
    part = bundle.ratings.part
    test = np.flatnonzero(part == TEST)
    if not len(test):
        raise ValueError("this bundle has no test rows")
    return test, fitted_rows(bundle)


def fitted_rows(bundle: Bundle) -> NDArray[np.bool_]:
    """Which rows of `bundle.ratings` the model was fitted on, `(ratings,)`."""
    return bundle.ratings.part <= LAST_PART[bundle.manifest["fit_on"]]


def predict_test_set(bundle: Bundle) -> TestSet:
    """Predict a bundle's test rows.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    test, fitted = test_rows(bundle)
    ratings = bundle.ratings
    user, item = ratings.user_index()[test], ratings.item[test].astype(np.int64)
    known = [np.where(row < count, row, -1) for row, count in ((user, bundle.n_users), (item, bundle.fitted_items))]
    baselines = {name: np.clip(b.predict(*known), *bundle.scale) for name, b in _fit_baselines(bundle, fitted).items()}
    predicted = predictions_of(bundle, user, item).mean
    return TestSet(user, item, ratings.rating[test].astype(float), fitted, predicted, baselines)


def predictions_of(bundle: Bundle, user: Int64Array, item: Int64Array, *, std: bool = False) -> Predictions:
    """As `Bundle.predictions` of rows, with held-out users folded in from their history."""
    if not (bundle.ratings.part == HISTORY).any():
        return bundle.predictions(user, item, std=std)
    order = np.argsort(user, kind="stable")
    starts = np.unique(user[order], return_index=True)[1]
    found = [
        bundle.predictions_for(vector_of(bundle, int(user[rows[0]])), item[rows], std=std)
        for rows in np.split(order, starts[1:])
    ]
    back = np.argsort(order)
    columns = zip(*((one.mean, one.std, one.probabilities) for one in found), strict=True)
    joined = [None if parts[0] is None else np.concatenate(parts)[back] for parts in columns]
    assert joined[0] is not None
    return Predictions(joined[0], *joined[1:])


def vector_of(bundle: Bundle, user: int) -> UserVector:
    """A user's vector as `Bundle.vector`; a held-out user's is the fold-in of their history (`HISTORY`)."""
    entries, rated = bundle.ratings.slice_of(user), bundle.ratings
    known = np.arange(entries.start, entries.stop)
    known = known[(rated.part[entries] == HISTORY) & (rated.item[entries] < bundle.n_items)]
    if not len(known):
        return bundle.vector(user)
    return bundle.fold_in_entries(user, known).vector


def _fit_baselines(bundle: Bundle, fitted: NDArray[np.bool_]) -> dict[str, Biases]:
    user, item, rating = bundle.ratings.user_index()[fitted], bundle.ratings.item[fitted], bundle.ratings.rating[fitted]
    items = fit_item_means(item.astype(np.int64), rating, bundle.n_users, bundle.fitted_items)
    return {
        "global_mean": Biases(items.mu, np.zeros(bundle.n_users), np.zeros(bundle.fitted_items)),
        "item_mean": items,
        "biases": fit_biases(user, item.astype(np.int64), rating, bundle.n_users, bundle.fitted_items),
    }
