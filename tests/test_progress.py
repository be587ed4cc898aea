from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest

from recsys.experiments.multirun import run_job
from recsys.progress import hidden, progress, track
from tests.commands import Train

pytestmark = pytest.mark.long

ERASED = "\x1b[2K"  # the end of what a terminal is sent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A standard error that is a terminal of 120 columns."""
    stream = Terminal()
    monkeypatch.setattr("recsys.progress.sys", SimpleNamespace(stderr=stream))  # pytest sets the real one
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return stream


def test_a_line_shows_how_far_it_is_and_goes_at_the_end(terminal: Terminal) -> None:
    with progress("reading", 4, delay=0) as advance:
        advance(2, "chapter 1")
    shown = terminal.getvalue()
    assert "reading" in shown
    assert "50%" in shown
    assert "left" in shown
    assert "chapter 1" in shown
    assert shown.endswith(ERASED)


def test_short_work_shows_nothing(terminal: Terminal) -> None:
    assert list(track("abc", "reading", 3)) == ["a", "b", "c"]
    assert terminal.getvalue() == ""


def test_a_log_file_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 1, delay=0) as advance:
        advance()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("outer", [hidden, lambda: progress("outer", 1, delay=9)], ids=["hidden", "nested"])
def test_one_line_at_most(terminal: Terminal, outer: Callable[[], AbstractContextManager[object]]) -> None:
    with outer(), progress("inner", 1, delay=0) as advance:
        advance()
    assert terminal.getvalue() == ""
    with progress("next", 1, delay=0) as advance:
        advance()
    assert "next" in terminal.getvalue()


def test_a_line_goes_when_the_work_fails(terminal: Terminal) -> None:
    def fail() -> None:
        with progress("dividing", 2, delay=0) as advance:
            advance()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert terminal.getvalue().endswith(ERASED)


def test_a_run_shows_its_fits(quick_train: Train, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.progress.REFRESH_SECONDS", 0)
    quick_train("trainer.max_epochs=2", "refit=train_val")
    shown = terminal.getvalue()
    for part in ("fit on train ", "fit on train_val ", "epoch 2 done, validation RMSE 0.", "left", "100%"):
        assert part in shown


def test_jobs_of_a_sweep_show_nothing(tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def job() -> dict[str, float]:
        with progress("fit", 1, delay=0) as advance:
            advance()
        return {"val/rmse": 0.9, "test/rmse": 1.0}

    monkeypatch.setattr("recsys.experiments.multirun._print_progress", lambda *_: None)
    run_job(job, tmp_path / "0")
    assert terminal.getvalue() == ""
