from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle import TEST, TRAIN, VAL, Bundle
from recsys.bundle.factors import Factors
from recsys.evaluation.error_analysis import analyse
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.holdout import predict_test_set
from tests.bundles import make_bundle, random_factors

HISTORIES = (0, 4, 5, 9, 50)  # train rows of each user of `by_hand`; the first is not fitted


def by_hand(fit_on: str = "train") -> Bundle:
    """User u has HISTORIES[u] training ratings of other items, then one test rating of item 0, which says 3 stars."""
    rated = []
    for user, history in enumerate(HISTORIES):
        rated += [(user, 1 + item, 3.0, TRAIN) for item in range(history)]
        rated.append((user, 0, 1.0 + user, TEST))
    n_items = 1 + max(HISTORIES)
    order = [1, 2, 3, 4, 0]  # a fitted user's row comes before one never seen
    rated = sorted((order.index(user), item, stars, part) for user, item, stars, part in rated)
    zeros = np.zeros
    factors = Factors(
        mu=np.array([3.0], np.float32), user_bias=zeros((4, 1), np.float32), item_bias=zeros((n_items, 1), np.float32),
        user_factors=zeros((4, 1, 1), np.float32), item_factors=zeros((n_items, 1, 1), np.float32),
        prior_mean=zeros((1, 2), np.float32), prior_precision=np.eye(2, dtype=np.float32)[None, None],
        prior_exponent=np.ones(1, np.float32),
    )  # fmt: skip
    return make_bundle(factors, [1, 2, 3, 4, 0], list(range(n_items)), rated, fit_on=fit_on)


def drawn(n_users: int = 300, n_items: int = 80, **arguments: Any) -> Bundle:
    """Random factors and ratings; the last tenth of users and items are not fitted."""
    rng = np.random.default_rng(0)
    cells = np.sort(rng.choice(n_users * n_items, n_users * n_items // 3, replace=False))
    part = rng.choice([TRAIN, TRAIN, VAL, TEST], len(cells))
    fitted_users, fitted_items = n_users * 9 // 10, n_items * 9 // 10
    user, item = np.divmod(cells, n_items)
    part[(user >= fitted_users) | (item >= fitted_items)] = TEST
    rated = list(zip(user.tolist(), item.tolist(), rng.integers(1, 6, len(cells)) * 1.0, part.tolist(), strict=True))
    factors = random_factors(n_users=fitted_users, n_items=fitted_items)
    bundle = make_bundle(factors, list(range(n_users)), list(range(n_items)), rated, fit_on="train_val")
    return replace(bundle, **arguments)


def test_groups_by_the_fitted_ratings_of_the_user() -> None:
    found = analyse(by_hand())["by_user_activity"]
    assert [(group["from"], group["to"], group["rows"]) for group in found] == [
        (0, 0, 1), (1, 4, 1), (5, 9, 2), (50, 99, 1),
    ]  # fmt: skip
    # Stars 1 to 5 were given where 3 was predicted; of 5 to 9 ratings there are two users, who gave 3 and 4.
    assert [group["rmse"] for group in found] == pytest.approx([2.0, 1.0, 0.5**0.5, 2.0], abs=1e-5)
    assert [group["baseline"] for group in found] == [group["rmse"] for group in found]  # all was rated 3


def test_groups_by_the_fitted_ratings_of_the_item() -> None:
    found = analyse(by_hand())["by_item_popularity"]
    assert [(group["from"], group["to"], group["rows"]) for group in found] == [(0, 0, 5)]
    assert found[0]["rmse"] == pytest.approx(2**0.5, abs=1e-5)


def test_validation_rows_count_as_fitted_only_where_they_were() -> None:
    bundle = by_hand()
    part = np.where(bundle.ratings.part == TRAIN, VAL, bundle.ratings.part).astype(np.uint8)
    part[1] = TRAIN
    bundle = replace(bundle, ratings=bundle.ratings._replace(part=part))
    only_training = analyse(bundle)["by_user_activity"]
    assert [(group["from"], group["rows"]) for group in only_training] == [(0, 4), (1, 1)]
    both = analyse(replace(bundle, manifest=bundle.manifest | {"fit_on": "train_val"}))["by_user_activity"]
    assert [group["rows"] for group in both] == [1, 1, 2, 1]


def test_by_rating_and_calibration() -> None:
    found = analyse(by_hand())
    assert found["by_rating"] == [
        {"rating": float(stars), "rows": 1, "mean_predicted": 3.0, "rmse": abs(stars - 3)} for stars in range(1, 6)
    ]
    assert found["calibration"] == [{"from": 3.0, "to": 3.25, "rows": 5, "mean_predicted": 3.0, "mean_rating": 3.0}]


@pytest.mark.parametrize("name", ["by_user_activity", "by_item_popularity", "by_rating"])
def test_groups_add_up_to_the_test_figures(name: str) -> None:
    bundle = drawn()
    found, figures = analyse(bundle)[name], evaluate(bundle)
    rows = np.array([group["rows"] for group in found])
    pooled = lambda key: (rows @ np.array([group[key] for group in found]) ** 2 / rows.sum()) ** 0.5  # noqa: E731
    assert len(found) > 1
    assert pooled("rmse") == pytest.approx(figures["test/rmse"], abs=1e-4)
    if name != "by_rating":
        assert pooled("baseline") == pytest.approx(figures["baseline/biases"], abs=1e-4)


def test_calibration_covers_every_row_and_the_ends_of_the_scale() -> None:
    bundle = drawn()
    wild = replace(bundle.factors, user_factors=20 * bundle.factors.user_factors)  # most predictions are clipped
    found = analyse(replace(bundle, factors=wild))["calibration"]
    assert sum(group["rows"] for group in found) == (bundle.ratings.part == TEST).sum()
    assert (found[0]["from"], found[-1]["to"]) == (1.0, 5.0)
    assert found[-1]["mean_predicted"] > 4.9
    assert all(group["from"] <= group["mean_predicted"] <= group["to"] for group in found)


def test_many_distinct_ratings_are_binned() -> None:
    bundle = drawn()
    rating = np.random.default_rng(1).uniform(1, 5, len(bundle.ratings.rating)).astype(np.float32)
    rating[:2] = 1.0, 5.0
    found = analyse(replace(bundle, ratings=bundle.ratings._replace(rating=rating)))["by_rating"]
    assert [group["rating"] for group in found] == pytest.approx(np.linspace(1, 5, 11)[:-1])
    assert sum(group["rows"] for group in found) == (bundle.ratings.part == TEST).sum()


def test_items_are_listed_by_error_and_only_with_enough_rows() -> None:
    bundle = drawn()
    listed = analyse(bundle)["items"]
    best, worst = listed["best"], listed["worst"]
    assert len(best) == len(worst) == 10
    assert [item["rmse"] for item in best] == sorted(item["rmse"] for item in best)
    assert [item["rmse"] for item in worst] == sorted((item["rmse"] for item in worst), reverse=True)
    assert best[-1]["rmse"] < worst[-1]["rmse"]
    test = bundle.ratings.part == TEST
    for item in best + worst:
        row = bundle.item_row[int(item["item_id"])]
        stars = bundle.ratings.rating[test & (bundle.ratings.item == row)]
        assert item["rows"] == len(stars) >= 5
        assert item["title"] == f"Film {row}"
        assert item["mean_rating"] == pytest.approx(stars.mean(), abs=1e-5)
    few = analyse(by_hand())["items"]
    assert [item["item_id"] for item in few["best"]] == ["0"]
    assert few["worst"] == []


def test_an_item_with_four_rows_is_not_listed() -> None:
    bundle = by_hand()
    part = bundle.ratings.part.copy()
    part[np.flatnonzero(part == TEST)[0]] = TRAIN
    assert analyse(replace(bundle, ratings=bundle.ratings._replace(part=part)))["items"] == {"best": [], "worst": []}


def test_it_is_json_without_people() -> None:
    bundle = drawn()
    names = np.array([f"person-{user}" for user in range(len(bundle.user_ids))], object)
    text = json.dumps(analyse(replace(bundle, user_ids=names)), allow_nan=False)
    assert "person" not in text
    assert len(text) < 10_000


def test_refuses_what_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="fitted on the test rows too"):
        analyse(by_hand(fit_on="all"))
    bundle = by_hand()
    none = bundle.ratings._replace(part=np.zeros_like(bundle.ratings.part))
    with pytest.raises(ValueError, match="no test rows"):
        analyse(replace(bundle, ratings=none))


def test_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'lightning', 'hydra', 'pandas'} & {*__import__('sys').modules}"
    command = [sys.executable, "-c", f"import recsys.evaluation.error_analysis; print({heavy})"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_items_with_factors_that_were_not_fitted_are_cold_and_no_baseline_knows_them() -> None:
    bundle = drawn(n_items=80)
    fitted, extra = bundle.n_items, random_factors(n_items=80)
    factors = replace(
        bundle.factors,
        item_bias=np.concatenate([bundle.factors.item_bias, extra.item_bias[fitted:]]),
        item_factors=np.concatenate([bundle.factors.item_factors, extra.item_factors[fitted:]]),
    )
    more = replace(bundle, factors=factors, manifest=bundle.manifest | {"counts": {"items": fitted}})
    before, after = predict_test_set(bundle), predict_test_set(more)
    for name, predicted in before.baselines.items():
        np.testing.assert_array_equal(after.baselines[name], predicted)
    cold = before.item >= fitted
    assert not np.allclose(after.predicted[cold], before.predicted[cold])
    np.testing.assert_array_equal(after.predicted[~cold], before.predicted[~cold])
    figures, plain = evaluate(more), evaluate(bundle)
    assert figures["test/share_cold"] == plain["test/share_cold"]
    assert figures["test/rmse_warm"] == plain["test/rmse_warm"]
    assert figures["test/rmse_cold"] != plain["test/rmse_cold"]
