"""What a run does for a model whose `task` is ranking, from its selection to its bundle."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch

from recsys.bundle import Bundle
from recsys.evaluation.evaluate import evaluate_ranking
from recsys.experiments.groups import is_best
from recsys.experiments.study import objective
from tests.commands import Train, call, train_arguments, write_ratings
from tests.models.ranker import RANKER

pytestmark = pytest.mark.long


def read(folder: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((folder / "metrics.json").read_text())
    return found


@pytest.mark.usefixtures("plots")
def test_a_ranking_model_is_chosen_by_its_ndcg(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(*RANKER, "callbacks.early_stopping.patience=3", "trainer.max_epochs=20")
    found, curve = read(folder), pd.read_csv(folder / "metrics.csv")["val/ndcg@10"]
    assert found["val/ndcg@10"] == pytest.approx(curve.max())
    assert found["epochs"] == curve.argmax() + 1
    assert len(curve) == min(20, found["epochs"] + 3)  # early stopping waits for a higher figure
    assert curve.argmax() != curve.argmin()
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == curve.argmax()
    assert not [name for name in found if "rmse" in name or "mae" in name or name == "baseline/biases"]
    bundle = Bundle.load(folder / "bundle")
    assert (bundle.manifest["task"], bundle.manifest["noise"]) == ("ranking", None)
    assert found.items() >= evaluate_ranking(bundle).items()
    assert (folder / "learning_curve.png").exists()
    assert not (folder / "analysis.json").exists()
    out = capsys.readouterr().out
    assert "NDCG@10" in out
    assert "RMSE" not in out


def test_an_explicit_monitor_stays(quick_train: Train) -> None:
    folder = quick_train(*RANKER, "callbacks.checkpoint.monitor=train/loss", "trainer.max_epochs=1", "refit=none")
    [name] = [
        key
        for key in torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"]
        if "Model" in key
    ]
    assert "'train/loss'" in name


def test_it_takes_feedback_without_ratings_on_a_scale_from_0_to_1(quick_train: Train) -> None:
    without = ("data.rating_column=null", "data.rating_min=null", "data.rating_max=null")
    folder = quick_train(*RANKER, *without, "trainer.max_epochs=1")
    bundle = Bundle.load(folder / "bundle")
    assert bundle.scale == (0.0, 1.0)
    assert (bundle.ratings.rating == 1).all()
    assert bundle.manifest["arguments"]["rating_max"] == 1.0
    assert len(bundle.recommend(bundle.fold_in({101: 1}), 3)) == 3


def test_what_sweepers_minimise_falls_as_ndcg_rises(tmp_path: Path) -> None:
    for name, ndcg in (("seed=0", 0.1), ("seed=1", 0.3)):
        (tmp_path / name).mkdir()
        figures = {"val/ndcg@10": ndcg, "model": "als", "data": "small", "split": "random"}
        (tmp_path / name / "metrics.json").write_text(json.dumps(figures))
    (tmp_path / "repeats.json").write_text("{}")
    assert [objective(tmp_path / name) for name in ("seed=0", "seed=1")] == [-0.1, -0.3]
    assert not is_best(tmp_path / "seed=0", read(tmp_path / "seed=0"))
    assert is_best(tmp_path / "seed=1", read(tmp_path / "seed=1"))


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command over many ranking runs in `tmp_path / "all"`, over what is added to it."""
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_ratings(tmp_path / "data" / "ratings.csv")
    given = train_arguments(tmp_path / "data", tmp_path)
    common = [text for text in given if not text.startswith(("hydra.run.dir", "model."))]
    return [*common, *RANKER, "trainer.max_epochs=2", f"hydra.sweep.dir={tmp_path / 'all'}"]


def test_a_sweep_s_best_has_the_highest_ndcg(
    search: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("train", "-m", *search, "model.learning_rate=0.0001,0.1")
    figures = [read(tmp_path / "all" / job)["val/ndcg@10"] for job in ("0", "1")]
    assert figures[0] != figures[1]
    out = capsys.readouterr().out
    assert all(f"validation {figure:.4f}  test" in out for figure in figures)
    assert "ranking: 2 settings, 2 runs, by validation NDCG@10" in out
    assert f"best: learning_rate={('0.0001', '0.1')[figures.index(max(figures))]}" in out


def test_a_study_minimises_the_negative_ndcg(search: list[str], tmp_path: Path) -> None:
    """In the value of a trial, and in what its pruner sees after each epoch."""
    call("train", *search, "hparams_search=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.pruner=none")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'all' / 'study.db'}")
    [trial] = study.trials
    assert trial.value == -read(tmp_path / "all" / "0")["val/ndcg@10"]
    curve = pd.read_csv(tmp_path / "all" / "0" / "metrics.csv")["val/ndcg@10"]
    assert trial.intermediate_values == pytest.approx({0: -curve[0], 1: -curve[1]})
