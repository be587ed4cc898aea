"""Ids of users and items: integers or strings, checked, and as arrays of a bundle's files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Id

MAX_ID_LENGTH = 2048  # characters of an id that is text: what data may hold is what a service can be asked for
MAX_KIND = 64  # characters of a kind of event
KIND = re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{MAX_KIND}}}")
KIND_RULE = f"1 to {MAX_KIND} characters without control characters"


def checked_ids(id_kind: str, name: str, ids: Iterable[Id]) -> list[Id]:
    """A list of the ids, each of which is of the data set's kind."""
    wanted, kind = ((int, np.integer), "integers") if id_kind == "int" else ((str,), "strings")
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):  # a string would fall apart into letters
        raise TypeError(f"{name} must be a list of {kind}, got {ids!r}")
    checked = list(ids)
    for value in checked:
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"{name} must be {kind}, got {value!r}")
    return checked


def packed_ids(side: str, ids: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Integers as they are; strings as UTF-8 bytes and the offsets between them."""
    if ids.dtype.kind == "i":
        return {f"{side}_ids": ids.astype(np.int64)}
    encoded = [str(value).encode() for value in ids]
    return {
        f"{side}_ids_utf8": np.frombuffer(b"".join(encoded), np.uint8).copy(),
        f"{side}_ids_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
    }


def unpacked_ids(side: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """What `packed_ids` packed.

    Raises:
        KeyError: An array is missing.
        ValueError: The arrays are not what `packed_ids` makes.
    """
    if f"{side}_ids" in arrays:
        ids = arrays[f"{side}_ids"]
        if ids.ndim != 1 or ids.dtype.kind != "i":
            raise ValueError(f"{side}_ids must be one row of integers, got {ids.dtype} of shape {ids.shape}")
        return ids
    text, offsets = arrays[f"{side}_ids_utf8"], arrays[f"{side}_ids_offsets"]
    fitting = text.dtype == np.uint8 and text.ndim == offsets.ndim == 1 and offsets.dtype.kind == "i" and len(offsets)
    if not fitting or offsets[0] != 0 or offsets[-1] != len(text) or (np.diff(offsets) < 0).any():
        raise ValueError(f"{side}_ids_offsets does not cut {side}_ids_utf8 into ids")
    if np.diff(offsets).max(initial=0) > 4 * MAX_ID_LENGTH:  # four bytes a character at most
        raise ValueError(f"{side}_ids must have at most {MAX_ID_LENGTH} characters each")
    content = text.tobytes()
    ids = np.array([content[a:b].decode() for a, b in pairwise(offsets.tolist())], dtype=object)
    if max(map(len, ids), default=0) > MAX_ID_LENGTH:
        raise ValueError(f"{side}_ids must have at most {MAX_ID_LENGTH} characters each")
    return ids
