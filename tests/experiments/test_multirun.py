from __future__ import annotations

import copy
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from recsys.cli import resumed_sweep
from recsys.experiments.job_lines import begin_lines, print_line
from recsys.experiments.multirun import MultirunCallback, _is_unfinished, count_jobs
from recsys.report.overrides import run_command
from recsys.report.runs import read_run
from recsys.training.context import RunContext
from tests.commands import Train, call, composed, copy_run, draw_plots, stop_clock, train_arguments, write_ratings

pytestmark = pytest.mark.long

SHORT = "trainer.max_epochs=2"


def sweep_arguments(root: Path, folder: Path) -> list[str]:
    """A command that sweeps in `folder`, over what is added to it."""
    common = [text for text in train_arguments(root, folder) if not text.startswith("hydra.run.dir")]
    return ["-m", *common, SHORT, f"hydra.sweep.dir={folder}"]


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that sweeps in `tmp_path / "sweep"`, over what is added to it."""
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_ratings(tmp_path / "data" / "ratings.csv")
    return sweep_arguments(tmp_path / "data", tmp_path / "sweep")


class Sweep(NamedTuple):
    folder: Path
    arguments: list[str]  # without the swept ones
    exit_code: object
    out: str


SWEPT = ("model.dropout=0.1,2,0.3", "model.reg_lambda=${model.dropout}")


@pytest.fixture(scope="module")
def sweep(small_ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep of three jobs, the second of which fails; plots where a run draws them. To be read or copied only."""
    folder = tmp_path_factory.mktemp("sweep") / "sweep"
    given = sweep_arguments(small_ratings, folder)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
        draw_plots(patch)
        with pytest.raises(SystemExit) as exit_:
            call("train", *given, *SWEPT)
    return Sweep(folder, given, exit_.value.code, out.getvalue())


def states(folder: Path) -> dict[str, str]:
    return {file.parent.name: json.loads(file.read_text())["state"] for file in sorted(folder.glob("*/status.json"))}


def test_a_failing_job_ends_no_other_and_is_told_at_the_end(sweep: Sweep) -> None:
    assert sweep.exit_code == 1
    assert states(sweep.folder) == {"0": "finished", "1": "failed", "2": "finished"}
    lines = [line for line in sweep.out.splitlines() if line.lstrip().startswith(("1/3", "2/3", "3/3"))]
    assert len(lines) == 3
    assert json.loads((sweep.folder / "sweep.json").read_text())["jobs"] == 3
    assert "dropout=0.1" in lines[0]
    assert "reg_lambda" not in lines[0]  # the same for all, as it was typed
    assert "validation" in lines[0]
    assert "left" in lines[0]
    assert "FAILED: model.dropout must be in [0.0, 1.0), got 2" in lines[1]
    assert "ratings to train on" not in sweep.out
    assert "ratings to train on" in (sweep.folder / "0" / "train.log").read_text()
    assert "Traceback" in (sweep.folder / "1" / "train.log").read_text()
    summary = sweep.out[sweep.out.index(lines[2]) :]
    assert "dropout must be in [0.0, 1.0), got 2" in " ".join(summary.split())


def test_a_sweep_goes_on_with_what_is_left(sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy_run(sweep.folder, tmp_path / "sweep")
    kept = (folder / "0" / "metrics.json").stat().st_mtime_ns
    (folder / "2" / "metrics.json").unlink()
    (folder / "2" / "status.json").unlink()
    with pytest.raises(SystemExit):  # its second job fails again
        call("train", f"resume={folder}")
    out = capsys.readouterr().out
    assert "(1 done)" in out, "a failed job is tried again"
    assert [line.split()[0] for line in out.splitlines() if line.lstrip()[1:3] == "/3"] == ["2/3", "3/3"]
    assert states(folder) == {"0": "finished", "1": "failed", "2": "finished"}
    assert (folder / "0" / "metrics.json").stat().st_mtime_ns == kept
    assert (folder / "2" / "metrics.json").exists()


@pytest.mark.usefixtures("plots")
def test_a_job_draws_only_for_who_shows_it(
    sweep: Sweep, quick_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not list(sweep.folder.rglob("*.png"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("recsys.train.run_context", lambda folder: RunContext(in_sweep=True))
    tracked = quick_train("logger=[csv,wandb]", "trainer.max_epochs=1", "refit=none")
    assert {file.name for file in tracked.glob("*.png")} == {"error_by_activity.png", "learning_curve.png"}


def test_another_sweep_in_its_folder_is_refused(sweep: Sweep) -> None:
    before = [(sweep.folder / name).read_text() for name in ("2/metrics.json", "multirun.yaml", "sweep.json")]
    with pytest.raises(SystemExit, match=r"contains another sweep .*model.dropout=0.1,2,0.3 .*hydra.sweep.dir"):
        call("train", *sweep.arguments, "model.dropout=0.1,0.3")
    after = [(sweep.folder / name).read_text() for name in ("2/metrics.json", "multirun.yaml", "sweep.json")]
    assert after == before


def begin(folder: Path, *overrides: str) -> None:
    """What Hydra has done before the first job of a sweep."""
    hydra = {"sweep": {"dir": str(folder)}, "overrides": {"task": list(overrides)}, "sweeper": {}}
    callback = MultirunCallback()
    try:
        callback.on_multirun_start(OmegaConf.create({"hydra": hydra}))
    finally:
        if callback.lock:  # else held until it is collected
            callback.lock.release()


@pytest.mark.parametrize("damage", ["", "hydra: {overr", "42"])
def test_a_sweep_needs_no_file_of_hydra_to_go_on(sweep: Sweep, tmp_path: Path, damage: str) -> None:
    folder = copy_run(sweep.folder, tmp_path / "sweep")
    expected = resumed_sweep([f"resume={folder}"])
    (folder / "multirun.yaml").write_text(damage)
    assert resumed_sweep([f"resume={folder}"]) == expected
    (folder / "multirun.yaml").unlink()
    assert resumed_sweep([f"resume={folder}"]) == expected


def test_a_sweep_may_go_by_a_link(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_run(sweep.folder, tmp_path / "sweep")
    (tmp_path / "link").symlink_to("sweep")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):  # its second job fails again
        call("train", "resume=link")
    assert "FAILED: model.dropout must be in" in capsys.readouterr().out
    assert states(folder) == {"0": "finished", "1": "failed", "2": "finished"}


def lines(folder: Path, n_done: int, outcomes: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    begin_lines(folder, 12, n_done, {"task": [], "hydra": []}, ["fixed=1"])
    capsys.readouterr()
    for number, outcome in enumerate(outcomes):
        print_line(folder / str(number), ["fixed=1", "model.x=0.10000001", f"trial={number}"], outcome)
    return capsys.readouterr().out.splitlines()


def test_no_negative_time_is_left_after_the_clock_was_set_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_lines(tmp_path, 3, 0, {"task": [], "hydra": []}, [])
    monkeypatch.setattr("time.time", lambda: 0.0)
    print_line(tmp_path / "0", [], "x")
    assert capsys.readouterr().out.strip().endswith("about 0 s left")


def test_lines_are_numbered_on_from_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = lines(tmp_path, 0, ["validation 1", "FAILED: x"], capsys)
    assert [line.split() for line in first][1][:3] == ["2/12", "x=0.1", "FAILED:"]
    resumed = lines(tmp_path, 1, ["a"] * 11, capsys)
    assert [line.split()[0] for line in resumed] == [f"{number}/12" for number in range(2, 13)]
    assert all("left" in line for line in resumed[:-1])
    assert "left" not in resumed[-1]


def test_jobs_that_end_at_once_have_lines_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin_lines(tmp_path, 12, 0, {}, [])
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: print_line(tmp_path / str(number), [], "x"), range(12)))
    numbers = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert numbers == [f"{number}/12" for number in range(1, 13)]


def test_two_sweeps_that_start_in_the_same_second_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = composed("train", "hydra.sweep.dir=${run_dir}-${now:%S}", "run_dir=sweeps/x")
    stop_clock(monkeypatch)
    with open_dict(config):
        config.hydra.overrides.task = ["seed=1,2"]
    held = []
    for _ in range(2):
        again = copy.deepcopy(config)
        held.append(MultirunCallback())
        held[-1].on_multirun_start(again)
        assert again.hydra.overrides.hydra[-1] == f"hydra.sweep.dir={again.hydra.sweep.dir}"
    for callback in held:
        assert callback.lock is not None
        callback.lock.release()
    assert sorted(path.name for path in Path("sweeps").iterdir()) == ["x-00", "x-00-2"]
    assert "2 runs in sweeps/x-00-2;" in capsys.readouterr().out


def test_two_processes_do_not_run_one_sweep(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(SystemExit, match="another process is running the sweep"):
        begin(tmp_path, "model.dropout=0.1,0.2")
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_resume_of_a_sweep_takes_no_other_settings(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text(
        "seed: 0\n"
        "hydra: {overrides: {task: [seed=1, 'data.seed=${seed}'],"
        " hydra: [hydra/launcher=joblib, hydra.sweep.dir=old, hydra.mode=MULTIRUN]}}"
    )
    typed = [f"resume={tmp_path}"]
    again = ["seed=1", "data.seed=${seed}", "hydra/launcher=parallel"]
    assert resumed_sweep(typed) == ["--multirun", *again, f"hydra.sweep.dir={tmp_path}"]
    with pytest.raises(ValueError, match="remove seed=2"):
        resumed_sweep([*typed, "seed=2"])
    assert resumed_sweep(["seed=2"]) == ["seed=2"]


def test_resume_writes_nothing_where_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("train", f"resume={tmp_path / 'mistyped'}")
    assert "no run or sweep in " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_moved_sweep_is_refused_before_anything_is_written(sweep: Sweep, tmp_path: Path) -> None:
    moved = shutil.copytree(sweep.folder, tmp_path / "moved")
    with pytest.raises(SystemExit, match=r"moved was created as .*sweep; move it back"):
        call("train", f"resume={moved}")
    for name in ("sweep.json", "0/status.json", "1/status.json", "2/status.json"):
        assert (moved / name).read_text() == (sweep.folder / name).read_text()


def test_the_file_of_wandb_is_no_search_of_hydra(quick_train: Train) -> None:
    with pytest.raises(ValueError, match=r"wandb sweep conf/hparams_search/wandb.yaml"):
        quick_train("hparams_search=wandb")


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
    config = composed("train", *(text for text in overrides if "," not in text and "range" not in text))
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


def test_an_interpolation_is_resolved_in_each_job_and_typed_again(sweep: Sweep) -> None:
    for job, dropout in (("0", 0.1), ("2", 0.3)):
        run = read_run(sweep.folder / job, job)
        assert run.config["model"]["reg_lambda"] == dropout
        command = run_command(run.overrides or [], run.seed, run.fold)
        assert f" model.dropout={dropout} 'model.reg_lambda=${{model.dropout}}' seed=0" in command


def test_the_agent_of_wandb_runs_no_sweep(
    multirun: None, quick_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    with pytest.raises(ValueError, match=r"wandb agent .* leave out -m, seeds and folds"):
        quick_train()
    assert states(tmp_path) == {}


def test_a_sweep_needs_a_folder_that_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"error: hydra.sweep.dir: cannot write to .*Not a directory"):
        begin(tmp_path / "file" / "sweep", "model.dropout=0.1,0.2")


def test_a_damaged_record_of_a_sweep_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("hydra: {overr", "", "hydra: {}"):
        (tmp_path / "multirun.yaml").write_text(text)
        with pytest.raises(SystemExit):
            call("train", f"resume={tmp_path}")
        assert "multirun.yaml is damaged (" in capsys.readouterr().err
        with pytest.raises(SystemExit, match=r"multirun.yaml is damaged \("):
            begin(tmp_path, "model.dropout=0.1,0.2")


@pytest.mark.parametrize("name", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    config = composed("train", f"{name}={tmp_path / 'new'}")
    start = MultirunCallback().on_run_start if "run.dir" in name else MultirunCallback().on_multirun_start
    message = rf"^error: {name}: cannot write to {tmp_path / 'new'} \(Permission denied\); choose .*{name}=…$"
    with pytest.raises(SystemExit, match=message):
        start(config)
