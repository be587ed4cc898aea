"""Files of arrays that a run keeps beside its bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from recsys.bundle import BundleError
from recsys.bundle.array_file import Arrays, load_arrays, read_header, write_arrays
from recsys.bundle.budget import Budget, Spending
from recsys.files import atomic_write, open_regular


def save_run_arrays(path: Path, arrays: Arrays) -> None:
    """Write a file, whole or not at all.

    Raises:
        WriteError: It cannot be written.
    """
    with atomic_write(path) as file:
        write_arrays(file, arrays)


def load_run_arrays(path: Path, budget: Budget, most_bytes: int | None = None) -> dict[str, NDArray[Any]]:
    """Read a file.

    Args:
        path: The file.
        budget: Of its header.
        most_bytes: That its arrays may have; None: any number.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It is damaged, or larger than `most_bytes`.
    """
    with open_regular(path) as stream:
        try:
            header = read_header(path, stream, Spending(path, budget))
            size = sum(array.nbytes for array in header.arrays.values())
            if most_bytes is not None and size > most_bytes:
                raise ValueError(f"{path} must have at most {most_bytes >> 20} MiB, got {size >> 20}")
            return load_arrays(path, header.content + stream.read(-1 if most_bytes is None else most_bytes), header)
        except BundleError as error:
            raise ValueError(str(error)) from error
