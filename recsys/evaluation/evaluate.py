"""Test metrics of a bundle, beside those of the baselines, and their comparison with the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.bundle import HISTORY, Bundle
from recsys.bundle.ranking import Order
from recsys.evaluation.calibration import calibration_metrics
from recsys.evaluation.case_values import case_values
from recsys.evaluation.cases import Cases, cases_of
from recsys.evaluation.holdout import TestSet, predict_test_set, test_rows
from recsys.evaluation.list_orders import default_order, in_order
from recsys.evaluation.metrics import rating_metrics
from recsys.evaluation.past_vectors import scores_of_histories
from recsys.evaluation.ranking import RankedCases, in_blocks, popularity_of, ranked
from recsys.evaluation.registry import (
    CASE_SUBSETS,
    SUBSETS,
    TARGETS,
    TEST_PREFIX,
    Metrics,
    in_group,
    measure,
    popularity_prefix,
    ranking_prefix,
)

REL_TOL, ABS_TOL = 1e-9, 1e-12  # threads and machines round differently
PREQUENTIAL_REL_TOL = 1e-6  # its many small solves amplify that


def evaluate(
    bundle: Bundle, test_set: TestSet | None = None, *, ranking: bool = False, folder: Path | None = None
) -> Metrics:
    """Test metrics of a bundle, and of the baselines fitted on the same rows.

    Args:
        bundle: The model.
        test_set: Its predicted test rows, if they are at hand.
        folder: Of the run, which keeps the ranking metrics of each case; None: they are not kept.
        ranking: Add the metrics of `evaluate_ranking`, which with `test/share_cold` are those of a ranking model.

    Returns:
        By their keys in `metrics.json`: each rating metric as `test/<name>`, also `_warm` and `_cold`;
        `test/share_cold`; `baseline/<name>`, the RMSE of the global mean, item means and biases, also `_warm` and
        `_cold`; with predictive uncertainty, each interval metric as `test/<name>`. None for an empty subset.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    if bundle.is_ranking:
        return evaluate_ranking(bundle, folder=folder) | {"test/share_cold": _share_cold(bundle)}
    test_set = test_set or predict_test_set(bundle)
    warm = (test_set.user < bundle.n_users) & (test_set.item < bundle.fitted_items)
    metrics = _prefixed(TEST_PREFIX["rating"], rating_metrics(test_set.predicted, test_set.rating, warm))
    for name, predicted in test_set.baselines.items():
        found = rating_metrics(predicted, test_set.rating, warm)
        metrics |= {f"baseline/{name}{subset}": found[f"rmse{subset}"] for subset in SUBSETS}
    metrics |= _prefixed(TEST_PREFIX["intervals"], calibration_metrics(bundle, test_set))
    return metrics | evaluate_ranking(bundle, folder=folder) if ranking else metrics


def evaluate_ranking(
    bundle: Bundle, targets: str = "all", order: Order | None = None, *, folder: Path | None = None
) -> Metrics:
    """Ranking metrics of full-catalogue lists for the test users, of the model and of the most popular items.

    A list may hold every item except those of its case's history (`recsys.evaluation.cases`). A user without a history
    has the average user's list, as in service; an item without factors is in no list and counts as missed. All test
    items are relevant, whatever their rating.

    Args:
        bundle: The model.
        targets: One of `TARGETS`. For `all`, a user is as the model was fitted, and otherwise folded in from all rows
            before the target; so is a held-out user.
        order: Of the model's lists; None: the bundle's default.
        folder: Of the run, which keeps the metrics of each case (`CaseValues`); None: they are not kept.

    Returns:
        `ranking/<name>` and `baseline/popularity_<name>` of each ranking metric; NDCG@10 also `_warm` (targets that the
        model was fitted on, for users that it was fitted on), `_cold_users` (all targets of the others) and
        `_cold_items` (the other targets), None if there are none; `ranking/cases`, the number of cases, also of these
        subsets; `ranking/share_absent`, the share of the targets that the model was not fitted on;
        `ranking/share_tied`, the share of the cases in which the order of equal times decides what the target is, None
        without times. For other targets than `all`, `ranking_<targets>/` and `baseline/popularity_<targets>_`.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none; or the targets are not possible with this
            bundle.
    """
    (_, fitted), cases = test_rows(bundle), cases_of(bundle, targets)
    known = bundle.ratings.user_index()[fitted], bundle.ratings.item[fitted].astype(np.int64)
    counts = np.bincount(known[1], minlength=bundle.n_items).astype(np.float32)
    of_histories = targets != "all" or bundle.reads_query_time or bool((bundle.ratings.part == HISTORY).any())
    as_fitted = in_blocks(cases, lambda users: bundle.scores_of(users, fitted))
    scored = scores_of_histories(bundle, cases) if of_histories else as_fitted
    scored = in_order(bundle, cases, scored, order or default_order(bundle), folded=of_histories)
    model = ranked(cases, scored, popularity := popularity_of(known))
    by_count = in_blocks(cases, lambda users: np.broadcast_to(counts, (len(users), len(counts))))
    popular = ranked(cases, by_count, popularity)
    if folder is not None:
        case_values(bundle, cases, model.values()).save(folder, targets)
    prefix = ranking_prefix(targets)
    return (
        _prefixed(prefix, measure("ranking", model.lists()))
        | _prefixed(prefix, _by_subset(bundle, cases, model))
        | _prefixed(popularity_prefix(targets), measure("ranking", popular.lists()))
    )


def _by_subset(bundle: Bundle, cases: Cases, model: RankedCases) -> Metrics:
    """What monitors are for subsets of the cases, and how many cases there are."""
    cold_user, absent = (cases.user >= bundle.n_users)[cases.case], cases.item >= bundle.fitted_items
    targets = dict(zip(CASE_SUBSETS, (cold_user | ~cold_user, ~cold_user & ~absent, cold_user, absent), strict=True))
    found: Metrics = {}
    for metric in (one for one in in_group("ranking") if one.monitors):
        for subset, chosen in list(targets.items())[1:]:
            found |= {
                metric.name + subset: measure("ranking", model.lists(chosen), [metric.name])[metric.name]
                if chosen.any()
                else None
            }
    found |= {f"cases{subset}": len(np.unique(cases.case[chosen])) for subset, chosen in targets.items()}
    tied = None if cases.tied is None else float(cases.tied.mean())
    return found | {"share_absent": float(absent.mean()), "share_tied": tied}


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
    prefixes = {*TEST_PREFIX.values(), *map(ranking_prefix, TARGETS), "baseline/"}
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
