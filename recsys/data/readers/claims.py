"""What Parquet and Arrow files claim to hold, read from their headers before a library makes room for it.

Their encodings have no bound: a few bytes may stand for 10^9 rows, a page or a buffer says itself how large it becomes.
Neither pyarrow nor its memory pools can be given a limit, so the sizes are added up here: of Parquet from the footer's
schema and the header of each page (Thrift, compact protocol), of Arrow from each message (Flatbuffers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from recsys.data.readers.limits import DEEPEST, MOST_NAMED

Bytes: TypeAlias = Any  # bytes, or a memoryview of them

LARGEST_FOOTER = 16 << 20  # bytes; 4,096 columns of 20 row groups have 14 million
MOST_PARTS = 4 * MOST_NAMED  # columns, and parts of nested ones
LARGEST_HEADER = 1 << 20  # bytes of a page's header, which may hold a lowest and a highest value
STRUCT, LIST, SET, MAP = 12, 9, 10, 11  # types of Thrift's compact protocol


class ClaimError(ValueError):
    """A header is damaged, or claims what no file holds; says what, and what is allowed."""


class Claim(NamedTuple):
    """What a part of a file holds.

    Attributes:
        rows: Number of rows, or of values.
        held: Bytes when unpacked.
    """

    rows: int
    held: int


# -- Parquet


def check_parquet_footer(tail: Bytes, size: int) -> int:
    """Length of a Parquet file's footer in bytes, told by its last eight.

    Args:
        tail: The last eight bytes.
        size: Size of the file in bytes.

    Raises:
        ClaimError: It is no Parquet file, or its footer is larger than any.
    """
    length, magic = struct.unpack("<I4s", tail) if len(tail) == 8 else (0, b"")
    if magic not in (b"PAR1", b"PARE") or length + 12 > size:
        raise ClaimError("it does not end as one")
    if length > LARGEST_FOOTER:
        raise ClaimError(f"its footer has {length:,} bytes, more than {LARGEST_FOOTER:,}")
    return int(length)


def check_parquet_schema(footer: Bytes) -> None:
    """Count the columns in a footer and how deep they are nested; both take memory by their square.

    Raises:
        ClaimError: There are too many, or they are nested too deeply.
    """
    try:
        thrift = _Thrift(footer)
        open_at: list[int] = []  # children to come at each level
        for field, kind in thrift.fields():
            if field != 2:
                thrift.skip(kind)
                continue
            count, _ = thrift.list_header()
            if count > MOST_PARTS:
                raise ClaimError(f"its schema has {count:,} columns and parts of these, more than {MOST_PARTS:,}")
            for _ in range(count):
                children = int(thrift.struct().get(5, 0))
                while open_at and not open_at[-1]:
                    open_at.pop()
                if open_at:
                    open_at[-1] -= 1
                open_at.append(max(0, children))
                if len(open_at) > DEEPEST + 2:
                    raise ClaimError(f"its columns are nested in more than {DEEPEST} levels")
            return
    except (IndexError, struct.error) as error:
        raise ClaimError("its footer is damaged") from error


def parquet_pages(read: Any, start: int, length: int) -> Claim:
    """Values and bytes of a column's pages, by their headers.

    Args:
        read: Function from a position in the file and a number of bytes to bytes.
        start: Where the first page begins.
        length: Bytes of all pages with their headers.

    Raises:
        ClaimError: A header is damaged.
    """
    place, rows, held = start, 0, 0
    while place < start + length:
        for window in (1 << 10, LARGEST_HEADER):
            try:
                thrift = _Thrift(read(place, window))
                header = thrift.struct()
                break
            except (IndexError, struct.error) as error:
                if window == LARGEST_HEADER:
                    raise ClaimError("the header of a page is damaged") from error
        unpacked, packed = (header.get(field, 0) for field in (2, 3))
        if not isinstance(unpacked, int) or not isinstance(packed, int) or unpacked < 0 or packed < 0:
            raise ClaimError("the header of a page has no sizes")
        page = header.get(5) or header.get(8) or {}
        rows += page.get(1, 0) if isinstance(page, dict) else 0
        held += unpacked
        place += thrift.place + packed
    return Claim(rows, held)


class _Thrift:
    """Values of Thrift's compact protocol; IndexError where the bytes end."""

    def __init__(self, content: Bytes) -> None:
        self.content, self.place = content, 0

    def byte(self) -> int:
        value: int = self.content[self.place]
        self.place += 1
        return value

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 70:
                raise IndexError

    def number(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a structure; the caller takes its value."""
        field = 0
        while header := self.byte():
            field = field + (header >> 4) if header >> 4 else self.number()
            yield field, header & 0xF

    def struct(self) -> dict[int, Any]:
        """The numbers of a structure by field, those of structures in it as such."""
        found: dict[int, Any] = {}
        for field, kind in self.fields():
            if kind in (4, 5, 6):
                found[field] = self.number()
            elif kind == STRUCT:
                found[field] = self.struct()
            else:
                self.skip(kind)
        return found

    def list_header(self) -> tuple[int, int]:
        header = self.byte()
        return (header >> 4 if header >> 4 < 15 else self.varint()), header & 0xF

    def skip(self, kind: int, level: int = 0) -> None:
        if level > DEEPEST or self.place > len(self.content):
            raise IndexError
        if kind == 3:
            self.place += 1
        elif kind in (4, 5, 6):
            self.varint()
        elif kind == 7:
            self.place += 8
        elif kind == 8:
            length = self.varint()
            self.place += length
        elif kind in (LIST, SET):
            count, inner = self.list_header()
            for _ in range(count):
                self.skip(3 if inner in (1, 2) else inner, level + 1)
        elif kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner, level + 1)
        elif kind not in (1, 2):  # true and false are in the type
            raise IndexError


# -- Arrow


def arrow_batch(metadata: Bytes, body: Bytes) -> Claim:
    """Rows and bytes of a message with rows or with values of a dictionary; nothing for others.

    Args:
        metadata: The message without its length.
        body: Its buffers.

    Raises:
        ClaimError: It is damaged.
    """
    try:
        message = _table(metadata, 0)
        kind, batch = metadata[message[1]] if message[1] else 0, message[2]
        if kind not in (2, 3) or not batch:  # a dictionary, rows
            return Claim(0, 0)
        table = _table(metadata, batch)
        if kind == 2:
            table = _table(metadata, table[1])
        rows = struct.unpack_from("<q", metadata, table[0])[0] if table[0] else 0
        if len(table) < 4 or not table[3]:  # not compressed
            return Claim(rows, len(body))
        held = 0
        start = table[2] + struct.unpack_from("<I", metadata, table[2])[0]
        for number in range(struct.unpack_from("<I", metadata, start)[0]):
            offset, length = struct.unpack_from("<qq", metadata, start + 4 + 16 * number)
            if length >= 8:
                claimed = struct.unpack_from("<q", body, offset)[0]
                held += max(claimed, length)
        return Claim(rows, held)
    except (IndexError, struct.error, ValueError) as error:
        raise ClaimError("a message is damaged") from error


def arrow_blocks(content: Bytes) -> Iterator[tuple[Bytes, Bytes]]:
    """Metadata and body of each message that the footer of an Arrow file names.

    Raises:
        ClaimError: The footer is damaged.
    """
    try:
        length = struct.unpack("<i", content[-10:-6])[0]
        if not 0 < length <= min(LARGEST_FOOTER, len(content) - 18):
            raise ClaimError(f"its footer has {length:,} bytes, more than {LARGEST_FOOTER:,} or the file")
        footer = content[len(content) - 10 - length : len(content) - 10]
        table = _table(footer, 0)
        for field in (2, 3):  # dictionaries, rows
            if field >= len(table) or not table[field]:
                continue
            start = table[field] + struct.unpack_from("<I", footer, table[field])[0]
            for number in range(struct.unpack_from("<I", footer, start)[0]):
                offset, ahead, _, size = struct.unpack_from("<qiiq", footer, start + 4 + 24 * number)
                skipped = 8 if content[offset : offset + 4] == b"\xff\xff\xff\xff" else 4
                yield content[offset + skipped : offset + ahead], content[offset + ahead : offset + ahead + size]
    except (IndexError, struct.error) as error:
        raise ClaimError("its footer is damaged") from error


def _table(content: Bytes, place: int) -> Sequence[int]:
    """Positions of the fields of a Flatbuffers table, 0 for those that it lacks; four at least."""
    start = place + struct.unpack_from("<I", content, place)[0]
    directory = start - struct.unpack_from("<i", content, start)[0]
    size = struct.unpack_from("<H", content, directory)[0]
    offsets = struct.unpack_from(f"<{max(0, size - 4) // 2}H", content, directory + 4)
    found = [start + offset if offset else 0 for offset in offsets]
    return found + [0] * (4 - len(found))
