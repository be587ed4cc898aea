from __future__ import annotations

import json
import os
import shlex
import shutil
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
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

from recsys.bundle import Bundle
from recsys.cli import USER_ERRORS
from recsys.experiments.multirun import resume_hint
from recsys.experiments.run_folder import OtherRunError
from recsys.report.overrides import run_command
from recsys.report.runs import read_run
from recsys.training.callbacks import EpochRecord
from recsys.training.run import build_data
from tests.bundles import trained_and_folded
from tests.commands import (
    Train,
    call,
    call_function,
    copy_run,
    draw_plots,
    run_config,
    stop_clock,
    train_arguments,
    write_ratings,
)

pytestmark = pytest.mark.long

UNSTABLE = ("fit_seconds", "git_commit")  # the second where somebody commits meanwhile


class Killed(BaseException):
    """Ends a run where it is, as SIGKILL does: nothing handles it."""


def metrics(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in found.items() if name not in UNSTABLE}


SHORT = "trainer.max_epochs=6"
REFITS = ("none", "train_val", "all")


@pytest.fixture(scope="module")
def finished(small_ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that the command trained, with plots: to be read, or copied, only."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
        draw_plots(patch)
        call("train", *train_arguments(small_ratings, folder), SHORT)
    return folder


def test_a_run_leaves_what_the_readme_says(finished: Path) -> None:
    for name in ("config.yaml", "metrics.json", "metrics.csv", "learning_curve.png", "error_by_activity.png",
                 "bundle/manifest.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):  # fmt: skip
        assert (finished / name).stat().st_size > 0, name
    found = json.loads((finished / "metrics.json").read_text())
    assert found["test/rmse"] < found["baseline/biases"]
    assert found["test/rmse_cold"] is None
    assert found["test/share_cold"] == 0
    assert {"model": "mf", "data": "ratings", "split": "user_time"}.items() <= found.items()
    rows = pd.read_csv(finished / "metrics.csv")
    assert list(rows["epoch"]) == list(range(len(rows)))
    assert not rows[["val/rmse", "train/loss", "lr-Adam"]].isna().any().any()
    assert found["val/rmse"] == pytest.approx(rows["val/rmse"].min())
    assert found["epochs"] == rows["val/rmse"].argmin() + 1 < len(rows), "the last epoch should not be the best"
    assert [path.name for path in finished.rglob(".*")] == [".lock"]
    assert json.loads((finished / "status.json").read_text())["state"] == "finished"


def test_checkpoints_load_as_weights_only(finished: Path) -> None:
    files = {file.name: file for file in (finished / "checkpoints").glob("*.ckpt")}
    assert files.keys() >= {"best.ckpt", "last.ckpt", "refit_train_val.ckpt"}
    for file in files.values():
        assert "state_dict" in torch.load(file, weights_only=True)


def test_two_runs_with_one_seed_are_identical(finished: Path, trained: Train) -> None:
    second, other = trained(SHORT, "refit=train_val"), trained("seed=1", "trainer.max_epochs=1")
    assert metrics(finished) == metrics(second)
    one, two = (OmegaConf.load(folder / "config.yaml") for folder in (finished, second))
    assert [one[group] for group in ("data", "model", "trainer")] == [
        two[group] for group in ("data", "model", "trainer")
    ]
    a, b, c = (Bundle.load(folder / "bundle").factors for folder in (finished, second, other))
    assert np.array_equal(a.user_factors, b.user_factors)
    assert not np.array_equal(a.user_factors, c.user_factors)


def test_seed_does_not_choose_rows(small_ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))

    def rows(*overrides: str) -> list[int]:
        data = build_data(
            run_config(
                *train_arguments(small_ratings, tmp_path), "data.split=random", f"run_dir={tmp_path}", *overrides
            )
        )
        data.setup()
        return [*data.split.train, -1, *data.split.val, -1, *data.split.test]

    assert rows() == rows("seed=1")
    assert rows() != rows("data.split_seed=1")


DROPOUT = ("model.dropout=0.3", "callbacks.early_stopping.patience=3")


@pytest.fixture(scope="module")
def whole(trained: Train) -> Path:
    """A run left alone; with a plateau patience of 0 and dropout, each epoch's order, mask and rate matters."""
    folder = trained(*DROPOUT)
    rates = pd.read_csv(folder / "metrics.csv")["lr-Adam"]
    assert rates.min() < rates.max(), "no plateau step in this run: it would not show a lost one"
    return folder


@pytest.mark.parametrize(
    ("hook", "cuts"),
    [
        ((EpochRecord, "on_train_epoch_start"), [("select", 0), ("select", 2), ("refit", 0), ("refit", 2)]),
        # Right after a checkpoint: the run does not come back to that epoch, so nothing of it may be missing.
        ((ModelCheckpoint, "on_train_epoch_end"), [("select", 1)]),
    ],
    ids=["at the start of an epoch", "after a checkpoint"],
)
def test_a_run_killed_again_and_again_resumes_to_the_same_end(
    quick_train: Train,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hook: tuple[type, str],
    cuts: list[tuple[str, int]],
) -> None:
    cut, settings = tmp_path / "cut", DROPOUT
    done: list[tuple[str, int]] = []
    for stage, epoch in cuts:
        with monkeypatch.context() as patch:
            kill_at(patch, *hook, stage, epoch, done)
            with pytest.raises(Killed):
                quick_train(*settings, name="cut")
        assert not (cut / "metrics.json").exists()
        assert not (cut / "bundle").exists()
        settings = (f"resume={cut}",)
    with monkeypatch.context() as patch:
        kill_at(patch, *hook, "never", 0, done)
        call("train", *settings)
    assert metrics(cut) == metrics(whole)
    curve = (whole / "metrics.csv").read_text()
    assert (cut / "metrics.csv").read_text() == curve
    epochs = {"select": len(curve.splitlines()) - 1, "refit": metrics(whole)["epochs"]}
    assert done == [(stage, epoch) for stage, count in epochs.items() for epoch in range(count)]  # none twice


def kill_at(
    patch: pytest.MonkeyPatch, kind: type, hook: str, stage: str, epoch: int, done: list[tuple[str, int]]
) -> None:
    """Kill a run at a callback's hook, before it where an epoch starts, after it where one ends; notes all others."""
    original = getattr(kind, hook)

    def die(self, trainer, module) -> None:  # type: ignore[no-untyped-def]
        now = ("refit" if trainer.limit_val_batches == 0 else "select", trainer.current_epoch)
        if not hook.endswith("start"):
            original(self, trainer, module)
            done.append(now)
        if now == (stage, epoch):
            raise Killed
        if hook.endswith("start"):
            original(self, trainer, module)
            done.append(now)

    patch.setattr(kind, hook, die)


@pytest.mark.parametrize("refit", REFITS)
def test_the_noise_of_a_bundle_is_its_error_on_validation_rows(trained: Train, refit: str) -> None:
    folder = trained(SHORT, f"refit={refit}")
    bundle = Bundle.load(folder / "bundle")
    assert bundle.manifest["noise"] == metrics(folder)["val/rmse"]
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


def test_a_finished_run_is_not_trained_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "bundle" / "manifest.json").stat().st_mtime_ns
    call("train", f"resume={finished}")
    assert "RMSE in stars" in capsys.readouterr().out
    data = OmegaConf.load(finished / "config.yaml").data.root
    call("train", *train_arguments(data, finished), SHORT)  # the same command in the same folder
    assert "RMSE in stars" in capsys.readouterr().out
    assert (finished / "bundle" / "manifest.json").stat().st_mtime_ns == before


SVDPP = ("model=svdpp", "trainer.max_epochs=1")


def test_resume_keeps_the_model(
    quick_train: Train, trained: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `resume=` composes has another model."""
    with monkeypatch.context() as patch:
        patch.setattr("recsys.training.run.refit", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            quick_train(*SVDPP)
    assert run_config().model_name != "svdpp"
    quick_train(f"resume={tmp_path / 'run'}")
    assert metrics(tmp_path / "run") == metrics(trained(*SVDPP))
    assert metrics(tmp_path / "run")["model"] == "svdpp"


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_a_refit_follows_the_curve_to_the_best_epoch_and_a_cut_off_run_goes_on_with_it(
    quick_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, schedule: str
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
        whole = quick_train(*settings, name="whole")
    assert (len(rates[False]), len(rates[True])) == (6, 4)
    np.testing.assert_allclose(rates[True], rates[False][:4], rtol=0.02)  # more rows: other steps of the curve

    with monkeypatch.context() as patch:
        kill_at(patch, EpochRecord, "on_train_epoch_end", "refit", 2, [])
        with pytest.raises(Killed):
            quick_train(*settings, name="cut")
    quick_train(f"resume={tmp_path / 'cut'}", name="cut")
    assert metrics(tmp_path / "cut") == metrics(whole)


def test_refit_chooses_the_rows(trained: Train) -> None:
    bundles = [Bundle.load(trained(SHORT, f"refit={refit}") / "bundle") for refit in REFITS]
    parts = np.bincount(bundles[0].ratings.part)
    fitted = [bundle.manifest["counts"]["fitted_ratings"] for bundle in bundles]
    assert fitted == [parts[0], parts[0] + parts[1], parts.sum()]
    none, train_val, all_ = (metrics(trained(SHORT, f"refit={refit}"))["test/rmse"] for refit in REFITS)
    assert all_ == train_val != none


def test_evaluate_equals_metrics_and_refuses_what_saw_the_test_rows(
    finished: Path, trained: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    call("evaluate", f"run={finished}")
    assert "metrics equal" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call("evaluate", f"run={trained(SHORT, 'refit=all')}")
    assert "fitted on the test rows too" in capsys.readouterr().err


def test_a_run_from_before_calibration_is_evaluated_without(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_run(finished, tmp_path / "older")
    recorded = json.loads((folder / "metrics.json").read_text())
    older = {name: value for name, value in recorded.items() if "inside" not in name and name != "test/mean_std"}
    assert len(older) == len(recorded) - 3
    (folder / "metrics.json").write_text(json.dumps(older))
    call_function("evaluate", f"run={folder}")
    assert "metrics equal" in capsys.readouterr().out
    (folder / "metrics.json").write_text(json.dumps(recorded | {"test/inside_50": 0.1}))
    with pytest.raises(ValueError, match="test/inside_50"):
        call_function("evaluate", f"run={folder}")


def test_a_bad_result_is_said_beside_it_by_both_commands(
    small_ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
    folder = tmp_path / "run"
    given = [text for text in train_arguments(small_ratings, folder) if not text.startswith("model.")]
    call("train", *given, "model=bayesian_mf", "model.burn_in=3", "trainer.max_epochs=1", "refit=none")
    for _ in range(2):
        out = capsys.readouterr().out
        assert "warning: the chain of 1 sweeps ends within its burn-in (model.burn_in=3)" in out
        assert "warning: the model is worse than a baseline, " in out
        call("evaluate", f"run={folder}")


def test_compress_serves_and_measures_fewer_coordinates(
    trained: Train, quick_train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = metrics(trained(SHORT, "refit=all"))
    folder = quick_train(SHORT, "refit=all", "compress=2", name="compressed")
    found = json.loads((folder / "metrics.json").read_text())
    assert found["test/rmse_uncompressed"] == whole["test/rmse"] != found["test/rmse"]
    assert found["test/rmse"] == pytest.approx(whole["test/rmse"], abs=0.1)
    factors = Bundle.load(folder / "bundle").factors
    assert factors.item_factors.shape[1:] == (1, 2)
    folder = quick_train("compress=2", "trainer.max_epochs=1", name="measured")
    call_function("evaluate", f"run={folder}")
    assert "metrics equal" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"compress .*>= 1, got 0"):
        quick_train("compress=0", name="no")


def test_compress_auto_serves_rows_as_wide_as_their_ratings_justify(trained: Train, quick_train: Train) -> None:
    whole = trained(SHORT, "refit=all")
    folder = quick_train(SHORT, "refit=all", "compress=auto", name="auto")
    rule = json.loads((folder / "checkpoints" / "widths.json").read_text())
    bundle = Bundle.load(folder / "bundle")
    assert bundle.manifest["widths"] == rule
    assert metrics(folder)["test/rmse"] == pytest.approx(metrics(whole)["test/rmse"], abs=0.01)
    sizes = [(run / "bundle" / "factors.safetensors").stat().st_size for run in (whole, folder)]
    assert sizes[1] < sizes[0]


MISTAKEN = {
    ("model.dropout=1",): "dropout must be in [0.0, 1.0), got 1",
    ("model.embedding_dim=0",): "embedding_dim must be >= 1, got 0",
    ("model.embedding_dim=many",): "model.embedding_dim must be an integer, got 'many'",
    ("model.reg_lambda=-1",): "reg_lambda must be >= 0.0, got -1",
    ("data.batch_size=0",): "batch_size must be >= 1, got 0",
    ("data.split=luck",): "split must be one of",
    ("data.split=random", "data.test_fraction=1.5"): "test_fraction must be in (0, 1), got 1.5",
    ("refit=some",): "refit must be one of none, train_val, all, got 'some'",
    ("data.root=/no/such/folder",): "/no/such/folder",
    ("data.ratings_file=no.csv",): "no.csv",
    ("data.rating_column=null",): "has no ratings but implicit feedback",
    ("data.timestamp_column=null", "data.split=user_time"): "timestamp",
    ("callbacks.checkpoint.monitor=val/nothing",): "could not find the monitored key",  # Lightning's own words
    ("~logger.csv",): "logger.csv must stay",
}


@pytest.mark.parametrize(("overrides", "message"), MISTAKEN.items())
def test_a_mistake_is_an_error_that_the_command_knows(
    quick_train: Train, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(USER_ERRORS) as raised:
        quick_train(*overrides)
    cause = raised.value.__cause__ if isinstance(raised.value, InstantiationException) else raised.value
    assert message in str(cause)


@pytest.mark.parametrize("override", ["model.dropout=1", "data.root=/no/such/folder", "~logger.csv"])
def test_a_mistake_is_one_sentence(train: Train, capsys: pytest.CaptureFixture[str], override: str) -> None:
    """One that Hydra wraps, one of the operating system, one that Lightning finds."""
    with pytest.raises(SystemExit) as exit_:
        train(override)
    errors = capsys.readouterr().err
    assert exit_.value.code == 1
    assert errors.startswith("error: ")
    assert MISTAKEN[override,] in errors
    assert "Traceback" not in errors


def test_an_interpolation_is_resolved_and_typed_again(train: Train, quick_train: Train) -> None:
    quick = ("trainer.max_epochs=1", "refit=none")
    folder = train(*quick, "model.reg_lambda=0.07", "model.bias_reg_lambda=${model.reg_lambda}")
    run = read_run(folder, "run")
    assert run.config["model"]["bias_reg_lambda"] == 0.07
    command = run_command(run.overrides or [], run.seed, run.fold)
    assert "'model.bias_reg_lambda=${model.reg_lambda}'" in command
    again = quick_train(*shlex.split(command)[3:], name="again")
    assert OmegaConf.load(again / "config.yaml").model.bias_reg_lambda == 0.07
    assert metrics(again) == metrics(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error_that_the_command_knows(quick_train: Train) -> None:
    with pytest.raises(USER_ERRORS, match=r"(?i)gpu"):
        quick_train("trainer.accelerator=gpu")


def test_a_run_with_a_class_of_ones_own_is_resumed_by_consent(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from recsys.models.mf import MatrixFactorization\n\n\nclass Mine(MatrixFactorization):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = ("model._target_=mine.Mine", "trainer.max_epochs=1")
    folder = train(*given)
    before = metrics(folder)
    hint = f"python -m recsys.train resume={folder} trust=true"
    assert resume_hint(folder) == f"interrupted; to resume: {hint}"
    for name in ("metrics.json", "status.json"):
        (folder / name).unlink()
    with pytest.raises(SystemExit):
        call("train", f"resume={folder}")
    assert "the class of model is mine.Mine, " in capsys.readouterr().err
    call("train", *shlex.split(hint)[3:])
    assert metrics(folder) == before
    (folder / "metrics.json").unlink()
    train(*given)  # the same command as before is the same run
    assert metrics(folder) == before


def test_a_folder_with_links_that_lead_out_of_it_is_not_gone_on_with(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = copy_run(finished, tmp_path / "run"), tmp_path / "other"
    other.write_text("mine")
    (folder / "train.log").unlink(missing_ok=True)
    (folder / "train.log").symlink_to(other)
    with pytest.raises(SystemExit, match=r"train\.log is a link to .*/other, which would be written to; .*trust=true"):
        call("train", f"resume={folder}")
    assert other.read_text() == "mine"
    call("train", f"resume={folder}", "trust=true")


def test_resume_takes_no_other_settings(
    finished: Path, quick_train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        call("train", f"resume={finished}", "model.dropout=0.5")
    assert "remove model.dropout=0.5" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call("train", f"resume={tmp_path / 'nowhere'}")
    assert "no run or sweep in " in capsys.readouterr().err
    moved = shutil.copytree(finished, tmp_path / "moved")
    with pytest.raises(ValueError, match=f"moved was created as {finished}"):
        quick_train(f"resume={moved}", name="moved")
    copy_run(finished, tmp_path / "run")
    with pytest.raises(OtherRunError, match=r"contains another run \(model.dropout was 0.0, is 0.5\)"):
        quick_train(SHORT, "model.dropout=0.5")


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("{"), lambda file: file.write_text("[]")])
def test_figures_that_are_damaged_are_named_with_what_writes_them(
    finished: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = copy_run(finished, tmp_path / "run")
    damage(folder / "metrics.json")
    message = f"{folder / 'metrics.json'} is missing or damaged: python -m recsys.train resume={folder} writes it"
    with pytest.raises(ValueError, match=message):
        call_function("evaluate", f"run={folder}")


def test_two_runs_that_start_in_the_same_second_both_run(
    small_ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
    stop_clock(monkeypatch)
    monkeypatch.chdir(tmp_path)
    given = [text for text in train_arguments(small_ratings, tmp_path) if not text.startswith("hydra")]
    for seed in (1, 2):
        call("train", *given, "trainer.max_epochs=1", f"seed={seed}", "refit=none")
    call("train", "resume=outputs/2026-11-23/12-00-00-mf-tabular-2")
    found = {
        folder.name: OmegaConf.load(folder / "config.yaml").seed for folder in Path("outputs/2026-11-23").iterdir()
    }
    assert found == {"12-00-00-mf-tabular": 1, "12-00-00-mf-tabular-2": 2}


def test_a_run_may_change_to_its_folder(
    small_ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECSYS_CACHE", "cache")
    monkeypatch.chdir(tmp_path)
    Path("ratings").symlink_to(small_ratings)
    given = train_arguments(Path("ratings"), Path("deep/run"))
    call("train", *given, "trainer.max_epochs=1", "hydra.job.chdir=true")
    assert "results in deep/run" in capsys.readouterr().out
    assert Path.cwd() == tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "ratings", "deep"}
    call("train", "resume=deep/run")


def test_a_run_s_folder_may_be_a_link(quick_train: Train, finished: Path, tmp_path: Path) -> None:
    """Which it becomes where it was moved to a larger disk, and where one names a shared folder."""
    folder = copy_run(finished, tmp_path / "run")
    folder.rename(tmp_path / "moved")
    folder.symlink_to("moved")
    (tmp_path / "other").symlink_to(tmp_path / "run")
    for name in ("metrics.json", "status.json", "checkpoints/selection.json"):
        (folder / name).unlink()
    quick_train(SHORT, name="other")  # the same command, by another name
    assert metrics(folder) == metrics(finished)
    call("train", f"resume={tmp_path / 'other'}")
    call("train", f"resume={tmp_path / 'run'}")
    with pytest.raises(OtherRunError, match=r"contains another run \(model.dropout was 0.0, is 0.5\)"):
        quick_train(SHORT, "model.dropout=0.5", name="other")


def test_wandb_writes_offline(quick_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):  # else tables and logs are left at home
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "home" / name))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # another test's, which may have ended
    folder = quick_train("logger=wandb", "trainer.max_epochs=1", "refit=none")
    wandb.teardown()
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert (folder / "metrics.csv").exists()
    assert OmegaConf.load(folder / "config.yaml").logger.wandb.project == "recsys"
