"""JSON lines: an object a line, or a list of objects; keys are columns, those of nested objects such as `user.id`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk, one_array, places
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.lines import Block, blocks, row_lines

FIRST_ROWS = 1000  # rows from which names and types of the columns are taken
PLAIN = {bool: None, int: pa.int64(), float: pa.float64(), str: pa.string()}
Row = tuple[int, dict[str, Any] | None, str | None]  # line, object, problem


class JsonText:
    """A file of objects.

    Attributes:
        names: Keys of the first rows, in order of appearance.
    """

    def __init__(self, file: SourceFile, format: Format) -> None:
        self.file, self.encoding = file, format.encoding
        first = self.sample(FIRST_ROWS)
        if not first.rows:
            raise DataError(f"{file}: the file has no JSON objects, one a line")
        self.names, self.types = first.columns, first.types

    def sample(self, n: int) -> Sample:
        """The first rows as texts, of the keys that have a plain value in one of them."""
        rows: list[tuple[int, dict[str, Any]]] = []
        for line, row, _ in self._rows():
            if row is not None:
                rows.append((line, row))
                if len(rows) == n:
                    break
        found: dict[str, set[type[Any]]] = {}
        for _, row in rows:
            for key, value in row.items():
                found.setdefault(key, set()).add(type(value))
        kinds = {key: kinds - {type(None)} for key, kinds in found.items()}
        names = [key for key, kinds_of in kinds.items() if not kinds_of or kinds_of & PLAIN.keys()]
        texts = [["" if row.get(name) is None else json_text(row[name]) for name in names] for _, row in rows]
        types = {name: str(kind) for name in names if (kind := _type(kinds[name])) is not None}
        return Sample(names, texts, [line for line, _ in rows], types)

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Callable[[], Chunk]]:
        places(self.file, self.names, columns)
        if self._is_list():
            yield partial(_slowly, list(self._rows()), list(columns))
            return
        types = [(name, pa.type_for_alias(self.types[name])) for name in columns if name in self.types]
        flat = len(types) == len(columns) and not any("." in name for name in columns)
        schema = pa.schema(types) if flat else None
        for block in blocks(self.file, self.encoding):
            yield partial(self._chunk, block, list(columns), schema)

    def _chunk(self, block: Block, columns: list[str], schema: pa.Schema | None) -> Chunk:
        """Parse by Arrow if all values have the types of the first rows, else one by one."""
        rows = block.rows
        table = None if schema is None or not rows else _table(block.text, schema)
        if table is None or len(table) != rows:
            return _slowly(list(_objects(block)), columns)
        return Chunk(
            {name: one_array(table[name]) for name in columns}, rows, lambda: row_lines(block.text, block.line)
        )

    def _rows(self) -> Iterator[Row]:
        if not self._is_list():
            for block in blocks(self.file, self.encoding):
                yield from _objects(block)
            return
        text = b"".join(block.text for block in blocks(self.file, self.encoding))
        try:
            given = json.loads(text)
        except ValueError as error:
            raise DataError(f"{self.file}: not a JSON list: {error}") from error
        for number, row in enumerate(given, start=1):
            yield (number, _flat(row), None) if isinstance(row, dict) else (number, None, _no_object(row))

    def _is_list(self) -> bool:
        first = next(blocks(self.file, self.encoding), None)
        return first is not None and first.text.lstrip()[:1] == b"["


def json_text(value: Any) -> str:
    """A value as it is written in JSON; texts without their quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def _objects(block: Block) -> Iterator[Row]:
    for line, text in enumerate(block.text.split(b"\n")[:-1], start=block.line):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
            row = {} if row is None else row  # as Arrow has it
        except (ValueError, RecursionError) as error:
            yield line, None, f"must be a JSON object, got {text[:60].decode('utf-8', 'replace')!r} ({error})"
            continue
        yield (line, _flat(row), None) if isinstance(row, dict) else (line, None, _no_object(row))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """The object with the values of objects in it beside its own."""
    if not any(isinstance(value, dict) for value in row.values()):
        return row
    flat: dict[str, Any] = {}
    for key, value in row.items():
        flat |= (
            {f"{key}.{inner}": one for inner, one in _flat(value).items()} if isinstance(value, dict) else {key: value}
        )
    return flat


def _no_object(value: Any) -> str:
    return f"must be a JSON object, got {json_text(value)[:60]!r}"


def _slowly(rows: list[Row], columns: list[str]) -> Chunk:
    texts: dict[str, list[str]] = {name: [] for name in columns}
    lines, refused = [], []
    for line, row, problem in rows:
        if row is None:
            refused.append((line, problem or ""))
            continue
        nested = next((name for name in columns if isinstance(row.get(name), dict | list)), None)
        if nested is not None:
            refused.append((line, f"{nested} must be a text or a number, got {json_text(row[nested])[:60]}"))
            continue
        lines.append(line)
        for name in columns:
            texts[name].append("" if row.get(name) is None else json_text(row[name]))
    return Chunk(
        {name: pa.array(column, pa.string()) for name, column in texts.items()}, len(rows), lambda: lines, refused
    )


def _type(kinds: set[type[Any]]) -> pa.DataType | None:
    if kinds == {int, float}:
        return pa.float64()
    return PLAIN.get(next(iter(kinds))) if len(kinds) == 1 else None


def _table(text: bytes, schema: pa.Schema) -> pa.Table | None:
    try:
        return arrow_json.read_json(
            pa.BufferReader(text),
            arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowException:
        return None
