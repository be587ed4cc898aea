"""Studies in memory where one process could have made them, in a file where it is what survives, and by command."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import sqlalchemy
from filelock import FileLock
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

import recsys.files.folders
from recsys.experiments.configuration import config_dir
from recsys.experiments.study import Study, in_support
from recsys.experiments.sweeper import OptunaSweeper, trial_overrides
from recsys.files import folder_lock
from recsys.training.errors import PrunedError
from recsys.training.pruners import make_pruner
from recsys.training.pruning import Pruning
from tests.commands import call, train_arguments, write_ratings

pytestmark = pytest.mark.long

SPACE = {"model.dropout": FloatDistribution(0.0, 0.5), "model.embedding_dim": CategoricalDistribution([4, 8])}
MEMORY: defaultdict[Path, InMemoryStorage] = defaultdict(InMemoryStorage)  # a database per folder


@pytest.fixture(scope="module", autouse=True)
def _unsynced_databases() -> Iterator[None]:
    """SQLite waits for no disk here: what a process wrote survives its death anyway, only not the machine's."""

    def begin(connection: sqlalchemy.PoolProxiedConnection, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", begin)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", begin)


def database(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def make_study(folder: Path, **changes: object) -> Study:
    """A study, or the same again."""
    arguments = {"name": "s", "storage": MEMORY[folder], "folder": folder, "space": SPACE,
                 "settings": {"model": {"seed": 0}}, "seed": 0}  # fmt: skip
    return Study(**(arguments | changes))  # type: ignore[arg-type]


def end(folder: Path, number: int, state: str, value: float | None = None) -> None:
    """Leave in the folder what a run leaves."""
    run = folder / str(number)
    run.mkdir(parents=True, exist_ok=True)
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
    killed = make_study(tmp_path, storage=database(tmp_path))
    asked = [killed.ask() for _ in range(4)]
    end(tmp_path, 0, "finished", 0.9)
    end(tmp_path, 1, "running")
    end(tmp_path, 2, "pruned")  # and trial 3 had not begun
    study = make_study(tmp_path, storage=database(tmp_path))
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


def test_a_trial_whose_process_lives_on_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path)
    study.ask()
    held, waited_for = threading.Event(), threading.Event()
    monkeypatch.setattr(recsys.files.folders.log, "warning", lambda *_: waited_for.set())

    def finish() -> None:
        with folder_lock(tmp_path / "0", "trains"):
            held.set()
            waited_for.wait(60)
            end(tmp_path, 0, "finished", 0.5)

    orphan = threading.Thread(target=finish)
    orphan.start()
    held.wait(60)
    study.recover()
    orphan.join()
    assert waited_for.is_set()
    assert study.study.trials[0].values == [0.5]


def test_a_trial_killed_before_its_settings_were_drawn_takes_none_of_a_later_one(tmp_path: Path) -> None:
    """Tried again it draws its own, and the next trial draws others."""
    study = make_study(tmp_path)
    study.study.ask()  # and the process is killed: a trial that runs, without settings
    study.recover()
    drawn = [study.ask().params for _ in range(3)]
    assert len({json.dumps(params) for params in drawn}) == 3


def test_a_study_cut_short_suggests_what_it_would_have(tmp_path: Path) -> None:
    suggested = []
    for folder, cuts in ((tmp_path / "a", ()), (tmp_path / "b", range(14))):  # TPE draws at random ten times
        study = make_study(folder)
        found = []
        for number in range(14):
            study = make_study(folder) if number in cuts else study
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
    ("changes", "argument", "values"),
    [
        ({"settings": {"model": {"seed": 1}}}, "model.seed", (0, 1)),
        ({"space": {"model.dropout": FloatDistribution(0.0, 0.6)}}, "model.dropout", (0.5, 0.6)),
    ],
)
def test_a_study_is_not_mixed_with_another(
    tmp_path: Path, changes: dict[str, object], argument: str, values: tuple[float, float]
) -> None:
    make_study(tmp_path)
    with pytest.raises(ValueError, match=rf"{argument} was .*{values[0]}.* is .*{values[1]}"):
        make_study(tmp_path, **changes)


def test_a_database_sets_nothing_beyond_the_search_space(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    target = {"model._target_": CategoricalDistribution(["os.system"])}
    planted = {"model._target_": "os.system"}
    study.study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING, params=planted, distributions=target))
    trial = study.ask()
    assert "model._target_" in trial.params
    assert [text.partition("=")[0] for text in trial_overrides(trial, study)] == [*SPACE, "trial"]


@pytest.mark.parametrize("damage", ["[" * 100_000, "[1]", "{", "null"])
def test_damaged_settings_in_a_database_are_one_sentence(tmp_path: Path, damage: str) -> None:
    make_study(tmp_path).study.set_user_attr("settings", damage)
    with pytest.raises(ValueError, match="settings of study s is damaged in its database"):
        make_study(tmp_path)


def test_a_study_belongs_to_one_folder(tmp_path: Path) -> None:
    begun = make_study(tmp_path / "mine", storage=database(tmp_path))
    asked = begun.ask()
    with pytest.raises(ValueError, match=rf"{tmp_path / 'mine'}.*{tmp_path / 'other'}.*hydra.sweeper.study="):
        make_study(tmp_path / "other", storage=database(tmp_path))
    again = make_study(tmp_path / "mine", storage=database(tmp_path))
    assert [trial.params for trial in again.study.trials] == [asked.params]


IN_ONE_PROCESS = {
    "sanity_checking": False, "is_global_zero": True, "strategy": SimpleNamespace(broadcast=lambda value: value)
}  # fmt: skip


def test_hopeless_trials_are_pruned_by_what_others_reached(tmp_path: Path) -> None:
    study = make_study(tmp_path)

    def epochs(trial: int, rmse: float, validated: Callable[[int], bool] = lambda _: True) -> int:
        study.ask()
        pruning = Pruning(MEMORY[tmp_path], "s", trial, "halving")  # type: ignore[arg-type]
        for epoch in range(9):
            value = SimpleNamespace(item=lambda: rmse)
            trainer = SimpleNamespace(
                callback_metrics={"val/rmse": value}, current_epoch=epoch, max_epochs=9, **IN_ONE_PROCESS
            )
            pruning.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
            if validated(epoch):
                pruning.on_validation_end(trainer, None)  # type: ignore[arg-type]
            try:
                pruning.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
            except PrunedError:
                return epoch + 1
        return 9

    assert [epochs(trial, 0.9) for trial in range(3)] == [9, 9, 9]
    assert epochs(3, 1.2) < 9
    assert epochs(4, 0.8) == 9
    assert epochs(5, 0.8, lambda epoch: epoch % 3 == 2) == 9
    assert list(study.study.trials[5].intermediate_values) == [2, 5, 8]  # the others are of an epoch before


def test_the_first_of_several_processes_decides(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.ask()
    pruning = Pruning(MEMORY[tmp_path], "s", 0, "halving")  # type: ignore[arg-type]
    trainer = SimpleNamespace(
        callback_metrics={"val/rmse": SimpleNamespace(item=lambda: 0.9)}, current_epoch=0, max_epochs=4,
        sanity_checking=False, is_global_zero=False, strategy=SimpleNamespace(broadcast=lambda _: True),
    )  # fmt: skip
    pruning.on_validation_end(trainer, None)  # type: ignore[arg-type]
    with pytest.raises(PrunedError):
        pruning.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert study.study.trials[0].intermediate_values == {}


def test_a_trial_that_has_spent_its_epochs_is_not_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda _: True)
    study = make_study(tmp_path)
    study.ask()
    pruning = Pruning(MEMORY[tmp_path], "s", 0, "halving")  # type: ignore[arg-type]
    figures = {"val/rmse": SimpleNamespace(item=lambda: 0.9)}
    trainer = SimpleNamespace(callback_metrics=figures, current_epoch=3, max_epochs=4, **IN_ONE_PROCESS)
    pruning.on_validation_end(trainer, None)  # type: ignore[arg-type]
    pruning.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert study.study.trials[0].intermediate_values == {3: 0.9}
    trainer.max_epochs = -1
    with pytest.raises(PrunedError):
        pruning.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]


def test_pruners_by_name() -> None:
    assert isinstance(make_pruner("none"), optuna.pruners.NopPruner)
    with pytest.raises(ValueError, match=r"pruner .*halving, median, none.* got 'luck'"):
        make_pruner("luck")


def study_arguments(folder: Path) -> list[str]:
    """A command for a study of short runs in `folder / "study"`."""
    write_ratings(folder / "data" / "ratings.csv")
    common = [text for text in train_arguments(folder / "data", folder) if not text.startswith("hydra.run.dir")]
    dropped = ("model.embedding_dim", "model.learning_rate")
    return [*(text for text in common if not text.startswith(dropped)), "trainer.max_epochs=1",
            "hparams_search=optuna", f"hydra.sweep.dir={folder / 'study'}"]  # fmt: skip


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    return study_arguments(tmp_path)


@dataclass
class Continued:
    """A study of one trial that Ctrl-C stopped, started again twice, and then with two trials more."""

    arguments: list[str]
    folder: Path
    exit_code: object
    trials: list[int]  # in the database, after each command
    out: list[str]

    @property
    def study(self) -> optuna.Study:
        return optuna.load_study(study_name="s", storage=database(self.folder))

    @property
    def complete(self) -> list[FrozenTrial]:
        return self.study.get_trials(states=(TrialState.COMPLETE,))


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Continued:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    folder = tmp_path_factory.mktemp("continued")
    own = [*study_arguments(folder), "hydra.sweeper.study=s", "model.dropout=interval(0.0,0.2)"]
    found = Continued(own, folder / "study", None, [], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_CACHE", str(folder / "cache"))
        with pytest.MonkeyPatch.context() as stopped:
            stopped.setattr("recsys.training.run.select", stop)
            with pytest.raises(SystemExit) as exit_:
                call("train", *own, "hydra.sweeper.n_trials=1")
        found.exit_code = exit_.value.code
        del exit_  # its traceback holds the lock, which otherwise ends with the process
        gc.collect()
        found.trials.append(len(found.study.trials))
        for number in (1, 1, 3):
            with redirect_stdout(io.StringIO()) as out:
                call("train", *own, f"hydra.sweeper.n_trials={number}")
            found.out.append(out.getvalue())
            found.trials.append(len(found.study.trials))
    return found


def test_ctrl_c_loses_no_trial(continued: Continued) -> None:
    assert continued.exit_code == 130
    assert [trial.state.name for trial in continued.study.trials[:2]] == ["FAIL", "COMPLETE"]
    assert continued.study.trials[0].params == continued.study.trials[1].params


def test_the_number_of_trials_is_the_studys(continued: Continued) -> None:
    assert continued.trials == [1, 2, 2, 4]  # the first was tried again
    assert len(continued.complete) == 3
    assert "3/3" in continued.out[-1]


def test_a_study_begins_with_the_configuration_and_searches_the_space(continued: Continued) -> None:
    given = OmegaConf.load(config_dir() / "model" / "mf.yaml")
    first, *others = continued.complete
    assert first.params["model.learning_rate"] == given.learning_rate
    assert first.params["model.dropout"] == given.dropout
    assert all(trial.params["model.dropout"] <= 0.2 for trial in others)
    assert len({json.dumps(trial.params) for trial in continued.complete}) == 3


def test_a_trial_is_a_run_that_reports_its_epochs(continued: Continued) -> None:
    for trial in continued.complete:
        figures = json.loads((continued.folder / str(trial.number) / "metrics.json").read_text())
        assert figures["val/rmse"] == trial.value
        assert figures["refit"] == "none"
        assert trial.intermediate_values == {0: pytest.approx(trial.value)}  # what a pruner sees


def test_a_study_with_another_space_is_refused(continued: Continued, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(continued.folder.parent / "cache"))
    with pytest.raises(SystemExit, match=r"model\.dropout=interval\(0\.0,0\.2\).* hydra\.sweeper\.study"):
        call("train", *continued.arguments, "hydra.sweeper.n_trials=5", "model.dropout=interval(0.0,0.3)")
    assert len(continued.study.trials) == continued.trials[-1]


def test_a_search_looks_away_from_test_rows(continued: Continued) -> None:
    assert_no_test_figure(continued.out[0])


def test_a_search_with_repeats_looks_away_from_test_rows(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    call("train", *arguments, "seeds=[0,1]", "hydra.sweeper.n_trials=1")
    assert_no_test_figure(capsys.readouterr().out)


def assert_no_test_figure(out: str) -> None:
    (line,) = [line for line in out.splitlines() if "1/1" in line]
    assert "validation" in line
    assert "test" not in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_trials": 0}, "n_trials must be >= 1, got 0"),
        ({"pruner": "luck"}, "pruner .*halving, median, none.* got 'luck'"),
    ],
)
def test_a_wrong_argument_of_a_study_is_one_sentence(change: dict[str, object], message: str) -> None:
    arguments = {"study": "s", "storage": "sqlite://", "n_trials": 1, "seed": 0, "pruner": "none", "params": {}}
    with pytest.raises(SystemExit, match=f"^error: .*{message}$"):
        OptunaSweeper(**(arguments | change)).sweep([])  # type: ignore[arg-type]


def test_a_database_that_cannot_be_is_one_sentence(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*nosuch"):
        call("train", *arguments, "hydra.sweeper.storage=nosuch://x")


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
    with FileLock(tmp_path / "study" / ".lock"), pytest.raises(SystemExit, match="another process is running"):
        call("train", *arguments)
