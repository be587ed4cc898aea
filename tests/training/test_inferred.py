from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from recsys.data.inference.finding import Finding
from recsys.training.inferred import record, sentences


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
