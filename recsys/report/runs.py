"""Run folders, found below a folder and read: the finished, and with a reason those that are not."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from recsys.evaluation.protocol import FOLDED, REPEATS
from recsys.report.run_files import (
    check_config,
    check_metrics,
    check_status,
    read_analysis,
    read_curve,
    read_json,
    read_yaml,
)
from recsys.report.values import integer, natural_sort_key, number, printable

SKIPPED = {"checkpoints", "bundle", "wandb"}  # what a run writes besides its own files
STATES = {  # and what they mean; after the finished, those that need attention most come first
    "finished": "finished",
    "failed": "ended with an error",
    "broken": "its files cannot be read",
    "interrupted": "interrupted by the user",
    "unfinished": "ended without a status: killed or lost",
    "running": "still running when the report was made",
    "pruned": "stopped early because others were better",
}
LEGACY_NOTE = "no status.json: an older run, or copied in part"


@dataclass
class Run:
    """What a run's folder says, of whatever state; what could not be read is empty."""

    folder: Path
    path: str  # of the folder, below the one that was searched
    state: str = "broken"  # one of STATES
    message: str | None = None  # why it is not finished, or what else is to be known
    config: dict[str, Any] = field(default_factory=dict)  # config.yaml
    metrics: dict[str, Any] = field(default_factory=dict)  # metrics.json: finite numbers, text and None
    started: str | None = None  # ISO 8601
    seconds: float | None = None  # wall time of the whole job; of its fits, where that is all that is known
    ended: float = 0.0  # Unix time, to tell the latest of several
    curve: list[float | None] = field(default_factory=list)  # the validation figure of each epoch
    analysis: dict[str, list[list[float | None]]] | None = None

    @property
    def finished(self) -> bool:
        return self.state == "finished"

    @property
    def data(self) -> dict[str, Any]:
        found = self.config.get("data")
        return found if isinstance(found, dict) else {}

    @property
    def split(self) -> str | None:
        found = self.data.get("split")
        return found if isinstance(found, str) else None

    @property
    def seed(self) -> int | None:
        return integer(self.config.get("seed"))

    @property
    def fold(self) -> int | None:
        """The fold, of a split that has folds."""
        return integer(self.data.get("fold")) if self.split in FOLDED else None

    @property
    def overrides(self) -> list[str] | None:
        """The command line that made the run; None for a run that did not write it down."""
        found = self.config.get("overrides")
        return found if isinstance(found, list) and all(isinstance(text, str) for text in found) else None


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Every run at or below the folders, each once, in the order of their names (2 before 10)."""
    folders = list(folders)
    runs: dict[str, Run] = {}
    for folder in folders:
        for found, problem in _run_folders(folder):
            identity = os.path.realpath(found)
            if identity not in runs:
                path = str(found) if len(folders) > 1 else os.path.relpath(found, folder)
                path = printable(path)
                runs[identity] = Run(found, path, message=problem) if problem else read_run(found, path)
    return list(runs.values())


def read_run(folder: Path, path: str) -> Run:
    """The run of one folder, whatever is wrong with it."""
    run, problems = Run(folder, path), _Problems()
    status = problems.of(read_json, folder / "status.json", check_status)
    config = problems.of(read_yaml, folder / "config.yaml", check_config)
    metrics = problems.of(read_json, folder / "metrics.json", check_metrics)
    run.config, run.metrics = config or {}, {printable(key): _figure(value) for key, value in (metrics or {}).items()}
    run.started, run.seconds = (status or {}).get("started"), number((status or {}).get("seconds"))
    if run.seconds is None:
        run.seconds = number(run.metrics.get("fit_seconds"))
    run.ended = _ended(folder, run)
    run.state, run.message = _state(folder, status, config, metrics, problems.found)
    notes = _Problems([run.message] if run.message else [])  # these leave a finished run finished
    run.curve = notes.of(read_curve, folder / "metrics.csv") or []
    run.analysis = notes.of(read_analysis, folder / "analysis.json")
    run.message = "; ".join(notes.found) or None
    return run


def _run_folders(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Folders of runs at or below `root`, with what is wrong with one that cannot be looked into."""
    try:
        with os.scandir(root) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError as error:
        yield root, f"cannot be listed: {error.strerror}"
        return
    if REPEATS not in found and ("config.yaml" in found or "status.json" in found):
        yield root, None
    below = [name for name, is_folder in found.items() if is_folder and name not in SKIPPED and name[0] != "."]
    for name in sorted(below, key=natural_sort_key):
        yield from _run_folders(root / name)


class _Problems:
    """Reads files of a run, and collects what is wrong with those that cannot be read."""

    def __init__(self, found: list[str] | None = None) -> None:
        self.found = found or []

    def of(self, read: Any, file: Path, check: Any = None) -> Any:
        """What the file holds; None where it is absent or, with a problem more, cannot be used."""
        try:
            content = read(file)
            if check:
                check(content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, yaml.YAMLError, csv.Error) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            self.found.append(printable(f"{file.name}: {said or type(error).__name__}"))
            return None
        return content


def _figure(value: Any) -> float | str | None:
    return printable(value) if isinstance(value, str) else number(value)


def _state(folder: Path, status: Any, config: Any, metrics: Any, problems: list[str]) -> tuple[str, str | None]:
    """The run's state, and why it is not finished."""
    told, message = (status or {}).get("state"), printable((status or {}).get("message") or "") or None
    if problems:
        return "broken", "; ".join(problems + ([message] if message else []))
    if told in ("failed", "pruned"):
        return told, message
    if metrics is not None:
        if config is None:
            return "broken", "config.yaml is missing"
        return "finished", LEGACY_NOTE if status is None else message
    if told == "finished":
        return "broken", "status.json says finished, but metrics.json is missing"
    if told == "interrupted":
        return told, message
    if told == "running":
        return ("running", message) if _at_work(folder) else ("unfinished", "stale: no process holds its lock")
    if (folder.parent / REPEATS).exists():
        return "unfinished", "one of several repeats, not begun"
    return "unfinished", "metrics.json is missing: the run was stopped, or is still at work"


def _at_work(folder: Path) -> bool:
    """Whether a process holds the run's folder, or that of its repeats."""
    from recsys.files import is_locked  # here, since few reports have a run to ask about

    try:
        return is_locked(folder) or ((folder.parent / REPEATS).exists() and is_locked(folder.parent))
    except OSError:  # a folder that one may only read
        return False


def _ended(folder: Path, run: Run) -> float:
    """Unix time at which the run ended, or began; a file's own time only where nothing was written down."""
    if run.started:
        try:
            return datetime.fromisoformat(run.started).timestamp() + (run.seconds or 0.0)
        except (ValueError, OverflowError):
            run.started = None
    try:
        return (folder / "metrics.json").stat().st_mtime
    except OSError:
        return 0.0
