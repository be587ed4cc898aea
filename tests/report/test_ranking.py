"""Runs of ranking models in a report: a task of their own, in which more is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys.report.leaderboard import columns, heading, verdict
from recsys.report.runs import read_run, read_runs
from recsys.report.settings import Experiments, experiments
from tests.report.run_folders import write_run


def ranking_run(folder: Path, *overrides: str, ndcg: float, **figures: Any) -> Path:
    names = {"val_ndcg@10": ndcg, "ranking_ndcg@10": ndcg - 0.02, "ranking_recall@10": 0.2, "ranking_hr@10": 0.3}
    return write_run(folder, *overrides, **names, val_rmse=None, test_rmse=None, **figures)


def found(folder: Path, metric: str = "val/rmse") -> Experiments:
    return experiments(read_runs([folder]), metric)


def test_the_highest_validation_ndcg_is_the_best(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for dropout, ndcg in ((0.1, 0.10), (0.2, 0.30), (0.3, 0.20)):
            run = tmp_path / f"{dropout}-{seed}"
            ranking_run(run, f"model.dropout={dropout}", f"seed={seed}", ndcg=ndcg + seed / 1000 * dropout)
    result = found(tmp_path)
    assert [setting.values["model.dropout"] for setting in result.settings] == [0.2, 0.3, 0.1]
    difference = result.settings[1].difference
    assert difference is not None
    assert difference.mean == pytest.approx(0.1 - 0.0001)  # how much worse
    assert difference.above_zero
    assert "is significant" in verdict(result, 0)[-1]


def test_its_columns_are_of_rankings_beside_popularity(tmp_path: Path) -> None:
    ranking_run(tmp_path / "0", ndcg=0.3, **{"baseline_popularity_ndcg@10": 0.05})
    result = found(tmp_path)
    shown = {column.name: column.cells for column in columns(result, 0, result.settings)}
    assert shown == {
        "#": ["1", ""], "model": ["mf", "popularity"], "val. NDCG@10": ["0.3000", ""], "NDCG@10": ["0.2800", "0.0500"],
        "recall@10": ["0.2000", ""], "HR@10": ["0.3000", ""], "runs": ["1", ""], "seconds": ["6.5", ""],
    }  # fmt: skip
    assert heading(result, 0) == "ml-100k · user_time · ranking: 1 setting, 1 run, by validation NDCG@10"


def test_prequential_errors_are_shown_where_a_run_has_them(tmp_path: Path) -> None:
    write_run(tmp_path / "0", val_rmse=0.9, prequential_rmse=0.85, prequential_rmse_unseen=0.87)
    write_run(tmp_path / "1", "model.dropout=0.5", val_rmse=0.95)
    result = found(tmp_path)
    shown = {column.name: column.cells for column in columns(result, 0, result.settings)}
    assert shown["prequential"] == ["0.8500", "–", ""]
    assert shown["prequential, unseen"] == ["0.8700", "–", ""]
    assert found(tmp_path, "prequential/rmse").tasks[0].metric == "prequential/rmse"


def test_ranking_and_rating_runs_are_not_compared(tmp_path: Path) -> None:
    ranking_run(tmp_path / "0", ndcg=0.3)
    write_run(tmp_path / "1", val_rmse=0.9, **{"ranking_ndcg@10": 0.1})  # a rating run that was asked for rankings
    for metric, ranked_by in (("val/rmse", "val/rmse"), ("ranking/ndcg@10", "ranking/ndcg@10")):
        result = found(tmp_path, metric)
        assert [task.label for task in result.tasks] == ["ml-100k · user_time", "ml-100k · user_time · ranking"]
        assert result.tasks[0].metric == ranked_by
    names = [column.name for column in columns(result, 0, result.settings_of(0))]
    assert names[2:7] == ["val. RMSE", "test RMSE", "warm", "cold", "NDCG@10"]
    assert "--metric val/rmse" in verdict(result, 0)[0]
    assert "--metric val/ndcg@10" in verdict(result, 1)[0]


def test_its_curve_is_that_of_ndcg(tmp_path: Path) -> None:
    folder = ranking_run(tmp_path / "0", ndcg=0.3)
    (folder / "metrics.csv").write_text("epoch,val/loss,val/ndcg@10\n0,1.0,0.1\n1,0.9,0.3\n")
    assert read_run(folder, "0").curve == [0.1, 0.3]


def test_a_ranking_run_without_its_figure_is_broken(tmp_path: Path) -> None:
    run = read_run(ranking_run(tmp_path / "0", ndcg=float("nan")), "0")
    assert run.state == "broken"
    assert "val/ndcg@10 must be a finite number" in (run.message or "")
