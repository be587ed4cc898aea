"""Widths learned from validation rows of made data, of which the tables' true widths are known."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.bundle import TEST, TRAIN, VAL, Bundle
from recsys.bundle.compression import compressed_bundle, narrowed_bundle
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.fit_widths import PartialSums, fit_widths
from tests.bundles import make_bundle, random_factors

USERS, ITEMS, DIM = 120, 40, 8


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Ratings are predictions by the first two principal coordinates, and by all eight where a user has many."""
    rng = np.random.default_rng(0)
    factors = random_factors(n_users=USERS, n_items=ITEMS, dim=DIM)
    ids = list(range(USERS)), list(range(ITEMS))
    whole = compressed_bundle(make_bundle(factors, *ids, fit_on="train", noise=0.9), DIM)
    users, items = whole.factors.user_factors[:, 0], whole.factors.item_factors[:, 0]
    rated = []
    for user in range(USERS):
        many = user % 2
        width = DIM if many else 2
        level = whole.factors.mu[0] + whole.factors.user_bias[user, 0] + whole.factors.item_bias[:, 0]
        stars = np.clip(level + items[:, :width] @ users[user, :width], 1, 5)
        items_of = rng.permutation(ITEMS)[: 36 if many else 12].tolist()
        rated += [(user, item, float(stars[item]), int(rng.choice([TRAIN, TRAIN, VAL, TEST]))) for item in items_of]
    return make_bundle(whole.factors, *ids, rated, fit_on="train", noise=0.9)


def test_partial_sums_are_the_predictions_of_the_narrowed_bundle(bundle: Bundle) -> None:
    rule, figures = fit_widths(bundle)
    sums = PartialSums(bundle)
    served = narrowed_bundle(bundle, rule)
    tables = served.factors.user_factors, served.factors.item_factors
    assert sums.share(rule) >= sum(np.count_nonzero(table) for table in tables) / (DIM * (USERS + ITEMS))
    rows = np.flatnonzero(bundle.ratings.part == VAL)
    predicted = served.predict_rows(bundle.ratings.user_index()[rows], bundle.ratings.item[rows].astype(np.int64))
    rmse = np.sqrt(np.mean((predicted - bundle.ratings.rating[rows]) ** 2))
    assert sums.rmse(rule) == pytest.approx(rmse, abs=1e-5)
    assert figures["rmse"] == pytest.approx(rmse, abs=1e-5)


def test_rows_with_many_ratings_are_wider(bundle: Bundle) -> None:
    rule, figures = fit_widths(bundle)
    width = rule.widths(rule.users, np.array([8, 20]))
    assert width[0] <= 3
    assert width[1] >= 6
    assert figures["share"] < 0.8 * figures["uniform_share"]
    assert figures["rmse"] <= figures["best_rmse"] + 0.001
    test = evaluate(narrowed_bundle(bundle, rule))["test/rmse"], evaluate(bundle)["test/rmse"]
    assert test[0] < test[1] + 0.01


def test_validation_rows_are_needed(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="small has no validation rows, by which compress=auto chooses widths"):
        fit_widths(make_bundle(bundle.factors, [*range(USERS)], [*range(ITEMS)], [(0, 0, 3.0, TRAIN)]))
