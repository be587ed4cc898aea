"""What a file of rows may ask for, so that a small one cannot take all memory or hours: no ordinary file meets these.

What is packed, by compression or by the encodings of Parquet and Arrow, may hold `FREE` bytes, and beyond these `RATIO`
for each of its own: ratings as CSV have a ratio of 3 to 10, JSON lines of events of 10 to 30. `data.max_bytes` replaces
this limit, and no other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys.data.errors import DataError
from recsys.data.readers.format import SourceFile

FREE = 192 << 20  # bytes that any file may hold when unpacked: 10 million rows of 20 bytes
READ_AHEAD = 1 << 18  # bytes of a file whose room is kept: as many are taken in before anything of them comes out
RATIO = 100  # bytes beyond `FREE`, for each byte of the file
FREE_ROWS = 1 << 24  # rows that any typed file may have; beyond these a byte of its own stands for `ROWS_PER_BYTE`
ROWS_PER_BYTE = 12
FREE_TEXTS = 1_000_000  # values that any file of users or items may have, which are held as texts
BYTES_PER_TEXT = 8  # of such a file, for each value beyond: of a title or an attribute with its separator
LONGEST_LINE = 16 << 20  # bytes
LONGEST_VALUE = 1_000  # lines of a quoted value; a longer one is a quote that was never meant to open
MOST_COLUMNS = 1 << 16  # of a matrix: ml-25m has 59,047 items
MOST_NAMED = 4096  # columns of rows of a rating each, among which those of users and items are looked for
SAMPLED_VALUES = 4_000_000  # of the first rows, from which a file is inferred
DEEPEST = 50  # levels of objects and lists in JSON, and of nested columns
MOST_FILES = 10_000  # that a glob or a list means
MOST_SEEN = 200_000  # names that are looked at to match a glob
MOST_MEMBERS = 100_000  # of a zip archive
MOST_READ_MEMBERS = 1_000  # of one archive, each of which is opened by itself


@dataclass
class Expansion:
    """Whether the bytes that come out of a packed file are in proportion to those that went in, wherever it is looked.

    A bucket fills by the bytes that come out, and is emptied by `RATIO` for each that goes in: equal rows after
    ordinary ones have no more room than equal rows alone.

    Attributes:
        file: The file, for messages; may have a limit of its own.
        slow: Whether it is unpacked so slowly, as bzip2 is, that half of `FREE` takes as long.
        out: Bytes that came out so far.
        level: Bytes in the bucket; negative where less came out of the last bytes than may.
    """

    file: SourceFile
    slow: bool = False
    out: int = 0
    level: float = 0
    _taken: int = field(default=0, repr=False)

    @property
    def free(self) -> float:
        """Bytes that the bucket holds: all files that are read together share it."""
        return FREE / self.file.of / (2 if self.slow else 1)

    def add(self, size: int, taken: int) -> None:
        """Count bytes that came out, with those of the file taken in so far.

        Raises:
            DataError: They are too many.
        """
        self.out += size
        most = self.file.max_bytes
        if most is not None:
            if self.out > most:
                raise DataError(f"{self.file}: holds more than data.max_bytes={most:,} bytes")
            return
        self.level += size
        if taken > self._taken:  # several pieces may come out of what is taken in at once
            self.level = max(self.level - RATIO * (taken - self._taken), -RATIO * READ_AHEAD)
            self._taken = taken
        if self.level > self.free:
            raise DataError(
                f"{self.file}: unpacks to more than {in_words(self.free)} beyond {RATIO} times its size: {self.out:,} "
                f"bytes came out of {taken:,}; set data.max_bytes to the size that it may have, or unpack it"
            )

    @property
    def suspicious(self) -> bool:
        """Whether it is worth looking ahead, without parsing, to what else comes out."""
        return self.level > min(self.free, FREE) / 32


def check_rows(file: SourceFile, rows: int, width: int, size: int) -> None:
    """Refuse a typed file that claims more rows than its size can be worth.

    Args:
        file: The file.
        rows: Rows that it claims.
        width: Bytes of a row's columns of fixed size.
        size: Bytes of the file.

    Raises:
        DataError: There are too many.
    """
    if file.max_bytes is not None:
        if rows * width > file.max_bytes:
            raise DataError(f"{file}: {rows:,} rows of {width} bytes are more than data.max_bytes={file.max_bytes:,}")
        return
    most = FREE_ROWS // file.of + ROWS_PER_BYTE * size
    if rows > most:
        raise DataError(
            f"{file}: claims {rows:,} rows in {size:,} bytes, which may have {most:,}; set data.max_bytes to their "
            f"size in memory, {rows * width:,}, if it has them"
        )


def check_texts(file: SourceFile, values: int, size: int) -> None:
    """Refuse a file of users or items with more values than its size can be worth, each of which becomes an object.

    Args:
        file: The file.
        values: Values in the columns that are read.
        size: Bytes of the file.

    Raises:
        DataError: There are too many.
    """
    most = FREE_TEXTS + size // BYTES_PER_TEXT
    if file.max_bytes is None and values > most:
        raise DataError(
            f"{file}: holds more than {most:,} values of users or items, which its {size:,} bytes may have; set "
            "data.max_bytes to the bytes that it may hold if it is meant to"
        )


def check_size(file: SourceFile, held: int, size: int, what: str) -> None:
    """Refuse a part of a typed file that takes more memory than its size can be worth.

    Args:
        file: The file.
        held: Bytes when unpacked.
        size: Bytes of the file that hold it.
        what: The part, for the message.

    Raises:
        DataError: They are too many.
    """
    most = FREE // file.of + RATIO * size if file.max_bytes is None else file.max_bytes
    if held > most:
        raise DataError(
            f"{file}: {what} takes {held:,} bytes when unpacked, more than the {most:,} that are allowed; set "
            "data.max_bytes if it is meant to"
        )


def check_columns(file: SourceFile | str, columns: int, most: int = MOST_COLUMNS) -> None:
    """Raise a DataError if a file has more columns than any table."""
    if columns > most:
        raise DataError(f"{file}: must have at most {most:,} columns, got {columns:,}")


def in_words(size: float) -> str:
    """A number of bytes, such as "256 MiB"."""
    unit = max(0, min(3, (int(size).bit_length() - 1) // 10))
    return f"{size / (1 << 10 * unit):.4g} {('bytes', 'KiB', 'MiB', 'GiB')[unit]}"
