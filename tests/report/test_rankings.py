"""Rankings of the same cases in a report: any two settings, in pairs, and never those of other cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recsys.evaluation.case_values import CaseValues
from recsys.report.__main__ import main
from recsys.report.rankings import ranking_comparisons, sentence
from recsys.report.runs import read_runs
from recsys.report.settings import Experiments, experiments
from tests.report.run_folders import write_run

USERS, ROWS = 400, "ab" * 32
BETTER = np.random.default_rng(0).random(USERS).astype(np.float32)


def keep(folder: Path, ndcg: np.ndarray, rows: str = ROWS, targets: str = "all") -> None:
    values = {"ndcg@10": ndcg.astype(np.float32), "hr@10": (ndcg > 0.5).astype(np.float32)}
    CaseValues(rows, np.arange(USERS, dtype=np.int32), values).save(folder, targets)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A ranking model with two seeds, a rating model, one that is worse, and one of other cases."""
    names = {"val_ndcg@10": 0.3, "ranking_ndcg@10": 0.2, "val_rmse": None, "test_rmse": None}
    noise = np.random.default_rng(1).normal(0, 0.01, USERS)
    noise -= noise.mean()
    for seed, sign in ((0, 1), (1, -1)):
        folder = write_run(tmp_path / f"ials{seed}", "model_name=ials", f"seed={seed}", **names)
        keep(folder, BETTER + sign * noise)
    keep(write_run(tmp_path / "mf", "model_name=mf"), BETTER - 0.1 + 10 * noise)
    keep(write_run(tmp_path / "svdpp", "model_name=svdpp"), BETTER - 0.001 + 5 * noise)
    keep(write_run(tmp_path / "other", "model_name=als", "data.split=leave_one_out"), 1 + BETTER, rows="cd" * 32)
    return tmp_path


def found(folder: Path, metric: str = "val/rmse") -> Experiments:
    return experiments(read_runs([folder]), metric)


def test_settings_of_all_tasks_are_compared_case_by_case(runs: Path) -> None:
    (one,) = ranking_comparisons(found(runs))
    assert (one.metric, one.cases, one.users) == ("ranking/ndcg@10", USERS, USERS)
    assert [setting.path for setting in one.settings] == ["ials0", "svdpp", "mf"]
    assert one.settings[0].mean == pytest.approx(BETTER.mean())  # of both seeds
    assert one.settings[0].difference is None
    near, far = (setting.difference for setting in one.settings[1:])
    assert near is not None
    assert far is not None
    assert near.above_zero is False
    assert far.above_zero
    assert far.mean == pytest.approx(0.1)
    assert "is not significant (+0.00" in sentence(one)
    assert sentence(one).endswith("by bootstrap over 400 users).")


def test_the_metric_is_the_report_s_if_cases_have_it(runs: Path) -> None:
    assert ranking_comparisons(found(runs, "ranking/hr@10"))[0].metric == "ranking/hr@10"
    assert ranking_comparisons(found(runs, "ranking/coverage@10"))[0].metric == "ranking/ndcg@10"


def test_each_kind_of_targets_is_compared_apart(runs: Path) -> None:
    for name in ("mf", "svdpp"):
        keep(runs / name, BETTER, targets="next")
    assert [one.metric for one in ranking_comparisons(found(runs))] == ["ranking/ndcg@10", "ranking_next/ndcg@10"]
    same = ranking_comparisons(found(runs))[1].settings[1].difference
    assert same is not None
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_all_formats_show_them(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    for kind in ("table", "md"):
        main([str(runs), "--format", kind])
        out = capsys.readouterr().out
        assert "rankings of the same 400 cases of 400 users: test NDCG@10 on ml-100k · user_time" in out
        assert "not significant (+0.00" in out
    main([str(runs), "--format", "json"])
    (one,) = json.loads(capsys.readouterr().out)["rankings"]
    assert [setting["label"] for setting in one["settings"]] == ["ials", "svdpp", "mf"]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x02\0\0\0\0\0\0\0{}"])
def test_what_is_damaged_is_noted_and_left_out(runs: Path, content: bytes) -> None:
    (runs / "svdpp" / "cases_all.safetensors").write_bytes(content)
    report = found(runs)
    (one,) = ranking_comparisons(report)
    assert [setting.path for setting in one.settings] == ["ials0", "mf"]
    assert any("cases_all.safetensors: " in (run.message or "") for run in report.runs)


@pytest.mark.parametrize(
    "changed", [{"ndcg@10": np.full(USERS, np.nan, np.float32)}, {"user": np.full(USERS, -1, np.int32)},
                {"rows": np.zeros(3, np.uint8)}, {"ndcg@10": np.zeros(3, np.float32)}], ids=str)  # fmt: skip
def test_numbers_that_are_none_are_refused(changed: dict[str, np.ndarray], tmp_path: Path) -> None:
    from recsys.bundle.array_file import write_arrays

    sound = {"rows": np.zeros(32, np.uint8), "user": np.arange(USERS, dtype=np.int32), "ndcg@10": BETTER}
    write_arrays(tmp_path / "cases_all.safetensors", sound | changed)
    with pytest.raises(ValueError, match="is damaged"):
        CaseValues.load(tmp_path, "all")
