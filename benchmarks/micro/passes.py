"""Passes of the suite, each in a process of its own: where its memory comes to lie is a part of the noise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUITE = Path(__file__).parent
ROOT = SUITE.parents[1]


class SuiteError(RuntimeError):
    """The benchmarks did not run to their end; the message has pytest's last lines."""


def measured(passes: int, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Reports of pytest-benchmark, one a pass, of the benchmarks named, or of all.

    Raises:
        SuiteError: pytest-benchmark is not installed, or a benchmark fails.
    """
    tests = [node_of(name) for name in names] or [str(SUITE)]
    reports = []
    with tempfile.TemporaryDirectory(prefix="micro-") as folder:
        for number in range(1, passes + 1):
            what = f" of {', '.join(names)}" if names else ""
            print(f"pass {number} of {passes}{what}", file=sys.stderr, flush=True)
            report = Path(folder) / f"{number}.json"
            _run([*tests, f"--benchmark-json={report}"])
            reports.append(json.loads(report.read_text()))
    return reports


def _run(arguments: Sequence[str]) -> None:
    """Without any other plugin: some take seconds to import, and one replaces sockets and threads."""
    plugin = ["-p", "pytest_benchmark.plugin", "--benchmark-only", "--benchmark-quiet"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", *plugin, *arguments]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise SuiteError(f"the benchmarks did not run (pytest-benchmark is in the extra dev):\n{last}")


def name_of(node: str) -> str:
    """`data/split[kfold]` of `benchmarks/micro/test_data.py::test_split[kfold]`."""
    file, _, function = node.rpartition("::")
    return f"{Path(file).stem.removeprefix('test_')}/{function.removeprefix('test_')}"


def node_of(name: str) -> str:
    """The other way round."""
    room, _, function = name.partition("/")
    return f"{SUITE / f'test_{room}.py'}::test_{function}"
