"""The pointer: a small text file that names the bundle to serve, absolutely or from the pointer's own folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from recsys.bundle import BundleError

MAX_BYTES = 4096  # of a pointer


def bundle_folder(path: Path) -> Path:
    """The folder itself, or `bundle` within it where that is the bundle of a run.

    Raises:
        BundleError: There can be no such folder.
    """
    inner = path / "bundle"
    try:
        return inner if not (path / "manifest.json").exists() and inner.is_dir() else path
    except OSError as error:  # such as a name that is too long
        raise BundleError(f"{path!s:.80} cannot be read: {error.strerror}") from error


def newest_run(runs: Path) -> Path:
    """The bundle of the run that finished last; a run has finished once it has a `metrics.json`.

    Raises:
        BundleError: There is none.
    """
    finished = []
    for manifest in runs.glob("**/bundle/manifest.json"):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            if (manifest.parent.parent / "metrics.json").is_file():
                finished.append((manifest.stat().st_mtime_ns, manifest))
    if not finished:
        raise BundleError(f"there is no finished run in {runs}; make one with `make train`, or name a bundle")
    return max(finished)[1].parent


def read_pointer(pointer: Path) -> Path:
    """The folder that a pointer names.

    Raises:
        BundleError: The pointer is missing, empty, or no text.
    """
    try:
        with pointer.open("rb") as stream:
            name = stream.read(MAX_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"pointer {pointer} cannot be read: {error}") from error
    if not name or "\n" in name or "\0" in name or len(name) > MAX_BYTES:
        raise BundleError(f"pointer {pointer} must hold one line, the folder of a bundle")
    return bundle_folder(pointer.parent / name)


def write_pointer(pointer: Path, bundle: Path) -> None:
    """Make `pointer` name `bundle`, atomically."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    handle, working = tempfile.mkstemp(prefix=f".{pointer.name}-", dir=pointer.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(f"{os.path.relpath(bundle.resolve(), pointer.parent.resolve())}\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(working).chmod(0o644)
        Path(working).replace(pointer)
    finally:
        Path(working).unlink(missing_ok=True)
