"""Whose Python runs a competitor: `python -m benchmarks.comparison.environments` makes those that cannot share ours.

LensKit wants pandas 2, RecBole and RecTools NumPy 1; recsys' own environment has neither. implicit can share it, but is
timed beside recsys without PyTorch's threads and BLAS (`benchmarks.ials_sweep`). Theirs lie in the user's cache, and
hold NumPy and the library: the process of a competitor needs no more.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from recsys.files import cache_folder

REQUIREMENTS = {
    "implicit": ("implicit==0.7.3", "numpy==2.4.6", "scipy==1.17.1"),
    "lenskit": ("lenskit==2025.8.1", "torch==2.13.0"),
    "recbole": (
        "recbole==1.2.1", "torch==2.13.0", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.12.0", "setuptools==80.9.0",
    ),
    "rectools": ("rectools[torch]==0.19.0", "torch==2.13.0"),
}  # fmt: skip


def folder(environment: str) -> Path:
    return cache_folder() / "comparison" / environment


def python(environment: str) -> str:
    """The interpreter of an environment; `bench` is this one.

    Raises:
        FileNotFoundError: It has not been made.
    """
    if environment == "bench":
        return sys.executable
    interpreter = folder(environment) / "bin" / "python"
    if not interpreter.exists():
        raise FileNotFoundError(
            f"environment {environment} is absent: python -m benchmarks.comparison.environments makes it"
        )
    return str(interpreter)


def main() -> None:
    for name, requirements in REQUIREMENTS.items():
        subprocess.run([sys.executable, "-m", "venv", str(folder(name))], check=True)
        subprocess.run([str(folder(name) / "bin" / "python"), "-m", "pip", "install", *requirements], check=True)


if __name__ == "__main__":
    main()
