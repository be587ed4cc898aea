"""The comparison, without any peer: what competitors are given, what becomes of failures, and the figures."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from benchmarks.comparison import results, selection, time_to_rmse, tune
from benchmarks.comparison.attributes import attributes
from benchmarks.comparison.competitors import COMPETITORS, Between, Competitor, OneOf, Value, chosen
from benchmarks.comparison.contract import Run
from benchmarks.comparison.environments import REQUIREMENTS, python
from benchmarks.comparison.measure import Bench, CompetitorError, figures_of, measured, run_within
from benchmarks.comparison.plain_loop import PlainLoop
from benchmarks.comparison.protocols import PROTOCOLS, TUNING, Answers, Protocol, build_task, read
from benchmarks.comparison.ranking import NOTHING, best_unseen
from benchmarks.comparison.recsys_adapter import FixedEpochs, Selected
from benchmarks.comparison.task import Task
from recsys.data.rating_data import RatingData
from tests.commands import write_ratings
from tests.small_data import frame, random_ratings, small_data

pytestmark = pytest.mark.long

PACKAGE = Path(selection.__file__).parent
RATING = Protocol("small", "random", ("data.split=random",))
RANKING = Protocol("small", "leave_one_out", ("data.split=leave_one_out",), "ranking")
LOOP = {"embedding_dim": 2, "epochs": 2, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.0}


def made(protocol: Protocol = RATING, *, validation: bool = False) -> tuple[Task, Answers]:
    data = small_data(random_ratings(200, 20, 15), split=protocol.split)
    return build_task(protocol, data, validation=validation)


def bench_of(folder: Path, protocol: Protocol = RATING, timeout: float = 120) -> Bench:
    task, answers = made(protocol)
    task.save(folder / "task.npz")
    return Bench(task, answers, folder / "task.npz", 1, timeout)


def competitor(factory: str, kind: str = "rating", environment: str = "bench") -> Competitor:
    return Competitor("made-up", "made up", factory, {}, "", (), kind=kind, environment=environment)


# What competitors are given


def test_a_task_fits_on_all_rows_outside_the_test_set() -> None:
    data = small_data(random_ratings(200, 20, 15))
    task, answers = build_task(RATING, data)
    ratings = data.dataset.ratings
    fit = np.union1d(data.split.train, data.split.val)
    np.testing.assert_array_equal(task.user_ids[task.train_user], ratings["user_id"].iloc[fit])
    np.testing.assert_array_equal(task.item_ids[task.train_item], ratings["item_id"].iloc[fit])
    np.testing.assert_array_equal(task.train_rating, ratings["rating"].iloc[fit])
    np.testing.assert_array_equal(task.user_ids[task.test_user], ratings["user_id"].iloc[data.split.test])
    np.testing.assert_array_equal(answers.rating, ratings["rating"].iloc[data.split.test])


def test_a_tuning_task_asks_for_validation_rows_and_knows_no_test_row() -> None:
    data = small_data(random_ratings(200, 20, 15))
    task, answers = build_task(RATING, data, validation=True)
    assert len(task.train_user) == len(data.split.train)
    np.testing.assert_array_equal(answers.rating, data.dataset.ratings["rating"].iloc[data.split.val])


def test_fitted_ids_come_first_and_the_others_are_cold() -> None:
    task, _ = made(Protocol("small", "global_time", ()))
    assert sorted(set(task.train_user.tolist())) == list(range(task.fitted_users))
    assert sorted(set(task.train_item.tolist())) == list(range(task.fitted_items))
    cold = replace(task, test_user=np.array([0, task.fitted_users]), test_item=np.array([0, 0]))
    assert cold.warm().tolist() == [True, False]


@pytest.mark.parametrize("protocol", [RATING, RANKING], ids=["rating", "ranking"])
def test_the_file_that_competitors_read_is_the_task_and_holds_no_answer(tmp_path: Path, protocol: Protocol) -> None:
    bench = bench_of(tmp_path, protocol)
    loaded = Task.load(bench.file)
    for name, value in vars(bench.task).items():
        np.testing.assert_equal(getattr(loaded, name), value)
    with np.load(bench.file) as stored:
        floats = [name for name in stored.files if stored[name].dtype.kind == "f"]
        assert floats == ["train_rating"]
        assert len(stored["train_rating"]) == len(bench.task.train_user)
        if protocol.kind == "ranking":
            assert len(stored["test_item"]) == 0


def test_attributes_are_categories_by_row_and_unknown_is_minus_one() -> None:
    users = pd.DataFrame({"user_id": [5, 7], "age": [17, 56], "gender": ["M", "F"], "occupation": ["x", "y"]})
    items = pd.DataFrame({"item_id": [1, 2], "title": ["A", "B"], "year": pd.array([1999, None], "Int64"),
                          "genres": ["Drama|War", ""]})  # fmt: skip
    data = RatingData("small", frame([], [], []), 1, 5, users, items)
    found = attributes(data, np.array([7, 5, 9]), np.array([2, 1]))
    assert found["user age"].tolist() == [6, 0, -1]
    assert found["user gender"].tolist() == [0, 1, -1]
    assert found["item year"].tolist() == [-1, 0]
    assert found["item genres"].tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("kind", [Selected, FixedEpochs])
def test_recsys_itself_is_a_competitor(tmp_path: Path, kind: type[Selected]) -> None:
    write_ratings(tmp_path / "ratings.csv")
    protocol = Protocol("tabular", "user_time", ("data.timestamp_column=timestamp", "data.batch_size=128"))
    task, answers = build_task(protocol, read(protocol, str(tmp_path)))
    settings = {"data": "tabular", "model.embedding_dim": 4, "model.learning_rate": 0.05, "trainer.max_epochs": 3}
    (tmp_path / "run").mkdir()
    ours = kind(Run(settings, seed=0, threads=1, folder=tmp_path / "run", root=str(tmp_path)))
    ours.prepare(task)
    ours.fit()
    predicted = ours.predict()
    assert ((predicted - answers.rating) ** 2).mean() < answers.rating.var()


# Processes


def test_a_competitor_is_measured_in_its_own_process(tmp_path: Path) -> None:
    found = measured(bench_of(tmp_path, RANKING), chosen("popularity"), {}, seed=0)
    assert 0 < found["hr@10"] <= found["hr@20"] <= 1
    assert found["recall@10"] == found["hr@10"]  # one test item per user
    assert found["fit_seconds"] >= found["fit_cpu_seconds"] >= 0
    assert found["peak_memory_mib"] >= found["memory_before_fit_mib"] > 10
    assert set(found["versions"]) == {"python", "numpy"}


def test_the_plain_loop_learns(tmp_path: Path) -> None:
    task, _ = made()
    loop = PlainLoop(Run(LOOP | {"learning_rate": 0.05}, seed=0, threads=1, folder=tmp_path))
    loop.prepare(replace(task, test_user=task.train_user, test_item=task.train_item))
    errors = []
    for _ in range(2):
        loop.fit()
        errors.append(((loop.predict() - task.train_rating) ** 2).mean())
    assert errors[1] < errors[0] < task.train_rating.var()


@pytest.mark.parametrize(
    ("factory", "environment", "says"),
    [
        ("no_such_library:Model", "bench", "ModuleNotFoundError: .*no_such_library"),
        ("popularity:Popularity", "bench", "AttributeError: .*predict"),
        ("popularity:Popularity", "no-such-place", "environment no-such-place is absent: python -m"),
    ],
)
def test_a_competitor_that_fails_becomes_a_row(tmp_path: Path, factory: str, environment: str, says: str) -> None:
    found = measured(bench_of(tmp_path), competitor(factory, environment=environment), {}, seed=0)
    assert set(found) == {"error"}
    assert re.match(says, found["error"])


def test_a_competitor_that_takes_too_long_becomes_a_row(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, timeout=0.01)
    found = measured(bench, competitor("plain_loop:PlainLoop"), dict(LOOP), seed=0)
    assert found == {"error": "took longer than 0.01 seconds"}


def test_a_competitor_that_the_system_ends_says_so() -> None:
    with pytest.raises(CompetitorError, match="ended by signal 9"):
        run_within(["sh", "-c", "echo warning >&2; kill -9 $$"], 10, {"PATH": "/usr/bin:/bin"})


def test_a_late_process_ends_with_what_it_started(tmp_path: Path) -> None:
    """Both hold a pipe open, so that its other end tells when the last of them is gone."""
    os.mkfifo(pipe := tmp_path / "pipe")
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(CompetitorError, match=r"took longer than 0\.2 seconds"):
        run_within(["sh", "-c", f"exec 3> '{pipe}'; sleep 60 & sleep 60"], 0.2, {"PATH": "/usr/bin:/bin"})
    with open(end, "rb", buffering=0) as left:  # noqa: PTH123  (a descriptor)
        given_up = time.monotonic() + 30
        while left.read() is None:  # they are there still
            assert time.monotonic() < given_up
            time.sleep(0.01)


# Figures


def test_rating_metrics_by_hand() -> None:
    task, _ = made()
    task = replace(task, test_user=np.array([0, 0, task.fitted_users]), test_item=np.array([0, 1, 0]))
    answers = Answers(np.array([4, 5, 2], np.float32), task.test_item, task.test_user)
    figures = figures_of(np.array([3.0, 7.0, 4.0]), task, answers)  # 7 is clipped to 5
    assert figures["rmse"] == pytest.approx(math.sqrt((1 + 0 + 4) / 3), abs=1e-5)
    assert figures["mae"] == 1
    assert figures["rmse_warm"] == pytest.approx(math.sqrt(0.5), abs=1e-5)
    assert figures["rmse_cold"] == 2


@pytest.mark.parametrize("predicted", [[3.0, 3.0], [3.0, 3.0, math.nan]], ids=["too few", "not finite"])
def test_predictions_that_are_none_are_refused(predicted: list[float]) -> None:
    task, answers = made()
    task = replace(task, test_user=np.zeros(3, int), test_item=np.zeros(3, int))
    with pytest.raises(ValueError, match="predictions must be"):
        figures_of(np.array(predicted), task, answers)


def test_lists_leave_out_what_was_rated_in_training_and_break_ties_by_row() -> None:
    task, _ = made(RANKING)
    task = replace(task, train_user=np.array([1, 0]), train_item=np.array([0, 2]), test_user=np.array([0, 1, 99]),
                   n_users=100, fitted_users=2, fitted_items=3)  # fmt: skip
    lists = best_unseen(lambda users: np.tile([1.0, 2.0, 2.0], (len(users), 1)), task, 4)
    assert lists.tolist() == [[1, 0, NOTHING, NOTHING], [1, 2, NOTHING, NOTHING], [NOTHING] * 4]


# The registry


@pytest.mark.parametrize("one", COMPETITORS.values(), ids=lambda one: one.name)
def test_a_competitor_is_whole(one: Competitor) -> None:
    module, name = one.factory.split(":")
    assert f"class {name}(" in (text := (PACKAGE / f"{module}.py").read_text()) or f"class {name}:" in text
    assert one.kind in TUNING
    assert one.environment in {"bench", *REQUIREMENTS}
    assert set(one.space) <= set(one.documented)
    assert one.source
    for data in ("ml_100k", "ml_1m"):
        settings = one.settings(data)
        assert all(allows(space, settings[name]) for name, space in one.space.items())
    if one.budget:
        assert one.budget.name in one.documented or "." in one.budget.name  # a key of the configuration
        assert list(one.budget.ladder) == sorted(set(one.budget.ladder))


def allows(space: Between | OneOf, value: Value) -> bool:
    if isinstance(space, OneOf):
        return value in space.values
    return space.low <= float(value) <= space.high


def test_an_unknown_competitor_is_named() -> None:
    with pytest.raises(ValueError, match=r"competitor must be one of .*surprise-svd.*, got 'svd'"):
        chosen("svd")


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(ValueError, match="data and split must name one of"):
        selection.protocols(["ml_100k"], ["global_time 0.2"])
    assert selection.protocols(["ml_1m"], None) == [p for p in PROTOCOLS if p.data == "ml_1m"]


def test_python_of_the_bench_is_this_one() -> None:
    assert python("bench") == sys.executable


# Results


def test_an_entry_takes_the_place_of_the_same_run(tmp_path: Path) -> None:
    file = tmp_path / "results" / "comparison.json"
    entry = {"competitor": "a", "settings_name": "documented", "data": "d", "split": "s", "seed": 0, "rmse": 1.0}
    for other in (entry, entry | {"seed": 1}, entry | {"rmse": 0.9}):
        results.keep(other, file)
    assert json.loads(file.read_text()) == [entry | {"rmse": 0.9}, entry | {"seed": 1}]


def test_a_recorded_command_names_no_folder() -> None:
    said = results.provenance("benchmarks.comparison", ["--ml-1m-root", "/home/me", "--ml-100k-root=/x", "--quick"])
    assert said["command"] == "python -m benchmarks.comparison --ml-1m-root FOLDER --ml-100k-root=FOLDER --quick"


# Tuning and time


def scripted(rmse: Callable[[dict[str, Any]], float]) -> Callable[..., dict[str, Any]]:
    """In place of a process: an RMSE made of the settings."""
    return lambda bench, competitor, settings, seed: {
        "rmse": rmse(settings),
        "fit_seconds": 1.0,
        "fit_cpu_seconds": 1.0,
    }


def test_tuning_begins_with_documented_settings_and_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "measured", scripted(lambda settings: abs(settings["reg_all"] - 0.1)))
    monkeypatch.setattr(selection, "RESULTS", tmp_path)
    svd, bench = chosen("surprise-svd"), bench_of(tmp_path)
    record = tune.study(svd, bench, trials=6, seconds=60)
    assert record["trials"][0]["settings"] == svd.documented
    assert record["best"] == min(trial["rmse"] for trial in record["trials"]) < 0.08
    file = tmp_path / "tuned-surprise-svd-small.json"
    assert json.loads(file.read_text())["settings"] == record["settings"]
    names = [name for name, _ in selection.settings(svd, "small", ("documented", "tuned"))]
    assert names == ["documented", "tuned"]


def test_a_failed_trial_is_no_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "measured", lambda *_, **__: {"error": "no"})
    monkeypatch.setattr(selection, "RESULTS", tmp_path)
    record = tune.study(chosen("surprise-svd"), bench_of(tmp_path), trials=2, seconds=60)
    assert record["settings"] is None
    assert [trial["error"] for trial in record["trials"]] == ["no", "no"]


def test_what_is_tried_is_rounded_and_whole_where_documented_is() -> None:
    trial = optuna.trial.FixedTrial({"rate": 0.0123456, "n": 7})
    assert tune.suggestion(trial, "rate", Between(0.001, 0.1, log=True), 0.01) == 0.012
    assert tune.suggestion(trial, "n", Between(1, 10), 3) == 7


def test_a_climb_ends_at_the_target_and_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def pretend(bench: Bench, competitor: Competitor, settings: dict[str, Any], seed: int) -> dict[str, Any]:
        order.append(competitor.name)
        rmse = (
            0.9 if competitor.name == "surprise-svd" else 1.0 if competitor.name == "libmf" else 2 / settings["epochs"]
        )
        return {"rmse": rmse, "fit_seconds": 1.0, "fit_cpu_seconds": 1.0}

    monkeypatch.setattr(time_to_rmse, "measured", pretend)
    monkeypatch.setattr(time_to_rmse, "RESULTS", tmp_path)
    arguments = argparse.Namespace(
        only=["libmf", "plain-loop", "surprise-svd"], quick=False, settings=["documented"], target=None
    )
    time_to_rmse.run(bench_of(tmp_path), Protocol("ml_100k", "user_time", ()), arguments)
    (file,) = tmp_path.glob("time_to_rmse-*.json")
    entries = {entry["competitor"]: entry for entry in json.loads(file.read_text())}
    assert [step["budget"] for step in entries["plain-loop"]["steps"]] == [2, 3]
    assert entries["plain-loop"]["settings"]["epochs"] == 3
    assert entries["libmf"]["median_seconds"] is None
    assert entries["surprise-svd"]["median_seconds"] == entries["plain-loop"]["median_seconds"] == 1
    assert order[-4:] == ["surprise-svd", "plain-loop"] * 2
    assert order.count("surprise-svd") == 1 + time_to_rmse.ROUNDS


def test_a_lucky_seed_reaches_no_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(bench: Bench, competitor: Competitor, settings: dict[str, Any], seed: int) -> dict[str, Any]:
        return {"rmse": (1 + 0.1 * seed) / settings["epochs"], "fit_seconds": 1.0}

    monkeypatch.setattr(time_to_rmse, "measured", pretend)
    loop = chosen("plain-loop")
    climber = time_to_rmse.Climber(loop, "documented", dict(loop.documented))
    assert time_to_rmse.climb(climber, bench_of(tmp_path), {"rmse": 0.5, "fit_seconds": 1.0})
    assert [step["budget"] for step in climber.steps] == [2, 3]
    assert [step["rmse"] for step in climber.steps] == pytest.approx([0.55, 0.4])


def test_libmf_sets_the_pace_to_a_target_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(bench: Bench, competitor: Competitor, settings: dict[str, Any], seed: int) -> dict[str, Any]:
        ours = competitor.name == "recsys-als-fast"
        return {"rmse": 1 / settings.get("nr_iters", 1), "fit_seconds": 2.0 if ours else 4.0, "fit_cpu_seconds": 1.0}

    monkeypatch.setattr(time_to_rmse, "measured", pretend)
    monkeypatch.setattr(time_to_rmse, "RESULTS", tmp_path)
    arguments = argparse.Namespace(only=["libmf", "recsys-als-fast"], quick=False, settings=["documented", "tuned"],
                                   target=0.3)  # fmt: skip
    time_to_rmse.run(bench_of(tmp_path), Protocol("ml_1m", "user_time", ()), arguments)
    (file,) = tmp_path.glob("time_to_rmse-*.json")
    entries = {(entry["competitor"], entry["settings_name"]): entry for entry in json.loads(file.read_text())}
    assert {entry["target"] for entry in entries.values()} == {0.3}
    assert entries["libmf", "tuned"]["settings"]["nr_iters"] == 4
    assert entries["recsys-als-fast", "documented"]["median_seconds"] is None
    assert ("surprise-svd", "documented") not in entries
    arguments.only = ["recsys-als-fast"]
    with pytest.raises(ValueError, match="libmf tuned sets the pace"):
        time_to_rmse.run(bench_of(tmp_path), Protocol("ml_1m", "user_time", ()), arguments)


@pytest.mark.skipif(importlib.util.find_spec("myfm") is None, reason="myFM is not installed")
def test_myfm_blocks_have_rows_of_unit_length(tmp_path: Path) -> None:
    found = measured(bench_of(tmp_path), chosen("myfm-blocks"), {"rank": 2, "n_iter": 20}, seed=0)
    assert found["rmse"] < 3
