"""The pointer: a text file with the path of the bundle to serve, absolute or relative to the pointer's folder.

A second line, `other data: <version>`, lets a service that runs swap in this version of a bundle although its users and
items are others (`serve.replacement`).
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from recsys.bundle import BundleError
from recsys.files import atomic_write

MAX_BYTES = 4096  # of a pointer
OTHER_DATA = "other data: "


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
    return bundle_folder(pointer.parent / _read(pointer)[0])


def permitted_version(pointer: Path) -> str | None:
    """The version of a bundle that may replace one of other data; None if there is none.

    Raises:
        BundleError: As in `read_pointer`.
    """
    return _read(pointer)[1]


def _read(pointer: Path) -> tuple[str, str | None]:
    """The path in the pointer, and the version that may be of other data."""
    try:
        with pointer.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"pointer {pointer} cannot be read: {error}") from error
    name, _, permission = text.partition("\n")
    sound = name and "\0" not in name and len(text) <= MAX_BYTES
    if not sound or (permission and not re.fullmatch(f"{OTHER_DATA}.+", permission)):
        raise BundleError(f"pointer {pointer} must contain one line, the folder of a bundle")
    return name.rstrip(), permission.removeprefix(OTHER_DATA) or None


def write_pointer(pointer: Path, bundle: Path, *, other_data: str | None = None) -> None:
    """Point `pointer` at `bundle`, atomically.

    Args:
        pointer: File to write.
        bundle: Folder of the bundle.
        other_data: Version of the bundle, if it may replace one of other data.
    """
    lines = [os.path.relpath(bundle.resolve(), pointer.parent.resolve())]
    lines += [] if other_data is None else [f"{OTHER_DATA}{other_data}"]
    with atomic_write(pointer) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
