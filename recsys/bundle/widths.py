"""Widths: of a table of principal coordinates, rows with few ratings keep, and a bundle stores, only the first ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.array_file import Described
from recsys.bundle.typing import Float32Array, IndexArray

KEY = "widths"  # of the manifest
TABLES = ("user_factors", "item_factors")
WIDTH = np.dtype(np.uint16)  # of a stored width
MOST = int(np.iinfo(WIDTH).max)


class WidthRule(NamedTuple):
    """A row with n ratings has `factor * n ** exponent` coordinates, rounded, and from 0 to `dim`."""

    dim: int
    exponent: float
    users: float  # the factor of users
    items: float  # and that of items

    def widths(self, factor: float, count: NDArray[Any]) -> IndexArray:
        """Coordinates of rows by their numbers of ratings, `(rows,)`."""
        width = np.rint(factor * np.asarray(count, np.float64) ** self.exponent)
        return np.minimum(width, self.dim).astype(np.int64)


def cut_rows(table: Float32Array, width: IndexArray) -> Float32Array:
    """The table `(rows, 1, d)` with zeros in place of all but the first coordinates of each row."""
    return np.where(_kept(width, table.shape[2])[:, None], table, np.float32(0))


def packed_tables(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of factors with both tables as `<name>_width` and `<name>_values`, without the zeros rows end in.

    Args:
        arrays: By name. With several samples, or rows that are too wide, they stay as they are.
    """
    packed = dict(arrays)
    for name in TABLES:
        rows, samples, dim = arrays[name].shape
        if samples > 1 or dim > MOST:
            return dict(arrays)
        table = packed.pop(name)[:, 0]
        width = dim - np.argmax(np.append(table != 0, np.ones((rows, 1), bool), 1)[:, ::-1][:, 1:], axis=1)
        width[~table.any(1)] = 0
        packed |= {f"{name}_width": width.astype(WIDTH), f"{name}_values": table[_kept(width, dim)]}
    return packed


def unpacked_tables(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays that `packed_tables` was given.

    Raises:
        ValueError: The widths are beyond the table's, or there are not as many values as they need.
    """
    found = dict(arrays)
    for name, described in unpacked_shapes(_described(arrays)).items():
        if name in arrays:
            continue
        width, values, dim = found.pop(f"{name}_width"), found.pop(f"{name}_values"), described.shape[2]
        if (widest := int(width.max(initial=0))) > dim:
            raise ValueError(f"{name}_width must be in [0, {dim}], got {widest}")
        if (needed := int(width.sum(dtype=np.int64))) != len(values):
            raise ValueError(f"{name}_values has {len(values)} numbers, its widths need {needed}")
        table = np.zeros(described.shape, np.float32)
        table[:, 0][_kept(width, dim)] = values
        found[name] = table
    return found


def unpacked_shapes(arrays: Mapping[str, Described]) -> dict[str, Described]:
    """What the headers of arrays say of the arrays that `unpacked_tables` makes of them.

    Raises:
        ValueError: A table is there twice or by half, or its parts are not of one axis, or of another type.
    """
    found = dict(arrays)
    for name in TABLES:
        width, values = (found.pop(f"{name}_{part}", None) for part in ("width", "values"))
        if width is None and values is None:
            continue
        if width is None or values is None or name in found:
            raise ValueError(f"{name} must be one array, or {name}_width and {name}_values")
        for part, array, dtype in (("width", width, WIDTH), ("values", values, np.dtype(np.float32))):
            if array.ndim != 1 or array.dtype != dtype:
                raise ValueError(f"{name}_{part} must be one axis of {dtype}, got {array.dtype} of {array.shape}")
        prior = found.get("prior_mean")
        if prior is None or prior.ndim != 2 or prior.shape[0] != 1 or prior.shape[1] < 1:
            raise ValueError(f"{name}_width needs a prior_mean of one sample")
        found[name] = Described((width.shape[0], 1, prior.shape[1] - 1), values.dtype)
    return found


def _described(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Described]:
    return {name: Described(array.shape, array.dtype) for name, array in arrays.items()}


def _kept(width: NDArray[Any], dim: int) -> NDArray[np.bool_]:
    """Whether a row has each coordinate, `(rows, dim)`."""
    return np.asarray(np.arange(dim) < width[:, None])
