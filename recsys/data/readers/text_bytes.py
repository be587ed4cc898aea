"""Texts that few bytes stand for, by a dictionary or by views."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.readers.format import SourceFile
from recsys.data.readers.limits import check_size
from recsys.data.readers.streams import size_on_disk


class TextBytes:
    """Counts the bytes that texts come to in each row."""

    def __init__(self, file: SourceFile) -> None:
        self.file, self.size, self.held = file, size_on_disk(file.path), 0

    def checked(self, table: pa.Table) -> pa.Table:
        """The rows, with texts of a Parquet file's dictionaries in rows of their own.

        Raises:
            DataError: They are too many.
        """
        for place, field in enumerate(table.schema):
            kind = field.type
            encoded = pa.types.is_dictionary(kind)
            if not _is_text(kind.value_type if encoded else kind):
                continue
            column = table.column(place)
            if encoded:
                self._count(sum(map(_text_bytes, column.chunks)), field.name)
                table = table.set_column(place, field.name, column.cast(kind.value_type))
        return table

    def viewed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows, whose views are counted before anything looks at what they name."""
        for field, column in zip(batch.schema, batch.columns, strict=True):
            values = column.dictionary if pa.types.is_dictionary(field.type) else column
            if pa.types.is_string_view(values.type) or pa.types.is_binary_view(values.type):
                lengths = np.frombuffer(values.buffers()[1], dtype=np.int32)[4 * values.offset :: 4][: len(values)]
                self._count(int(np.abs(lengths).sum(dtype=np.int64)), field.name)
        return batch

    def _count(self, held: int, name: str) -> None:
        self.held += held
        check_size(self.file, self.held, self.size, f"column {name}")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _text_bytes(array: pa.Array) -> int:
    """Bytes of all texts of an array, each counted as often as it stands there."""
    lengths = pc.binary_length(array.dictionary)
    if not len(lengths) or pc.max(lengths).as_py() is None:
        return 0
    if pc.max(lengths).as_py() * len(array) < 1 << 20:  # most often: this is quick
        return int(pc.max(lengths).as_py()) * len(array)
    return int(pc.sum(lengths.take(array.indices)).as_py() or 0)
