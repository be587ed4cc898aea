from __future__ import annotations

import io
import itertools
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any

import pytest

from recsys.experiments.multirun import run_job
from recsys.progress import hidden, progress, track
from recsys.training.callbacks import FitProgress
from recsys.training.run import build_data
from tests.commands import Train, call_function, run_config, train_arguments

pytestmark = pytest.mark.long

ERASED = "\x1b[2K"  # the end of what a terminal is sent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A standard error that is a terminal of 120 columns."""
    stream = Terminal()
    streams = SimpleNamespace(stderr=stream, stdout=io.StringIO())  # the real ones are pytest's
    monkeypatch.setattr("recsys.progress.sys", streams)
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


def test_what_is_printed_meanwhile_still_goes_to_a_file(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 4, delay=0) as advance:
        advance()
        print("a result")
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in terminal.getvalue()


def test_short_work_shows_nothing(terminal: Terminal) -> None:
    assert list(track("abc", "reading")) == ["a", "b", "c"]
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


def test_whatever_takes_long_shows_what_it_is(
    trained: Train, small_ratings: Path, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("trainer.max_epochs=1")
    seconds = itertools.count(step=3)  # between any two steps
    monkeypatch.setattr("recsys.progress.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    build_data(run_config(*train_arguments(small_ratings, tmp_path), f"run_dir={tmp_path}")).setup()
    call_function("evaluate", f"run={run}", "ranking=true", "evaluation=prequential")
    call_function("recommend", f"run={run}", f"out={tmp_path / 'top.csv'}")
    for label in ("reading ratings.csv", "ranking the catalogue", "predicting in time order", "recommending"):
        assert label in terminal.getvalue()


@pytest.mark.parametrize("rank", [0, 1])
def test_one_of_several_processes_shows_its_fit(terminal: Terminal, rank: int) -> None:
    callback, module = FitProgress(), SimpleNamespace()
    trainer: Any = SimpleNamespace(
        is_global_zero=rank == 0, max_epochs=1, num_training_batches=1, current_epoch=0,
        datamodule=SimpleNamespace(fit_on="train"), callback_metrics={},
    )  # fmt: skip
    for step in (callback.on_train_start, callback.on_train_batch_end, callback.on_train_end):
        step(trainer, module)  # type: ignore[operator]
    assert ("fit on train" in terminal.getvalue()) == (rank == 0)


def test_jobs_of_a_sweep_show_nothing(tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def job() -> dict[str, float]:
        with progress("fit", 1, delay=0) as advance:
            advance()
        return {"val/rmse": 0.9, "test/rmse": 1.0}

    monkeypatch.setattr("recsys.experiments.multirun.print_line", lambda *_: None)
    run_job(job, tmp_path / "0")
    assert terminal.getvalue() == ""


def test_a_reader_that_goes_away_and_a_closed_output_end_nothing() -> None:
    code = (
        "import sys\n"
        "from recsys.progress import tolerate_closed_output\n"
        "tolerate_closed_output()\n"
        "tolerate_closed_output()\n"
        "print('first', flush=True)\n"
        "sys.stdin.readline()\n"
        "for _ in range(3):\n"
        "    print('x' * 100_000)\n"
        "assert not sys.stdout.isatty()\n"
        "sys.stderr.write('done')\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "first\n"
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        assert process.stderr.read() == "done"
    assert process.returncode == 0
    shell = ["sh", "-c", f"'{sys.executable}' -c \"$0\" >&- </dev/null", code]
    done = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert done.stderr == "done"
