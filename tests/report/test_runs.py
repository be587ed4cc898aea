from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from recsys.files import folder_lock
from recsys.report.runs import Run, read_runs
from tests.report.run_folders import write_run


def only(folder: Path) -> Run:
    (run,) = read_runs([folder])
    return run


def test_a_finished_run(tmp_path: Path) -> None:
    run = only(write_run(tmp_path, "seed=3"))
    assert (run.path, run.state, run.message, run.seed, run.fold) == (".", "finished", None, 3, None)
    assert (run.seconds, run.started, run.overrides) == (7.5, "2026-11-23T12:00:00+00:00", ["seed=3"])
    assert run.curve == [0.99, None, 0.94]
    assert run.analysis is not None
    assert run.analysis["by_user_activity"] == [[10, None, 90, 0.9, 1.0]]
    assert run.analysis["calibration"] == [[3.0, 3.25, 12, 3.12, 3.08]]


@pytest.mark.parametrize("state", ["failed", "pruned", "interrupted"])
def test_a_run_that_says_how_it_ended(tmp_path: Path, state: str) -> None:
    run = only(write_run(tmp_path, state=state, message="why\x1b[31m,\nin short"))
    assert (run.state, run.message) == (state, "why [31m, in short")
    assert run.curve == [0.99, None, 0.94]


def test_a_job_that_failed_before_its_configuration_was_complete(tmp_path: Path) -> None:
    status = {"state": "failed", "message": "no such model", "started": "2026-11-23T12:00:00+00:00", "seconds": 0.1}
    (tmp_path / "status.json").write_text(json.dumps(status))
    assert (only(tmp_path).state, only(tmp_path).message) == ("failed", "no such model")


def test_running_is_what_a_process_holds(tmp_path: Path) -> None:
    write_run(tmp_path, state="running")
    with folder_lock(tmp_path, "trains"):
        assert only(tmp_path).state == "running"
    assert only(tmp_path).state == "unfinished"
    assert "no process" in (only(tmp_path).message or "")


def test_a_repeat_is_running_while_its_parent_is_held(tmp_path: Path) -> None:
    (tmp_path / "repeats.json").write_text('{"runs": ["seed=0", "seed=1"]}')
    (tmp_path / "status.json").write_text('{"state": "running"}')
    write_run(tmp_path / "seed=0", state="running")
    write_run(tmp_path / "seed=1", state="running")
    (tmp_path / "seed=1" / "status.json").unlink()
    with folder_lock(tmp_path, "trains"):
        first, second = read_runs([tmp_path])  # the parent is no run
    assert (first.path, first.state, second.path, second.state) == ("seed=0", "running", "seed=1", "unfinished")
    assert "not started" in (second.message or "")


def test_old_runs(tmp_path: Path) -> None:
    run = only(write_run(tmp_path, state=None))
    assert (run.state, run.seconds, run.started) == ("finished", 6.5, None)
    assert run.message == "no status.json: an older run, or copied in part"
    (tmp_path / "analysis.json").unlink()
    (tmp_path / "metrics.csv").unlink()
    config = (tmp_path / "config.yaml").read_text().replace("overrides: []\n", "")
    (tmp_path / "config.yaml").write_text(config)
    run = only(tmp_path)
    assert (run.state, run.curve, run.analysis, run.overrides) == ("finished", [], None, None)
    (tmp_path / "metrics.json").unlink()
    assert only(tmp_path).state == "unfinished"


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("config.yaml", "data: [", "config.yaml"),
        ("config.yaml", "data: 1\nmodel: {}\nseed: 0", "data must be a mapping, got int"),
        ("config.yaml", "data: {split: kfold}\nseed: 0", "model must be a mapping, got nothing"),
        ("config.yaml", "data: {split: kfold}\nmodel: {}\nseed: x", "seed must be an integer, got 'x'"),
        ("config.yaml", "data: {}\nmodel: {}\nseed: 0", "data.split must be a string"),
        ("config.yaml", "", "must be a mapping"),
        ("metrics.json", "{", "metrics.json"),
        ("metrics.json", "[]", "must be a mapping"),
        ("metrics.json", "[" * 100_000, "nested in more than 50 levels"),
        ("metrics.json", '{"data": "x"}', "val/rmse must be a finite number, got None"),
        ("metrics.json", '{"data": "x", "val/rmse": NaN}', "val/rmse must be a finite number, got nan"),
        ("metrics.json", '{"data": 3, "val/rmse": 1}', "data must be a string, got int"),
        ("metrics.json", '{"data": "x", "val/rmse": 1' + "0" * 400 + "}", "val/rmse must be a finite number"),
        ("status.json", '{"state": "fine"}', "state must be one of running, .*, got 'fine'"),
        ("status.json", '{"state": "failed", "message": 3}', "message must be a string or null, got int"),
        ("status.json", "\udcff", "utf-8"),
    ],
)
def test_a_broken_run_says_which_file_and_why(tmp_path: Path, file: str, text: str, reason: str) -> None:
    write_run(tmp_path)
    (tmp_path / file).write_text(text, errors="surrogateescape")
    run = only(tmp_path)
    assert run.state == "broken"
    assert run.message is not None
    assert run.message.startswith(file)
    assert re.search(reason, run.message), run.message


def test_finished_without_figures_or_configuration_is_broken(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "config.yaml").rename(tmp_path / "gone")
    assert (only(tmp_path).state, only(tmp_path).message) == ("broken", "config.yaml is missing")
    (tmp_path / "gone").rename(tmp_path / "config.yaml")
    (tmp_path / "metrics.json").unlink()
    assert only(tmp_path).message == "state is finished in status.json, but metrics.json is missing"


def test_oddities_beside_the_figures_leave_a_run_finished_and_are_told(tmp_path: Path) -> None:
    write_run(tmp_path, test_rmse_cold=float("nan"), curve="nan,x,inf,0.9")
    (tmp_path / "analysis.json").write_text('{"by_rating": [{"rating": 1}]}')
    run = only(tmp_path)
    assert run.metrics["test/rmse_cold"] is None
    assert run.curve == [None, None, None, 0.9]
    assert (run.state, run.analysis) == ("finished", None)
    assert "analysis.json" in (run.message or "")
    (tmp_path / "metrics.csv").write_text("")
    assert only(tmp_path).curve == []


def test_folders_are_found_at_any_depth_and_in_order(tmp_path: Path) -> None:
    for name in ("10", "2", "a/b/1"):
        write_run(tmp_path / name)
    for name in ("2/checkpoints/0", "2/bundle", "wandb/x", ".hidden/x"):
        write_run(tmp_path / name)
    assert [run.path for run in read_runs([tmp_path])] == ["2", "10", "a/b/1"]


def test_overlapping_folders_name_a_run_once(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "0")
    (tmp_path / "loop").symlink_to(tmp_path)
    runs = read_runs([tmp_path / "a", tmp_path])
    assert [run.path for run in runs] == [str(tmp_path / "a" / "0")]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = Path(str(tmp_path) + "/\udcff")
    write_run(folder)
    run = only(tmp_path)
    assert run.path == ""  # no character of it can be shown
    assert run.state == "broken"
    assert "config.yaml" in (run.message or "")  # YAML has no such character


def test_a_curve_has_room_for_epochs_that_were_not_validated(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "metrics.csv").write_text("epoch,val/rmse\n1,0.9\n3,0.8\n3,0.7\n999999999,0.6\n")
    assert only(tmp_path).curve == [None, 0.9, None, 0.8, 0.7, 0.6]
