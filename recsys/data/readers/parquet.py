"""Read columns of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from recsys.data.columns import TIMESTAMP
from recsys.data.errors import DataError
from recsys.data.readers.fields import AnyId, BadValueError, Field, IsoTime, Seconds, Stars, Values, is_integer


def is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


def read_stored(path: Path, fields: Mapping[str, Field]) -> dict[str, Values]:
    """Read and validate columns; `fields` are by column name. Returns values by field name, in file order.

    Raises:
        DataError: Names the row (from 1), column and value.
    """
    table = _table(path, fields)
    if not len(table):
        raise DataError(f"{path}: the file has no ratings")
    values = {}
    for column, field in fields.items():
        given = table[column]
        table = table.drop_columns([column])  # free each column after conversion
        typed = _typed(path, column, given, field)
        try:
            values[field.name] = field.values(typed)
        except BadValueError as error:
            raise _first_problem(path, column, given, field) from error
    return values


def stored_schema(path: Path) -> pa.Schema:
    """Names and types of the columns.

    Raises:
        DataError: The file is not Parquet.
    """
    try:
        return parquet.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error


def stored_time(path: Path, column: str) -> Field:
    """The field of a time column: text in ISO 8601, or a type that casts to unix seconds."""
    schema = stored_schema(path)
    text = column in schema.names and _is_text(schema.field(column).type)
    return IsoTime(TIMESTAMP) if text else Seconds(TIMESTAMP)


def text_columns(path: Path) -> set[str]:
    """Columns whose types `read_stored_texts` can read; for example not lists."""
    return {field.name for field in stored_schema(path) if _casts_to_text(field.type)}


def read_stored_texts(path: Path, columns: Sequence[str], integers: Sequence[str]) -> dict[str, list[str]]:
    """Read columns of a small file as text, empty if missing; those in `integers` must be integers."""
    table = _table(path, columns)
    texts = {column: _texts(path, column, table[column]) for column in columns}
    for column in integers:
        for row, text in enumerate(texts[column], start=1):
            if not is_integer(text):
                raise DataError(f"{path}, row {row}: {column} must be an integer, got {text!r}")
    return texts


def _texts(path: Path, column: str, given: pa.ChunkedArray) -> list[str]:
    try:
        texts: list[str] = pc.fill_null(given.cast(pa.string()), "").to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{path}: {column} must hold texts or numbers, got {given.type}: {error}") from error
    return texts


def _table(path: Path, columns: Iterable[str]) -> pa.Table:
    names = stored_schema(path).names
    for column in columns:
        if names.count(column) != 1:
            raise DataError(f"{path}: no column {column!r}; the columns are {', '.join(names)}")
    try:
        return parquet.read_table(path, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file with readable columns: {error}") from error


def _typed(path: Path, column: str, given: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
    """Cast the values to the type of the field."""
    kind = given.type.value_type if pa.types.is_dictionary(given.type) else given.type
    if isinstance(field, AnyId):
        if not (pa.types.is_integer(kind) or _is_text(kind)):
            raise DataError(f"{path}: {column} must hold integers or strings, got {kind}")
        return given.cast(kind).cast(pa.string()).dictionary_encode()
    if isinstance(field, Seconds) and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return given.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    if isinstance(field, Stars) and not pa.types.is_floating(kind) and not pa.types.is_integer(kind):
        raise DataError(f"{path}: {column} must hold numbers, got {kind}")
    try:
        return given.cast(field.type, safe=not isinstance(field, Stars))
    except pa.ArrowException as error:
        raise DataError(f"{path}: {column} must hold {field.type}, got {kind}: {error}") from error


def _first_problem(path: Path, column: str, given: pa.ChunkedArray, field: Field) -> DataError:
    for row, value in enumerate(_typed(path, column, given, field).to_pylist(), start=1):
        problem = field.problem("" if value is None else str(value))
        if problem is not None:
            return DataError(f"{path}, row {row}: {column} {problem}")
    return DataError(f"{path}: {column} has invalid values")


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _casts_to_text(kind: pa.DataType) -> bool:
    try:
        pa.nulls(0, kind).cast(pa.string())
    except pa.ArrowException:
        return False
    return True
