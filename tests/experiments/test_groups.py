from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from recsys.experiments.groups import is_best, says_first


@pytest.fixture
def multirun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra runs a sweep."""
    monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": {"mode": RunMode.MULTIRUN}}))


def figures(folder: Path, rmse: float, **changes: str) -> dict[str, object]:
    """What a finished run leaves in its folder."""
    found = {"val/rmse": rmse, "model": "mf", "data": "ratings", "split": "user_time"} | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(found))
    return found


def test_the_best_of_a_sweep_is_below_all_of_its_like(tmp_path: Path, multirun: None) -> None:
    sweep = tmp_path / "sweep"
    assert is_best(sweep / "0", figures(sweep / "0", 0.9))
    figures(tmp_path / "another sweep" / "0", 0.1)
    figures(sweep / "1", 0.2, model="svdpp")
    figures(sweep / "2", 0.3, data="others")
    figures(sweep / "3", 0.4, split="random")
    assert is_best(sweep / "4", figures(sweep / "4", 0.8))
    assert not is_best(sweep / "0", figures(sweep / "0", 0.9))
    assert not is_best(sweep / "5", figures(sweep / "5", 0.8))


def test_the_best_of_a_sweep_of_repeats_is_one_of_all_its_runs(tmp_path: Path, multirun: None) -> None:
    for job, rmse in (("0", 0.9), ("1", 0.8)):
        for seed in (0, 1):
            figures(tmp_path / job / f"seed={seed}", rmse + seed / 100)
        (tmp_path / job / "repeats.json").write_text("{}")
    best = [
        job for job in sorted(tmp_path.glob("*/seed=*")) if is_best(job, json.loads((job / "metrics.json").read_text()))
    ]
    assert best == [tmp_path / "1" / "seed=0"]


def test_the_best_of_repeats_and_a_run_by_itself(tmp_path: Path) -> None:
    worse, better = (figures(tmp_path / "run" / f"seed={seed}", 0.9 - seed / 10) for seed in (0, 1))
    assert is_best(tmp_path / "run" / "seed=0", worse)  # two runs that happen to be side by side
    (tmp_path / "run" / "repeats.json").write_text("{}")
    assert not is_best(tmp_path / "run" / "seed=0", worse)
    assert is_best(tmp_path / "run" / "seed=1", better)


def test_what_was_inferred_is_said_once_in_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [says_first(tmp_path / "single", "inferred x") for _ in range(2)] == [True, True]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "repeats.json").write_text("{}")
    assert [says_first(tmp_path / "run" / f"seed={n}", "inferred x") for n in (0, 1)] == [True, False]
    assert (tmp_path / "run" / "inferred.txt").read_text() == "inferred x\n"
    monkeypatch.setattr("recsys.experiments.groups.in_sweep", lambda: True)
    (tmp_path / "sweep").mkdir()
    assert [says_first(tmp_path / "sweep" / str(n), "inferred x") for n in (1, 0)] == [True, False]
    assert not says_first(tmp_path / "sweep" / "2", "")
