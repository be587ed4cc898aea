"""Parquet and Arrow files (Feather, IPC streams), whose columns have types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc, parquet

from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk, one_array, places
from recsys.data.readers.claims import (
    Claim,
    ClaimError,
    arrow_batch,
    arrow_blocks,
    check_parquet_footer,
    check_parquet_schema,
    parquet_pages,
)
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.limits import FREE, MOST_NAMED, RATIO, SAMPLED_VALUES, check_columns, check_rows, check_size
from recsys.data.readers.streams import open_bytes, size_on_disk
from recsys.data.readers.text_bytes import TextBytes
from recsys.files import open_regular

BATCH = 1 << 20  # rows


Load = Callable[[], pa.RecordBatch]
Batches = Callable[
    ..., Iterator[tuple[Load, int]]
]  # from names of columns, and rows of a batch, to batches and their rows


UNREADABLE = (pa.ArrowException, OSError, ClaimError, MemoryError)


def unreadable(file: SourceFile, error: BaseException, what: str = "cannot be read") -> DataError:
    """The error as one sentence; Thrift's have several lines."""
    return DataError(f"{file}: {what}: {' '.join(str(error).split()) or 'it needs too much memory'}")


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
        except UNREADABLE as error:
            name = "Parquet" if format.kind == "parquet" else "Arrow or Feather"
            raise unreadable(file, error, f"not a readable {name} file") from error
        self.names = list(self.schema.names)

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Callable[[], Chunk]]:
        places(self.file, self.names, columns)
        first, texts = 1, TextBytes(self.file)
        try:
            for load, rows in self.batches(list(columns)):
                yield partial(self._chunk, load, rows, list(columns), first, texts)
                first += rows
        except UNREADABLE as error:
            raise unreadable(self.file, error) from error

    def sample(self, n: int) -> Sample:
        """The first rows; empty where a value is nested."""
        rows: list[list[str]] = []
        n = max(1, min(n, SAMPLED_VALUES // max(1, len(self.names))))
        plain = [field.name for field in self.schema if not pa.types.is_nested(field.type)]
        plain = [name for name in plain if self.names.count(name) == 1]
        texts = TextBytes(self.file)
        try:
            for load, _ in self.batches(plain, n) if plain else ():
                table = texts.checked(self._loaded(load).slice(0, n - len(rows)))
                shown = {name: _shown(table[name]) for name in plain}
                rows += map(list, zip(*(shown.get(name, [""] * len(table)) for name in self.names), strict=True))
                if len(rows) >= n:
                    break
        except UNREADABLE as error:
            raise unreadable(self.file, error) from error
        types = {field.name: str(field.type) for field in self.schema}
        return Sample(self.names, rows, list(range(1, len(rows) + 1)), types)

    def _chunk(self, load: Load, rows: int, columns: Sequence[str], first: int, texts: TextBytes) -> Chunk:
        table = texts.checked(self._loaded(load))
        values = {name: one_array(_unviewed(table[name])) for name in columns}
        return Chunk(values, rows, lambda: range(first, first + rows), place="row")

    def _loaded(self, load: Load) -> pa.Table:
        try:
            batch = load()
        except UNREADABLE as error:
            raise unreadable(self.file, error) from error
        return pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch


def _unviewed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts by themselves instead of views, which cannot be filtered."""
    if pa.types.is_string_view(column.type) or pa.types.is_binary_view(column.type):
        return column.cast(pa.large_string() if pa.types.is_string_view(column.type) else pa.large_binary())
    return column


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
    if file.member is None:
        with open_regular(file.path) as raw:
            if raw.read(4) in (b"PAR1", b"ARRO"):
                return str(file.path)
    with open_bytes(file) as stream:
        return pa.py_buffer(stream.read())


def _parquet(file: SourceFile) -> tuple[pa.Schema, Batches]:
    source = _source(file)
    size, read = _reading(file, source)
    end = _size(source)
    length = check_parquet_footer(read(max(0, end - 8), 8), end)
    check_parquet_schema(read(end - 8 - length, length))
    whole = parquet.ParquetFile(_fresh(source))
    metadata, schema = whole.metadata, whole.schema_arrow
    check_columns(file, len(schema), MOST_NAMED)
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    check_rows(file, max(metadata.num_rows, sum(group.num_rows for group in groups)), 8 * len(schema), size)
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]

    def batches(columns: list[str], rows_at_most: int = 2 * BATCH) -> Iterator[tuple[Load, int]]:
        wanted, held = set(columns), 0
        for group, about in enumerate(groups):
            rows = about.num_rows
            for number in range(metadata.num_columns):
                column = about.column(number)
                if column.path_in_schema.partition(".")[0] in wanted or column.path_in_schema in wanted:
                    claim = _pages(column, read)
                    held += claim.held
                    check_rows(file, max(claim.rows, column.num_values), 8, size)
                    check_size(file, held, size, f"column {column.path_in_schema}")
            names = [name for name in texts if name in wanted]
            encoded = [name for name in names if _longest(source, metadata, group, name) * rows > FREE // 4]
            if rows <= rows_at_most:  # a file object of its own: one is not for several threads

                def load(group: int = group, encoded: list[str] = encoded) -> Any:
                    own = parquet.ParquetFile(_fresh(source), metadata=metadata, read_dictionary=encoded)
                    return own.read_row_group(group, columns=columns, use_threads=False)

                yield load, rows
                continue
            found = 0
            own = parquet.ParquetFile(_fresh(source), metadata=metadata, read_dictionary=encoded)
            for batch in _undamaged(
                file, own.iter_batches(min(BATCH, rows_at_most), row_groups=[group], columns=columns)
            ):
                found += batch.num_rows
                yield partial(_same, batch), batch.num_rows
            if found != rows:
                raise DataError(f"{file}: row group {group} should have {rows} rows, but has {found}")

    return schema, batches


def _longest(source: Any, metadata: Any, group: int, name: str) -> int:
    """Length of the longest text of a column's dictionary in a row group; 0 if it has none."""
    own = parquet.ParquetFile(_fresh(source), metadata=metadata, read_dictionary=[name])
    batch = next(own.iter_batches(1, row_groups=[group], columns=[name]), None)
    if batch is None or not pa.types.is_dictionary(batch.column(0).type):
        return 0
    return int(pc.max(pc.binary_length(batch.column(0).dictionary)).as_py() or 0)


def _pages(column: Any, read: Any) -> Claim:
    """What the pages of a column of a row group hold."""
    starts = [
        place for place in (column.dictionary_page_offset, column.data_page_offset) if place is not None and place > 0
    ]
    return parquet_pages(read, min(starts, default=0), column.total_compressed_size)


def _arrow(file: SourceFile) -> tuple[pa.Schema, Batches]:
    source = _source(file)
    size, _ = _reading(file, source)
    buffer = pa.memory_map(source).read_buffer() if isinstance(source, str) else source
    is_file = bytes(buffer[:6]) == b"ARROW1"
    content = memoryview(buffer).cast("B")
    rows, held = 0, 0
    for metadata, body in arrow_blocks(content) if is_file else _messages(buffer):
        claim = arrow_batch(metadata, body)
        rows, held = rows + claim.rows, held + claim.held
        check_rows(file, rows, 8, size)
        check_size(file, held, max(size, len(buffer)), "its buffers")
    reader = ipc.open_file(buffer) if is_file else ipc.open_stream(buffer)
    check_columns(file, len(reader.schema), MOST_NAMED)

    def batches(columns: list[str], rows_at_most: int = BATCH) -> Iterator[tuple[Load, int]]:
        given = (reader.get_batch(n) for n in range(reader.num_record_batches)) if is_file else iter(reader)
        texts = TextBytes(file)
        chosen = (texts.viewed(batch.select(columns)) for batch in given)
        for batch in _undamaged(file, chosen):
            for start in range(0, batch.num_rows, min(BATCH, rows_at_most)):
                part = batch.slice(start, min(BATCH, rows_at_most))
                yield partial(_same, part), part.num_rows

    return reader.schema, batches


def _messages(buffer: pa.Buffer) -> Iterator[tuple[Any, Any]]:
    """Metadata and body of each message of a stream."""
    reader = ipc.MessageReader.open_stream(buffer)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message is None:
            return
        yield memoryview(message.metadata).cast("B"), memoryview(message.body or b"").cast("B")


def _size(source: Any) -> int:
    return Path(source).stat().st_size if isinstance(source, str) else len(source)


def _reading(file: SourceFile, source: Any) -> tuple[int, Callable[[int, int], Any]]:
    """Bytes of the file itself, and a function from a position and a number of bytes to bytes."""
    size = size_on_disk(file.path)
    if not isinstance(source, str):
        content = memoryview(source).cast("B")
        return max(size, len(content) // RATIO), lambda place, length: content[place : place + length]
    raw = open_regular(Path(source))

    def read(place: int, length: int) -> bytes:
        raw.seek(place)
        return raw.read(length)

    return size, read


def _undamaged(file: SourceFile, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    try:
        for batch in batches:
            batch.validate(full=True)
            yield batch
    except UNREADABLE as error:
        raise unreadable(file, error) from error


def _fresh(source: Any) -> Any:
    return source if isinstance(source, str) else pa.BufferReader(source)


def _same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch
