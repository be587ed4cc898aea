"""Delimited text whose lines are no ratings: a matrix of users and items, or blocks of an item's rows.

Both give rows of a rating: of a matrix the columns `user_id` (or the name of that column), `item_id` and `rating`; of
blocks `item_id` and the columns of the rows.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk, places
from recsys.data.readers.csv import CsvText, block_chunks
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.lines import Block, blocks

NOT_RATED = "not rated"
FIRST_ROWS = 1000  # of a matrix: if its first column repeats a value in these, it does not hold the users

Task = Callable[[], Chunk]


class MatrixText:
    """A matrix: a line a user, a column an item.

    Users are in the first column; but they are the lines, numbered from 1, if that column is among `ignored_columns` or
    repeats a value.
    """

    def __init__(self, file: SourceFile, format: Format) -> None:
        self.text = CsvText(file, format)
        names = self.text.names
        places(file, names, format.ignored_columns)
        self.items = [place for place, name in enumerate(names) if name not in format.ignored_columns]
        self.user: int | None = None
        if self.items[:1] == [0] and len(self.items) > 1:
            first = [row[0].strip() for row in CsvText(file, format).sample(FIRST_ROWS).rows]
            if len(set(first)) == len(first):
                self.user = self.items.pop(0)
        user = "" if self.user is None or not (format.header or format.columns) else names[self.user]
        self.names = [user if user not in ("", ITEM_ID, RATING) else USER_ID, ITEM_ID, RATING]

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Task]:
        places(self.text.file, self.names, columns)
        used = self.items if self.user is None else [self.user, *self.items]
        first = 1
        for task in block_chunks(self.text, list(map(str, used)), used, spanning=spanning):
            wide = task()
            yield partial(self._long, wide, first)
            first += wide.total

    def _long(self, wide: Chunk, first: int) -> Chunk:
        """A row per cell that is not empty, line by line; the first line is user `first` if users have no column."""
        lines = np.asarray(wide.lines(), dtype=np.int64)
        rows, width = len(lines), len(self.items)
        cells = pa.chunked_array([wide.columns[str(place)] for place in self.items], pa.string())
        order = np.arange(rows * width).reshape(width, rows).T.ravel()
        texts = pc.utf8_trim_whitespace(cells.combine_chunks()).take(pa.array(order))
        filled = np.flatnonzero(pc.binary_length(texts).to_numpy(zero_copy_only=False))
        if self.user is None:
            users = pa.array(np.arange(first, first + rows)).cast(pa.string())
        else:
            users = wide.columns[str(self.user)]
        names = pa.array([self.text.names[place] for place in self.items], pa.string())
        columns = {
            self.names[0]: users.take(pa.array(filled // max(width, 1))),
            ITEM_ID: names.take(pa.array(filled % max(width, 1))),
            RATING: texts.take(pa.array(filled)),
        }
        total = rows * width + len(wide.refused)
        empty = {NOT_RATED: rows * width - len(filled)}
        return Chunk(columns, total, lambda: lines[filled // max(width, 1)], wide.refused, dropped=empty)

    def sample(self, n: int) -> Sample:
        rows: list[list[str]] = []
        lines: list[int] = []
        for number, record in enumerate(self.text.records(), start=1):
            if record.problem is not None:
                continue
            user = str(number) if self.user is None else record.texts[self.user]
            cells = [(self.text.names[place], record.texts[place].strip()) for place in self.items]
            rows += [[user, item, text] for item, text in cells if text]
            lines += [record.line] * (len(rows) - len(lines))
            if len(rows) >= n:
                break
        return Sample(self.names, rows[:n], lines[:n])


class BlocksText:
    """Lines "item:", each followed by the rows of that item."""

    def __init__(self, file: SourceFile, format: Format) -> None:
        within = re.escape(format.separator.encode()) if format.separator != " " else rb"[ \t]"
        self.heading = re.compile(rb"(?m)^[ \t]*((?:(?!" + within + rb")[^\n])+?)[ \t]*:[ \t]*$")
        self.lines: list[int] = []  # of the headings so far
        self.ids: list[str] = []
        given = self._without_headings(blocks(file, format.encoding))
        self.text = CsvText(file, replace(format, columns=None), given)
        names = list(format.columns or self.text.names)
        self.names = names if len(names) == len(self.text.names) + 1 else [ITEM_ID, *names]
        if len(self.names) != len(self.text.names) + 1:
            width = len(self.text.names)
            raise DataError(f"{file}: the rows of blocks have {width} columns, but columns names {len(names)}")

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Task]:
        found = places(self.text.file, self.names, columns)
        used = [(name, place - 1) for name, place in zip(columns, found, strict=True) if place]
        names, positions = [name for name, _ in used], [place for _, place in used]
        for task in block_chunks(self.text, names or [""], positions or [0], spanning=spanning):
            yield partial(self._with_ids, task)

    def sample(self, n: int) -> Sample:
        rows = [record for record in islice(self.text.records(), n) if record.problem is None]
        texts = [[self._id(record.line) or "", *record.texts] for record in rows]
        return Sample(self.names, texts, [record.line for record in rows])

    def _with_ids(self, task: Task) -> Chunk:
        chunk = task()
        lines = np.asarray(chunk.lines(), dtype=np.int64)
        if not len(lines):
            return replace(chunk, columns=chunk.columns | {self.names[0]: pa.array([], pa.string())})
        start = max(0, bisect_right(self.lines, int(lines[0])) - 1)
        stop = bisect_right(self.lines, int(lines[-1]))
        headings = np.array(self.lines[start:stop], dtype=np.int64)
        place = np.searchsorted(headings, lines, side="right") - 1
        ids = pa.array(["", *self.ids[start:stop]], pa.string()).take(pa.array(place + 1))
        return replace(chunk, columns=chunk.columns | {self.names[0]: ids})

    def _id(self, line: int) -> str | None:
        place = bisect_right(self.lines, line)
        return self.ids[place - 1] if place else None

    def _without_headings(self, given: Iterator[Block]) -> Iterator[Block]:
        """The blocks with empty lines in place of the headings, so that lines keep their numbers."""
        for block in given:
            parts, end, line = [], 0, block.line
            for heading in self.heading.finditer(block.text):
                parts.append(block.text[end : heading.start()])
                line += parts[-1].count(b"\n")
                self.lines.append(line)
                self.ids.append(heading[1].decode("utf-8", "replace"))
                end = heading.end()
            yield Block(b"".join([*parts, block.text[end:]]), block.line, block.last)
