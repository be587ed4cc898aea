"""What is run: which competitors with which settings on which rows."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.comparison.competitors import COMPETITORS, Competitor, Settings
from benchmarks.comparison.measure import Bench
from benchmarks.comparison.protocols import PROTOCOLS, Protocol, build_task, read
from benchmarks.comparison.results import RESULTS


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the data lies, and how a competitor is run."""
    parser.add_argument("--ml-100k-root", help="folder with ML-100K's files; fetched otherwise")
    parser.add_argument("--ml-1m-root", help="folder with ML-1M's files; fetched otherwise")
    parser.add_argument(
        "--threads", type=positive, default=os.cpu_count(), help="of each competitor; all cores by default"
    )
    parser.add_argument("--timeout", type=positive, default=3600, help="seconds for one process (default 3600)")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {value}")
    return value


def protocols(data: list[str], splits: list[str] | None) -> list[Protocol]:
    """Those of the data sets, and of the splits if any are named.

    Raises:
        ValueError: No protocol is left.
    """
    chosen = [p for p in PROTOCOLS if p.data in data and (splits is None or p.split in splits)]
    if not chosen:
        allowed = ", ".join(f"{p.data} {p.split!r}" for p in PROTOCOLS)
        raise ValueError(f"data and split must name one of {allowed}, got {data} and {splits}")
    return chosen


def competitors(protocol: Protocol, only: list[str] | None, *, quick: bool) -> list[Competitor]:
    """Those that do such a task on such data: the named, or all."""
    able = [c for c in COMPETITORS.values() if c.kind == protocol.kind and protocol.data in c.data]
    return [c for c in able if (c.quick or not quick) and (only is None or c.name in only)]


def tuned_file(competitor: str, data: str) -> Path:
    return RESULTS / f"tuned-{competitor}-{data}.json"


def settings(competitor: Competitor, data: str, names: tuple[str, ...]) -> Iterator[tuple[str, Settings]]:
    """`documented`, and `tuned` where the competitor has been tuned on the data set."""
    if "documented" in names:
        yield "documented", competitor.settings(data)
    file = tuned_file(competitor.name, data)
    if "tuned" in names and file.exists():
        yield "tuned", json.loads(file.read_text())["settings"]


@contextmanager
def bench(protocol: Protocol, arguments: argparse.Namespace, *, validation: bool = False) -> Iterator[Bench]:
    """The task of a protocol, written for the competitors."""
    root = getattr(arguments, f"{protocol.data}_root")
    task, answers = build_task(protocol, read(protocol, root), validation=validation)
    with tempfile.TemporaryDirectory(prefix="comparison-") as folder:
        file = Path(folder) / "task.npz"
        task.save(file)
        yield Bench(task, answers, file, arguments.threads, arguments.timeout, root)
