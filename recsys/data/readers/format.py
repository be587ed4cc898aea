"""How a file of rows is written, and what reading it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from recsys.data.errors import DataError

Values: TypeAlias = Any  # an array of numbers, or of ids and texts a pyarrow dictionary array; both (rows,)

KINDS = ("csv", "jsonl", "parquet", "arrow", "excel")
LAYOUTS = ("long", "matrix", "blocks")


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    Attributes:
        path: The file.
        member: A file inside of it, if it is a zip archive.
        max_bytes: Bytes that it may hold when unpacked; None: see `limits`.
        of: Number of files that are read together.
    """

    path: Path
    member: str | None = None
    max_bytes: int | None = field(default=None, compare=False)
    of: int = field(default=1, compare=False)

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"


@dataclass(frozen=True)
class Format:
    """How the rows of a file are written.

    Attributes:
        kind: One of `KINDS`; the others than csv need no more than a layout, and Excel a sheet.
        separator: Text between columns; " " is any run of blanks.
        quoting: Whether values may be in double quotes and then contain separators and line ends.
        encoding: Name of a Python codec.
        decimal: "." or ",".
        header: Whether the first line that is not blank has the names of the columns.
        columns: Names of the columns, in file order; None for those of the header, or without one "0", "1", ….
        layout: `long` (a row per rating), `matrix` (a row per user, a column per item) or `blocks` (a line "item:",
            then the item's rows).
        sheet: Name of an Excel sheet; None for the first.
        ignored_columns: Columns of a matrix that are not items.
        backslash: Whether quotes within quoted values follow a backslash, as MySQL writes them, and are not doubled.
        comments: Whether the first lines that begin with # or %, or are Excel's "sep=;", are no rows.
    """

    kind: str = "csv"
    separator: str = ","
    quoting: bool = False
    encoding: str = "utf-8"
    decimal: str = "."
    header: bool = True
    columns: tuple[str, ...] | None = None
    layout: str = "long"
    sheet: str | None = None
    ignored_columns: tuple[str, ...] = ()
    backslash: bool = False
    comments: bool = False


@dataclass(frozen=True)
class Sample:
    """The first rows of a file as texts.

    Attributes:
        columns: Names of the columns, in file order.
        rows: Texts of each row; empty where a value is missing.
        lines: Line of each row, from 1; the number of the row for files without lines.
        types: Type of each column of a typed file, such as `int64` or `timestamp[ms]`.
    """

    columns: list[str]
    rows: list[list[str]]
    lines: list[int]
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of a file: `total` is kept + refused + dropped.

    Attributes:
        total: Rows of the files, counted independently of the parser.
        refused: Rows that could not be read.
        dropped: Rows that were read and left out, by reason, such as "not rated".
    """

    total: int
    refused: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        return self.total - self.refused - sum(self.dropped.values())

    def sentence(self, origin: str) -> str:
        """The counts in words: "480 rows of ratings.csv: 452 ratings, 0 refused, 28 dropped (28 not rated)"."""
        dropped = {reason: n for reason, n in self.dropped.items() if n}
        reasons = f" ({', '.join(f'{n:,} {reason}' for reason, n in dropped.items())})" if dropped else ""
        counts = f"{self.kept:,} ratings, {self.refused:,} refused, {sum(dropped.values()):,} dropped{reasons}"
        return f"{self.total:,} rows of {origin}: {counts}"


@dataclass(frozen=True)
class Rows:
    """Columns of a file by name of the field, in file order, and the count of its rows."""

    values: dict[str, Values]
    counts: RowCounts

    def __post_init__(self) -> None:
        for name, column in self.values.items():
            if len(column) != self.counts.kept:
                raise DataError(f"{self.counts.kept} rows were expected in {name}, {len(column)} were read")
