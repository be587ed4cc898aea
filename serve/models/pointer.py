"""The pointer: a text file with the path of the bundle to serve, absolute or relative to the pointer's folder.

A line before it, `sha256: <64 digits>`, is the digest of the bundle's manifest: a bundle with another one is refused.
It comes first, so that a pointer that was cut short or altered names nothing else. A line after it,
`other data: <version>`, lets a service that runs swap in this version of a bundle although its users and items are
others (`serve.models.replacement`).
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from recsys.bundle import BundleError
from recsys.files import atomic_write, read_regular

MAX_BYTES = 4096  # of a pointer
LINES = re.compile(
    r"(?:sha256: (?P<sha256>[0-9a-f]{64})\n)?(?P<path>(?!sha256: )[^\n]+)(?:\nother data: (?P<version>[0-9a-f]{12}))?"
)


class Pointed(NamedTuple):
    """What a pointer names."""

    folder: Path  # of the bundle
    sha256: str | None = None  # of its manifest; None: any
    other_data: str | None = None  # version of a bundle that may replace one of other data


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


def read_pointer(pointer: Path) -> Pointed:
    """What the pointer names.

    Raises:
        BundleError: The pointer is missing, not a text file, or does not consist of the lines of a pointer.
    """
    try:
        text = read_regular(pointer, MAX_BYTES).decode().strip()
    except FileNotFoundError as error:
        raise BundleError(
            f"pointer {pointer} cannot be read: there is no such file; `python -m serve.promote RUN` writes it"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BundleError(f"pointer {pointer} cannot be read: {reason}") from error
    lines = LINES.fullmatch(text)
    if lines is None or "\0" in text:
        raise BundleError(
            f"pointer {pointer} must contain one line, the folder of a bundle, and at most `sha256: <digest>` in the "
            "line before it and `other data: <version>` in the line after it"
        )
    return Pointed(bundle_folder(pointer.parent / lines["path"].rstrip()), lines["sha256"], lines["version"])


def write_pointer(pointer: Path, bundle: Path, *, sha256: str | None = None, other_data: str | None = None) -> None:
    """Point `pointer` at `bundle`, atomically.

    Args:
        pointer: File to write.
        bundle: Folder of the bundle.
        sha256: Of the bundle's manifest; None to accept any.
        other_data: Version of the bundle, if it may replace one of other data.

    Raises:
        BundleError: The folder's path would not be read back as it is.
    """
    path = os.path.relpath(bundle.resolve(), pointer.parent.resolve())
    lines = [] if sha256 is None else [f"sha256: {sha256}"]
    lines += [path]
    lines += [] if other_data is None else [f"other data: {other_data}"]
    text = "".join(f"{line}\n" for line in lines)
    read = LINES.fullmatch(text.strip())
    if read is None or (read["path"].rstrip(), read["sha256"], read["version"]) != (path, sha256, other_data):
        raise BundleError(f"{path!r:.200} cannot stand in a pointer: it must be one line without spaces at its ends")
    with atomic_write(pointer) as partial:
        partial.write_text(text, encoding="utf-8")
