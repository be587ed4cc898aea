"""Number of threads of a run. No heavy imports: the environment must be set before NumPy and torch are imported.

Torch's CPU wheel uses GNU OpenMP, whose waiting threads spin by default: with another process on one of two cores,
`make train` took 33 times as long. Therefore threads wait passively, and small workloads use one core.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

PASSIVE_WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
CGROUP = Path("/sys/fs/cgroup")


def set_environment() -> None:
    """Make OpenMP threads wait passively and NumPy's BLAS use one thread, unless the variables are already set."""
    for name, value in PASSIVE_WAITING.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ.get("OMP_NUM_THREADS") or "1")


def available_cores() -> int:
    """Cores available to this process by affinity, cgroup quota and OMP_THREAD_LIMIT (a worker's share)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    if limit.isdecimal() and int(limit) > 0:
        cores = min(cores, int(limit))
    quota = _cgroup_quota(CGROUP)
    return cores if quota is None else min(cores, max(1, math.ceil(quota)))


def choose_threads(threads: int | None) -> int:
    """Number of threads of a run.

    Args:
        threads: The option; None uses OMP_NUM_THREADS, or one thread if that is not set.

    Raises:
        ValueError: `threads` is below 1.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise ValueError(f"threads must be null or an integer >= 1, got {threads}")
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if threads is None and given.isdecimal() and int(given) > 0:
        return int(given)
    return min(threads or 1, available_cores())


def _cgroup_quota(root: Path) -> float | None:
    """CPU quota of the control group (version 2 or 1) in cores; None without a limit."""
    try:
        if (root / "cpu.max").is_file():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError):
        return None
