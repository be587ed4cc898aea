"""Rows of a file as texts: its first ones, or all of a small file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from recsys.data.errors import DataError
from recsys.data.readers.chunks import places
from recsys.data.readers.csv import csv_names, csv_records, csv_sample
from recsys.data.readers.fields import is_integer
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.stored import stored_sample, stored_schema, stored_texts

STORED = ("parquet", "arrow")


def sample_rows(file: SourceFile | Path, format: Format, n: int = 1000) -> Sample:
    """The first `n` rows; those that cannot be read are left out."""
    file = _source(file)
    return stored_sample(file, format, n) if format.kind in STORED else csv_sample(file, format, n)


def column_names(file: SourceFile | Path, format: Format) -> list[str]:
    """Names of the columns, in file order."""
    file = _source(file)
    return list(stored_schema(file, format).names) if format.kind in STORED else csv_names(file, format)


def text_columns(file: SourceFile | Path, format: Format) -> list[str]:
    """Names of the columns that `read_texts` can read: those of texts, numbers or times, for example not of lists."""
    file = _source(file)
    if format.kind not in STORED:
        return column_names(file, format)
    return [field.name for field in stored_schema(file, format) if not pa.types.is_nested(field.type)]


def read_texts(
    file: SourceFile | Path, format: Format, columns: Sequence[str], integers: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Read columns of a small file as texts, empty where a value is missing.

    Args:
        file: The file.
        format: How its rows are written.
        columns: Names of the columns.
        integers: Those among them that must be integers.

    Raises:
        DataError: A column is missing, or a row is bad; names the line.
    """
    file = _source(file)
    texts: dict[str, list[str]] = {column: [] for column in columns}
    for place, number, row in _rows(file, format, columns):
        for column, text in zip(columns, row, strict=True):
            if column in integers and not is_integer(text):
                raise DataError(f"{file}, {place} {number}: {column} must be an integer, got {text!r}")
            texts[column].append(text)
    return texts


def _rows(file: SourceFile, format: Format, columns: Sequence[str]) -> Iterator[tuple[str, int, Sequence[str]]]:
    """What is counted, the number of each row, and its texts in these columns."""
    if format.kind in STORED:
        texts = stored_texts(file, format, columns)
        for number, row in enumerate(zip(*texts.values(), strict=True), start=1):
            yield "row", number, row
        return
    found = places(file, column_names(file, format), columns)
    for record in csv_records(file, format, columns):
        if record.problem is not None:
            raise DataError(f"{file}, line {record.line}: {record.problem}")
        yield "line", record.line, [record.texts[place] for place in found]


def _source(file: SourceFile | Path) -> SourceFile:
    return file if isinstance(file, SourceFile) else SourceFile(file)
