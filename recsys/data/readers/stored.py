"""Parquet and Arrow files (Feather, IPC streams), whose columns have types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow import ipc, parquet

from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk, one_array, places
from recsys.data.readers.files import open_bytes
from recsys.data.readers.format import Format, Sample, SourceFile

BATCH = 1 << 20  # rows


def stored_schema(file: SourceFile, format: Format) -> pa.Schema:
    """Names and types of the columns.

    Raises:
        DataError: The file is not of this kind.
    """
    return _opened(file, format)[0]


def stored_chunks(file: SourceFile, format: Format, columns: Sequence[str]) -> Iterator[Callable[[], Chunk]]:
    """The rows of a file, as functions that may be called by several threads.

    Raises:
        DataError: The file is not of this kind, or a column is missing.
    """
    schema, batches = _opened(file, format)
    places(file, schema.names, columns)
    first = 1
    for load, rows in batches(list(columns)):
        yield partial(_chunk, file, load, rows, list(columns), first)
        first += rows


def stored_sample(file: SourceFile, format: Format, n: int) -> Sample:
    """The first rows as texts, empty where a value is missing; nested values as Python writes them."""
    schema, batches = _opened(file, format)
    found: list[list[str]] = []
    for load, _ in batches(schema.names):
        table = _loaded(file, load).slice(0, n - len(found))
        columns = [_shown(column) for column in table.columns]
        found += [list(row) for row in zip(*columns, strict=True)]
        if len(found) >= n:
            break
    types = {field.name: str(field.type) for field in schema}
    return Sample(list(schema.names), found, list(range(1, len(found) + 1)), types)


def stored_texts(file: SourceFile, format: Format, columns: Sequence[str]) -> dict[str, list[str]]:
    """Columns of a small file as texts, empty where a value is missing.

    Raises:
        DataError: A column is missing or holds neither texts, numbers nor times.
    """
    schema, batches = _opened(file, format)
    places(file, schema.names, columns)
    texts: dict[str, list[str]] = {name: [] for name in columns}
    for load, _ in batches(list(columns)):
        table = _loaded(file, load)
        for name in columns:
            try:
                texts[name] += _as_texts(table[name])
            except pa.ArrowException as error:
                kind = table[name].type
                raise DataError(f"{file}: {name} must hold texts or numbers, got {kind}: {error}") from error
    return texts


def _as_texts(column: pa.ChunkedArray) -> list[str]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return ["" if value is None else value for value in column.cast(kind).cast(pa.string()).to_pylist()]


def _shown(column: pa.ChunkedArray) -> list[str]:
    try:
        return _as_texts(column)
    except pa.ArrowException:
        return ["" if value is None else str(value) for value in column.to_pylist()]


Load = Callable[[], pa.RecordBatch]
Batches = Callable[[list[str]], Iterator[tuple[Load, int]]]  # from column names to batches and their rows


def _opened(file: SourceFile, format: Format) -> tuple[pa.Schema, Batches]:
    try:
        return _parquet(file) if format.kind == "parquet" else _arrow(file)
    except (pa.ArrowException, OSError) as error:
        name = "Parquet" if format.kind == "parquet" else "Arrow or Feather"
        raise DataError(f"{file}: not a readable {name} file: {error}") from error


def _source(file: SourceFile) -> Any:
    """The path of a plain file, or its decompressed bytes."""
    with open_bytes(file) as stream:
        if file.member is None and file.path.open("rb").read(4) in (b"PAR1", b"ARRO"):
            return str(file.path)
        return pa.py_buffer(stream.read())


def _parquet(file: SourceFile) -> tuple[pa.Schema, Batches]:
    source = _source(file)
    whole = parquet.ParquetFile(_fresh(source))
    metadata = whole.metadata

    def batches(columns: list[str]) -> Iterator[tuple[Load, int]]:
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if rows <= 2 * BATCH:  # a file object of its own: one is not for several threads

                def load(group: int = group) -> Any:
                    own = parquet.ParquetFile(_fresh(source), metadata=metadata)
                    return own.read_row_group(group, columns=columns, use_threads=False)

                yield load, rows
                continue
            given = whole.iter_batches(BATCH, row_groups=[group], columns=columns)
            for start in range(0, rows, BATCH):
                batch = next(given, None)
                yield partial(_same, batch), min(BATCH, rows - start)

    return whole.schema_arrow, batches


def _arrow(file: SourceFile) -> tuple[pa.Schema, Batches]:
    source = _source(file)
    buffer = pa.memory_map(source).read_buffer() if isinstance(source, str) else source
    is_file = bytes(buffer[:6]) == b"ARROW1"
    reader = ipc.open_file(buffer) if is_file else ipc.open_stream(buffer)

    def batches(columns: list[str]) -> Iterator[tuple[Load, int]]:
        given = (reader.get_batch(n) for n in range(reader.num_record_batches)) if is_file else iter(reader)
        for batch in given:
            for start in range(0, batch.num_rows, BATCH):
                part = batch.slice(start, BATCH).select(columns)
                yield partial(_same, part), part.num_rows

    return reader.schema, batches


def _fresh(source: Any) -> Any:
    return source if isinstance(source, str) else pa.BufferReader(source)


def _same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def _loaded(file: SourceFile, load: Load) -> pa.Table:
    try:
        batch = load()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    return pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch


def _chunk(file: SourceFile, load: Load, rows: int, columns: Sequence[str], first: int) -> Chunk:
    table = _loaded(file, load)
    values = {name: one_array(table[name]) for name in columns}
    return Chunk(values, rows, lambda: range(first, first + rows), place="row")
