"""Files of arrays, as safetensors has them: the header is checked before the arrays are read."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from recsys.bundle.budget import Spending
from recsys.bundle.errors import BundleError
from recsys.bundle.reading import size_of
from recsys.bundle.schema import LEGACY_ARRAYS
from recsys.bundle.strict_json import parsed_json

Arrays = Mapping[str, NDArray[Any]]

TYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8",
         "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?"}  # fmt: skip
LENGTH = 8  # bytes of the header's length, with which a file begins
MOST_AXES = 8


class Described(NamedTuple):
    """An array as the header describes it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Header(NamedTuple):
    """The beginning of a file of arrays."""

    content: bytes  # as it was read
    arrays: dict[str, Described]


def write_arrays(file: Path, arrays: Arrays) -> None:
    """Write them with the mode that the umask gives; safetensors would let nobody else read them.

    Raises:
        OSError: There is no space left, for example.
    """
    file.touch()
    mode = file.stat().st_mode
    # Contiguous, since safetensors writes another order's bytes as they lie.
    contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    try:
        save_file(contiguous, file)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
    file.chmod(mode)


def read_header(file: Path, stream: BinaryIO, spending: Spending) -> Header:
    """The header of an open file, whose arrays fill the rest of it.

    Raises:
        OSError: It cannot be read.
        BundleError: It is no header, or beyond the budget.
    """
    begin = stream.read(LENGTH)
    length, left = int.from_bytes(begin, "little"), size_of(stream) - LENGTH
    if len(begin) < LENGTH or length > left:
        raise BundleError(f"{file} is no file of arrays: its header is longer than the file")
    spending.budget.check("header_bytes", length, f"{file} has a header of … bytes")
    text = stream.read(length)
    described = parsed_json(file, text, spending)
    if not isinstance(described, dict):
        raise BundleError(f"{file} is no file of arrays: its header is no object")
    arrays = {name: entry for name, entry in described.items() if name != "__metadata__"}
    spending.budget.check("arrays", len(arrays), f"{file} has … arrays")
    found = {LEGACY_ARRAYS.get(name, name): _described(file, name, entry) for name, entry in arrays.items()}
    if sum(array.nbytes for array in found.values()) != left - length:
        raise BundleError(
            f"{file} is no file of arrays: its header does not describe the {left - length} bytes after it"
        )
    return Header(begin + text, found)


def _described(file: Path, name: str, entry: Any) -> Described:
    kind, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    if not isinstance(kind, str) or kind not in TYPES:
        raise BundleError(f"{file} has an array of a type that a bundle cannot hold: {name!r:.80} is {kind!r:.80}")
    if not isinstance(shape, list) or len(shape) > MOST_AXES or any(type(n) is not int or n < 0 for n in shape):
        raise BundleError(f"{file} has an array of no shape: {name!r:.80} is {shape!r:.80}")
    return Described(tuple(shape), np.dtype(TYPES[kind]))


def load_arrays(file: Path, content: bytes, header: Header) -> dict[str, NDArray[Any]]:
    """The arrays of a file's content.

    Raises:
        BundleError: It is no such content, or does not begin with the header.
    """
    if not content.startswith(header.content):
        raise BundleError(f"{file} was altered while it was read")
    try:
        return {LEGACY_ARRAYS.get(name, name): array for name, array in load(content).items()}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{file} is no file of arrays: {error}") from error
