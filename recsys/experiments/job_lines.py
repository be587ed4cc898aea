"""The lines that a sweep prints, one per job, and the file by which its processes number them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from recsys.files import read_json, write_json
from recsys.progress import printable

INFO = "sweep.json"  # in the sweep folder: the command, and what the lines need
LOCK = ".lines"  # held to print a line: in parallel sweeps two jobs may end at once


def begin_lines(
    folder: Path, n_jobs: int, n_done: int, overrides: Mapping[str, Sequence[str]], fixed: list[str]
) -> None:
    """Begin to number the lines of a sweep, which may be resumed.

    Args:
        folder: The sweep folder.
        n_jobs: Number of jobs.
        n_done: Number of those that an earlier session completed; they get no line.
        overrides: The command, by `task` and `hydra`; see `recsys.experiments.sweep_folder.sweep_overrides`.
        fixed: Overrides that all jobs share, which the lines leave out.
    """
    content = {"jobs": n_jobs, "done": n_done, "resumed": n_done, "started": time.time(), "fixed": [*fixed]}
    write_json(folder / INFO, {**content, "overrides": {name: list(texts) for name, texts in overrides.items()}})


def print_line(folder: Path, overrides: Sequence[str], outcome: str) -> None:
    """Print the line of a job that has ended: its number, settings, outcome, duration, and the remaining time.

    Args:
        folder: Folder of the job in the sweep folder.
        overrides: The job's overrides as typed.
        outcome: Its metrics, or why there are none.
    """
    seconds = (read_json(folder / "status.json") or {}).get("seconds")
    took = f"  {seconds:.1f} s" if isinstance(seconds, int | float) else ""
    with FileLock(folder.parent / LOCK):
        info = read_json(folder.parent / INFO) or {}
        info["done"] = info.get("done", 0) + 1
        label = " ".join(
            _short_override(text) for text in overrides
            if text not in info.get("fixed", []) and not text.startswith("trial=")
        )  # fmt: skip
        line = f"{info['done']:>4}/{info.get('jobs', '?')}  {label}  {outcome}{took}{_eta(info)}"
        print(line if line.isprintable() else printable(line), flush=True)
        write_json(folder.parent / INFO, info)


def _eta(info: Mapping[str, Any]) -> str:
    """Estimated remaining time, from the jobs that ended since the sweep was started or resumed."""
    left = info.get("jobs", 0) - info["done"]
    if left <= 0:
        return ""
    passed = max(0.0, time.time() - info["started"])  # the clock may have been set back
    seconds = passed / (info["done"] - info["resumed"]) * left
    return f"  about {_format_duration(seconds)} left"


def _format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _short_override(text: str) -> str:
    """An override with the last part of its key, and floats with four significant digits: `embedding_dim=32`."""
    key, _, value = text.partition("=")
    with suppress(ValueError):
        value = f"{float(value):.4g}" if "." in value or "e" in value else value
    return f"{key.rpartition('.')[2]}={value}"
