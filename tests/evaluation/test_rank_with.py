"""Metrics of lists that a ranking bundle orders for another one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import TEST, VAL, Bundle
from recsys.evaluation.evaluate import evaluate_ranking
from recsys.evaluation.rank_with import evaluate_rank_with, fit_mix
from tests.bundles import random_factors
from tests.evaluation.test_fit_lists import ITEMS, USERS, two_tastes


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    made = two_tastes()
    part = made.ratings.part.copy()
    part[np.flatnonzero(part == VAL)[1::2]] = TEST
    return replace(made, ratings=made.ratings._replace(part=part))


@pytest.fixture(scope="module")
def ranking(bundle: Bundle) -> Bundle:
    factors = random_factors(n_users=USERS, n_items=ITEMS, seed=5)
    return replace(bundle, factors=factors, manifest=bundle.manifest | {"task": "ranking"})


def test_the_order_is_that_of_the_ranking_bundle(bundle: Bundle, ranking: Bundle) -> None:
    own = evaluate_ranking(ranking)
    for name, value in evaluate_rank_with(bundle, ranking).items():
        assert value == pytest.approx(own[f"ranking/{name}"])


def test_the_weight_is_the_best_on_validation_rows(bundle: Bundle, ranking: Bundle) -> None:
    side = np.where(np.arange(ITEMS) % 2, 1, -1).astype(np.float32)[:, None, None] * np.float32(3)
    taste = np.where(np.arange(USERS) % 2, 1, -1).astype(np.float32)[:, None, None]
    knows = replace(
        bundle.factors, user_factors=taste * np.ones((1, 1, 3), np.float32),
        item_factors=side * np.ones((1, 1, 3), np.float32),
    )  # fmt: skip
    found = fit_mix(replace(bundle, factors=knows), ranking)
    assert found.weight > 0
    assert found.ndcg[found.weight] == max(found.ndcg.values())
    mixed = evaluate_rank_with(replace(bundle, factors=knows), ranking, found.weight)["ndcg@10"]
    assert mixed is not None
    assert mixed > 1.2 * evaluate_rank_with(bundle, ranking)["ndcg@10"]


def test_a_weight_is_not_fitted_on_rows_that_a_model_has_seen(bundle: Bundle, ranking: Bundle) -> None:
    seen = replace(ranking, manifest=ranking.manifest | {"fit_on": "train_val"})
    with pytest.raises(ValueError, match="refit=none"):
        fit_mix(bundle, seen)
