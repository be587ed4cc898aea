"""The command `recsys update`."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recsys.database import Database, DatabaseError
from recsys.events import Event, EventLog
from recsys.update import __main__ as command
from recsys.update import update as module
from recsys.update.__main__ import duration, interval, main, stars, sweeps
from recsys.versions import open_versions
from tests.update.small import both_sides, bundle_of


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags for a champion and an event."""
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    url = f"sqlite:///{tmp_path / 'recsys.db'}"
    versions = open_versions(url, tmp_path / "versions")
    version = versions.publish(
        bundle_of(both_sides()), parent=None, cut=0, made_by="fit", metrics={}, configuration={}
    )  # fmt: skip
    versions.promote("champion", version.version, "test", "first")
    EventLog(versions.database).append([Event("e", "10", "700", "rating", 4.0, 9000)])
    return ["--database", url, "--store", str(tmp_path / "versions"), "--runs", str(tmp_path / "runs")]


def champion_cut(where: list[str]) -> int:
    return open_versions(where[1], where[3]).champion().version.cut


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("6h", 21_600), ("1d", 86_400), ("0s", 0)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "1.5h", "-1d", "1w", "١m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number with s, m, h or d, such as 10m"):
        duration(text)


def test_an_interval_is_not_0() -> None:
    assert interval("10m") == 600
    with pytest.raises(argparse.ArgumentTypeError, match="must be 1s or more, got '0s'"):
        interval("0s")


@pytest.mark.parametrize("text", ["", "-1", "nan", "far"])
def test_what_is_no_distance(text: str) -> None:
    assert stars("0.1") == 0.1
    with pytest.raises(argparse.ArgumentTypeError, match=f"must be a number of stars >= 0, got '{text}'"):
        stars(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1001", "many"])
def test_what_is_no_number_of_sweeps(text: str) -> None:
    assert [sweeps(number) for number in ("0", "1000")] == [0, 1000]
    with pytest.raises(argparse.ArgumentTypeError, match=f"must be a whole number from 0 to 1000, got '{text}'"):
        sweeps(text)


def test_sweeps_are_over_everybody_unless_there_are_none(where: list[str]) -> None:
    versions = open_versions(where[1], where[3])
    before = versions.champion().bundle.factors.item_factors
    main([*where, "--max-distance", "9", "--sweeps", "0"])
    assert (versions.champion().bundle.factors.item_factors[:9] == before).all()  # only the new item was rated
    EventLog(versions.database).append([Event("f", "10", "700", "rating", 5.0, 9001)])
    main([*where, "--max-distance", "9"])
    assert (versions.champion().bundle.factors.item_factors[:9] != before).any((1, 2)).all()


def test_once(where: list[str]) -> None:
    main([*where, "--max-distance", "9"])
    assert champion_cut(where) == 1


def test_again_and_again_also_after_errors(
    where: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slept: list[float] = []
    updates = module.update
    turns = iter([DatabaseError("no answer"), ArithmeticError("no finite answer"), None])

    def sometimes(*arguments: Any) -> Any:
        if (error := next(turns)) is not None:
            raise error
        return updates(*arguments)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "update", sometimes)
    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))  # not of other modules
    with caplog.at_level(logging.INFO, "recsys.update"), pytest.raises(SystemExit) as ended:
        main([*where, "--every", "10m", "--max-distance", "9"])
    assert ended.value.code == 130
    assert "error: no answer" in caplog.text
    assert "error: no finite answer" in caplog.text
    assert champion_cut(where) == 1
    assert all(0 <= seconds <= 600 for seconds in slept)


def test_a_mistake_is_a_sentence(where: list[str], tmp_path: Path) -> None:
    Database.open(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(SystemExit) as ended:
        main(["--database", f"sqlite:///{tmp_path / 'empty.db'}", *where[2:]])
    assert str(ended.value.code).startswith("error: alias champion names no version")
