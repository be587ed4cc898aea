"""Ranking metrics of lists in a bundle's default order, and in any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import TEST, VAL, Bundle
from recsys.bundle.ranking import Order
from recsys.evaluation.evaluate import evaluate_ranking
from recsys.evaluation.fit_lists import fit_lists, with_lists
from recsys.evaluation.list_orders import orders_of
from recsys.evaluation.tables import print_orders
from tests.evaluation.test_fit_lists import two_tastes


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Fitted defaults, and half of what they were learned from as test rows, in order of time."""
    made = two_tastes(samples=2)
    part = made.ratings.part.copy()
    part[np.flatnonzero(part == VAL)[1::2]] = TEST
    times = np.arange(len(part), dtype=np.int64)
    made = with_lists(made, fit_lists(made))
    return replace(made, ratings=made.ratings._replace(part=part, timestamp=times), manifest=made.manifest | {
        "split": "leave_one_out"
    })  # fmt: skip


def test_the_default_order_is_that_of_the_figures(bundle: Bundle) -> None:
    by_default = evaluate_ranking(bundle)
    orders = orders_of(bundle)
    assert list(orders) == ["stars", "gain", "bound", "liking"]
    assert by_default == evaluate_ranking(bundle, order=orders["liking"])
    assert by_default["ranking/ndcg@10"] > 1.5 * evaluate_ranking(bundle, order=orders["stars"])["ranking/ndcg@10"]


@pytest.mark.parametrize("rank_by", ["stars", "gain", "bound", "liking"])
def test_figures_are_those_of_recommended_lists(bundle: Bundle, rank_by: str) -> None:
    found = evaluate_ranking(bundle, order=Order(rank_by))
    hits = []
    fitted = replace(bundle, ratings=bundle.ratings._replace(item=bundle.ratings.item))
    for user in range(bundle.n_users):
        entries = fitted.ratings.slice_of(user)
        known = fitted.ratings.item[entries][fitted.ratings.part[entries] == 0]
        scores = bundle.ranker.scores(bundle.vector(user), Order(rank_by), known)
        scores[known] = -np.inf
        target = fitted.ratings.item[entries][fitted.ratings.part[entries] == TEST]
        hits.append(np.isin(np.argsort(-scores, kind="stable")[:10], target).any())
    assert found["ranking/hr@10"] == pytest.approx(np.mean(hits))


def test_a_bundle_without_defaults_has_the_figures_that_it_had(bundle: Bundle) -> None:
    old = replace(bundle, manifest={name: one for name, one in bundle.manifest.items() if name != "ranking"})
    assert evaluate_ranking(old) == evaluate_ranking(bundle, order=Order("stars"))


def test_orders_of_folded_in_histories(bundle: Bundle) -> None:
    for rank_by in ("bound", "liking"):
        found = evaluate_ranking(bundle, "last", Order(rank_by))
        assert found["ranking_last/cases"] == 200
    assert found["ranking_last/ndcg@10"] > 0.2  # of 30 items of the taste that is left


def test_the_table_names_orders_and_thresholds(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    orders = {"gain": Order("gain", 5), "liking": Order("liking")}
    print_orders({name: evaluate_ranking(bundle, order=order) for name, order in orders.items()}, orders)
    out = capsys.readouterr().out
    assert "gain  liking" in out
    assert "with min_ratings: gain 5, liking 0" in out


def test_a_ranking_model_has_no_orders(bundle: Bundle) -> None:
    ranks = replace(bundle, manifest=bundle.manifest | {"task": "ranking"})
    with pytest.raises(ValueError, match="one order"):
        orders_of(ranks)
    with pytest.raises(ValueError, match="rank_by must be one of"):
        orders_of(bundle, "best")
