"""Made-up ratings whose rows are mostly short, and the table of what was measured of their widths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.synthetic import PowerLaw
from benchmarks.tables.results import Results
from benchmarks.tables.widths import widths


def test_most_rows_of_the_power_law_are_short() -> None:
    frame = PowerLaw(50_000).read().ratings
    assert len(frame) == 50_000
    assert not frame.duplicated(["user_id", "item_id"]).any()
    users = np.bincount(frame["user_id"], minlength=2_000)
    assert np.median(users) < 0.7 * users.mean()
    assert frame["rating"].between(0.5, 5).all()


def test_the_table_says_what_a_row_has(tmp_path: Path) -> None:
    row = {
        "name": "ml_1m mf", "users": 6_040, "items": 3_700, "ratings": 1_000_209, "fit_seconds": 71.5, "threads": 1,
        "choosing_seconds": 12.0, "load": [1.0, 1.0, 1.0], "machine": {"cpu": "C", "cores": 2}, "date": "2026-11-30",
        "git_commit": "abc", "rule": {"dim": 48, "exponent": 0.5, "users": 2.272, "items": 3.245},
        "rows": [
            {"what": "widths by number of ratings", "mean_width": 25.5, "table_share": 0.2, "file_bytes": 1_185_272,
             "test_rmse": 0.87252},
            {"what": "all coordinates", "mean_width": 128, "table_share": 1.0, "file_bytes": None,
             "test_rmse": 0.87184},
        ],
    }  # fmt: skip
    (tmp_path / "widths-cpu-2core.json").write_text(json.dumps([row]))
    lines = widths(Results(tmp_path)).splitlines()
    assert lines[2] == "| ml_1m mf | all coordinates | 128 | 100.0% | 0.8718 |  |"
    assert lines[3] == "| ml_1m mf | widths by number of ratings | 25.5 | 20.0% | 0.8725 | 1.19 |"
    assert "a user has 2.272 n^0.5 coordinates, an item 3.245 n^0.5, 48 at most" in lines[5]
