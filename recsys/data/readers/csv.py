"""Delimited text: blocks of lines parsed by Arrow in threads, or line by line where that misses a row.

Rows are counted without the parser, as lines that are not empty. Where Arrow gives another number, because of quotes
that do not close, or refuses a block, its lines are split one by one, so that no row vanishes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk, one_array, places
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.limits import LONGEST_VALUE, SAMPLED_VALUES, check_columns
from recsys.data.readers.lines import Block, blocks, double_quotes, row_lines, without_comments
from recsys.data.readers.records import Record, Splitter

SUBSTITUTE = "\x1f"  # for separators of several characters, since Arrow takes one
FIRST_LINES = 100  # from which the number of columns of a file without header is told
BLANKS = re.compile(rb"[ \t]+")


def block_chunks(
    text: CsvText, columns: Sequence[str], used: Sequence[int], *, spanning: bool = False
) -> Iterator[Callable[[], Chunk]]:
    """The rows of the file's blocks: the columns at the positions `used`, by the names `columns`."""
    format = text.format
    splitter = Splitter(format, len(text.names), used, spanning)
    read = _Reader(format, tuple(columns), tuple(used), splitter)
    rest = Block(b"", 0, last=False)
    for block in text.blocks:
        if rest.text:
            block = Block(rest.text + block.text, rest.line, block.last)
            rest = replace(rest, text=b"")
        if format.quoting and _spans_lines(block.text):  # sequential: a value may go on in the next block
            whole, after = _whole_records(block)
            chunk = read.with_texts(whole)
            if chunk is None:
                chunk, after = read.slowly(block, last=block.last)
            rest = after
            yield partial(_same, chunk)
        else:
            yield partial(read.quickly, block)


class CsvText:
    """A file after its header.

    Attributes:
        names: Names of the columns.
        blocks: Blocks of lines without the header; can be read once.

    Args:
        file: The file.
        format: How its rows are written.
        given: Its lines; by default all.
    """

    def __init__(self, file: SourceFile, format: Format, given: Iterator[Block] | None = None) -> None:
        self.file, self.format = file, format
        given = blocks(file, format.encoding) if given is None else given
        if format.backslash:
            given = (replace(block, text=double_quotes(block.text)) for block in given)
        started = map(without_comments, given) if format.comments else given
        first = next((block for block in started if block.text.strip()), None)
        if first is None:
            raise DataError(f"{file}: the file is empty")
        self.names: list[str] = []
        self.blocks = self._all(self._without_header(first), given)

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Callable[[], Chunk]]:
        yield from block_chunks(self, columns, places(self.file, self.names, columns), spanning=spanning)

    def sample(self, n: int) -> Sample:
        n = max(1, min(n, SAMPLED_VALUES // len(self.names)))
        rows = [record for record in islice(self.records(), n) if record.problem is None]
        return Sample(self.names, [list(record.texts) for record in rows], [record.line for record in rows])

    def records(self) -> Iterator[Record]:
        """Records one by one; any value may span lines."""
        splitter = Splitter(self.format, len(self.names))
        rest = Block(b"", 0, last=False)
        for block in self.blocks:
            whole = Block(rest.text + block.text, rest.line or block.line, block.last)
            lines = _split_lines(whole.text)
            taken = 0
            for record in splitter.records(lines, whole.line, last=whole.last):
                yield record
                taken = record.line - whole.line + record.continued + 1
            kept = "\n".join(lines[taken:])
            unfinished = not whole.last and bool(kept.strip())
            rest = Block(
                _bytes(kept) + b"\n" if unfinished else b"", whole.line + taken if unfinished else 0, last=False
            )

    def _without_header(self, block: Block) -> Block:
        """Set the names, and skip the header if there is one."""
        lines = _split_lines(block.text)
        splitter = Splitter(self.format)
        first = next(splitter.records(lines, block.line), None)
        widths = Counter([] if first is None or first.problem else [len(first.texts)])
        if not self.format.header:
            alone = map(splitter.width_of, islice((line for line in lines if not splitter.blank(line)), FIRST_LINES))
            widths = Counter(found for found in alone if found) or widths
        if first is None or not widths:
            number = block.line if first is None else first.line
            raise DataError(f"{self.file}, line {number}: {first.problem if first else 'the line is empty'}")
        given, width = self.format.columns, widths.most_common(1)[0][0]
        check_columns(self.file, width)
        most = width + self.format.header  # R writes no name above the numbers of the rows
        if given is not None and not width <= len(given) <= most:
            raise DataError(f"{self.file}, line {first.line}: must have {len(given)} columns, got {width}")
        if not self.format.header:
            self.names = list(map(str, range(width))) if given is None else list(given)
            return block
        self.names = [name.strip() for name in first.texts] if given is None else list(given)
        end = first.line - block.line + 1 + first.continued
        header = len(_bytes("\n".join(lines[:end]))) + 1
        return Block(block.text[header:], block.line + end, block.last)

    def _all(self, first: Block, given: Iterator[Block]) -> Iterator[Block]:
        yield first
        yield from given


@dataclass(frozen=True)
class _Reader:
    """Parses blocks of one file."""

    format: Format
    columns: tuple[str, ...]
    used: tuple[int, ...]
    splitter: Splitter

    def quickly(self, block: Block) -> Chunk:
        """Parse by Arrow; if it does not account for every line, slowly."""
        rows = block.rows
        table = self._table(block.text, self.used) if rows else None
        if table is None or len(table) != rows:
            return self.slowly(block, last=True)[0]
        columns = {name: one_array(table[str(place)]) for name, place in zip(self.columns, self.used, strict=True)}
        return Chunk(columns, rows, lambda: row_lines(block.text, block.line))

    def with_texts(self, block: Block) -> Chunk | None:
        """Parse lines among which quoted values go on, by Arrow; None unless these are plainly texts, no rows."""
        width = self.splitter.width or 0
        table = None if block.text.count(b'"') % 2 else self._table(block.text, range(width))
        if table is None:
            return None
        continued = 0
        for place in range(width):
            column = one_array(table[str(place)])
            column = column.filter(pc.match_substring(column, "\n"))
            if not len(column):
                continue
            if place in self.used and not self.splitter.spanning:
                return None
            pieces = pc.split_pattern(column, "\n")
            lines, ends = pieces.flatten(), np.cumsum(pc.list_value_length(pieces).to_numpy())
            separators = pc.count_substring(lines, self.format.separator).to_numpy()
            quoted = pc.match_substring(lines, '"').to_numpy(zero_copy_only=False)
            if ((separators == width - 1) | (quoted & (separators >= width - 1))).any():
                return None
            if np.diff(ends, prepend=0).max() > LONGEST_VALUE:
                return None
            empty = pc.equal(lines, "").to_numpy(zero_copy_only=False)
            within = np.ones(len(empty), dtype=bool)  # whole lines of the file: neither the first nor the last piece
            within[ends - 1] = within[np.append(0, ends[:-1])] = False
            continued += len(lines) - len(column) - int((empty & within).sum())
        rows = block.rows - continued
        if rows != len(table):
            return None
        columns = {name: one_array(table[str(place)]) for name, place in zip(self.columns, self.used, strict=True)}
        return Chunk(columns, rows, lambda: self._lines(block))

    def _lines(self, block: Block) -> list[int]:
        records = self.splitter.records(_split_lines(block.text), block.line)
        return [record.line for record in records if record.problem is None]

    def slowly(self, block: Block, *, last: bool) -> tuple[Chunk, Block]:
        """Split line by line; gives also the lines of a record that may go on in the next block."""
        lines = _split_lines(block.text)
        texts: list[list[str]] = [[] for _ in self.used]
        kept, refused, taken, continued = [], [], 0, 0
        for record in self.splitter.records(lines, block.line, last=last):
            taken = record.line - block.line + record.continued + 1
            start = taken - record.continued
            continued += sum(not self.splitter.blank(line) for line in lines[start:taken])
            if record.problem is not None:
                refused.append((record.line, record.problem))
                continue
            kept.append(record.line)
            for column, place in zip(texts, self.used, strict=True):
                column.append(record.texts[place])
        rest = "" if last else "\n".join(lines[taken:])
        if not rest.strip():
            rest, taken = "", len(lines)
        columns = {name: pa.array(column, pa.string()) for name, column in zip(self.columns, texts, strict=True)}
        rows = sum(not self.splitter.blank(line) for line in lines[:taken]) - continued
        unfinished = Block(_bytes(rest) + b"\n" if rest else b"", block.line + taken, last=False)
        return Chunk(columns, rows, lambda: kept, refused), unfinished

    def _table(self, text: bytes, used: Sequence[int]) -> pa.Table | None:
        """Columns as texts, named by their positions; None if Arrow cannot parse the lines as we do."""
        separator, quoted = self.format.separator, self.format.quoting and b'"' in text
        if b"\0" in text:
            return None
        if separator == " " and not quoted:
            text = _single_blanks(text)
        elif len(separator) > 1 or separator == " ":
            if quoted or SUBSTITUTE.encode() in text:
                return None
            text, separator = text.replace(separator.encode(), SUBSTITUTE.encode()), SUBSTITUTE
        elif not separator.isascii():
            return None
        names = list(map(str, range(self.splitter.width or 0)))
        try:
            return arrow_csv.read_csv(
                pa.BufferReader(text),
                arrow_csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
                arrow_csv.ParseOptions(
                    delimiter=separator, quote_char='"' if quoted else False, newlines_in_values=False
                ),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=[str(place) for place in used],
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowException:
            return None


def _same(chunk: Chunk) -> Chunk:
    return chunk


def _single_blanks(text: bytes) -> bytes:
    """The same lines with one space between columns and none around them."""
    if b"\t" not in text and b"  " not in text and b" \n" not in text and b"\n " not in text and text[:1] != b" ":
        return text
    return BLANKS.sub(b" ", text).replace(b" \n", b"\n").replace(b"\n ", b"\n").removeprefix(b" ")


def _spans_lines(text: bytes) -> bool:
    """Whether a line has an odd number of quotes."""
    if b'"' not in text:
        return False
    data = np.frombuffer(text, dtype=np.uint8)
    before = np.searchsorted(np.flatnonzero(data == ord('"')), np.flatnonzero(data == ord("\n")))
    return bool((np.diff(before, prepend=0) % 2).any())


def _whole_records(block: Block) -> tuple[Block, Block]:
    """The lines up to the last one after which all quotes are closed, and those after it."""
    text = block.text
    data = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    closed = np.flatnonzero(np.searchsorted(np.flatnonzero(data == ord('"')), ends) % 2 == 0)
    if block.last or not len(closed):
        return block, Block(b"", 0, last=False)
    end = int(ends[closed[-1]]) + 1
    return Block(text[:end], block.line, last=False), Block(text[end:], block.line + int(closed[-1]) + 1, last=False)


def _split_lines(text: bytes) -> list[str]:
    """The lines; bytes that are not UTF-8 are kept as surrogates."""
    return text.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
