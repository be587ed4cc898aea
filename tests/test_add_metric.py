"""A metric is one entry of the registry: commands, report, page and W&B take it from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, call

import pytest

from recsys.bundle import TEST, TRAIN
from recsys.bundle.factors import Factors
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.registry import METRICS, Metric, register
from recsys.evaluation.tables import print_metrics
from recsys.report.__main__ import main as report
from recsys.training.wandb import WandbTracker
from tests.bundles import ITEMS, USERS, make_bundle
from tests.report.run_folders import write_run

KEYS = ("test/max_error", "ranking/top@1")


@pytest.fixture(autouse=True)
def _toy_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a contributor adds to `registry.py`: a rating and a ranking metric."""
    monkeypatch.setattr("recsys.evaluation.registry.METRICS", registered := METRICS.copy())
    register(
        Metric("max_error", "max error", "min", "stars", "rating", lambda error: float(abs(error).max())),
        Metric("top@1", "top@1", "max", "", "ranking", lambda lists: float(lists.hits[:, 0].mean())),
    )
    assert len(registered) == len(METRICS) + 2


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for number, error in enumerate((2.5, 1.25)):
        metrics = {"test_max_error": error, "ranking_top@1": 0.375}
        write_run(tmp_path / str(number), f"model.dropout=0.{number}", val_rmse=0.9 + number, **metrics)
    return tmp_path


def test_evaluate_computes_and_prints_it(two_by_three: Factors, capsys: pytest.CaptureFixture[str]) -> None:
    """User 0 rates item 0, which is at 4.25 in [1, 5], with 1 star; it is the first of their list."""
    rated = [(0, 0, 1.0, TEST), (0, 1, 2.0, TRAIN), (1, 1, 1.0, TRAIN)]
    metrics = evaluate(make_bundle(two_by_three, USERS, ITEMS, rated, fit_on="train"), ranking=True)
    assert metrics["test/max_error"] == metrics["test/max_error_warm"] == pytest.approx(3.25)
    assert metrics["test/max_error_cold"] is None
    assert metrics["ranking/top@1"] == 1
    assert "baseline/popularity_top@1" in metrics
    print_metrics(metrics, "mf on small")
    printed = capsys.readouterr().out
    assert "max error" in printed
    assert "top@1" in printed


@pytest.mark.parametrize("kind", ["table", "md"])
def test_the_report_has_a_column_of_it(
    runs: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # as wide as the table
    report([str(runs), "--format", kind])
    printed = capsys.readouterr().out
    for text in ("test max error", "2.5000", "top@1", "0.3750"):
        assert text in printed


def test_settings_can_be_ranked_by_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([str(runs), "--format", "json", "--metric", "test/max_error"])
    assert json.loads(capsys.readouterr().out)["settings"][0]["values"] == {"model.dropout": 0.1}


def test_the_page_knows_it(runs: Path) -> None:
    report([str(runs), "--format", "html"])
    page = (runs / "report.html").read_text()
    data = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    known = data["registry"]["metrics"]
    assert [(known[key]["label"], known[key]["direction"]) for key in KEYS] == [
        ("test max error", "min"),
        ("test top@1", "max"),
    ]
    assert data["settings"][0]["mean"].items() >= {"test/max_error": 2.5, "ranking/top@1": 0.375}.items()


def test_wandb_summarises_it_in_its_direction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: Any = MagicMock(dir=str(tmp_path / "wandb" / "run" / "files"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    settings = MagicMock(mode="disabled", run_tags=(), sweep_id=None)
    monkeypatch.setattr("wandb.setup", lambda: MagicMock(settings=settings))  # the real one keeps what it finds first
    monkeypatch.setattr("wandb.init", lambda **arguments: run)
    WandbTracker("project", str(tmp_path)).begin({}, None, None)
    for key, direction in zip(KEYS, ("min", "max"), strict=True):
        assert call(key, step_metric="epoch", summary=direction) in run.define_metric.mock_calls


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="max_error"):
        register(Metric("max_error", "", "min", "", "rating", float))
