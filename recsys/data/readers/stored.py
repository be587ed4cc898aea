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

Load = Callable[[], pa.RecordBatch]
Batches = Callable[[list[str]], Iterator[tuple[Load, int]]]  # from column names to batches and their rows


class StoredTable:
    """A file whose columns have types.

    Attributes:
        names: Names of the columns.
        schema: Their types.
    """

    def __init__(self, file: SourceFile, format: Format) -> None:
        self.file = file
        try:
            self.schema, self.batches = _parquet(file) if format.kind == "parquet" else _arrow(file)
        except (pa.ArrowException, OSError) as error:
            name = "Parquet" if format.kind == "parquet" else "Arrow or Feather"
            raise DataError(f"{file}: not a readable {name} file: {error}") from error
        self.names = list(self.schema.names)

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Callable[[], Chunk]]:
        places(self.file, self.names, columns)
        first = 1
        for load, rows in self.batches(list(columns)):
            yield partial(self._chunk, load, rows, list(columns), first)
            first += rows

    def sample(self, n: int) -> Sample:
        """The first rows; nested values as Python writes them."""
        rows: list[list[str]] = []
        for load, _ in self.batches(self.names):
            table = self._loaded(load).slice(0, n - len(rows))
            rows += map(list, zip(*map(_shown, table.columns), strict=True))
            if len(rows) >= n:
                break
        types = {field.name: str(field.type) for field in self.schema}
        return Sample(self.names, rows, list(range(1, len(rows) + 1)), types)

    def _chunk(self, load: Load, rows: int, columns: Sequence[str], first: int) -> Chunk:
        table = self._loaded(load)
        values = {name: one_array(table[name]) for name in columns}
        return Chunk(values, rows, lambda: range(first, first + rows), place="row")

    def _loaded(self, load: Load) -> pa.Table:
        try:
            batch = load()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.file}: cannot be read: {error}") from error
        return pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch


def texts_of(column: pa.Array | pa.ChunkedArray) -> list[str]:
    """The values as texts, empty where one is missing.

    Raises:
        ArrowException: They are neither texts, numbers nor times.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return ["" if value is None else value for value in column.cast(kind).cast(pa.string()).to_pylist()]


def _shown(column: pa.ChunkedArray) -> list[str]:
    try:
        return texts_of(column)
    except pa.ArrowException:
        return ["" if value is None else str(value) for value in column.to_pylist()]


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
            found = 0
            for batch in _undamaged(file, whole.iter_batches(BATCH, row_groups=[group], columns=columns)):
                found += batch.num_rows
                yield partial(_same, batch), batch.num_rows
            if found != rows:
                raise DataError(f"{file}: row group {group} should have {rows} rows, but has {found}")

    return whole.schema_arrow, batches


def _arrow(file: SourceFile) -> tuple[pa.Schema, Batches]:
    source = _source(file)
    buffer = pa.memory_map(source).read_buffer() if isinstance(source, str) else source
    is_file = bytes(buffer[:6]) == b"ARROW1"
    reader = ipc.open_file(buffer) if is_file else ipc.open_stream(buffer)

    def batches(columns: list[str]) -> Iterator[tuple[Load, int]]:
        given = (reader.get_batch(n) for n in range(reader.num_record_batches)) if is_file else iter(reader)
        for batch in _undamaged(file, given):
            for start in range(0, batch.num_rows, BATCH):
                part = batch.slice(start, BATCH).select(columns)
                yield partial(_same, part), part.num_rows

    return reader.schema, batches


def _undamaged(file: SourceFile, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    try:
        for batch in batches:
            batch.validate(full=True)
            yield batch
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error


def _fresh(source: Any) -> Any:
    return source if isinstance(source, str) else pa.BufferReader(source)


def _same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch
