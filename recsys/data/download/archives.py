"""Verify downloaded archives and extract members within size limits."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from recsys.data.errors import DataError
from recsys.files import file_sha256

PIECE = 1 << 20  # bytes
LARGEST_MEMBER = 4 << 30  # bytes; the largest, ml-32m's ratings, has 0.9 GB


def copy_bounded(
    source: IO[bytes], target: IO[bytes], limit: int, what: str, advance: Callable[[int], None] | None = None
) -> int:
    """Copy up to `limit` bytes. Returns the number of bytes."""
    size = 0
    while piece := source.read(PIECE):
        size += len(piece)
        if size > limit:
            raise DataError(f"{what} must have at most {limit} bytes, got more")
        target.write(piece)
        if advance is not None:
            advance(len(piece))
    return size


def check_sha256(path: Path, expected: str) -> None:
    """Verify the SHA-256 of a file.

    Raises:
        DataError: It differs.
    """
    if (found := file_sha256(path)) != expected:
        raise DataError(f"sha256 of {path.name} must be {expected}, got {found}")


def extract_members(archive: Path, members: Mapping[str, Path]) -> None:
    """Extract members of a zip, each to the given path; names in the zip are never used as paths.

    Raises:
        DataError: A member is missing, or larger than `LARGEST_MEMBER`.
    """
    with zipfile.ZipFile(archive) as file:
        for member, path in members.items():
            if member not in file.namelist():
                raise DataError(f"{archive.name} must contain {member}, got a zip without it")
            with file.open(member) as source, path.open("wb") as target:
                copy_bounded(source, target, LARGEST_MEMBER, member)
