"""Prequential (test-then-train) evaluation: each test rating is predicted from its user's earlier ratings.

The model stays as it was fitted. A user is the fold-in of their strictly earlier ratings, fitted and
test rows alike, as a service would have known them at that moment; ratings at the same time are not earlier.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import TEST, Bundle
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray
from recsys.evaluation.baselines import fit_biases, running_user_biases
from recsys.evaluation.holdout import TestSet, predict_test_set
from recsys.evaluation.metrics import rating_metrics
from recsys.evaluation.past_vectors import vectors_before
from recsys.evaluation.prequential_items import predict_new_items
from recsys.evaluation.protocol import TIME_SPLITS
from recsys.progress import track

EVALUATIONS = ("standard", "prequential")
ITEMS = ("frozen", "fold_in")  # that were not fitted

log = logging.getLogger(__name__)


def prequential(bundle: Bundle, test: TestSet | None = None, items: str = "frozen") -> dict[str, float | None]:
    """Metrics of predicting each test rating from its user's earlier ones, and those of a baseline.

    The baseline is the fitted item bias plus a running user bias, the shrunk mean of the user's residuals so far.

    Args:
        bundle: The model.
        test: Its predicted test rows, if they are at hand.
        items: `frozen`: items that were not fitted stay as they are; `fold_in`: also predict with each folded in from
            its own earlier ratings (`recsys.evaluation.prequential_items`).

    Returns:
        In stars: `prequential/rmse`, `prequential/mae` and `baseline/running_biases` (RMSE); for users without a fitted
        rating `prequential/rmse_unseen` and `baseline/running_biases_unseen`, None if there are none, and
        `prequential/share_unseen`, their share of the test rows. With `items=fold_in`, also for items without a fitted
        rating `prequential/rmse_unseen_items` and `prequential/share_unseen_items`, and, with these items folded in,
        `prequential/rmse_unseen_items_fold_in` and `prequential/rmse_items_fold_in` (RMSE of all test rows).

    Raises:
        ValueError: The bundle ranks, cannot fold in, has no timestamps, was not split by time, was fitted on its test
            rows, or has none; or cannot fold in items, and is to.
    """
    _check(bundle)
    if items == "fold_in" and not bundle.can_fold_in_items:
        raise ValueError("items=fold_in needs a bundle with a prior of items; train it again")
    test = test or predict_test_set(bundle)
    rows = np.flatnonzero(bundle.ratings.part == TEST)
    log.info("prequential: predicting each of %s test ratings from its user's earlier ones", f"{len(rows):,}")
    seen = test.user < bundle.n_users
    predicted = predict_prequential(bundle)
    model = rating_metrics(predicted[rows], test.rating, seen)
    baseline = rating_metrics(_running_biases(bundle, test.fitted)[rows], test.rating, seen)
    return {
        "prequential/rmse": model["rmse"],
        "prequential/rmse_unseen": model["rmse_cold"],
        "prequential/mae": model["mae"],
        "prequential/share_unseen": model["share_cold"],
        "baseline/running_biases": baseline["rmse"],
        "baseline/running_biases_unseen": baseline["rmse_cold"],
        **(_with_items(bundle, predicted, test) if items == "fold_in" else {}),
    }


def _with_items(bundle: Bundle, predicted: Float32Array, test: TestSet) -> dict[str, float | None]:
    """Metrics of items that were not fitted, as they are and folded in from their earlier ratings."""
    log.info("prequential: folding in items that were not fitted from their earlier ratings")
    rows, folded = np.flatnonzero(bundle.ratings.part == TEST), predict_new_items(bundle)
    seen = test.item < bundle.fitted_items
    frozen = rating_metrics(predicted[rows], test.rating, seen)
    after = rating_metrics(np.where(np.isnan(folded), predicted, folded)[rows], test.rating, seen)
    return {
        "prequential/rmse_unseen_items": frozen["rmse_cold"],
        "prequential/rmse_unseen_items_fold_in": after["rmse_cold"],
        "prequential/rmse_items_fold_in": after["rmse"],
        "prequential/share_unseen_items": frozen["share_cold"],
    }


def check_evaluation(evaluation: str, split: str | None = None, items: str = "frozen") -> None:
    """Raise a ValueError unless both are valid, and possible with that split (None: not known yet)."""
    for name, value, allowed in (("evaluation", evaluation, EVALUATIONS), ("items", items, ITEMS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    if items == "fold_in" and evaluation != "prequential":
        raise ValueError(f"items=fold_in needs evaluation=prequential, got {evaluation}")
    if evaluation == "prequential" and split not in (None, *TIME_SPLITS):
        raise ValueError(
            f"evaluation=prequential needs a split in time ({', '.join(TIME_SPLITS)}), got {split}, where a "
            "model was fitted on ratings that a test row's user gave later"
        )


def _check(bundle: Bundle) -> None:
    if bundle.is_ranking:
        raise ValueError("evaluation=prequential needs predicted stars, and this model ranks items")
    if not bundle.can_fold_in:
        raise ValueError(
            f"evaluation=prequential needs a model that can fold in, and a {bundle.manifest.get('model')} cannot"
        )
    if "split" not in bundle.manifest or bundle.ratings.timestamp is None:
        missing = "timestamps" if "split" in bundle.manifest else "the name of its split"
        raise ValueError(f"evaluation=prequential: this bundle lacks {missing}; train it again")
    check_evaluation("prequential", bundle.manifest["split"])


def _running_biases(bundle: Bundle, fitted: NDArray[np.bool_]) -> Float64Array:
    """The baseline's prediction of every rating, `(ratings,)`."""
    rated, user = bundle.ratings, bundle.ratings.user_index()
    item = rated.item.astype(np.int64)
    assert rated.timestamp is not None
    biases = fit_biases(user[fitted], item[fitted], rated.rating[fitted], bundle.n_users, bundle.n_items)
    level = biases.predict(np.full(len(user), -1), np.where(item < bundle.n_items, item, -1))
    return np.clip(level + running_user_biases(user, rated.timestamp, rated.rating - level), *bundle.scale)


def predict_prequential(bundle: Bundle) -> Float32Array:
    """Stars of every test row, given its user's earlier ratings: `(ratings,)`, NaN for the other rows."""
    rated = bundle.ratings
    predicted = np.full(len(rated.part), np.nan, np.float32)
    users = np.unique(rated.user_index()[rated.part == TEST]).tolist()
    for user in track(users, "predicting in time order"):
        for rows, stars in _predict_user(bundle, user):
            predicted[rows] = stars
    return predicted


def _predict_user(bundle: Bundle, user: int) -> Iterator[tuple[IndexArray, Float32Array]]:
    """Test rows of a user in `bundle.ratings`, which has timestamps, and their predicted stars, piece by piece."""
    entries = bundle.ratings.slice_of(user)
    test = np.arange(entries.start, entries.stop)[bundle.ratings.part[entries] == TEST]
    for rows, vectors in vectors_before(bundle, user, test):
        yield rows, bundle.stars_for(vectors, bundle.ratings.item[rows])
