"""The reader of each kind of file and layout, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from recsys.data.readers.chunks import Chunk
from recsys.data.readers.csv import CsvText
from recsys.data.readers.excel import Sheet
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.jsonl import JsonText
from recsys.data.readers.layouts import BlocksText, MatrixText
from recsys.data.readers.stored import StoredTable


class Reader(Protocol):
    """A file.

    Attributes:
        names: Names of the columns, in file order.
    """

    names: list[str]

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Callable[[], Chunk]]:
        """All rows once, as functions that may be called by several threads.

        Args:
            columns: Names of the columns.
            spanning: Whether quoted values of these columns may span lines.

        Raises:
            DataError: A column is missing, or the file cannot be read.
        """

    def sample(self, n: int) -> Sample:
        """The first rows as texts, without those that cannot be read."""


def reader_of(file: SourceFile, format: Format) -> Reader:
    """Open a file.

    Raises:
        DataError: It is missing, empty or not of this kind.
    """
    if format.kind in ("parquet", "arrow"):
        return StoredTable(file, format)
    if format.kind == "jsonl":
        return JsonText(file, format)
    if format.kind == "excel":
        return Sheet(file, format)
    if format.layout == "matrix":
        return MatrixText(file, format)
    return BlocksText(file, format) if format.layout == "blocks" else CsvText(file, format)
