"""Rows of a file as texts: its first ones, or all of a small file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from recsys.data.errors import DataError
from recsys.data.readers.conversion import is_integer
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.kinds import reader_of
from recsys.data.readers.limits import check_texts
from recsys.data.readers.stored import StoredTable, texts_of
from recsys.data.readers.streams import size_on_disk


def sample_rows(file: SourceFile | Path, format: Format, n: int = 1000) -> Sample:
    """The first `n` rows; those that cannot be read are left out. A matrix or blocks give rows of a rating each."""
    return reader_of(_source(file), format).sample(n)


def column_names(file: SourceFile | Path, format: Format) -> list[str]:
    """Names of the columns, in file order."""
    return list(reader_of(_source(file), format).names)


def text_columns(file: SourceFile | Path, format: Format) -> list[str]:
    """Names of the columns that `read_texts` can read: those of texts, numbers or times, for example not of lists."""
    reader = reader_of(_source(file), format)
    if isinstance(reader, StoredTable):
        return [field.name for field in reader.schema if not pa.types.is_nested(field.type)]
    return list(reader.names)


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
        DataError: A column is missing, a row is bad, or there are far more values than such files have; names the line
            or the limit.
    """
    file = _source(file)
    texts: dict[str, list[str]] = {column: [] for column in columns}
    size, values_so_far = size_on_disk(file.path), 0
    for task in reader_of(file, format).chunks(columns, spanning=True):
        chunk = task()
        values_so_far += chunk.total * len(columns)
        check_texts(file, values_so_far, size)
        for line, problem in chunk.refused[:1]:
            raise DataError(f"{file}, {chunk.place} {line}: {problem}")
        for column, values in chunk.columns.items():
            try:
                found = texts_of(values)
            except pa.ArrowException as error:
                raise DataError(f"{file}: {column} must hold texts or numbers, got {values.type}: {error}") from error
            wrong = next((row for row, text in enumerate(found) if not is_integer(text)), None)
            if column in integers and wrong is not None:
                line = int(chunk.lines()[wrong])
                raise DataError(f"{file}, {chunk.place} {line}: {column} must be an integer, got {found[wrong]!r}")
            texts[column] += found
    return texts


def _source(file: SourceFile | Path) -> SourceFile:
    return file if isinstance(file, SourceFile) else SourceFile(file)
