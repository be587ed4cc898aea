from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import wandb
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

from recsys.bundle import Bundle
from recsys.report.overrides import run_command
from recsys.report.runs import read_run
from recsys.training.callbacks import EpochRecord
from tests.commands import Train, call, train_arguments, write_ratings
from tests.conftest import trained_and_folded

TIMES = ("fit_seconds",)


class Killed(BaseException):
    """Ends a run where it is, as SIGKILL does: nothing handles it."""


def metrics(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in found.items() if name not in TIMES}


@pytest.mark.usefixtures("plots")
def test_a_run_leaves_what_the_readme_says(train: Train) -> None:
    folder = train()
    for name in ("config.yaml", "metrics.json", "metrics.csv", "learning_curve.png", "error_by_activity.png",
                 "bundle/manifest.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    found = json.loads((folder / "metrics.json").read_text())
    assert found["test/rmse"] < found["baseline/biases"]
    assert found["test/rmse_cold"] is None
    assert found["test/share_cold"] == 0
    assert {"model": "mf", "data": "ratings", "split": "user_time"}.items() <= found.items()
    rows = pd.read_csv(folder / "metrics.csv")
    assert list(rows["epoch"]) == list(range(len(rows)))
    assert not rows[["val/rmse", "train/loss", "lr-Adam"]].isna().any().any()
    assert found["val/rmse"] == pytest.approx(rows["val/rmse"].min())
    assert found["epochs"] == rows["val/rmse"].argmin() + 1
    assert [path.name for path in folder.rglob(".*")] == [".lock"]
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"


def test_checkpoints_load_as_weights_only(train: Train) -> None:
    for file in (train() / "checkpoints").glob("*.ckpt"):
        assert "state_dict" in torch.load(file, weights_only=True)


def test_two_runs_with_one_seed_are_identical(train: Train) -> None:
    first, second, other = train(name="a"), train(name="b"), train("seed=1", name="c")
    assert metrics(first) == metrics(second)
    a, b, c = (Bundle.load(folder / "bundle").factors for folder in (first, second, other))
    assert np.array_equal(a.user_factors, b.user_factors)
    assert not np.array_equal(a.user_factors, c.user_factors)


def test_seed_does_not_choose_rows(train: Train) -> None:
    arguments = ("data.split=random", "trainer.max_epochs=1")
    first, other = train(*arguments, name="a"), train(*arguments, "seed=1", name="b")
    moved = train(*arguments, "data.split_seed=1", name="c")
    a, b, c = (Bundle.load(folder / "bundle").ratings.part for folder in (first, other, moved))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


DROPOUT = ("model.dropout=0.3", "callbacks.early_stopping.patience=3")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run left alone; with a plateau patience of 0 and dropout, each epoch's order, mask and rate matters."""
    path = tmp_path_factory.mktemp("whole")
    write_ratings(path / "data" / "ratings.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_CACHE", str(path / "cache"))
        call("train", *train_arguments(path / "data", path / "run"), *DROPOUT)
    rates = pd.read_csv(path / "run" / "metrics.csv")["lr-Adam"]
    assert rates.min() < rates.max(), "no plateau step in this run: it would not show a lost one"
    return path / "run"


@pytest.mark.parametrize("stage", ["select", "refit"])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_killed_run_resumes_to_the_same_end(
    train: Train, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, epoch: int
) -> None:
    start = EpochRecord.on_train_epoch_start

    def die(self: EpochRecord, trainer, module) -> None:  # type: ignore[no-untyped-def]
        refitting = trainer.limit_val_batches == 0
        if trainer.current_epoch == epoch and refitting == (stage == "refit"):
            raise Killed
        start(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(EpochRecord, "on_train_epoch_start", die)
        with pytest.raises(Killed):
            train(*DROPOUT, name="cut")
    cut = tmp_path / "cut"
    assert not (cut / "metrics.json").exists()
    assert not (cut / "bundle").exists()
    call("train", f"resume={cut}")
    assert metrics(cut) == metrics(whole)
    assert (cut / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_the_noise_of_a_bundle_is_its_error_on_validation_rows(train: Train) -> None:
    for refit in ("none", "train_val", "all"):
        folder = train("trainer.max_epochs=2", f"refit={refit}", name=refit)
        bundle = Bundle.load(folder / "bundle")
        assert bundle.manifest["noise"] == json.loads((folder / "metrics.json").read_text())["val/rmse"]
        predicted, std = bundle.predict([7, 4711], [101, 102], return_std=True)
        np.testing.assert_array_equal(predicted, bundle.predict([7, 4711], [101, 102]))
        np.testing.assert_allclose(std, bundle.manifest["noise"], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mf", "svdpp"])
def test_the_fold_in_of_a_real_user_is_the_user(
    shared: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    data = (f"experiment=ml_100k_{model}", f"data.root={shared('ml-100k')}")
    call("train", *data, f"hydra.run.dir={tmp_path / 'run'}")
    correlations = [
        np.corrcoef(np.delete(trained, rated), np.delete(folded, rated))[0, 1]
        for trained, folded, rated in trained_and_folded(Bundle.load(tmp_path / "run" / "bundle"))
    ]
    assert len(correlations) == 943
    assert np.median(correlations) >= 0.95
    assert np.quantile(correlations, 0.1) >= 0.85


@pytest.mark.slow
def test_sigkill_and_resume(tmp_path: Path) -> None:
    write_ratings(tmp_path / "data" / "ratings.csv", users=400)
    environment = os.environ | {"RECSYS_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "recsys.train", "model.dropout=0.2"]
    arguments = ["trainer.max_epochs=40", "callbacks.early_stopping.patience=40"]
    whole = [*command, *train_arguments(tmp_path / "data", tmp_path / "whole"), *arguments]
    subprocess.run(whole, check=True, env=environment, capture_output=True)
    cut = [*command, *train_arguments(tmp_path / "data", tmp_path / "cut"), *arguments]
    for lines in (4, 12, 25):
        process = subprocess.Popen(cut, env=environment, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        file = tmp_path / "cut" / "metrics.csv"
        while (not file.exists() or file.read_text().count("\n") < lines) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cut = [sys.executable, "-m", "recsys.train", f"resume={tmp_path / 'cut'}"]
    subprocess.run(cut, check=True, env=environment, capture_output=True)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    write_ratings(tmp_path / "data" / "ratings.csv", users=400)
    environment = os.environ | {"RECSYS_CACHE": str(tmp_path / "cache")}
    arguments = train_arguments(tmp_path / "data", tmp_path / "run")
    long = ["trainer.max_epochs=2000", "callbacks.early_stopping.patience=2000"]
    command = [sys.executable, "-m", "recsys.train", *arguments, *long]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    while not last.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"resume={tmp_path / 'run'}" in errors
    assert "Traceback" not in errors
    torch.load(last, weights_only=True)


def test_a_finished_run_is_not_trained_again(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train()
    before = (folder / "bundle" / "manifest.json").stat().st_mtime_ns
    call("train", f"resume={folder}")
    train()  # the same command in the same folder
    assert (folder / "bundle" / "manifest.json").stat().st_mtime_ns == before
    assert "RMSE in stars" in capsys.readouterr().out


def test_an_epoch_is_recorded_whole_before_its_checkpoint(
    train: Train, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed right after a checkpoint does not come back to that epoch, so nothing of it may be missing."""
    save = ModelCheckpoint.on_train_epoch_end

    def save_and_die(self: ModelCheckpoint, trainer, module) -> None:  # type: ignore[no-untyped-def]
        save(self, trainer, module)
        if trainer.current_epoch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ModelCheckpoint, "on_train_epoch_end", save_and_die)
        with pytest.raises(Killed):
            train(*DROPOUT, name="cut")
    call("train", f"resume={tmp_path / 'cut'}")
    assert (tmp_path / "cut" / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_resume_keeps_the_model(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train("model=svdpp", "trainer.max_epochs=2", name="whole")
    with monkeypatch.context() as patch:
        patch.setattr("recsys.training.run.refit", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            train("model=svdpp", "trainer.max_epochs=2", name="cut")
    call("train", f"resume={whole.with_name('cut')}")
    assert metrics(whole.with_name("cut")) == metrics(whole)
    assert metrics(whole)["model"] == "svdpp"


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_a_refit_follows_the_curve_to_the_best_epoch_and_a_cut_off_run_goes_on_with_it(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, schedule: str
) -> None:
    monkeypatch.setattr(EpochRecord, "best", property(lambda self: 3))
    settings = (f"model.lr_schedule={schedule}", "trainer.max_epochs=6", "model.learning_rate=0.3")
    end = EpochRecord.on_train_epoch_end
    rates: dict[bool, list[float]] = {False: [], True: []}

    def note(self: EpochRecord, trainer, module) -> None:  # type: ignore[no-untyped-def]
        rates[trainer.limit_val_batches == 0].append(trainer.optimizers[0].param_groups[0]["lr"])
        end(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(EpochRecord, "on_train_epoch_end", note)
        whole = train(*settings, name="whole")
    assert (len(rates[False]), len(rates[True])) == (6, 4)
    np.testing.assert_allclose(rates[True], rates[False][:4], rtol=0.02)  # more rows: other steps of the curve

    def die(self: EpochRecord, trainer, module) -> None:  # type: ignore[no-untyped-def]
        end(self, trainer, module)
        if trainer.current_epoch == 2 and trainer.limit_val_batches == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(EpochRecord, "on_train_epoch_end", die)
        with pytest.raises(Killed):
            train(*settings, name="cut")
    call("train", f"resume={tmp_path / 'cut'}")
    assert metrics(tmp_path / "cut") == metrics(whole)


def test_refit_chooses_the_rows(train: Train) -> None:
    fitted, rmse = {}, {}
    for refit in ("none", "train_val", "all"):
        folder = train(f"refit={refit}", name=refit)
        bundle = Bundle.load(folder / "bundle")
        fitted[refit] = bundle.manifest["counts"]["fitted_ratings"]
        rmse[refit] = json.loads((folder / "metrics.json").read_text())["test/rmse"]
    parts = np.bincount(bundle.ratings.part)
    assert [*fitted.values()] == [parts[0], parts[0] + parts[1], parts.sum()]
    assert rmse["all"] == rmse["train_val"] != rmse["none"]


def test_evaluate_equals_metrics_and_refuses_what_saw_the_test_rows(
    train: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call("evaluate", f"run={train(name='a')}")
    assert "metrics equal" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call("evaluate", f"run={train('refit=all', name='b')}")
    assert "fitted on the test rows too" in capsys.readouterr().err


def test_a_run_from_before_calibration_is_evaluated_without(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(name="a")
    recorded = json.loads((folder / "metrics.json").read_text())
    older = {name: value for name, value in recorded.items() if "inside" not in name and name != "test/mean_std"}
    assert len(older) == len(recorded) - 3
    (folder / "metrics.json").write_text(json.dumps(older))
    call("evaluate", f"run={folder}")
    assert "metrics equal" in capsys.readouterr().out
    (folder / "metrics.json").write_text(json.dumps(recorded | {"test/inside_50": 0.1}))
    with pytest.raises(SystemExit):
        call("evaluate", f"run={folder}")


def test_compress_serves_and_measures_fewer_coordinates(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    whole = json.loads((train("refit=all", name="whole") / "metrics.json").read_text())
    folder = train("refit=all", "compress=2", name="compressed")
    found = json.loads((folder / "metrics.json").read_text())
    assert found["test/rmse_uncompressed"] == whole["test/rmse"] != found["test/rmse"]
    assert found["test/rmse"] == pytest.approx(whole["test/rmse"], abs=0.1)
    factors = Bundle.load(folder / "bundle").factors
    assert factors.item_factors.shape[1:] == (1, 2)
    folder = train("compress=2", name="measured")
    call("evaluate", f"run={folder}")
    assert "metrics equal" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train("compress=0", name="no")
    assert "compress must be null or an integer >= 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.dropout=1"], "dropout must be in [0.0, 1.0), got 1"),
        (["model.embedding_dim=0"], "embedding_dim must be >= 1, got 0"),
        (["model.embedding_dim=many"], "embedding_dim must be >= 1, got many"),
        (["model.reg_lambda=-1"], "reg_lambda must be >= 0.0, got -1"),
        (["data.batch_size=0"], "batch_size must be >= 1, got 0"),
        (["data.split=luck"], "split must be one of"),
        (["data.split=random", "data.test_fraction=1.5"], "test_fraction must be in (0, 1), got 1.5"),
        (["refit=some"], "refit must be one of none, train_val, all, got 'some'"),
        (["data.root=/no/such/folder"], "/no/such/folder"),
        (["data.ratings_file=no.csv"], "no.csv"),
        (["data.rating_column=null"], "has no ratings"),
        (["data.timestamp_column=null"], "timestamp"),
        (["callbacks.checkpoint.monitor=val/nothing"], "could not find the monitored key"),  # Lightning's own words
        (["~logger.csv"], "has no logger"),
    ],
)
def test_a_mistake_is_one_sentence(
    train: Train,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as exit_:
        train(*overrides)
    errors = capsys.readouterr().err
    assert exit_.value.code == 1
    assert message in errors
    assert "Traceback" not in errors


def test_an_interpolation_is_resolved_and_typed_again(train: Train) -> None:
    folder = train("trainer.max_epochs=2", "model.reg_lambda=0.07", "model.bias_reg_lambda=${model.reg_lambda}")
    run = read_run(folder, "run")
    assert run.config["model"]["bias_reg_lambda"] == 0.07
    command = run_command(run.overrides or [], run.seed, run.fold)
    assert "'model.bias_reg_lambda=${model.reg_lambda}'" in command
    call("train", *shlex.split(command)[3:], f"hydra.run.dir={folder.with_name('again')}")
    assert metrics(folder.with_name("again")) == metrics(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_sentence(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train("trainer.accelerator=gpu")
    assert "gpu" in capsys.readouterr().err.lower()


def test_resume_takes_no_other_settings(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train()
    with pytest.raises(SystemExit):
        call("train", f"resume={folder}", "model.dropout=0.5")
    assert "leave out model.dropout=0.5" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call("train", f"resume={folder.with_name('nowhere')}")
    assert "holds no run" in capsys.readouterr().err
    moved = folder.rename(folder.with_name("moved"))
    with pytest.raises(SystemExit):
        call("train", f"resume={moved}")
    assert f"was made as {folder}" in capsys.readouterr().err
    moved.rename(folder)
    with pytest.raises(SystemExit):
        train("model.dropout=0.5")
    assert "holds another run (model.dropout was 0.0, is 0.5)" in capsys.readouterr().err


def test_wandb_writes_offline(train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):  # else tables and logs are left at home
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "home" / name))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # another test's, which may have ended
    folder = train("logger=wandb", "trainer.max_epochs=2")
    wandb.teardown()
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert (folder / "metrics.csv").exists()
    assert OmegaConf.load(folder / "config.yaml").logger.wandb.project == "recsys"
