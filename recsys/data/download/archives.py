"""Archives from elsewhere: verified, then read member by member within bounds."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from recsys.data.sources.base import DataError

PIECE = 1 << 20  # bytes
LARGEST_MEMBER = 4 << 30  # bytes; the largest there is, ml-32m's ratings, has 0.9 GB


def copy_bounded(
    source: IO[bytes], target: IO[bytes], limit: int, what: str, advance: Callable[[int], None] | None = None
) -> int:
    """Copy in pieces up to a limit; returns the number of bytes."""
    size = 0
    while piece := source.read(PIECE):
        size += len(piece)
        if size > limit:
            raise DataError(f"{what} must have at most {limit} bytes, got more")
        target.write(piece)
        if advance is not None:
            advance(len(piece))
    return size


def check_sums(path: Path, *, md5: str | None = None, sha256: str | None = None) -> None:
    """Compare the file with the checksums that are known.

    Raises:
        DataError: One of them differs.
    """
    for algorithm, expected in (("md5", md5), ("sha256", sha256)):
        if expected is None:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            raise DataError(f"{algorithm} of {path.name} must be {expected}, got {found}")


def extract_members(archive: Path, members: Mapping[str, Path]) -> None:
    """Extract named members of a zip, each to the path given; names in the zip choose no path.

    Raises:
        DataError: A member is absent, or larger than `LARGEST_MEMBER` once unpacked.
    """
    with zipfile.ZipFile(archive) as file:
        for member, path in members.items():
            if member not in file.namelist():
                raise DataError(f"{archive.name} must hold {member}, got a zip without it")
            with file.open(member) as source, path.open("wb") as target:
                copy_bounded(source, target, LARGEST_MEMBER, member)
