"""Ranking figures of a bundle, on one whose lists are known by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.factors import Factors
from recsys.evaluation.case_values import CaseValues
from recsys.evaluation.evaluate import compare_metrics, evaluate, evaluate_ranking
from recsys.evaluation.metrics import Metrics
from recsys.evaluation.tables import print_metrics
from tests.bundles import ITEMS, USERS, history_bundle, history_factors, make_bundle
from tests.commands import Train, call, call_function, copy_run

pytestmark = pytest.mark.long

TRAIN, VAL, TEST = 0, 1, 2
# Linear parts of `two_by_three`: user 0 has items 0: 4.25, 1: 7.5, 2: -1.25; user 1 has 0: 2.25, 1: -1.5, 2: 6.75;
# the average user 0: 3.25, 1: 3, 2: 2.75. User 2 and item 3 were not fitted.
RATED = [(0, 0, 4.0, TEST), (0, 1, 2.0, TRAIN), (0, 2, 1.0, TRAIN), (1, 1, 1.0, TEST), (1, 2, 1.0, VAL),
         (1, 3, 5.0, TEST), (2, 1, 3.0, TEST)]  # fmt: skip


def bundle(factors: Factors, **manifest: Any) -> Bundle:
    return make_bundle(factors, USERS, ITEMS, RATED, **{"fit_on": "train_val"} | manifest)


def test_ranking_by_hand(two_by_three: Factors) -> None:
    """User 0: item 0 alone is left, a hit. User 1: 0, then 1, of two wanted. User 2, not fitted: 0, then 1."""
    found = evaluate_ranking(bundle(two_by_three))
    second = 1 / math.log2(3)
    assert found["ranking/recall@10"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["ranking/ndcg@10"] == pytest.approx((1 + second / (1 + second) + second) / 3)
    assert found["ranking/hr@20"] == 1


def test_rows_that_were_not_fitted_may_be_recommended(two_by_three: Factors) -> None:
    """Without refit the validation row, item 2 of user 1, is in the list before the test item."""
    found = evaluate_ranking(bundle(two_by_three, fit_on="train"))
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    assert found["ranking/ndcg@10"] == pytest.approx((1 + third / (1 + second) + second) / 3)


def test_a_history_has_no_test_rows() -> None:
    """Weights of each item on itself alone would put every test item first, were it in the history."""
    leaking, none = (
        evaluate_ranking(history_bundle(history_factors(weights=weight * np.eye(12)))) for weight in (100, 0)
    )
    assert leaking == none


def test_popularity_counts_fitted_ratings(two_by_three: Factors) -> None:
    """Items 1, 2: one and two fitted ratings, item 0 none. User 1: 1, 0. User 2: 2, 1, 0."""
    found = evaluate_ranking(bundle(two_by_three))
    second = 1 / math.log2(3)
    assert found["baseline/popularity_ndcg@10"] == pytest.approx((1 + 1 / (1 + second) + second) / 3)


def test_a_ranking_model_has_no_figures_in_stars(two_by_three: Factors) -> None:
    rating, ranking = bundle(two_by_three), bundle(two_by_three, task="ranking")
    assert "test/rmse" in evaluate(rating)
    assert not any(name.startswith("ranking/") for name in evaluate(rating))
    assert evaluate(ranking) == evaluate_ranking(rating) | {"test/share_cold": evaluate(rating)["test/share_cold"]}
    assert evaluate(rating, ranking=True) == evaluate(rating) | evaluate_ranking(rating)


def test_what_was_fitted_on_the_test_rows_is_refused(two_by_three: Factors) -> None:
    with pytest.raises(ValueError, match="fitted on the test rows too"):
        evaluate_ranking(bundle(two_by_three, fit_on="all"))
    none = bundle(two_by_three)
    none = replace(none, ratings=none.ratings._replace(part=np.zeros(len(RATED), np.uint8)))
    with pytest.raises(ValueError, match="no test rows"):
        evaluate_ranking(none)


def test_the_table_shows_what_there_is(two_by_three: Factors, capsys: pytest.CaptureFixture[str]) -> None:
    print_metrics(evaluate(bundle(two_by_three)), "mf on small")
    out = capsys.readouterr().out
    assert "RMSE in stars" in out
    assert "popularity" not in out
    print_metrics(evaluate(bundle(two_by_three, task="ranking")), "als on small")
    out = capsys.readouterr().out
    assert "RMSE" not in out
    assert all(name in out for name in ("popularity", "NDCG@10", "recall@20", "HR@10", "0.8333"))


def test_every_run_can_be_asked_for_rankings(
    trained: Train, quick_train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = trained("trainer.max_epochs=1")
    n_metrics = len(rating_figures := evaluate(Bundle.load(plain / "bundle")))
    call("evaluate", f"run={plain}", "ranking=true")
    out = capsys.readouterr().out
    assert "NDCG@10" in out
    assert f"all {n_metrics} metrics equal" in out
    kept = CaseValues.load(plain, "all")
    asked = quick_train("trainer.max_epochs=1", "ranking=true")
    found = json.loads((asked / "metrics.json").read_text())
    ranking = evaluate_ranking(Bundle.load(plain / "bundle"))
    assert found.items() >= (rating_figures | ranking).items()
    assert kept.rows == CaseValues.load(asked, "all").rows
    assert kept.values["ndcg@10"].mean() == pytest.approx(found["ranking/ndcg@10"])
    print_metrics(found, "mf on small")
    assert "NDCG@10" in capsys.readouterr().out
    call_function("evaluate", f"run={asked}")
    assert f"all {n_metrics + len(ranking)} metrics equal" in capsys.readouterr().out
    (asked / "metrics.json").write_text(json.dumps(found | {"ranking/hr@10": 0.5}))
    with pytest.raises(ValueError, match="ranking/hr@10"):
        call_function("evaluate", f"run={asked}")


def test_rounding_is_tolerated_and_other_values_are_not() -> None:
    computed: Metrics = {"test/rmse": 0.9 + 1e-15, "test/mae": 1e-13, "test/rmse_cold": None, "test/share_cold": 0.5}
    recorded = {"test/rmse": 0.9, "test/mae": 0.0, "test/rmse_cold": None, "test/share_cold": 0.5 + 1e-8}
    comparison = compare_metrics(computed, recorded)
    assert comparison.equal == ["test/rmse", "test/mae", "test/rmse_cold"]
    assert comparison.different == {"test/share_cold": (0.5, 0.5 + 1e-8)}
    assert list(compare_metrics({"test/rmse": None}, {"test/rmse": 1.0}).different) == ["test/rmse"]
    assert list(compare_metrics({"test/rmse": 1.0}, {"test/rmse": None}).different) == ["test/rmse"]


def test_only_what_both_sides_have_is_compared() -> None:
    comparison = compare_metrics({"test/rmse": 0.9, "test/new": 1.0}, {"test/rmse": 0.9, "test/old": 2.0, "epochs": 3})
    assert (comparison.equal, comparison.new, comparison.missing) == (["test/rmse"], ["test/new"], ["test/old"])


def test_older_and_rounded_records_are_accepted(
    trained: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_run(trained("trainer.max_epochs=1"), tmp_path / "run")
    recorded = json.loads((folder / "metrics.json").read_text())
    del recorded["test/mae"]
    recorded["test/rmse"] *= 1 + 1e-15
    (folder / "metrics.json").write_text(json.dumps(recorded))
    call_function("evaluate", f"run={folder}")
    assert "not recorded there: test/mae\n" in capsys.readouterr().out
