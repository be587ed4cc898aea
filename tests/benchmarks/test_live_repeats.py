"""Answers that are given again: the scripts for wrk, and the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.live.repeats import EVENTS, record, script
from benchmarks.tables import live
from benchmarks.tables.results import NotMeasuredError, Results
from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import EventLog


def test_everybody_has_events_within_the_scale(small: Bundle, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/live.db"
    record(url, small, ["1", "2"])
    log = EventLog(Database.open(url))
    low, high = small.given_scale
    for user in ("1", "2"):
        events = log.of_user(user)
        assert len(events) == EVENTS
        assert all(event.rating is not None and low <= event.rating <= high for event in events)


def test_a_script_asks_for_each_path_in_turn(tmp_path: Path) -> None:
    text = script(tmp_path, "GET", ["/a?b=1", "/c"], etag='"x"').read_text()
    assert 'ipairs({"/a?b=1","/c"})' in text
    assert '["if-none-match"] = "\\"x\\""' in text
    assert script(tmp_path, "POST", ["/a"], body='{"k": 1}').read_text() != text


def test_the_table_has_each_way(tmp_path: Path) -> None:
    (tmp_path / "other-cpu-2core.json").write_text("{}")
    with pytest.raises(NotMeasuredError):
        live.repeats(Results(tmp_path))
    one = {"requests_per_second": 6123, "ratio": 1.0, "lowest": 0.9, "highest": 1.1}
    figures = {name: {"hit_rate": 0.98, "no-op": one} for name in ("without a database", "with a database")}
    (tmp_path / "live_repeats-cpu-2core.json").write_text(json.dumps({"figures": figures}))
    text = live.repeats(Results(tmp_path))
    assert "| no-op | 6,123 (1.00; 0.90–1.10) | 6,123 (1.00; 0.90–1.10) |" in text
    assert "98.0%" in text
