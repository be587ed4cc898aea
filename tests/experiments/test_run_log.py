from __future__ import annotations

import logging
from pathlib import Path

import pytest

from recsys.experiments.run_log import RunLog


def test_a_log_that_cannot_be_written_disturbs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which this system has not")
    handler = RunLog("/dev/full")
    handler.handle(logging.makeLogRecord({"msg": "lost"}))
    assert capfd.readouterr().err == ""
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("x",)}))  # a mistake of ours
    assert "Logging error" in capfd.readouterr().err


def test_records_are_appended(tmp_path: Path) -> None:
    for message in ("one", "two"):
        handler = RunLog(tmp_path / "train.log")
        handler.handle(logging.makeLogRecord({"msg": message}))
        handler.close()
    assert (tmp_path / "train.log").read_text() == "one\ntwo\n"
