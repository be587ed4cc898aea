"""Memory of this process in MiB, as Linux counts it.

`getrusage` will not do: its maximum is carried over from the parent, which has torch and pandas loaded.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_mib() -> float:
    return _status("VmRSS")


def peak_mib() -> float:
    """The highest resident memory since the start, or since `restart_peak`."""
    return _status("VmHWM")


def restart_peak() -> None:
    """Let the peak begin at what is resident now; where that is not allowed, it stays the one since the start."""
    with suppress(OSError):
        CLEAR.write_text("5")


def _status(name: str) -> float:
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    kib = next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
    return float("nan") if kib is None else kib / 1024
