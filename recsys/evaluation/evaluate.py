"""Test metrics of a bundle, beside those of the baselines, and their comparison with the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.bundle import Bundle
from recsys.evaluation.calibration import calibration_metrics
from recsys.evaluation.holdout import TestSet, predict_test_set, test_rows
from recsys.evaluation.metrics import Metrics, catalogue_metrics, rating_metrics
from recsys.evaluation.registry import SUBSETS, TEST_PREFIX

REL_TOL, ABS_TOL = 1e-9, 1e-12  # threads and machines round differently
PREQUENTIAL_REL_TOL = 1e-6  # its many small solves amplify that


def evaluate(bundle: Bundle, test_set: TestSet | None = None, *, ranking: bool = False) -> Metrics:
    """Test metrics of a bundle, and of the baselines fitted on the same rows.

    Args:
        bundle: The model.
        test_set: Its predicted test rows, if they are at hand.
        ranking: Add the metrics of `evaluate_ranking`, which with `test/share_cold` are those of a ranking model.

    Returns:
        By their keys in `metrics.json`: each rating metric as `test/<name>`, also `_warm` and `_cold`;
        `test/share_cold`; `baseline/<name>`, the RMSE of the global mean, item means and biases, also `_warm` and
        `_cold`; with predictive uncertainty, each interval metric as `test/<name>`. None for an empty subset.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    if bundle.is_ranking:
        return evaluate_ranking(bundle) | {"test/share_cold": _share_cold(bundle)}
    test_set = test_set or predict_test_set(bundle)
    warm = (test_set.user < bundle.n_users) & (test_set.item < bundle.fitted_items)
    metrics = _prefixed(TEST_PREFIX["rating"], rating_metrics(test_set.predicted, test_set.rating, warm))
    for name, predicted in test_set.baselines.items():
        found = rating_metrics(predicted, test_set.rating, warm)
        metrics |= {f"baseline/{name}{subset}": found[f"rmse{subset}"] for subset in SUBSETS}
    metrics |= _prefixed(TEST_PREFIX["intervals"], calibration_metrics(bundle, test_set))
    return metrics | evaluate_ranking(bundle) if ranking else metrics


def evaluate_ranking(bundle: Bundle) -> Metrics:
    """Ranking metrics of full-catalogue lists for the test users, of the model and of the most popular items.

    A list may hold every item except those that the model was fitted on with this user. A user without fitted ratings
    has the average user's list, as in service; an item without factors is in no list and counts as missed. All test
    items are relevant, whatever their rating.

    Returns:
        `ranking/<name>` and `baseline/popularity_<name>` of each ranking metric.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    test, fitted = test_rows(bundle)
    user, item = bundle.ratings.user_index(), bundle.ratings.item.astype(np.int64)
    known, held_out = ((user[rows], item[rows]) for rows in (fitted, test))
    counts = np.bincount(known[1], minlength=bundle.n_items).astype(np.float32)
    model = catalogue_metrics(lambda users: bundle.scores_of(users, fitted), known, held_out)
    popularity = catalogue_metrics(lambda users: np.broadcast_to(counts, (len(users), len(counts))), known, held_out)
    return _prefixed(TEST_PREFIX["ranking"], model) | _prefixed("baseline/popularity_", popularity)


def _share_cold(bundle: Bundle) -> float:
    """Share of the test rows whose user or item the model was not fitted on."""
    test, _ = test_rows(bundle)
    user, item = bundle.ratings.user_index()[test], bundle.ratings.item[test]
    return float(((user >= bundle.n_users) | (item >= bundle.fitted_items)).mean())


def _prefixed(prefix: str, metrics: Metrics) -> Metrics:
    return {prefix + name: value for name, value in metrics.items()}


@dataclass(frozen=True)
class Comparison:
    """Computed metrics against the recorded ones."""

    equal: list[str]  # keys, within the tolerance
    different: dict[str, tuple[float | None, Any]]  # computed and recorded value
    new: list[str]  # computed here, absent from an older record
    missing: list[str]  # recorded, but no longer computed


def compare_metrics(computed: Metrics, recorded: Mapping[str, Any]) -> Comparison:
    """Compare what both sides have, to 1e-9 relative or 1e-12 absolute."""
    both = [key for key in computed if key in recorded]
    different = {
        key: (computed[key], recorded[key]) for key in both if not _is_close(key, computed[key], recorded[key])
    }
    prefixes = {*TEST_PREFIX.values(), "baseline/"}
    return Comparison(
        equal=[key for key in both if key not in different],
        different=different,
        new=[key for key in computed if key not in recorded],
        missing=[key for key in recorded if key.startswith(tuple(prefixes)) and key not in computed],
    )


def _is_close(key: str, computed: float | None, recorded: Any) -> bool:
    if computed is None or not isinstance(recorded, int | float):
        return computed is None and recorded is None
    tolerance = PREQUENTIAL_REL_TOL if key.startswith("prequential/") else REL_TOL
    return math.isclose(computed, recorded, rel_tol=tolerance, abs_tol=ABS_TOL)
