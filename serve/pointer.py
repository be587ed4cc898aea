"""The pointer: a text file with the path of the bundle to serve, absolute or relative to the pointer's folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from recsys.bundle import BundleError
from recsys.files import atomic_write

MAX_BYTES = 4096  # of a pointer


def bundle_folder(path: Path) -> Path:
    """The folder itself, or its sub-folder `bundle` if it is a run folder.

    Raises:
        BundleError: The folder cannot be read.
    """
    inner = path / "bundle"
    try:
        return inner if not (path / "manifest.json").exists() and inner.is_dir() else path
    except OSError as error:  # such as a name that is too long
        raise BundleError(f"{path!s:.80} cannot be read: {error.strerror}") from error


def newest_run(runs: Path) -> Path:
    """The bundle of the run that finished last; finished runs have a `metrics.json`.

    Raises:
        BundleError: There is no finished run.
    """
    finished = []
    for manifest in runs.glob("**/bundle/manifest.json"):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            if (manifest.parent.parent / "metrics.json").is_file():
                finished.append((manifest.stat().st_mtime_ns, manifest))
    if not finished:
        raise BundleError(f"no finished run in {runs}; train one with `make train`, or pass a bundle")
    return max(finished)[1].parent


def read_pointer(pointer: Path) -> Path:
    """The bundle folder that the pointer names.

    Raises:
        BundleError: The pointer is missing, empty or not a text file.
    """
    try:
        with pointer.open("rb") as stream:
            name = stream.read(MAX_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"pointer {pointer} cannot be read: {error}") from error
    if not name or "\n" in name or "\0" in name or len(name) > MAX_BYTES:
        raise BundleError(f"pointer {pointer} must contain one line, the folder of a bundle")
    return bundle_folder(pointer.parent / name)


def write_pointer(pointer: Path, bundle: Path) -> None:
    """Point `pointer` at `bundle`, atomically."""
    with atomic_write(pointer) as partial:
        partial.write_text(f"{os.path.relpath(bundle.resolve(), pointer.parent.resolve())}\n", encoding="utf-8")
