from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from filelock import FileLock
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from recsys.cli import config_dir
from recsys.experiments.study import Study, in_support
from recsys.training.errors import PrunedError
from recsys.training.pruners import make_pruner
from recsys.training.pruning import Pruning
from tests.commands import call, train_arguments, write_ratings

SPACE = {"model.dropout": FloatDistribution(0.0, 0.5), "model.embedding_dim": CategoricalDistribution([4, 8])}


def make_study(folder: Path, **changes: object) -> Study:
    arguments = {"name": "s", "storage": f"sqlite:///{folder / 'study.db'}", "folder": folder, "space": SPACE,
                 "settings": {"model": {"seed": 0}}, "seed": 0}  # fmt: skip
    return Study(**(arguments | changes))  # type: ignore[arg-type]


def end(folder: Path, number: int, state: str, value: float | None = None) -> None:
    """What a run leaves in its folder."""
    run = folder / str(number)
    run.mkdir()
    (run / "status.json").write_text(json.dumps({"state": state, "message": None, "started": "x", "seconds": 1.0}))
    if value is not None:
        (run / "metrics.json").write_text(json.dumps({"val/rmse": value}))


def trial_states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.study.trials]


def test_trials_are_told_what_their_folders_say(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    for number, (state, value) in enumerate([("finished", 0.9), ("pruned", None), ("failed", None), ("finished", 0.8)]):
        assert study.ask().number == number
        end(tmp_path, number, state, value)
        study.tell(number)
    study.ask()
    study.tell(4)  # its worker died without a word
    assert trial_states(study) == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE", "FAIL"]
    assert study.done == 5


def test_repeats_count_with_their_mean(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.ask()
    end(tmp_path, 0, "finished")
    (tmp_path / "0" / "repeats.json").write_text(json.dumps({"runs": [], "mean": {"val/rmse": 0.7}}))
    study.tell(0)
    assert study.study.trials[0].values == [0.7]


def test_what_a_kill_left_running_is_settled(tmp_path: Path) -> None:
    killed = make_study(tmp_path)
    asked = [killed.ask() for _ in range(4)]
    end(tmp_path, 0, "finished", 0.9)
    end(tmp_path, 1, "running")
    end(tmp_path, 2, "pruned")  # and trial 3 had not begun
    study = make_study(tmp_path)
    study.recover()
    study.recover()
    assert trial_states(study) == ["COMPLETE", "FAIL", "PRUNED", "FAIL", "WAITING", "WAITING"]
    assert study.done == 2
    again = [study.ask() for _ in range(2)]
    assert [trial.params for trial in again] == [asked[1].params, asked[3].params]
    status = json.loads((tmp_path / "1" / "status.json").read_text())
    assert status["state"] == "interrupted"
    assert status["message"] == "interrupted; retried as trial 4"


def test_a_trial_that_was_stopped_is_left_for_recovery(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    for number, state in enumerate(("finished", "interrupted", "running")):
        study.ask()
        end(tmp_path, number, state, 0.9)
        study.tell(number, interrupted=True)
    assert trial_states(study) == ["COMPLETE", "RUNNING", "RUNNING"]
    study.recover()
    assert trial_states(study) == ["COMPLETE", "FAIL", "FAIL", "WAITING", "WAITING"]


def test_a_kill_between_queueing_and_failing_makes_no_second_try(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    trial = study.ask()
    study.study.enqueue_trial(trial.params, user_attrs={"retry_of": 0, "attempt": 2})
    study.recover()
    assert trial_states(study) == ["FAIL", "WAITING"]


def test_a_trial_that_always_kills_its_process_is_left(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    for number in range(10):
        assert study.ask().number == number
        study.recover()
    assert trial_states(study) == ["FAIL"] * 10
    assert study.done == 1
    message = json.loads((tmp_path / "9" / "status.json").read_text())["message"]
    assert message == "interrupted 10 times"


def test_a_trial_whose_process_lives_on_is_waited_for(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.ask()
    (tmp_path / "0").mkdir()
    code = (
        "import sys, time, json, pathlib; from filelock import FileLock; f = pathlib.Path(sys.argv[1]);\n"
        "with FileLock(f / '.lock'):\n"
        "    (f / 'held').touch(); time.sleep(0.5)\n"
        "    (f / 'metrics.json').write_text(json.dumps({'val/rmse': 0.5}))\n"
        "    (f / 'status.json').write_text(json.dumps({'state': 'finished'}))\n"
    )
    orphan = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "0")])
    while not (tmp_path / "0" / "held").exists():
        time.sleep(0.01)
    study.recover()
    orphan.wait()
    assert study.study.trials[0].values == [0.5]


def test_a_trial_killed_before_its_settings_were_drawn_takes_none_of_a_later_one(tmp_path: Path) -> None:
    """Tried again it draws its own, and the next trial draws others."""
    study = make_study(tmp_path)
    study.study.ask()  # and the process is killed: a trial that runs, without settings
    study.recover()
    drawn = [study.ask().params for _ in range(3)]
    assert len({json.dumps(params) for params in drawn}) == 3


def test_a_study_cut_short_suggests_what_it_would_have(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    suggested = []
    for folder, anew in ((tmp_path / "a", False), (tmp_path / "b", True)):
        study = make_study(folder)
        found = []
        for number in range(14):
            study = make_study(folder) if anew else study
            found.append(study.ask().params)
            end(folder, number, "finished", found[-1]["model.dropout"])
            study.tell(number)
        suggested.append(found)
    assert suggested[0] == suggested[1]
    assert len({json.dumps(params) for params in suggested[0]}) == 14


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        (CategoricalDistribution([4, "x", None]), [4, "x", None], [5, "y"]),
        (FloatDistribution(0.0, 0.5), [0, 0.0, 0.25, 0.5], [-0.1, 0.6, "x", None, True]),
        (FloatDistribution(0.1, 0.7, step=0.2), [0.1, 0.3, 0.7], [0.2, 0.9]),
        (IntDistribution(8, 64, step=8), [8, 16, 64], [4, 12, 16.0, "x", None]),
        (IntDistribution(8, 64, log=True), [8, 9], [7, 65]),
    ],
)
def test_values_inside_a_distribution(
    distribution: BaseDistribution, inside: list[object], outside: list[object]
) -> None:
    assert all(in_support(distribution, value) for value in inside)
    assert not any(in_support(distribution, value) for value in outside)


def test_a_study_begins_with_the_settings_there_are(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.start_with({"model.dropout": 0.2, "model.embedding_dim": 64})  # 64 is not searched
    study.start_with({"model.dropout": 0.2})
    assert study.ask().params["model.dropout"] == 0.2
    assert len(study.study.trials) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"model": {"seed": 1}}}, "other settings: model.seed was 0, is 1"),
        ({"space": {"model.dropout": FloatDistribution(0.0, 0.6)}}, "other space: model.dropout was"),
    ],
)
def test_a_study_is_not_mixed_with_another(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    make_study(tmp_path)
    with pytest.raises(ValueError, match=message):
        make_study(tmp_path, **changes)


def test_a_study_belongs_to_one_folder(tmp_path: Path) -> None:
    begun = make_study(tmp_path / "mine", storage=f"sqlite:///{tmp_path / 'study.db'}")
    asked = begun.ask()
    message = f"study s has other folder: path was {tmp_path / 'mine'}, is {tmp_path / 'other'}; .*study="
    with pytest.raises(ValueError, match=message):
        make_study(tmp_path / "other", storage=f"sqlite:///{tmp_path / 'study.db'}")
    again = make_study(tmp_path / "mine", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [trial.params for trial in again.study.trials] == [asked.params]


def test_hopeless_trials_are_pruned_by_what_others_reached(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = make_study(tmp_path)

    def epochs(trial: int, rmse: float) -> int:
        study.ask()
        pruning = Pruning(storage, "s", trial, "halving")
        for epoch in range(9):
            value = SimpleNamespace(item=lambda: rmse)
            trainer = SimpleNamespace(callback_metrics={"val/rmse": value}, current_epoch=epoch)
            try:
                pruning.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
            except PrunedError:
                return epoch + 1
        return 9

    assert [epochs(trial, 0.9) for trial in range(3)] == [9, 9, 9]
    assert epochs(3, 1.2) < 9
    assert epochs(4, 0.8) == 9


def test_pruners_by_name() -> None:
    assert isinstance(make_pruner("none"), optuna.pruners.NopPruner)
    with pytest.raises(ValueError, match="pruner must be one of halving, median, none, got 'luck'"):
        make_pruner("luck")


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_ratings(tmp_path / "data" / "ratings.csv")
    common = [text for text in train_arguments(tmp_path / "data", tmp_path) if not text.startswith("hydra.run.dir")]
    dropped = ("model.embedding_dim", "model.learning_rate")
    return [*(text for text in common if not text.startswith(dropped)), "trainer.max_epochs=4",
            "hparams_search=optuna", f"hydra.sweep.dir={tmp_path / 'study'}"]  # fmt: skip


def test_the_number_of_trials_is_the_studys(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    call("train", *arguments, "hydra.sweeper.n_trials=3", "model.dropout=interval(0.0,0.2)")
    call("train", *arguments, "hydra.sweeper.n_trials=3", "model.dropout=interval(0.0,0.2)")
    call("train", *arguments, "hydra.sweeper.n_trials=4", "model.dropout=interval(0.0,0.2)")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")
    assert len(study.trials) == 4
    given = OmegaConf.load(config_dir() / "model" / "mf.yaml")
    assert study.trials[0].params["model.learning_rate"] == given.learning_rate
    assert study.trials[0].params["model.dropout"] == given.dropout
    assert all(trial.params["model.dropout"] <= 0.2 for trial in study.trials)
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    for trial in complete:
        figures = json.loads((folder / str(trial.number) / "metrics.json").read_text())
        assert figures["val/rmse"] == trial.value
        assert figures["refit"] == "none"
    assert "4/4" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call("train", *arguments, "hydra.sweeper.n_trials=5", "model.dropout=interval(0.0,0.3)")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.sweeper.n_trials=0", "n_trials must be >= 1, got 0"),
        ("hydra.sweeper.pruner=luck", "pruner must be one of"),
        ("hydra.sweeper.storage=nosuch://x", "nosuch"),
    ],
)
def test_a_mistake_in_a_study_is_one_sentence(arguments: list[str], override: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        call("train", *arguments, override)


def test_ctrl_c_loses_no_trial(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    study = [*arguments, "hydra.sweeper.n_trials=1", "hydra.sweeper.study=s"]
    with monkeypatch.context() as patch:
        patch.setattr("recsys.training.run.select", stop)
        with pytest.raises(SystemExit) as exit_:
            call("train", *study)
    assert exit_.value.code == 130
    del exit_  # its traceback holds the lock, which otherwise ends with the process
    gc.collect()
    call("train", *study)
    found = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}")
    assert [trial.state.name for trial in found.trials] == ["FAIL", "COMPLETE"]
    assert found.trials[0].params == found.trials[1].params


@pytest.mark.parametrize("repeats", [[], ["seeds=[0,1]"]])
def test_a_search_looks_away_from_test_rows(
    arguments: list[str], repeats: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    call("train", *arguments, *repeats, "hydra.sweeper.n_trials=1")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("   1/1")]
    assert "validation" in line
    assert "test" not in line


@pytest.mark.slow
def test_sigkill_at_any_moment_loses_nothing(arguments: list[str], tmp_path: Path) -> None:
    """As benchmarks/study_kills.py, with small data."""
    command = [sys.executable, "-m", "recsys.train", *arguments, "hydra.sweeper.n_trials=25", "hydra.sweeper.study=s"]
    for seconds in (3.0, 4.1, 4.6, 5.3, 5.9):
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, env=os.environ)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}")
    retried = {trial.user_attrs["retry_of"] for trial in study.trials if "retry_of" in trial.user_attrs}
    ended = [json.dumps(trial.params) for trial in study.trials if trial.number not in retried]
    assert len(ended) == len(set(ended)) == 25
    assert all(trial.state.is_finished() for trial in study.trials)


def test_the_study_folder_is_held_by_one_process(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    with FileLock(tmp_path / "study" / ".lock"), pytest.raises(SystemExit, match="another process runs the sweep"):
        call("train", *arguments)
