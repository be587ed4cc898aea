"""Read validated columns of files, and account for each of their rows."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.columns import ITEM_ID, USER_ID
from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk
from recsys.data.readers.conversion import BadValuesError
from recsys.data.readers.fields import Field
from recsys.data.readers.format import Format, RowCounts, Rows, SourceFile, Values
from recsys.data.readers.id_fields import AnyId, integers_if_all
from recsys.data.readers.kinds import reader_of

logger = logging.getLogger(__name__)

BAD_ROWS = ("error", "drop")
FIRST_ROWS, MOST_REFUSED = 10_000, 0.9  # after so many rows, a file of which more are refused is no table
LOGGED = 3  # refused rows that are logged in full
MISSING = {USER_ID: "no user id", ITEM_ID: "no item id"}  # why a row is dropped whose id is missing

Task = Callable[[], Chunk]


def read_rows(
    files: Sequence[SourceFile] | SourceFile | Path,
    format: Format,
    fields: Mapping[str, Field],
    *,
    bad_rows: str = "error",
) -> Rows:
    """Read columns of files of one format, one after the other. Rows without an id are dropped and counted.

    Args:
        files: The files; their columns may be in any order.
        format: How their rows are written.
        fields: Fields by the column name in the files.
        bad_rows: `error`, or `drop` to leave out and count the rows that cannot be read; the first three are logged. A
            file is refused if that is nine of ten rows once there are 10,000.

    Raises:
        DataError: A file cannot be read, a column is missing, or a row is bad: names the file, line (from 1, with the
            header), column, value and what is allowed.
    """
    if bad_rows not in BAD_ROWS:
        raise ValueError(f"bad_rows must be one of {', '.join(BAD_ROWS)}, got {bad_rows!r}")
    if isinstance(files, (SourceFile, Path)):
        files = [files if isinstance(files, SourceFile) else SourceFile(files)]
    gathered = _Gathered(fields, drop=bad_rows == "drop")
    for file in files:
        tasks = reader_of(file, format).chunks(list(fields))
        for part in _in_order(tasks, lambda task, file=file: gathered.converted(file, format, task())):  # type: ignore[misc]
            gathered.add(file, part)
    return gathered.rows(", ".join(map(str, files[:3])) + (", …" if len(files) > 3 else ""))


@dataclass(frozen=True)
class _Part:
    """Values of a chunk by column, and its refused rows (line or row, its number, problem)."""

    values: list[Values]
    total: int
    refused: list[tuple[str, int, str]]
    dropped: Mapping[str, int]


class _Gathered:
    """The rows of all files so far."""

    def __init__(self, fields: Mapping[str, Field], *, drop: bool) -> None:
        self.fields, self.drop = fields, drop
        self.parts: list[list[Values]] = [[] for _ in fields]
        self.total, self.refused = 0, 0
        self.dropped: Counter[str] = Counter()

    def converted(self, file: SourceFile, format: Format, chunk: Chunk) -> _Part:
        """Convert a chunk; may be called by several threads."""
        refused = [(chunk.place, line, problem) for line, problem in chunk.refused]
        columns = chunk.columns
        values, bad = _parsed(file, columns, self.fields, format.decimal)
        if bad:
            lines = chunk.lines()
            refused += [(chunk.place, int(lines[row]), problem) for row, problem in bad.items()]
            kept = np.ones(len(lines), dtype=bool)
            kept[list(bad)] = False
            if self.drop:
                columns = {name: column.filter(pa.array(kept)) for name, column in columns.items()}
                values, _ = _parsed(file, columns, self.fields, format.decimal)
        refused.sort(key=lambda row: row[1])
        if refused and not self.drop:
            place, line, problem = refused[0]
            raise DataError(f"{file}, {place} {line}: {problem}")
        rows = len(values[0]) if values else 0
        lost = chunk.total - rows - len(refused) - sum(chunk.dropped.values())
        if lost:  # never seen: each reader counts rows without its parser, and this compares
            raise DataError(f"{file}: {chunk.total} rows were counted, {rows} read and {len(refused)} refused")
        return _Part(values, chunk.total, refused, chunk.dropped)

    def add(self, file: SourceFile, part: _Part) -> None:
        for place, line, problem in part.refused[: max(0, LOGGED - self.refused)]:
            logger.warning("%s, %s %d: row dropped: %s", file, place, line, problem)
        self.total += part.total
        self.refused += len(part.refused)
        if self.drop and self.total > FIRST_ROWS and self.refused > MOST_REFUSED * self.total:
            raise DataError(f"{file}: {self.refused:,} of the first {self.total:,} rows cannot be read; it is no table")
        self.dropped.update(part.dropped)
        for values, new in zip(self.parts, part.values, strict=True):
            values.append(new)

    def rows(self, place: str) -> Rows:
        if not self.total:
            raise DataError(f"{place}: the file has no ratings")
        if self.refused == self.total:
            raise DataError(f"{place}: none of the {self.total} rows can be read")
        values = {field.name: field.join(part) for field, part in zip(self.fields.values(), self.parts, strict=True)}
        pa.default_memory_pool().release_unused()  # else it keeps what was parsed: 0.7 GiB of 25 million rows
        kept: pa.Array | None = None
        for name, reason in MISSING.items():
            if name in values and isinstance(values[name], pa.Array) and values[name].null_count:
                known = values[name].is_valid()
                left = known if kept is None else pc.and_(kept, known)
                self.dropped[reason] += (len(known) if kept is None else kept.true_count) - left.true_count
                kept = left
        if kept is not None:
            mask = kept.to_numpy(zero_copy_only=False)
            values = {name: _filtered(column, kept, mask) for name, column in values.items()}
        for field in self.fields.values():
            if isinstance(field, AnyId):
                values[field.name] = integers_if_all(values[field.name])
        counts = RowCounts(self.total, self.refused, {reason: n for reason, n in self.dropped.items() if n})
        return Rows(values, counts)


def _parsed(
    file: SourceFile, columns: Mapping[str, pa.Array], fields: Mapping[str, Field], decimal: str
) -> tuple[list[Values], dict[int, str]]:
    """Values by field, and what is wrong with rows, by their position: the first problem in the order of the fields."""
    values: list[Values] = []
    bad: dict[int, str] = {}
    for name, field in fields.items():
        try:
            values.append(field.parse(columns[name], decimal))
        except BadValuesError as error:
            for row, problem in zip(error.rows.tolist(), error.problems, strict=True):
                bad.setdefault(row, f"{name} {problem}")
        except pa.ArrowException as error:
            kind = columns[name].type
            raise DataError(f"{file}: {name} must hold texts, numbers or times, got {kind}: {error}") from error
    return values, bad


def _filtered(column: Values, kept: pa.Array, mask: np.ndarray) -> Values:
    return column[mask] if isinstance(column, np.ndarray) else column.filter(kept)


def _in_order(tasks: Iterator[Task], convert: Callable[[Task], _Part]) -> Iterator[_Part]:
    """Results of the tasks in order, computed by as many threads as there are cores for this process."""
    threads = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[_Part]] = deque()
        try:
            for task in tasks:
                running.append(pool.submit(convert, task))
                if len(running) > threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
