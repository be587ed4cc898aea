"""Read columns of a delimited text file: fast with Arrow, then line by line to locate an error."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
from pyarrow import csv as arrow_csv

from recsys.data.errors import DataError
from recsys.data.readers.fields import BadValueError, Field, Values, is_integer
from recsys.progress import Advance, progress

BLOCK = 8 << 20  # bytes parsed at a time by a thread


@dataclass(frozen=True)
class Layout:
    """Format of a delimited text file.

    Attributes:
        separator: Column separator; one character, or "::".
        columns: Column names in file order; None if the file has a header line.
        quoted: Whether values may be in double quotes and then contain separators and line ends.
        encoding: `utf-8` or `latin-1`.
    """

    separator: str
    columns: tuple[str, ...] | None = None
    quoted: bool = False
    encoding: str = "utf-8"


def read_columns(path: Path, layout: Layout, fields: Mapping[str, Field]) -> dict[str, Values]:
    """Read and validate columns. Returns values by field name, in file order.

    Args:
        path: The file; `.gz` is decompressed.
        layout: Format of the file.
        fields: Fields by the column name in the file.

    Raises:
        DataError: Names the line (from 1, including the header), column, value and allowed values.
    """
    present = header(path, layout)
    places = _places(path, present, fields)
    try:
        table = _parsed(path, layout, present, fields)
        if not len(table):
            raise DataError(f"{path}: the file has no ratings")
        values = {}
        for column, field in fields.items():
            values[field.name] = field.values(table[column])
            table = table.drop_columns([column])  # so that its parsed chunks are freed before the next is copied
        return values
    except (pa.ArrowException, BadValueError, OSError) as error:
        _raise_first_problem(path, layout, places, fields)
        raise DataError(f"{path}: {error}") from error


def read_texts(
    path: Path, layout: Layout, columns: Sequence[str], integers: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Read columns of a small file as text, in the given order; those in `integers` must be integers."""
    places = _places(path, header(path, layout), columns)
    texts: dict[str, list[str]] = {column: [] for column in columns}
    for line, record in records(path, layout):
        for column, place in zip(columns, places, strict=True):
            if column in integers and not is_integer(record[place]):
                raise DataError(f"{path}, line {line}: {column} must be an integer, got {record[place]!r}")
            texts[column].append(record[place])
    return texts


def header(path: Path, layout: Layout) -> Sequence[str]:
    """Column names in file order."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with closing(_lines(path, layout)) as lines:
        first = next(lines, None)
    if first is None:
        raise DataError(f"{path}: the file is empty")
    return layout.columns or first[1]


def records(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Line number, from 1, and fields of each record, without blank lines and the header.

    Raises:
        DataError: A line cannot be decoded, or has too few or too many columns.
    """
    width = len(header(path, layout))
    rows = _lines(path, layout)
    if layout.columns is None:
        next(rows)
    for line, texts in rows:
        if len(texts) != width:
            raise DataError(f"{path}, line {line}: must have {width} columns, got {len(texts)}")
        yield line, texts


def _parsed(path: Path, layout: Layout, present: Sequence[str], fields: Mapping[str, Field]) -> pa.Table:
    """Parse the given columns in parallel."""
    types = {column: field.type for column, field in fields.items()}
    names, wanted = list(present), list(fields)
    if len(layout.separator) > 1:  # "::" is read as ":" with empty columns in between
        gaps = [f"gap {n}" for n in range(len(names) - 1)]
        names = [name for pair in zip(names, [*gaps, ""], strict=True) for name in pair][:-1]
        types |= dict.fromkeys(gaps, pa.null())
        wanted += gaps
    with _tracked(path) as file:
        return arrow_csv.read_csv(
            file,
            arrow_csv.ReadOptions(
                block_size=BLOCK,
                column_names=names,
                skip_rows=int(layout.columns is None),
                encoding=layout.encoding,
            ),
            arrow_csv.ParseOptions(
                delimiter=layout.separator[0],
                quote_char='"' if layout.quoted else False,
                newlines_in_values=layout.quoted,
            ),
            arrow_csv.ConvertOptions(
                column_types=types, include_columns=wanted, null_values=[""], strings_can_be_null=True
            ),
        )


@contextmanager
def _tracked(path: Path) -> Iterator[pa.NativeFile]:
    """Open the decompressed file for Arrow, with a progress line on a terminal."""
    with path.open("rb") as raw, progress(f"reading {path.name}", path.stat().st_size, in_bytes=True) as advance:
        file = pa.PythonFile(_CountedFile(raw, advance), "r")
        yield pa.CompressedInputStream(file, "gzip") if path.suffix == ".gz" else file


class _CountedFile:
    """A minimal binary file for Arrow that reports the number of bytes read."""

    closed = False  # the opener closes it

    def __init__(self, file: IO[bytes], advance: Advance) -> None:
        self.file, self.advance = file, advance

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.advance(len(data))
        return data

    def close(self) -> None: ...


def _places(path: Path, present: Sequence[str], columns: Iterable[str]) -> list[int]:
    """Positions of the columns in the file."""
    for column in columns:
        if present.count(column) != 1:
            found = "no column" if column not in present else "more than one column"
            raise DataError(f"{path}: {found} {column!r}; the columns are {', '.join(present)}")
    return [present.index(column) for column in columns]


def _raise_first_problem(path: Path, layout: Layout, places: list[int], fields: Mapping[str, Field]) -> None:
    for line, texts in records(path, layout):
        for place, (column, field) in zip(places, fields.items(), strict=True):
            problem = field.problem(texts[place])
            if problem is not None:
                raise DataError(f"{path}, line {line}: {column} {problem}")


def _lines(path: Path, layout: Layout) -> Generator[tuple[int, list[str]], None, None]:
    """Line number and fields of each non-blank line."""
    with _opened(path) as file:
        text = _decoded(path, file, layout.encoding)
        if layout.quoted:
            yield from _quoted(path, text, layout.separator)
            return
        for line, row in enumerate(text, start=1):
            if row.strip("\r\n"):
                yield line, row.rstrip("\r\n").split(layout.separator)


def _quoted(path: Path, text: Iterator[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The same for quoted values, where a record may span several lines; gives its first line."""
    reader = csv.reader(text, delimiter=separator)
    line = 1
    try:
        for texts in reader:
            if texts:
                yield line, texts
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {line}: not a CSV record: {error}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _unpacked(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read or decompressed: {error}") from error


def _decoded(path: Path, file: IO[bytes], encoding: str) -> Iterator[str]:
    for line, row in enumerate(_unpacked(path, file), start=1):
        try:
            text = row.decode(encoding)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {line}: must be UTF-8, got byte {row[error.start]:#04x}") from error
        yield text.removeprefix("\ufeff") if line == 1 else text
