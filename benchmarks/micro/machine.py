"""Where figures were measured: what two files must agree on to be compared as they are."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from benchmarks.comparison.results import DEVICE, cpu_model

PACKAGES = ("numpy", "pandas", "pyarrow", "torch", "lightning", "pytest-benchmark")


def machine() -> dict[str, Any]:
    """Device, processor, threads and versions of this process."""
    import torch

    return {
        "device": DEVICE,
        "processor": cpu_model(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
