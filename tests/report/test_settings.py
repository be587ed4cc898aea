from __future__ import annotations

from pathlib import Path

import pytest

from recsys.report.runs import read_runs
from recsys.report.settings import Experiments, experiments
from tests.report.run_folders import write_run


def found(folder: Path, metric: str = "val/rmse") -> Experiments:
    return experiments(read_runs([folder]), metric)


def test_seeds_and_folds_are_repeats_of_a_setting(tmp_path: Path) -> None:
    for number, (seed, fold, figure) in enumerate([(1, 2, 0.9), (0, 2, 0.8), (0, 1, 0.7)]):
        overrides = ["data.split=official", f"seed={seed}", f"data.fold={fold}"]
        write_run(tmp_path / str(number), *overrides, val_rmse=figure, test_rmse=figure + 1)
    (setting,) = found(tmp_path).settings
    assert setting.runs == [2, 1, 0]  # by seed, then fold
    assert setting.mean["val/rmse"] == pytest.approx(0.8)
    assert setting.standard_error["test/rmse"] == pytest.approx(0.1 / 3**0.5)
    assert setting.command == "python -m recsys.train data.split=official 'seeds=[0,1]' 'folds=[1,2]'"


def test_settings_are_ranked_by_the_metric_that_was_asked_for(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "model.dropout=0.1", val_rmse=0.9, test_rmse=0.8)
    write_run(tmp_path / "1", "model.dropout=0.2", val_rmse=0.8, test_rmse=0.9)
    write_run(tmp_path / "2", "model.dropout=0.3", val_rmse=0.7, test_rmse=None)
    dropouts = lambda metric: [s.values["model.dropout"] for s in found(tmp_path, metric).settings]  # noqa: E731
    assert dropouts("val/rmse") == [0.3, 0.2, 0.1]
    assert dropouts("test/rmse") == [0.1, 0.2, 0.3]  # what has no figure comes last


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_run(tmp_path / f"a{seed}", "model.dropout=0", f"seed={seed}", val_rmse=0.9 + seed / 10)
        write_run(tmp_path / f"b{seed}", "model.dropout=0.1", f"seed={seed}", val_rmse=0.91 + seed / 10)
    write_run(tmp_path / "c", "model.dropout=0.2", "seed=2", val_rmse=1.2)
    write_run(tmp_path / "d", "model.dropout=0.3", "seed=7", val_rmse=1.3)
    best, second, third, fourth = found(tmp_path).settings
    assert (best.difference, fourth.difference) == (None, None)
    assert second.difference is not None
    assert (second.difference.mean, second.difference.n) == (pytest.approx(0.01), 3)
    assert second.difference.low == pytest.approx(0.01)  # the seeds' own noise, 0.1, is not in it
    assert third.difference is not None
    assert (third.difference.mean, third.difference.low, third.difference.n) == (pytest.approx(0.1), None, 1)


def test_each_task_has_its_own_best(tmp_path: Path) -> None:
    for number, data in enumerate(["ml-1m", "ml-100k"]):
        write_run(tmp_path / f"{number}a", f"data.name={data}", val_rmse=0.8 + number)
        write_run(tmp_path / f"{number}b", f"data.name={data}", "model.dropout=0.1", val_rmse=0.9 + number)
    result = found(tmp_path)
    assert [(s.task, s.difference is None) for s in result.settings] == [(0, True), (0, False), (1, True), (1, False)]


def test_of_the_same_seed_the_latest_counts(tmp_path: Path) -> None:
    write_run(tmp_path / "0", val_rmse=0.7, started="2026-11-23T12:00:00+00:00")
    write_run(tmp_path / "1", val_rmse=0.9, started="2026-11-23T14:00:00+00:00")
    write_run(tmp_path / "2", val_rmse=0.8, started="2026-11-23T13:00:00+00:00")
    write_run(tmp_path / "3", state="failed", started="2026-11-23T15:00:00+00:00")
    result = found(tmp_path)
    assert [(s.runs, s.mean["val/rmse"]) for s in result.settings] == [([1], 0.9)]
    assert result.setting_of == [0, 0, 0, None]
    assert result.runs[0].message == "superseded by 1"


@pytest.mark.parametrize("override", ["model_name=svdpp", "callbacks.early_stopping.patience=3"])
def test_what_makes_another_setting(tmp_path: Path, override: str) -> None:
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", override)
    result = found(tmp_path)
    assert len(result.settings) == 2
    assert [parameter.name for parameter in result.parameters] == [override.partition("=")[0]]


def test_models_that_were_not_refitted_are_no_rivals_of_those_that_were(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "seed=0")
    write_run(tmp_path / "1", "seed=1", "refit=all")  # its test figures are those of refit=train_val
    write_run(tmp_path / "2", "refit=none")
    result = found(tmp_path)
    assert [(setting.task, setting.runs) for setting in result.settings] == [(0, [0, 1]), (1, [2])]
    assert result.parameters == []


def test_odd_values_of_runs_that_failed_make_no_category_of_a_number(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "model.dropout=0.1")
    write_run(tmp_path / "1", "model.dropout=0.2")
    write_run(tmp_path / "2", "model.dropout=a", state="failed")
    write_run(tmp_path / "3", "model.dropout=0.5", "model.embedding_dim=many", state="pruned")
    result = found(tmp_path)
    assert [(p.name, p.kind, p.values) for p in result.parameters] == [("model.dropout", "number", [0.1, 0.2, 0.5])]
    assert [values["model.dropout"] for values in result.values_of] == [0.1, 0.2, None, 0.5]


def test_where_nothing_finished_values_are_as_they_are(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "model.dropout=0.1", state="failed")
    write_run(tmp_path / "1", "model.dropout=a", state="failed")
    assert [(p.kind, p.values) for p in found(tmp_path).parameters] == [("category", [0.1, "a"])]


def test_where_files_lie_and_how_runs_are_logged_makes_no_setting(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", "data.root=/elsewhere", "seed=1", "trial=3", "logger.csv.save_dir=x", "resume=y")
    result = found(tmp_path)
    assert len(result.settings) == 1
    assert result.parameters == []


def test_a_parameter_that_only_one_model_has(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "model_name=mf")
    for number, weight in enumerate([0.1, 0.2]):
        write_run(tmp_path / f"s{number}", "model_name=svdpp", f"model.implicit_reg_lambda={weight}")
    result = found(tmp_path)
    assert [p.name for p in result.parameters] == ["model_name", "model.implicit_reg_lambda"]
    assert result.values_of[0] == {"model_name": "mf", "model.implicit_reg_lambda": None}


def test_runs_that_did_not_finish_take_part_in_nothing_but_are_there(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", "model.dropout=0.5", state="pruned", message="at epoch 3")
    result = found(tmp_path)
    assert len(result.settings) == 1
    assert (result.task_of, result.setting_of) == ([0, 0], [0, None])
    assert result.values_of[1] == {"model.dropout": 0.5}


def test_importance_is_by_task(tmp_path: Path) -> None:
    for number in range(6):
        write_run(tmp_path / f"{number}", f"model.dropout={number / 10}", val_rmse=0.9 + number / 100)
    write_run(tmp_path / "other", "data.name=ml-1m")
    assert found(tmp_path).importance == [None, {"model.dropout": 1.0}]
