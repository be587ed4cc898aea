"""Commands in processes of their own, and what they take of the processor."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.load.service import ROOT

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Finished(NamedTuple):
    """A command that has ended well."""

    cpu_seconds: float  # of the process and its children, user and system
    wall_seconds: float
    output: str


def run_python(*arguments: str, environment: Mapping[str, str] | None = None) -> Finished:
    """Run `python <arguments>` with one thread.

    Raises:
        SystemExit: It failed; the message has the end of what it said.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=said, stderr=subprocess.STDOUT,
            env=os.environ | ONE_THREAD | dict(environment or {}),
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        said.seek(0)
        output = said.read()
    if process.returncode:
        raise SystemExit(f"error: python {' '.join(arguments)} ended with {process.returncode}: {output[-2000:]}")
    return Finished(usage.ru_utime + usage.ru_stime, seconds, output)
