"""Reading a bundle's files: regular ones only, and no more of them than a budget allows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from recsys.bundle.budget import Budget
from recsys.files import open_regular


def size_of(stream: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(stream.fileno()).st_size


def read_within(file: Path, budget: Budget, limit: str) -> bytes:
    """The content of a file.

    Raises:
        OSError: It cannot be read.
        BundleError: It is larger than the limit of the budget.
    """
    with open_regular(file) as stream:
        size = size_of(stream)
        budget.check(limit, size, f"{file} has … bytes")
        return stream.read(size)


def reason(error: OSError) -> str:
    """Why a file cannot be read, in words."""
    return error.strerror or str(error)
