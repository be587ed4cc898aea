"""Runs under ordinary options of Lightning: what is selected, exported and written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Timer
from omegaconf import OmegaConf

from recsys.bundle import Bundle
from recsys.train import train
from recsys.training.callbacks import EpochRecord
from recsys.training.trainer import check_training
from tests.commands import run_config

pytestmark = pytest.mark.long

GRADIENT = ("model.learning_rate=0.05", "model.plateau_patience=0", "model.embedding_dim=4")
MODELS = {
    "mf": GRADIENT,
    "biases": (),
    "als": ("model.embedding_dim=4",),
    "ials": ("model.embedding_dim=4",),
    "bayesian_mf": ("model.embedding_dim=4", "model.burn_in=1", "model.thin=1"),
}
UNSTABLE = ("fit_seconds", "git_commit")


class Result(NamedTuple):
    folder: Path
    metrics: dict[str, Any]
    curve: pd.DataFrame
    best: dict[str, Any]  # checkpoint

    @property
    def figures(self) -> dict[str, Any]:
        return {name: value for name, value in self.metrics.items() if name not in UNSTABLE}


Fit = Callable[..., Result]


@pytest.fixture(scope="module")
def fit(small_ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Train a model on small ratings under these overrides, once for all tests."""
    done: dict[str, Result] = {}

    def run(model: str, *overrides: str, epochs: int = 4, **trainer: Any) -> Result:
        given = str((model, overrides, epochs, trainer))
        if given in done:
            return done[given]
        folder = tmp_path_factory.mktemp("run")
        cfg = run_config(
            f"model={model}", *MODELS[model], "data=tabular", f"data.root={small_ratings}", "data.batch_size=128",
            "data.timestamp_column=timestamp", "data.rating_min=1", "data.rating_max=5",
            f"trainer.max_epochs={epochs}", *overrides,
        )  # fmt: skip
        cfg.trainer = {**cfg.trainer, **trainer}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
            train(cfg, folder)
        found = json.loads((folder / "metrics.json").read_text())
        best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
        done[given] = Result(folder, found, pd.read_csv(folder / "metrics.csv"), best)
        return done[given]

    return run


@pytest.mark.parametrize("model", MODELS)
def test_a_run_validated_every_other_epoch_selects_one_of_these(fit: Fit, model: str) -> None:
    found = fit(model, epochs=5, check_val_every_n_epoch=2)
    name = "val/ndcg@10" if model == "ials" else "val/rmse"
    figures = found.curve.set_index("epoch")[name].dropna()
    assert list(figures.index) == [1, 3]
    best = {"ials": figures.idxmax(), "bayesian_mf": 3}.get(model, figures.idxmin())
    assert found.metrics["epochs"] == best + 1
    assert found.metrics[name] == pytest.approx(figures[best])
    assert found.best["epoch"] == best


def test_a_figure_of_an_epoch_that_was_not_validated_is_not_its_own(fit: Fit) -> None:
    """Lightning goes on to hold that of the epoch before."""
    rates = ("model.lr_schedule=cosine", "model.learning_rate=0.001")
    every, found = fit("mf", *rates, epochs=6), fit("mf", *rates, epochs=6, check_val_every_n_epoch=3)
    curves = [run.curve.set_index("epoch")["val/rmse"].dropna() for run in (every, found)]
    assert list(curves[1].index) == [2, 5]
    assert list(curves[1]) == list(curves[0][[2, 5]])
    assert found.metrics["epochs"] == curves[1].idxmin() + 1


NEUTRAL: dict[str, Any] = {  # options that change no figure
    "num_sanity_val_steps": 2, "deterministic": "warn", "benchmark": True, "detect_anomaly": True,
    "log_every_n_steps": 1, "profiler": "simple", "max_time": "00:01:00:00", "limit_val_batches": 1.0,
    "limit_train_batches": 1.0, "val_check_interval": 1.0, "inference_mode": False, "enable_progress_bar": False,
    "accumulate_grad_batches": 1, "gradient_clip_val": None, "min_epochs": 1, "max_steps": 10_000,
    "reload_dataloaders_every_n_epochs": 1, "enable_model_summary": True, "precision": 32, "strategy": "auto",
    "num_nodes": 1, "overfit_batches": 0, "fast_dev_run": False, "accelerator": "cpu", "devices": "auto",
}  # fmt: skip


@pytest.mark.parametrize("model", ["mf", "als", "bayesian_mf"])
def test_what_changes_nothing_changes_nothing(fit: Fit, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)  # which Lightning sets
    plain, found = fit(model, epochs=2), fit(model, epochs=2, **NEUTRAL)
    assert found.figures == plain.figures
    profiles = sorted(file.name for file in found.folder.glob("*profile*"))
    assert profiles == ["fit-profile-refit.txt", "fit-profile-select.txt"]
    assert torch.are_deterministic_algorithms_enabled()
    cfg = OmegaConf.load(plain.folder / "config.yaml")
    assert OmegaConf.is_dict(cfg)
    check_training(cfg, plain.folder)  # of the next job of a sweep
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("model", "limit"), [("mf", -1), ("als", None), ("bayesian_mf", 4), ("biases", 4)])
def test_steps_end_a_run_after_its_last_whole_epoch(fit: Fit, model: str, limit: int | None) -> None:
    """And the refit, whose epochs have more steps, has as many epochs."""
    steps = 20 if model in ("mf", "biases") else 3  # an epoch has 8 batches, or 1
    found = fit(model, "~callbacks.early_stopping", max_steps=steps, max_epochs=limit)
    epochs = steps // 8 or 3
    assert found.curve["val/rmse"].notna().sum() == epochs
    assert found.metrics["epochs"] <= epochs
    assert found.best["epoch"] == found.metrics["epochs"] - 1
    refit = torch.load(found.folder / "checkpoints" / "refit_train_val.ckpt", weights_only=True)
    assert refit["epoch"] == found.metrics["epochs"] - 1


def test_too_few_steps_for_an_epoch_are_told(fit: Fit) -> None:
    with pytest.raises(ValueError, match=r"ended after 3 steps, before its first validation .*8 batches.*max_steps"):
        fit("mf", max_steps=3)


def test_time_ends_a_run_after_a_whole_epoch_and_leaves_the_refit_whole(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    end = EpochRecord.on_train_epoch_end

    def count(self: EpochRecord, trainer: Any, module: Any) -> None:
        end(self, trainer, module)
        done.append(trainer.current_epoch)

    monkeypatch.setattr(EpochRecord, "on_train_epoch_end", count)
    monkeypatch.setattr(Timer, "time_elapsed", lambda *_: 20.0 * len(done))
    found = fit("als", "~callbacks.early_stopping", epochs=-1, max_time="00:00:01:00")
    assert len(found.curve) == 3
    assert done == [0, 1, 2, *range(found.metrics["epochs"])]


@pytest.mark.parametrize("model", ["mf", "ials"])
def test_a_quick_run_goes_all_the_way(fit: Fit, model: str) -> None:
    found = fit(model, fast_dev_run=True)
    assert found.metrics["epochs"] == 1
    assert len(found.curve) == 1
    Bundle.load(found.folder / "bundle")


def test_double_precision_changes_the_last_digits(fit: Fit) -> None:
    found, plain = (Bundle.load(fit("mf", epochs=2, **how).folder / "bundle") for how in ({"precision": 64}, {}))
    changes = np.abs(found.factors.item_factors - plain.factors.item_factors)
    assert 0 < changes.max() < 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"limit_train_batches": 0.5}, {"limit_train_batches": 2}, {"accumulate_grad_batches": 3},
        {"gradient_clip_val": 0.1, "precision": "bf16-mixed"}, {"precision": "bf16-true"},
        {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_gradients_reach_both_fits(fit: Fit, options: dict[str, Any]) -> None:
    found, plain = fit("mf", epochs=2, **options), fit("mf", epochs=2)
    assert found.metrics["val/rmse"] != plain.metrics["val/rmse"]
    assert found.metrics["test/rmse"] != plain.metrics["test/rmse"]
    assert found.metrics["test/rmse"] < 1.6


@pytest.mark.parametrize("left_out", ["early_stopping", "learning_rate", "progress"])
def test_a_run_does_without_other_callbacks(fit: Fit, left_out: str) -> None:
    assert fit("als", f"callbacks.{left_out}=null", epochs=1).metrics["epochs"] == 1


def test_the_epoch_of_another_monitor_is_the_one_that_is_refitted(fit: Fit) -> None:
    found = fit("mf", "callbacks.checkpoint.monitor=train/loss", "~callbacks.early_stopping", epochs=8)
    best = found.curve["train/loss"].idxmin()
    assert best != found.curve["val/rmse"].idxmin()
    assert found.metrics["epochs"] == found.best["epoch"] + 1 == best + 1
    assert found.metrics["val/rmse"] == pytest.approx(found.curve["val/rmse"][best])


def test_an_unknown_monitor_of_early_stopping_is_one_sentence(fit: Fit) -> None:
    with pytest.raises(ValueError, match=r"callbacks: .*`val/nothing` which is not available.*val/rmse"):
        fit("als", "callbacks.early_stopping.monitor=val/nothing")


@pytest.mark.parametrize("options", [{"devices": 2}, {"strategy": "ddp_spawn"}, {"max_epoch": 3}], ids=str)
def test_options_are_checked_before_data_is_read(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr("recsys.training.run.build_data", lambda *_: pytest.fail("data is read"))
    with pytest.raises(ValueError, match=r"trainer\."):
        fit("mf", **options)


@pytest.mark.parametrize("model", ["als", "ials", "bayesian_mf"])
def test_a_fit_in_two_processes_is_the_fit_in_one(fit: Fit, model: str) -> None:
    alone, shared = fit(model, epochs=3), fit(model, epochs=3, devices=2)
    assert shared.metrics["device"] == "cpu, 2 processes, 1 threads each"
    assert {**shared.figures, "device": alone.metrics["device"]} == alone.figures
    pd.testing.assert_frame_equal(shared.curve, alone.curve)
    assert_same_factors(shared, alone)


def assert_same_factors(one: Result, other: Result) -> None:
    ours, theirs = (Bundle.load(run.folder / "bundle").factors for run in (one, other))
    for name, array in vars(theirs).items():
        np.testing.assert_array_equal(getattr(ours, name), array, err_msg=name)


@pytest.mark.parametrize("given", [("model.thin=9",), ("refit=none", "model.thin=9"), ("trainer.precision=64-true",)])
def test_what_two_processes_found_is_exported_whole(fit: Fit, given: tuple[str, ...]) -> None:
    """Also where no sample was kept, and in double precision: the process that exports has not fitted."""
    alone, shared = (fit("bayesian_mf", *given, epochs=3, devices=count) for count in (1, 2))
    assert_same_factors(shared, alone)
    assert shared.metrics["test/rmse"] == alone.metrics["test/rmse"]


@pytest.mark.parametrize(
    ("model", "devices", "by"),
    [("bayesian_mf", (2, 1), "SIGKILL"), ("als", (1, 2), "SIGKILL"), ("als", (2, 2), "SIGTERM")],
)
def test_a_run_that_lost_a_process_goes_on_with_another_number(
    fit: Fit, model: str, devices: tuple[int, int], by: str, small_ratings: Path, tmp_path: Path
) -> None:
    """Bit by bit what it would have been; the configuration, as it was typed, has an interpolation."""
    whole = fit(model, epochs=4)
    before, after = (f"trainer.devices={count}" for count in devices)
    lost = f"{{_target_:tests.training.lost.Lost,file:{tmp_path}/lost,rank:{devices[0] - 1},epoch:2,signal:{by}}}"
    given = (
        f"model={model}", *MODELS[model], "data=tabular", f"data.root={small_ratings}", "data.batch_size=128",
        "data.timestamp_column=timestamp", "data.rating_min=1", "data.rating_max=5", f"+callbacks.lost={lost}",
        "trainer.max_epochs=4", "model.seed=${seed}",
    )  # fmt: skip
    run = tmp_path / "run"
    command = [sys.executable, "-m", "recsys.train", *given, f"hydra.run.dir={run}"]
    first = subprocess.run([*command, before], capture_output=True, text=True)
    assert first.returncode != 0
    if devices[0] > 1:
        assert f"process {devices[0]} of {devices[0]} was killed by {by}" in first.stderr
    second = subprocess.run([*command, after], capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    found = json.loads((run / "metrics.json").read_text())
    for name in ("val/rmse", "test/rmse", "test/mae"):
        assert found[name] == whole.metrics[name]
