from __future__ import annotations

import json
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from recsys.report.formats import as_json, as_markdown
from recsys.report.leaderboard import best_folder, columns, heading, remarks, short_names, value_text, verdict
from recsys.report.runs import read_runs
from recsys.report.settings import Experiments, experiments
from recsys.report.terminal import console, print_experiments
from tests.report.run_folders import write_run


def found(folder: Path, metric: str = "val/rmse") -> Experiments:
    return experiments(read_runs([folder]), metric)


def repeated(folder: Path, noise: float, seeds: int = 3) -> Experiments:
    """Two settings, the second 0.01 worse on average, by a different amount with each seed."""
    for seed in range(seeds):
        write_run(folder / f"a{seed}", "model.dropout=0.1", f"seed={seed}", val_rmse=0.9)
        write_run(folder / f"b{seed}", "model.dropout=0.2", f"seed={seed}", val_rmse=0.91 + noise * (seed - 1))
    return found(folder)


def test_names_are_as_short_as_they_can_be() -> None:
    names = ["model.dropout", "model.patience", "callbacks.early_stopping.patience", "model_name"]
    assert list(short_names(names).values()) == ["dropout", "model.patience", "early_stopping.patience", "model"]
    assert short_names(["a.x", "b.a.x"]) == {"a.x": "a.x", "b.a.x": "b.a.x"}


def test_values_as_one_types_them() -> None:
    values = [None, True, 64, 1_048_576, 0.001234567, 1e-6, "sum"]
    assert list(map(value_text, values)) == ["–", "true", "64", "1048576", "0.001235", "1e-06", "sum"]


def test_the_columns(tmp_path: Path) -> None:
    result = repeated(tmp_path, noise=0.001)
    shown = {column.name: column.cells for column in columns(result, 0, result.settings)}
    assert shown == {
        "#": ["1", "2", ""],
        "dropout": ["0.1", "0.2", "biases"],
        "val. RMSE": ["0.9000 ±0.0000", "0.9100 ±0.0006", ""],
        "test RMSE": ["0.9600 ±0.0000", "0.9600 ±0.0000", "1.0004"],
        "warm": ["0.9550", "0.9550", ""],
        "cold": ["1.1900", "1.1900", ""],
        "to best": ["", "+0.0100", ""],
        "95% interval": ["", "[+0.0075, +0.0125]", ""],
        "runs": ["3", "3", ""],
        "seconds": ["6.5", "6.5", ""],
    }
    assert heading(result, 0) == "ml-100k · user_time: 2 settings, 6 runs, by validation RMSE"


def test_one_setting_is_called_by_its_model(tmp_path: Path) -> None:
    write_run(tmp_path / "0", test_rmse_cold=None)
    result = found(tmp_path)
    shown = {column.name: column.cells for column in columns(result, 0, result.settings)}
    assert (shown["model"], shown["cold"]) == (["mf", "biases"], ["–", ""])
    assert "to best" not in shown
    assert "test MAE" not in shown
    assert "test MAE" in [column.name for column in columns(found(tmp_path, "test/mae"), 0, result.settings)]


@pytest.mark.parametrize(
    ("noise", "seeds", "said"),
    [
        (0.001, 3, "is significant: +0.0100, 95% interval [+0.0075, +0.0125] over 3 pairs."),
        (0.05, 3, "is not significant (+0.0100, 95% interval [-0.1142, +0.1342] over 3 pairs)."),
        (0.0, 1, "is 0.0100 behind in one run each, which may be chance: add 'seeds=[0,1,2]' to both commands."),
    ],
)
def test_what_the_runs_tell_of_the_best(tmp_path: Path, noise: float, seeds: int, said: str) -> None:
    best, sentence = verdict(repeated(tmp_path, noise, seeds), 0)
    assert best == "best: dropout=0.1"
    assert sentence.removeprefix("The difference from the second best ").removeprefix("The second best ") == said


def test_others_that_are_as_good(tmp_path: Path) -> None:
    repeated(tmp_path, noise=0.05)
    for seed in range(3):
        write_run(tmp_path / f"c{seed}", "model.dropout=0.3", f"seed={seed}", val_rmse=0.92 + 0.05 * (seed - 1))
    assert verdict(found(tmp_path), 0)[-1].endswith("over 3 pairs), nor that from 1 other.")


def test_pairs_that_speak_against_the_best_do_not_tell_it_apart(tmp_path: Path) -> None:
    for seed, rmse in enumerate((0.95, 0.95, 0.90)):
        write_run(tmp_path / f"a{seed}", "model.dropout=0.1", f"seed={seed}", val_rmse=rmse)
    for seed, rmse in enumerate((0.94, 0.9401)):
        write_run(tmp_path / f"b{seed}", "model.dropout=0.2", f"seed={seed}", val_rmse=rmse)
    assert "is not significant" in verdict(found(tmp_path), 0)[-1]


def test_a_pair_of_settings_of_which_one_was_repeated(tmp_path: Path) -> None:
    repeated(tmp_path, noise=0.0)
    for seed in (1, 2):
        shutil.rmtree(tmp_path / f"b{seed}")
    assert "behind in the only seed and fold that both have" in verdict(found(tmp_path), 0)[-1]


def test_the_folder_of_the_best_as_one_types_it_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repeated(tmp_path / "out", noise=0.0)
    assert best_folder(found(tmp_path), 0) == f"{tmp_path}/out/a0"
    monkeypatch.chdir(tmp_path)
    assert best_folder(found(tmp_path), 0) == "out/a0"


def test_alone_without_pairs_and_by_test_figures(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "model.dropout=0.1", "seed=0")
    assert verdict(found(tmp_path), 0) == ["A single run has no standard error; add 'seeds=[0,1,2]'."]
    write_run(tmp_path / "1", "model.dropout=0.2", "seed=1")
    assert "No seed and fold in common" in verdict(found(tmp_path), 0)[-1]
    assert "test metrics" in verdict(found(tmp_path, "test/rmse"), 0)[1]


def test_a_search_without_refit_says_that_its_command_refits(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("refit: train_val", "refit: none"))
    assert "its command refits" in verdict(found(tmp_path), 0)[0]
    write_run(tmp_path / "0", "refit=none")
    assert "its command refits" not in " ".join(verdict(found(tmp_path), 0))


def test_what_is_wrong_with_the_best_setting_is_said_in_every_format(tmp_path: Path) -> None:
    for seed, rmse in ((0, 1.01), (1, 1.03)):
        write_run(tmp_path / str(seed), f"seed={seed}", test_rmse=rmse, test_share_cold=1.0)
    write_run(tmp_path / "worse", "model.dropout=0.5", val_rmse=2.0, test_rmse=2.0)
    result = found(tmp_path)
    cold, worse = remarks(result, 0)
    assert cold.startswith("all test rows are cold")
    assert worse.startswith("the model is worse than a baseline, biases: test RMSE 1.0200, baseline 1.0004")
    with redirect_stdout(StringIO()) as out:
        print_experiments(console(), result, 20)
    assert f"warning: {worse}" in out.getvalue()
    assert f"Warning: {worse}." in as_markdown(result, 20)
    assert json.loads(as_json(result, "x"))["tasks"][0]["remarks"] == [cold, worse]


def test_a_good_setting_has_no_remarks(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    assert remarks(found(tmp_path), 0) == []


@pytest.mark.parametrize("finished", [1, 0])
def test_a_study_that_prunes_what_is_done_is_said(tmp_path: Path, finished: int) -> None:
    short = "trainer.max_epochs=4"
    for number in range(finished):
        write_run(tmp_path / f"finished{number}", short)
    for number in range(3):
        write_run(tmp_path / str(number), short, f"model.dropout=0.{number}", state="pruned", curve="1,1,1")
    write_run(tmp_path / "early", short, "model.dropout=0.7", state="pruned", curve="1,1")
    with redirect_stdout(StringIO()) as out:
        print_experiments(console(), found(tmp_path), 20)
    assert f"warning: 3 of {4 + finished} trials were pruned at the end of their epochs" in out.getvalue()
