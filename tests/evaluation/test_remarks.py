from __future__ import annotations

from typing import Any

import pytest

from recsys.evaluation.remarks import late_pruning, remarks
from recsys.evaluation.tables import print_metrics

GOOD: dict[str, Any] = {
    "test/rmse": 0.9, "test/mae": 0.7, "test/share_cold": 0.1, "baseline/global_mean": 1.1, "baseline/item_mean": 1.0,
    "baseline/biases": 0.95, "epochs": 30, "model": "mf",
}  # fmt: skip
CHAIN: dict[str, Any] = {"burn_in": None, "thin": 5}


def test_a_good_result_has_none() -> None:
    assert remarks(GOOD) == remarks(GOOD, {"embedding_dim": 8}) == remarks(GOOD, CHAIN) == []
    assert remarks({}) == []
    assert remarks(dict.fromkeys(GOOD)) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0.95, None),
        (0.95001, None),  # no difference to speak of
        (0.96, "a baseline, biases: test RMSE 0.9600, baseline 0.9500"),
        (1.05, "a baseline, item means: test RMSE 1.0500, baseline 1.0000"),
        (1.2, "a baseline, global mean: test RMSE 1.2000, baseline 1.1000"),
    ],
)
def test_a_model_worse_than_a_baseline_is_compared_with_the_simplest(error: float, said: str | None) -> None:
    found = remarks(GOOD | {"test/rmse": error})
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
    assert said is None or "take model=biases" in found[0]


def test_biases_are_no_advice_where_they_are_worse_than_that_baseline() -> None:
    [found] = remarks(GOOD | {"test/rmse": 1.2, "baseline/biases": 1.15})
    assert found.endswith("baseline 1.1000; tune it (hparams_search=optuna)")


def test_biases_are_not_to_be_replaced_by_themselves() -> None:
    [found] = remarks(GOOD | {"test/rmse": 0.96, "model": "biases"})
    assert found.endswith("baseline 0.9500")


def test_a_ranking_below_popularity() -> None:
    ranked = {"ranking/ndcg@10": 0.1, "baseline/popularity_ndcg@10": 0.2}
    [found] = remarks(ranked)
    assert found.endswith("NDCG@10 0.1000, popularity 0.2000")
    [found] = remarks(GOOD | ranked)
    assert "model=ials" in found
    assert remarks({"ranking/ndcg@10": 0.2, "baseline/popularity_ndcg@10": 0.2}) == []


def test_a_model_worse_than_running_biases() -> None:
    [found] = remarks({"prequential/rmse": 1.0, "baseline/running_biases": 0.9})
    assert "prequential RMSE 1.0000, running biases 0.9000" in found


@pytest.mark.parametrize(
    ("epochs", "arguments", "said"),
    [
        (20, {"burn_in": 20, "thin": 5}, r"20 sweeps ends within its burn-in (model.burn_in=20)"),
        (10, {"burn_in": 20, "thin": 1}, "10 sweeps ends within its burn-in"),
        (22, {"burn_in": 20, "thin": 5}, "22 sweeps keeps no sample (model.thin=5 after a burn-in of 20)"),
        (25, {"burn_in": 20, "thin": 5}, None),
        (5, {"burn_in": None, "thin": 5}, "5 sweeps keeps no sample (model.thin=5 after a burn-in of 1)"),
        (6, {"burn_in": None, "thin": 5}, None),
        (1, {"burn_in": 0, "thin": 1}, None),
        (1, {"embedding_dim": 8}, None),
        (None, {"burn_in": 20, "thin": 5}, None),
    ],
)
def test_a_chain_that_keeps_no_sample(epochs: int | None, arguments: dict[str, Any], said: str | None) -> None:
    found = remarks({"epochs": epochs}, arguments)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_a_wholly_cold_test_set() -> None:
    [found] = remarks(GOOD | {"test/share_cold": 1.0})
    assert found.startswith("all test rows are cold")
    assert remarks({"test/share_cold": 0.999}) == []


@pytest.mark.parametrize(("late", "trials", "said"), [(3, 5, True), (2, 2, False), (5, 10, False), (17, 20, True)])
def test_trials_pruned_when_they_are_done(late: int, trials: int, said: bool) -> None:
    found = late_pruning(late, trials)
    assert (found is not None) == said
    assert found is None or found.startswith(f"{late} of {trials} trials were pruned at the end of their epochs")


def test_they_stand_below_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    subsets = {f"{key}{subset}": GOOD[key] for key in GOOD for subset in ("_warm", "_cold") if "/" in key}
    print_metrics(GOOD | subsets | {"test/rmse": 1.2}, "mf on small", CHAIN)
    assert capsys.readouterr().out.splitlines()[-1].startswith("warning: the model is worse than a baseline")
