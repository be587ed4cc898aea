from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from recsys.data.inference.finding import Finding
from recsys.experiments.run_folder import resumed
from recsys.training.inferred import record, sentences
from recsys.training.run import build_data
from recsys.training.wandb import WandbTracker
from tests.commands import Train


def test_values_take_their_place_and_are_listed(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"seed": 1, "data": {"separator": "auto", "missing": "auto", "rating_column": "auto"}})
    first = record(cfg, {"separator": "\t"}, tmp_path)
    found = {"missing": (99, -1), "rating_column": None, "events": {"a": 2}}
    second = record(first, found, tmp_path)
    assert OmegaConf.load(tmp_path / "config.yaml") == second
    assert second.data == {"separator": "\t", "missing": [99, -1], "rating_column": None, "events": {"a": 2}}
    assert second.inferred == ["data.separator", "data.missing", "data.rating_column", "data.events"]
    assert cfg.data.separator == "auto"


def test_without_findings_nothing_is_written(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"data": {"separator": ","}})
    assert record(cfg, {}, tmp_path) is cfg
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "text"),
    [(";", "';'"), ("\t", r"'\t'"), (None, "null"), (True, "true"), ([99, -1.5], "[99,-1.5]"), ("user_id", "user_id"),
     ("Book-Rating", "Book-Rating"), ("%d.%m.%Y", "'%d.%m.%Y'"), ({"view": 1}, "'{view: 1}'"), (5.0, "5")],
)  # fmt: skip
def test_sentences(value: object, text: str) -> None:
    assert sentences([Finding("x", value, "that is why")]) == [f"inferred data.x={text} (that is why)"]


@pytest.mark.long
def test_a_run_records_what_was_inferred_and_is_found_again(
    quick_train: Train, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    arguments = ("trainer.max_epochs=1", "data.timestamp_column=auto", "data.split=auto")
    file = quick_train(*arguments) / "config.yaml"
    said = [record.getMessage() for record in caplog.records]
    assert "inferred data.timestamp_column=timestamp (its name)" in said
    assert "inferred data.split=user_time (the ratings have times)" in said
    assert "1,200 rows of ratings.csv: 1,200 ratings, 0 refused, 0 dropped" in said
    cfg = OmegaConf.load(file)
    assert (cfg.data.user_column, cfg.data.timestamp_column, cfg.data.split) == ("user_id", "timestamp", "user_time")
    assert (cfg.data.encoding, cfg.data.header, cfg.data.missing) == ("utf-8", True, [])
    assert "auto" not in [OmegaConf.select(cfg, key) for key in cfg.inferred]
    written = file.stat().st_mtime_ns
    quick_train(*arguments)  # is found finished
    assert file.stat().st_mtime_ns == written
    data = build_data(resumed(file.parent, [])["."])
    data.setup()
    metrics = json.loads((file.parent / "metrics.json").read_text())
    assert data.dataset.sha256 == metrics["data_sha256"]
    assert not data.findings


def test_trackers_hear_of_it() -> None:
    class Run:
        def __init__(self) -> None:
            self.config: dict[str, Any] = {}

    class Config(dict[str, Any]):
        def update(self, values: Any, allow_val_change: bool = False) -> None:  # type: ignore[override]
            assert allow_val_change
            super().update(values)

    tracker, run = WandbTracker("p", "/nowhere"), Run()
    run.config = Config({"data.separator": "auto"})
    tracker._experiment = run  # type: ignore[assignment]
    tracker.configure({"data": {"separator": ";"}, "inferred": ["data.separator"]})
    assert run.config["data.separator"] == ";"
