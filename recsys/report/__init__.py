"""Compare runs and rank their settings, with confidence intervals: `python -m recsys.report <folder>`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsys.evaluation.registry import RMSE
from recsys.report.runs import TooManyRunsError, read_runs
from recsys.report.settings import Experiments, experiments

SUMMARY = 10  # settings in the summary at the end of a sweep


class ReportError(Exception):
    """No runs were found, or the report cannot be written."""


def find(folders: Sequence[Path], metric: str = RMSE.validation_key) -> Experiments:
    """Find all runs in the folders, at any depth, and compare them by `metric`.

    Raises:
        ReportError: A folder does not exist, or there are no runs, or too many.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(f"{folder} is not a folder")
    try:
        runs = read_runs(folders)
    except TooManyRunsError as error:
        raise ReportError(str(error)) from error
    if not runs:
        raise ReportError(f"no runs in {named(folders)} (no config.yaml and no status.json)")
    return experiments(runs, metric)


def print_summary(folder: Path) -> None:
    """Print a summary of the runs in a folder; nothing if there are none."""
    from recsys.report.terminal import console, print_experiments

    try:
        runs = read_runs([folder])
    except TooManyRunsError as error:
        print(f"no summary: {error}")
        return
    if runs:
        print_experiments(console(), experiments(runs), SUMMARY)


def named(folders: Sequence[Path]) -> str:
    """The folders as typed, separated by commas."""
    return ", ".join(map(str, folders))
