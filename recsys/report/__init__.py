"""Runs compared: which settings to use, and how sure that is. `python -m recsys.report <folder>` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsys.evaluation.registry import RMSE
from recsys.report.runs import read_runs
from recsys.report.settings import Experiments, experiments

SUMMARY = 10  # settings that a sweep shows at its end


class ReportError(Exception):
    """There is nothing to report, or nowhere to write it."""


def find(folders: Sequence[Path], metric: str = RMSE.validation_key) -> Experiments:
    """All runs at or below the folders, compared by `metric`.

    Raises:
        ReportError: A folder does not exist, or there is no run.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(f"{folder} is no folder")
    runs = read_runs(folders)
    if not runs:
        raise ReportError(f"{named(folders)} holds no run (no config.yaml and no status.json)")
    return experiments(runs, metric)


def print_summary(folder: Path) -> None:
    """What came out of the runs below a folder, on the terminal; nothing where there is none."""
    from recsys.report.terminal import console, print_experiments

    runs = read_runs([folder])
    if runs:
        print_experiments(console(), experiments(runs), SUMMARY)


def named(folders: Sequence[Path]) -> str:
    """Folders as one types them."""
    return ", ".join(map(str, folders))
