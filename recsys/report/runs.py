"""Find and read run folders: finished runs, and unfinished ones with the reason."""

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
from recsys.files import MAX_CURVE_BYTES, MAX_FILE_BYTES
from recsys.progress import printable
from recsys.report.run_files import (
    check_config,
    check_metrics,
    check_status,
    read_analysis,
    read_curve,
    read_json,
    read_yaml,
)
from recsys.report.values import integer, natural_sort_key, number

SKIPPED = {"checkpoints", "bundle", "wandb"}  # sub-folders of a run that hold no runs
STATES = {  # with their descriptions; after `finished`, ordered by how much attention they need
    "finished": "finished",
    "failed": "ended with an error",
    "broken": "its files cannot be read",
    "interrupted": "interrupted by the user",
    "unfinished": "ended without a status: killed or lost",
    "running": "still running when the report was made",
    "pruned": "stopped early because others were better",
}
MOST_RUNS = 20_000  # of a report
MOST_NAMES = 200_000  # in the folders that are searched for runs
DEEPEST = 30  # folders below one that is searched
ORDINARY = 1 << 14  # bytes of a file of a run; larger ones are read as long as they have no more than these together:
MOST_BYTES = {".yaml": 2 << 20, ".json": 64 << 20, ".csv": 128 << 20}  # each takes a second or two
LEGACY_NOTE = "no status.json: an older run, or copied in part"


@dataclass
class Run:
    """The contents of a run folder, in any state; files that cannot be read leave their fields empty."""

    folder: Path
    path: str  # of the folder, relative to the one that was searched
    state: str = "broken"  # one of STATES
    message: str | None = None  # why it is not finished, or a note
    config: dict[str, Any] = field(default_factory=dict)  # config.yaml
    metrics: dict[str, Any] = field(default_factory=dict)  # metrics.json: finite numbers, text and None
    started: str | None = None  # ISO 8601
    seconds: float | None = None  # wall time of the whole job, or of its fits if that is all that is recorded
    ended: float = 0.0  # Unix time, to find the latest of several
    curve: list[float | None] = field(default_factory=list)  # validation metric by epoch
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
        """The fold; None if the split has no folds."""
        return integer(self.data.get("fold")) if self.split in FOLDED else None

    @property
    def overrides(self) -> list[str] | None:
        """The command-line overrides of the run; None if they were not recorded."""
        found = self.config.get("overrides")
        return found if isinstance(found, list) and all(isinstance(x, str) and x.isprintable() for x in found) else None


class TooManyRunsError(ValueError):
    """There are more runs, or files, than a report is made of."""


class Allowance:
    """Bytes of large files that a report may still read: of a stranger's runs each may be as large as allowed."""

    def __init__(self) -> None:
        self.left = dict(MOST_BYTES)

    def take(self, file: Path) -> None:
        """Count a file before it is read.

        Raises:
            ValueError: Too much was read before.
        """
        size = file.stat().st_size
        largest = MAX_CURVE_BYTES if file.suffix == ".csv" else MAX_FILE_BYTES  # a larger one is refused
        if not ORDINARY < size <= largest:
            return
        self.left[file.suffix] -= size
        if self.left[file.suffix] < 0:
            raise ValueError(f"not read: the report has read {MOST_BYTES[file.suffix] >> 20} MiB of such large files")


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Read all runs in the folders, at any depth, each once, in natural order of names (2 before 10).

    Raises:
        TooManyRunsError: There are too many.
    """
    folders = list(folders)
    found: dict[str, tuple[Path, str, str | None]] = {}
    for folder in folders:
        seen = _Seen(folder)
        for run, problem in _run_folders(folder, seen):
            path = str(run) if len(folders) > 1 else os.path.relpath(run, folder)
            found.setdefault(os.path.realpath(run), (run, printable(path), problem))
            if len(found) > MOST_RUNS:
                raise TooManyRunsError(f"{folder} has more than {MOST_RUNS:,} runs; name a folder in it")
    allowance = Allowance()
    return [
        Run(run, path, message=problem) if problem else read_run(run, path, allowance)
        for run, path, problem in found.values()
    ]


def read_run(folder: Path, path: str, allowance: Allowance | None = None) -> Run:
    """Read the run in one folder; problems are recorded in its state and message."""
    allowance = allowance or Allowance()
    run, problems = Run(folder, path), _Problems(allowance)
    status = problems.of(read_json, folder / "status.json", check_status)
    config = problems.of(read_yaml, folder / "config.yaml", check_config)
    metrics = problems.of(read_json, folder / "metrics.json", check_metrics)
    run.config = {key: value if key == "overrides" else _shown(value) for key, value in (config or {}).items()}
    run.metrics = {printable(key): _figure(value) for key, value in (metrics or {}).items()}
    run.started, run.seconds = (status or {}).get("started"), number((status or {}).get("seconds"))
    if run.seconds is None:
        run.seconds = number(run.metrics.get("fit_seconds"))
    run.ended = _ended(folder, run)
    run.state, run.message = _state(folder, status, config, metrics, problems.found)
    notes = _Problems(allowance, [run.message] if run.message else [])  # a finished run stays finished despite these
    run.curve = notes.of(read_curve, folder / "metrics.csv") or []
    run.analysis = notes.of(read_analysis, folder / "analysis.json")
    run.message = "; ".join(notes.found) or None
    return run


@dataclass
class _Seen:
    """Names that were seen below a folder."""

    root: Path
    names: int = 0

    def add(self) -> None:
        self.names += 1
        if self.names > MOST_NAMES:
            raise TooManyRunsError(f"{self.root} has more than {MOST_NAMES:,} names; name a folder in it")


def _run_folders(root: Path, seen: _Seen, level: int = 0) -> Iterator[tuple[Path, str | None]]:
    """Run folders in `root`, at any depth, each with an error message if it cannot be listed."""
    found: dict[str, bool] = {}
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                seen.add()
                found[entry.name] = entry.is_dir(follow_symlinks=False)
    except OSError as error:
        yield root, f"cannot be listed: {error.strerror}"
        return
    if REPEATS not in found and ("config.yaml" in found or "status.json" in found):
        yield root, None
    below = [name for name, is_folder in found.items() if is_folder and name not in SKIPPED and name[0] != "."]
    if below and level == DEEPEST:
        yield root, f"not searched: it is more than {DEEPEST} folders deep"
        return
    for name in sorted(below, key=natural_sort_key):
        yield from _run_folders(root / name, seen, level + 1)


class _Problems:
    """Reads files of a run and collects error messages."""

    def __init__(self, allowance: Allowance, found: list[str] | None = None) -> None:
        self.allowance, self.found = allowance, found or []

    def of(self, read: Any, file: Path, check: Any = None) -> Any:
        """The file's content; None if it is missing or invalid, and the latter is recorded."""
        try:
            self.allowance.take(file)
            content = read(file)
            if check:
                check(content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, yaml.YAMLError, csv.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.found.append(printable(f"{file.name}: {reason or type(error).__name__}"))
            return None
        return content


def _shown(value: Any) -> Any:
    """The value with texts that can be printed; texts that can be already stay as they are."""
    if isinstance(value, dict):
        return {_shown(key): _shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    return printable(value) if isinstance(value, str) and not value.isprintable() else value


def _figure(value: Any) -> float | str | None:
    return printable(value) if isinstance(value, str) else number(value)


def _state(folder: Path, status: Any, config: Any, metrics: Any, problems: list[str]) -> tuple[str, str | None]:
    """The run's state, and the reason if it is not finished."""
    recorded, message = (status or {}).get("state"), printable((status or {}).get("message") or "") or None
    if problems:
        return "broken", "; ".join(problems + ([message] if message else []))
    if recorded in ("failed", "pruned"):
        return recorded, message
    if metrics is not None:
        if config is None:
            return "broken", "config.yaml is missing"
        return "finished", LEGACY_NOTE if status is None else message
    if recorded == "finished":
        return "broken", "state is finished in status.json, but metrics.json is missing"
    if recorded == "interrupted":
        return recorded, message
    if recorded == "running":
        return ("running", message) if _is_active(folder) else ("unfinished", "stale: no process holds its lock")
    if (folder.parent / REPEATS).exists():
        return "unfinished", "one of several repeats, not started"
    return "unfinished", "metrics.json is missing: the run was stopped, or is still running"


def _is_active(folder: Path) -> bool:
    """Whether a process holds the lock of the run folder, or of the folder of its repeats."""
    from recsys.files import is_locked  # imported here, since few reports need it

    try:
        return is_locked(folder) or ((folder.parent / REPEATS).exists() and is_locked(folder.parent))
    except OSError:  # a read-only folder
        return False


def _ended(folder: Path, run: Run) -> float:
    """Unix time of the run's end, or start; a file's modification time if neither was recorded."""
    if run.started:
        try:
            return datetime.fromisoformat(run.started).timestamp() + (run.seconds or 0.0)
        except (ValueError, OverflowError):
            run.started = None
    try:
        return (folder / "metrics.json").stat().st_mtime
    except OSError:
        return 0.0
