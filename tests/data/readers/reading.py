"""Read small texts with validated columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.readers import AnyId, Field, Format, Rows, SourceFile, Stars, read_rows

IDS = {USER_ID: AnyId(USER_ID), ITEM_ID: AnyId(ITEM_ID)}
FIELDS: dict[str, Field] = {**IDS, RATING: Stars(RATING, missing=())}
HEADER = "user_id,item_id,rating\n"


def write(folder: Path, content: str | bytes, name: str = "r.csv") -> SourceFile:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return SourceFile(folder / name)


def read(folder: Path, content: str | bytes, fields: dict[str, Field] | None = None, **arguments: Any) -> Rows:
    """Rows of a text; `arguments` are those of `Format`, and `bad_rows`."""
    bad_rows = arguments.pop("bad_rows", "error")
    return read_rows([write(folder, content)], Format(**arguments), fields or FIELDS, bad_rows=bad_rows)


def listed(values: Any) -> list[Any]:
    """Values as a list; None for a rating that is missing."""
    if not isinstance(values, np.ndarray):
        return list(values.to_pylist())
    return [None if value != value else value for value in values.tolist()]
