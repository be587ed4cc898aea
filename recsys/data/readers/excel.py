"""Excel and OpenDocument sheets (.xlsx, .xls, .ods), by python-calamine of the extra `excel`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk, places
from recsys.data.readers.files import open_bytes
from recsys.data.readers.format import Format, Sample, SourceFile


class Sheet:
    """A sheet; rows have the numbers that Excel shows, and cells with numbers or times give texts in plain form.

    Attributes:
        names: Names of the columns.
    """

    def __init__(self, file: SourceFile, format: Format) -> None:
        self.file = file
        rows = [(number, row) for number, row in enumerate(_cells(file, format.sheet), start=1) if any(row)]
        if not rows:
            raise DataError(f"{file}: the sheet is empty")
        first = rows[0][1]
        if format.header:
            rows = rows[1:]
        self.rows = rows
        self.names = [name.strip() for name in first] if format.header else list(map(str, range(len(first))))
        if format.columns is not None:
            if len(format.columns) != len(first):
                raise DataError(f"{file}: must have {len(format.columns)} columns, got {len(first)}")
            self.names = list(format.columns)

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Callable[[], Chunk]]:
        found = places(self.file, self.names, columns)
        texts = [[row[place] for _, row in self.rows] for place in found]
        values = {name: pa.array(column, pa.string()) for name, column in zip(columns, texts, strict=True)}
        yield lambda: Chunk(values, len(self.rows), lambda: [number for number, _ in self.rows], place="row")

    def sample(self, n: int) -> Sample:
        return Sample(self.names, [row for _, row in self.rows[:n]], [number for number, _ in self.rows[:n]])


def _cells(file: SourceFile, sheet: str | None) -> list[list[str]]:
    """Texts of all cells from the first row and column on."""
    try:
        import python_calamine
    except ImportError:
        raise DataError(
            f"{file}: Excel files need the extra `excel`: pip install 'recsys-lightning[excel]', or save it as CSV"
        ) from None
    with open_bytes(file) as stream:
        content = stream.read()
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            raise DataError(f"{file}: no sheet {sheet!r}; the sheets are {', '.join(names)}")
        rows = book.get_sheet_by_name(sheet or names[0]).to_python(skip_empty_area=False)
    except (python_calamine.CalamineError, OSError, IndexError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: not a readable Excel file: {error}") from error
    return [[_text(cell) for cell in row] for row in rows]


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1 << 53 else repr(cell)
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return str(cell.total_seconds()) if isinstance(cell, timedelta) else str(cell)
