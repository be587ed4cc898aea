"""JSON lines: an object a line, or a list of objects; keys are columns, those of nested objects such as `user.id`."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk, one_array, places
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.limits import DEEPEST, LONGEST_LINE, MOST_NAMED, SAMPLED_VALUES, check_columns, in_words
from recsys.data.readers.lines import Block, blocks, decoded, row_lines

FIRST_ROWS = 1000  # rows from which names and types of the columns are taken
SAMPLED = 64 << 20  # bytes of text of which these rows are, at most
LISTED_ROWS = 50_000  # of a list that are converted at a time
BETWEEN = re.compile(r"[ \t\r\n]*")
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
        if not first.columns:
            raise DataError(f"{file}: the JSON objects have no texts and numbers")
        self.names, self.types = first.columns, first.types

    def sample(self, n: int) -> Sample:
        """The first rows as texts, of the keys that have a plain value in one of them."""
        rows: list[tuple[int, dict[str, Any]]] = []
        found: dict[str, set[type[Any]]] = {}
        size = 0
        for line, row, _ in self._rows():
            if row is None:
                continue
            check_columns(self.file, len(row), MOST_NAMED)
            rows.append((line, row))
            for key, value in row.items():
                found.setdefault(key, set()).add(type(value))
                size += len(key) + (len(value) if isinstance(value, str | list) else 8)
            check_columns(self.file, len(found), MOST_NAMED)
            if len(rows) == n or size > SAMPLED or len(rows) * len(found) > SAMPLED_VALUES:
                break
        kinds = {key: kinds - {type(None)} for key, kinds in found.items()}
        names = [key for key, kinds_of in kinds.items() if not kinds_of or kinds_of & PLAIN.keys()]
        texts = [["" if row.get(name) is None else json_text(row[name]) for name in names] for _, row in rows]
        types = {name: str(kind) for name in names if (kind := _type(kinds[name])) is not None}
        return Sample(names, texts, [line for line, _ in rows], types)

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Callable[[], Chunk]]:
        places(self.file, self.names, columns)
        if self._is_list():
            rows = self._listed()
            while part := list(islice(rows, LISTED_ROWS)):
                yield partial(_slowly, part, list(columns))
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
        if self._is_list():
            yield from self._listed()
            return
        for block in blocks(self.file, self.encoding):
            yield from _objects(block)

    def _listed(self) -> Iterator[Row]:
        """The objects of a list one by one, so that it need not fit in memory."""
        decoder, convert = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")("surrogateescape")
        text, place, number, after = "", 0, 0, "["  # the sign after which a value or the end may come
        for data in decoded(self.file, self.encoding):
            text, place = text[place:] + convert.decode(data), 0
            while after != "]":
                start = BETWEEN.match(text, place).end()  # type: ignore[union-attr]  # it may be empty
                sign = text[start : start + 1]
                if not sign:
                    break
                if (not number and after == "[") or after == "value":
                    if sign not in ("[" if after == "[" else ",]"):
                        raise self._no_list(f"expected {'[' if after == '[' else 'a comma or ]'}, got {sign!r}")
                    place, after = start + 1, {"[": "first", ",": ",", "]": "]"}[sign]
                    continue
                if after == "first" and sign == "]":
                    place, after = start + 1, "]"
                    continue
                try:
                    value, end = decoder.raw_decode(text, start)
                except RecursionError:
                    raise self._no_list(f"object {number + 1} is nested too deeply") from None
                except ValueError as error:
                    if len(text) - start > LONGEST_LINE:
                        reason = f"object {number + 1} is none, or has more than {in_words(LONGEST_LINE)}: {error}"
                        raise self._no_list(reason) from error
                    break
                if end == len(text) and isinstance(value, int | float):  # which may go on
                    break
                number, place, after = number + 1, end, "value"
                yield _row(number, value)
        if after != "]":
            raise self._no_list(f"it ends in object {number + 1}")

    def _no_list(self, reason: str) -> DataError:
        return DataError(f"{self.file}: not a JSON list: {reason}")

    def _is_list(self) -> bool:
        first = next(decoded(self.file, self.encoding), b"")
        return first.lstrip()[:1] == b"["


def json_text(value: Any) -> str:
    """A value as it is written in JSON; texts without their quotes."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except RecursionError:
        return f"a {type(value).__name__} nested too deeply"


def _objects(block: Block) -> Iterator[Row]:
    for line, text in enumerate(block.text.split(b"\n")[:-1], start=block.line):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield line, None, f"must be a JSON object, got {text[:60].decode('utf-8', 'replace')!r} ({error})"
            continue
        yield _row(line, {} if value is None else value)  # as Arrow has it


def _row(line: int, value: Any) -> Row:
    if not isinstance(value, dict):
        return line, None, _no_object(value)
    try:
        return line, _flat(value, DEEPEST), None
    except RecursionError:
        return line, None, f"must be a JSON object with at most {DEEPEST} levels"


def _flat(row: dict[str, Any], levels: int) -> dict[str, Any]:
    """The object with the values of objects in it beside its own.

    Raises:
        RecursionError: It is nested in more levels.
    """
    if not any(isinstance(value, dict) for value in row.values()):
        return row
    if not levels:
        raise RecursionError
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": one for inner, one in _flat(value, levels - 1).items()}
        else:
            flat[key] = value
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
