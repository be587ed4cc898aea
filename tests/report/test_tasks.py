from __future__ import annotations

from pathlib import Path

from recsys.report.runs import read_runs
from recsys.report.tasks import tasks_of
from tests.report.run_folders import write_run


def labels(folder: Path) -> list[str]:
    return [task.label for task in tasks_of(read_runs([folder]))[0]]


def test_a_task_is_a_data_set_and_a_split_with_the_arguments_that_it_uses(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "data.folds=7", "data.test_fraction=0.3")  # user_time uses neither
    write_run(tmp_path / "1", "data.split_seed=5")
    for fold in (0, 1):
        write_run(tmp_path / f"k{fold}", "data.split=kfold", "data.folds=5", f"data.fold={fold}")
    write_run(tmp_path / "k", "data.split=kfold")
    write_run(tmp_path / "r", "data.split=random", "data.test_fraction=0.2")
    write_run(tmp_path / "m", "data.name=ml-1m")
    assert labels(tmp_path) == [
        "ml-1m · user_time", "ml-100k · kfold, folds=5", "ml-100k · kfold, folds=10",
        "ml-100k · random, test_fraction=0.2", "ml-100k · user_time",
    ]  # fmt: skip


def test_the_same_name_over_other_ratings_is_another_task(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    write_run(tmp_path / "1")
    text = (tmp_path / "1" / "metrics.json").read_text()
    (tmp_path / "1" / "metrics.json").write_text(text.replace("fd12ml-100k", "0123456789"))
    assert labels(tmp_path) == ["ml-100k · user_time · 01234567", "ml-100k · user_time · fd12ml-1"]


def test_a_run_that_did_not_finish_belongs_to_the_task_of_its_data_and_split(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "data.root=/here")
    write_run(tmp_path / "1", "data.root=/there", "model.dropout=0.5", state="failed")
    write_run(tmp_path / "2", "data.split=leave_one_out", state="failed")
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "status.json").write_text('{"state": "failed"}')
    assert tasks_of(read_runs([tmp_path]))[1] == [0, 0, None, None]


def test_what_was_not_refitted_is_a_task_of_its_own(tmp_path: Path) -> None:
    write_run(tmp_path / "0", baseline_biases=1.0)
    write_run(tmp_path / "1", "refit=all", baseline_biases=1.0)
    write_run(tmp_path / "2", "refit=none", baseline_biases=1.1)
    write_run(tmp_path / "3", "refit=none", state="failed")
    write_run(tmp_path / "4", state="failed")
    tasks, task_of = tasks_of(read_runs([tmp_path]))
    assert [(task.label, task.baselines["biases"]) for task in tasks] == [
        ("ml-100k · user_time", 1.0), ("ml-100k · user_time · not refitted", 1.1),
    ]  # fmt: skip
    assert task_of == [0, 0, 1, 1, 0]


def test_models_that_know_when_they_are_asked_are_a_task_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "model.query_time=false")
    write_run(tmp_path / "1", "model.query_time=true")
    write_run(tmp_path / "2", "model.query_time=true", state="failed")
    tasks, task_of = tasks_of(read_runs([tmp_path]))
    assert [task.label for task in tasks] == ["ml-100k · user_time", "ml-100k · user_time · query times"]
    assert task_of == [0, 1, 1]


def test_baselines_are_means_over_folds(tmp_path: Path) -> None:
    split = ["data.split=official"]
    for seed in (0, 1):
        write_run(tmp_path / f"1{seed}", *split, "data.fold=1", f"seed={seed}", baseline_biases=1.0)
    write_run(tmp_path / "2", *split, "data.fold=2", baseline_biases=0.9)
    (task,), _ = tasks_of(read_runs([tmp_path]))
    assert task.baselines["biases"] == 0.95


def test_shuffled_ties_are_other_rows_for_each_seed(tmp_path: Path) -> None:
    write_run(tmp_path / "0")  # of a version without ties
    write_run(tmp_path / "1", "data.ties=file", "data.split_seed=1")
    write_run(tmp_path / "2", "data.ties=shuffled")
    write_run(tmp_path / "3", "data.ties=shuffled", "data.split_seed=1")
    write_run(tmp_path / "4", "data.split=held_out_users", "data.split_seed=1")
    tasks, task_of = tasks_of(read_runs([tmp_path]))
    assert [task.label for task in tasks] == [
        "ml-100k · held_out_users, split_seed=1", "ml-100k · user_time", "ml-100k · user_time, ties=shuffled",
        "ml-100k · user_time, ties=shuffled, split_seed=1",
    ]  # fmt: skip
    assert task_of == [1, 1, 2, 3, 0]
