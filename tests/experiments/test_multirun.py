from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from recsys.cli import config_dir, resumed_sweep
from recsys.experiments.multirun import _is_unfinished, count_jobs, is_best
from recsys.report.overrides import run_command
from recsys.report.runs import read_run
from tests.commands import call, train_arguments, write_ratings

SHORT = "trainer.max_epochs=2"


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that sweeps in `tmp_path / "sweep"`, over what is added to it."""
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_ratings(tmp_path / "data" / "ratings.csv")
    common = [text for text in train_arguments(tmp_path / "data", tmp_path) if not text.startswith("hydra.run.dir")]
    return ["-m", *common, SHORT, f"hydra.sweep.dir={tmp_path / 'sweep'}"]


def states(folder: Path) -> dict[str, str]:
    return {file.parent.name: json.loads(file.read_text())["state"] for file in sorted(folder.glob("*/status.json"))}


def test_a_failing_job_ends_no_other_and_is_told_at_the_end(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        call("train", *arguments, "model.dropout=0.1,2,0.3")
    assert exit_.value.code == 1
    assert states(tmp_path / "sweep") == {"0": "finished", "1": "failed", "2": "finished"}
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.lstrip().startswith(("1/3", "2/3", "3/3"))]
    assert len(lines) == 3
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text())["jobs"] == 3
    assert "dropout=0.1" in lines[0]
    assert "validation" in lines[0]
    assert "left" in lines[0]
    assert "FAILED: dropout must be in [0.0, 1.0), got 2" in lines[1]
    assert "ratings to train on" not in out
    assert "ratings to train on" in (tmp_path / "sweep" / "0" / "train.log").read_text()
    assert "Traceback" in (tmp_path / "sweep" / "1" / "train.log").read_text()
    summary = out[out.index(lines[2]) :]
    assert "dropout must be in [0.0, 1.0), got 2" in " ".join(summary.split())


def test_a_sweep_goes_on_with_what_is_left(arguments: list[str], tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    call("train", *arguments, "model.dropout=0.1,0.2")
    kept = (sweep / "0" / "metrics.json").stat().st_mtime_ns
    (sweep / "1" / "metrics.json").unlink()
    (sweep / "1" / "status.json").unlink()
    call("train", f"resume={sweep}")
    assert states(sweep) == {"0": "finished", "1": "finished"}
    assert (sweep / "0" / "metrics.json").stat().st_mtime_ns == kept
    assert (sweep / "1" / "metrics.json").exists()


@pytest.mark.usefixtures("plots")
def test_a_job_draws_only_for_who_shows_it(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("train", *arguments)
    assert not list((tmp_path / "sweep").rglob("*.png"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    call("train", *arguments, "logger=[csv,wandb]", f"hydra.sweep.dir={tmp_path / 'tracked'}")
    pictures = {file.name for file in (tmp_path / "tracked" / "0").glob("*.png")}
    assert pictures == {"error_by_activity.png", "learning_curve.png"}


def test_another_sweep_in_its_folder_is_refused(arguments: list[str], tmp_path: Path) -> None:
    call("train", *arguments, "model.dropout=0.1,0.2")
    before = (tmp_path / "sweep" / "1" / "metrics.json").read_text()
    with pytest.raises(
        SystemExit, match=r"holds another sweep, of .*model.dropout=0.1,0.2; choose another hydra.sweep.dir"
    ):
        call("train", *arguments, "model.dropout=0.1,0.3")
    assert (tmp_path / "sweep" / "1" / "metrics.json").read_text() == before


def test_two_processes_do_not_run_one_sweep(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    with FileLock(tmp_path / "sweep" / ".lock"), pytest.raises(SystemExit, match="another process runs the sweep"):
        call("train", *arguments, "model.dropout=0.1,0.2")
    assert states(tmp_path / "sweep") == {}


def test_resume_of_a_sweep_takes_no_other_settings(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text(
        "hydra: {overrides: {task: [seed=1], hydra: [hydra/launcher=joblib, hydra.sweep.dir=old, hydra.mode=MULTIRUN]}}"
    )
    typed = [f"resume={tmp_path}"]
    assert resumed_sweep(typed) == ["--multirun", "seed=1", "hydra/launcher=parallel", f"hydra.sweep.dir={tmp_path}"]
    with pytest.raises(ValueError, match="leave out seed=2"):
        resumed_sweep([*typed, "seed=2"])
    assert resumed_sweep(["seed=2"]) == ["seed=2"]


def test_resume_writes_nothing_where_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("train", f"resume={tmp_path / 'mistyped'}")
    assert "mistyped holds no run (it has no config.yaml) and no sweep" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_moved_sweep_is_refused_before_anything_is_written(arguments: list[str], tmp_path: Path) -> None:
    call("train", *arguments, "model.dropout=0.1,0.2")
    moved = (tmp_path / "sweep").rename(tmp_path / "moved")
    with pytest.raises(SystemExit, match=r"moved was made as .*sweep; move it back"):
        call("train", f"resume={moved}")
    assert states(moved) == {"0": "finished", "1": "finished"}


def test_the_file_of_wandb_is_no_search_of_hydra(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("train", *arguments[1:], "hparams_search=wandb")
    assert "wandb sweep conf/hparams_search/wandb.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.dropout=0,0.1", "seed=range(3)"], 6),
        (["hparams_search=grid"], 18),
        (["hparams_search=grid", "model.dropout=0.3"], 9),
        (["hparams_search=optuna", "hydra.sweeper.n_trials=7"], 7),
    ],
)
def test_jobs_are_counted_before_they_run(overrides: list[str], expected: int) -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        fixed = [text for text in overrides if "," not in text and "range" not in text]
        config = compose("train", fixed, return_hydra_config=True)
    with open_dict(config):
        config.hydra.overrides.task = [text for text in overrides if not text.startswith("hydra.")]
    assert count_jobs(config) == expected


@pytest.mark.parametrize(
    ("status", "lost"),
    [
        ({"state": "finished", "message": None}, False),
        ({"state": "pruned", "message": "epoch 3 was not good enough"}, False),
        ({"state": "failed", "message": "out of memory"}, True),
        ({"state": "interrupted", "message": "stopped by Ctrl-C or SIGTERM; resume= goes on"}, True),
        ({"state": "interrupted", "message": "interrupted; retried as trial 4"}, False),
        ({"state": "interrupted", "message": "cut off; tried again as trial 4"}, False),  # of version 0.1
        ({"state": "interrupted", "message": "interrupted 10 times"}, True),
        ({"state": "running", "message": None}, True),
        (None, True),
    ],
)
def test_a_job_is_unfinished_unless_it_finished_or_was_pruned(
    tmp_path: Path, status: dict[str, str] | None, lost: bool
) -> None:
    if status is not None:
        (tmp_path / "status.json").write_text(json.dumps(status))
    assert _is_unfinished(tmp_path) == lost


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


def test_an_interpolation_is_resolved_in_each_job_and_typed_again(arguments: list[str], tmp_path: Path) -> None:
    call("train", *arguments, "model.reg_lambda=0.05,0.07", "model.bias_reg_lambda=${model.reg_lambda}")
    for job, reg_lambda in (("0", 0.05), ("1", 0.07)):
        run = read_run(tmp_path / "sweep" / job, job)
        assert run.config["model"]["bias_reg_lambda"] == reg_lambda
        command = run_command(run.overrides or [], run.seed, run.fold)
        assert f" model.reg_lambda={reg_lambda} 'model.bias_reg_lambda=${{model.reg_lambda}}' seed=0" in command


def test_the_agent_of_wandb_runs_no_sweep(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    with pytest.raises(SystemExit) as exit_:
        call("train", *arguments, "model.dropout=0.1,0.2")
    assert exit_.value.code == 1
    said = "FAILED: wandb agent has one W&B run for this command: leave out -m, seeds and folds"
    assert capsys.readouterr().out.count(said) == 2
    assert states(tmp_path / "sweep") == {}


def test_a_sweep_needs_a_folder_that_can_be_made(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"error: hydra.sweep.dir: .*Not a directory"):
        call("train", *arguments, "model.dropout=0.1,0.2", f"hydra.sweep.dir={tmp_path}/file/sweep")


def test_a_damaged_record_of_a_sweep_is_one_sentence(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    for text in ("hydra: {overr", "", "hydra: {}"):
        (sweep / "multirun.yaml").write_text(text)
        with pytest.raises(SystemExit):
            call("train", f"resume={sweep}")
        assert "multirun.yaml is damaged" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"multirun.yaml is damaged"):
        call("train", *arguments, "model.dropout=0.1,0.2")
