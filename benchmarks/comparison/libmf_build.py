"""LIBMF's own C++ sources, which its Python distribution carries, built as its Makefile does, once a machine.

The distribution's binding itself mixes up rows and columns when it predicts, and builds without vector instructions.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from recsys.files import cache_folder

VERSION = "0.9.2"
PIP_DOWNLOAD = ("-m", "pip", "download", "--no-deps", "--no-binary", ":all:", f"libmf=={VERSION}")
FLAGS = ("-std=c++11", "-O3", "-pthread", "-fPIC", "-shared", "-march=native", "-DUSEAVX", "-DUSEOMP", "-fopenmp")


def library() -> Path:
    """The shared library in the user's cache, fetched and built the first time.

    Raises:
        RuntimeError: It could not be fetched or built; the message has the tool's last words.
    """
    built = cache_folder() / "comparison" / f"libmf-{VERSION}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            _run([sys.executable, *PIP_DOWNLOAD], folder)
            with tarfile.open(Path(folder) / f"libmf-{VERSION}.tar.gz") as archive:
                archive.extractall(folder, filter="data")
            _run(["g++", *FLAGS, "-o", "libmf.so", f"libmf-{VERSION}/src_cpp/mf.cpp"], folder)
            (Path(folder) / "libmf.so").replace(built)
    return built


def _run(command: list[str], folder: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RuntimeError(f"LIBMF needs {command[0]} to be built, and it is not installed") from error
    if done.returncode:
        raise RuntimeError(f"LIBMF: {command[0]} failed: {done.stderr.strip()[-300:]}")
