from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from recsys.cli import USER_ERRORS
from recsys.experiments.repeats import plan_runs, summary
from recsys.training.run import run
from tests.commands import Train, run_config

pytestmark = pytest.mark.long

SHORT = ("trainer.max_epochs=1", "refit=none")


def read(file: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(file.read_text())
    return found


def test_each_seed_is_a_run_of_its_own(train: Train, trained: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(*SHORT, "seeds=[0,2]")
    printed = capsys.readouterr().out
    runs = [read(folder / f"seed={seed}" / "metrics.json") for seed in (0, 2)]
    expected = read(trained(*SHORT, "seed=2") / "metrics.json")
    assert runs[0]["val/rmse"] != runs[1]["val/rmse"] == expected["val/rmse"]
    assert runs[1]["test/rmse"] == expected["test/rmse"]
    combined = read(folder / "repeats.json")
    values = [run["test/rmse"] for run in runs]
    assert combined["mean"]["test/rmse"] == pytest.approx(np.mean(values))  # type: ignore[index]
    assert combined["standard_error"]["test/rmse"] == pytest.approx(np.std(values, ddof=1) / 2**0.5)  # type: ignore[index]
    assert f"{np.mean(values):.4f} ±{combined['standard_error']['test/rmse']:.4f}" in printed  # type: ignore[index]
    cfg = OmegaConf.load(folder / "seed=2" / "config.yaml")
    assert (cfg.seed, cfg.model.seed, cfg.data.seed, cfg.seeds) == (2, 2, 2, None)
    assert cfg.overrides[-1] == "seed=2"
    assert not [text for text in cfg.overrides if text.startswith("seeds=")]
    assert not (folder / "config.yaml").exists()


def test_folds_and_seeds_cross(tmp_path: Path) -> None:
    runs = plan_runs(run_config("data.split=kfold", "data.folds=4", "seeds=[0,1]", "folds=[1,3]"), tmp_path)
    names = ["seed=0,fold=1", "seed=0,fold=3", "seed=1,fold=1", "seed=1,fold=3"]
    assert list(runs) == read(tmp_path / "repeats.json")["runs"] == names
    assert sorted(path.name for path in tmp_path.glob("seed=*")) == names
    written = [OmegaConf.load(tmp_path / name / "config.yaml") for name in names]
    assert [(cfg.seed, cfg.data.fold) for cfg in written] == [(0, 1), (0, 3), (1, 1), (1, 3)]
    assert written == list(runs.values())


def test_repeats_go_on_where_they_were_cut(quick_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def die(cfg, folder, context):  # type: ignore[no-untyped-def]
        if cfg.seed == 1:
            raise KeyboardInterrupt
        return run(cfg, folder, context)

    with monkeypatch.context() as patch:
        patch.setattr("recsys.training.run.run", die)
        with pytest.raises(KeyboardInterrupt):
            quick_train(*SHORT, "seeds=[0,1]", "model=svdpp")
    folder = tmp_path / "run"
    first = (folder / "seed=0" / "metrics.json").stat().st_mtime_ns
    assert read(folder / "status.json")["state"] == "interrupted"
    quick_train(f"resume={folder}")
    assert (folder / "seed=0" / "metrics.json").stat().st_mtime_ns == first
    assert read(folder / "seed=1" / "metrics.json")["model"] == "svdpp"
    assert "test/rmse" in read(folder / "repeats.json")["mean"]  # type: ignore[operator]
    assert read(folder / "status.json")["state"] == "finished"


def test_a_repeat_that_fails_ends_no_other(quick_train: Train, tmp_path: Path) -> None:
    with pytest.raises(USER_ERRORS, match="embedding_dim must be >= 1, got 0"):
        quick_train(*SHORT, "seeds=[0,1]", "model.embedding_dim=${seed}")
    folder = tmp_path / "run"
    states = {file.parent.name: read(file)["state"] for file in folder.rglob("status.json")}
    assert states == {"run": "failed", "seed=0": "failed", "seed=1": "finished"}
    assert read(folder / "status.json")["message"] == read(folder / "seed=0" / "status.json")["message"]
    assert read(folder / "repeats.json") == {"runs": ["seed=0", "seed=1"]}


@pytest.mark.parametrize("repeats", ["seeds=[0,1]", "folds=[0,1]"])
def test_the_agent_of_wandb_repeats_nothing(
    quick_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repeats: str
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    with pytest.raises(ValueError, match=r"wandb agent .* leave out -m, seeds and folds"):
        quick_train("data.split=kfold", repeats)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seeds", ["3", "[]", "[0,0]", "[a]", "[0.5]", "[true]"])
def test_seeds_must_be_distinct_integers(tmp_path: Path, seeds: str) -> None:
    cfg = run_config(f"seeds={seeds}")
    with pytest.raises(ValueError, match=re.escape(f"got {cfg.seeds}")) as raised:
        plan_runs(cfg, tmp_path)
    assert str(raised.value).startswith("seeds must be a list of distinct integers")
    assert list(tmp_path.iterdir()) == []


def test_folds_need_a_split_that_has_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folds needs .*kfold or official, got user_time"):
        plan_runs(run_config("folds=[0,1]"), tmp_path)


def test_one_run_has_no_error_and_text_is_left_out() -> None:
    found = summary({"seed=0": {"val/rmse": 0.5, "test/rmse_cold": None, "model": "mf"}})
    assert found == {"runs": ["seed=0"], "mean": {"val/rmse": 0.5}, "standard_error": {"val/rmse": None}}
