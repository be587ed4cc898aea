"""The plan of ensembles, and its table."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.ensembles import PLAN, plan
from benchmarks.tables.quality import ensembles
from benchmarks.tables.results import Results

NAME = "ml_1m kfold fold 0"


def test_chains_may_be_shorter_and_members_left_out() -> None:
    whole = plan(NAME, None, [])
    assert whole == PLAN[NAME]
    short = plan(NAME, 20, ["mf", "autorec"])
    assert [*short] == [name for name in whole if name not in ("mf", "autorec")]
    assert short["bayesian_mf"].endswith("trainer.max_epochs=20")
    assert short["svdpp"] == whole["svdpp"]


def test_the_table_shows_what_each_member_costs(tmp_path: Path) -> None:
    member = {"name": "mf", "command": "python -m recsys.train", "val_rmse": 0.83, "test_rmse": 0.84, "weight": 0.25,
              "loss_without": -0.00012, "fit_seconds": 17.2, "bytes": 5_000_000, "top_10_ms": 0.123}  # fmt: skip
    row = {"name": NAME, "members": [member], "val_rmse": 0.81, "rmse": 0.8099, "fit_seconds": 20.0,
           "bytes": 9_800_000, "top_10_ms": 0.5}  # fmt: skip
    (tmp_path / "ensembles-cpu-2core.json").write_text(json.dumps([row]))
    lines = ensembles(Results(tmp_path)).splitlines()
    assert lines[2].split(" | ")[1:9] == ["`mf`", "0.25", "0.8300", "-0.0001", "0.8400", "17", "5", "0.12"]
    assert "**ensemble** |  | 0.8100 |  | **0.8099** | 20 | 10 | 0.50" in lines[3]


def test_a_second_table_shows_the_ensembles_by_who_is_known(tmp_path: Path) -> None:
    row = {"name": "ml_1m global_time 0.2", "members": [], "val_rmse": 0.98, "rmse": 0.917, "rmse_warm": 0.862,
           "rmse_cold": 0.974, "fit_seconds": 20.0,
           "bytes": 9_800_000, "top_10_ms": 0.5}  # fmt: skip
    (tmp_path / "ensembles-cpu-2core.json").write_text(json.dumps([row]))
    assert "| 0.9170 | – | 0.8620 | 0.9740 |" in ensembles(Results(tmp_path))
