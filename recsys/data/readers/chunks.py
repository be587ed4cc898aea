"""Some rows of a file, as all readers give them, and where a column is."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.errors import DataError
from recsys.data.readers.format import SourceFile


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file.

    Attributes:
        columns: Texts or typed values by column name, of the rows that could be read.
        total: Rows of this part of the file, counted without the parser.
        lines: Line number, from 1, of each row that could be read; the number of the row in files without lines.
        refused: Line and problem of each other row.
        place: What `lines` counts: "line" or "row".
        dropped: Rows that were left out, by reason.
    """

    columns: dict[str, pa.Array]
    total: int
    lines: Callable[[], Sequence[int] | NDArray[np.int64]]
    refused: list[tuple[int, str]] = field(default_factory=list)
    place: str = "line"
    dropped: dict[str, int] = field(default_factory=dict)


def places(file: SourceFile, present: Sequence[str], columns: Iterable[str]) -> list[int]:
    """Positions of the columns in the file.

    Raises:
        DataError: A column is missing, or there are two of it; names those that there are.
    """
    for column in columns:
        if present.count(column) != 1:
            found = "no column" if column not in present else "more than one column"
            near = difflib.get_close_matches(column, present, n=1) if column not in present else []
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(f"{file}: {found} {column!r}; the columns are {', '.join(present)}{meant}")
    return [present.index(column) for column in columns]


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """The column without chunks."""
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
