"""A text file as blocks of whole lines, in UTF-8 and with a line feed at the end of each line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys.data.errors import DataError
from recsys.data.readers.format import SourceFile
from recsys.data.readers.limits import LONGEST_LINE, in_words
from recsys.data.readers.streams import open_bytes
from recsys.progress import progress

BLOCK = 8 << 20  # bytes parsed at a time by a thread
FIRST_BLOCK = 1 << 16  # bytes; each is twice the one before, so that a file of another kind is found out soon
BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
COMMENT = re.compile(
    r"\ufeff?(\s*[#%].*|sep=.\r?)", re.IGNORECASE
)  # above the rows; Excel names the separator by "sep="
ESCAPED = re.compile(rb'\\(["\\])')
ALL_ASCII = bytes(range(128))
WIDE = ("utf-16", "utf-32")  # encodings whose line ends are not the byte 10


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Attributes:
        text: The lines in UTF-8, each with a line feed at its end; bytes that the encoding does not have are kept.
        line: Number of the first line, from 1.
        last: Whether the file ends here.
    """

    text: bytes
    line: int
    last: bool

    @property
    def rows(self) -> int:
        """Number of lines that are not empty."""
        ends = np.frombuffer(self.text, dtype=np.uint8) == ord("\n")
        empty = int(ends[:1].sum()) + int(np.count_nonzero(ends[1:] & ends[:-1]))
        return int(np.count_nonzero(ends)) - empty


def double_quotes(text: bytes) -> bytes:
    """The text with doubled quotes for those after a backslash, and one backslash for two."""
    if b"\\" not in text:
        return text
    return ESCAPED.sub(lambda found: b'""' if found[1] == b'"' else b"\\", text)


def without_comments(block: Block) -> Block:
    """The block without its first lines that are comments, or blank lines between these."""
    start, line = 0, block.line
    while start < len(block.text):
        end = block.text.index(b"\n", start) + 1
        text = block.text[start : end - 1].decode("utf-8", "surrogateescape")
        if text.strip() and not COMMENT.fullmatch(text):
            break
        start, line = end, line + 1
    return replace(block, text=block.text[start:], line=line)


def count_lines(text: bytes) -> int:
    """Number of line ends, several times faster than `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n")))


def row_lines(text: bytes, line: int) -> NDArray[np.int64]:
    """Line number of each line that is not empty; the first line of the text is `line`."""
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
    return line + np.flatnonzero(np.diff(ends, prepend=-1) > 1)


def blocks(file: SourceFile, encoding: str) -> Iterator[Block]:
    """The file as blocks of whole lines; a byte order mark goes before `encoding`, and is left out.

    Raises:
        DataError: The file cannot be read or is not in this encoding, or a line is too long.
    """
    line, held = 1, b""  # the last block is known only when no bytes follow
    try:
        for text in _whole_lines(file, encoding):
            if held:
                yield Block(held, line, last=False)
                line += count_lines(held)
            held = text
    except _LongLineError:
        line += count_lines(held)
        raise DataError(f"{file}, line {line}: more than {in_words(LONGEST_LINE)} without a line end") from None
    if held:
        yield Block(held, line, last=True)


class _LongLineError(Exception):
    """A line has more bytes than any row."""


def _whole_lines(file: SourceFile, encoding: str) -> Iterator[bytes]:
    parts: list[bytes] = []  # of the last line, which is not complete
    size = 0  # of these
    for data in decoded(file, encoding):
        text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data
        end = text.rfind(b"\n") + 1
        if not end:
            parts.append(text)
            size += len(text)
            if size > LONGEST_LINE:
                raise _LongLineError
            continue
        yield b"".join([*parts, text[:end]])
        parts, size = [text[end:]], len(text) - end
    if rest := b"".join(parts):
        yield rest + b"\n"


def decoded(file: SourceFile, encoding: str) -> Iterator[bytes]:
    """Bytes in UTF-8 without a byte order mark; a carriage return is never cut from its line feed."""
    with open_bytes(file) as stream:
        size = file.path.stat().st_size
        first = stream.peek(4)[:4]  # type: ignore[attr-defined]
        for mark, name in BOMS.items():
            if first.startswith(mark):
                encoding = name
                if name == "utf-8":
                    stream.read(len(mark))
                break
        with progress(f"reading {file.path.name}", size, in_bytes=True) as advance:
            convert = _converter(file, encoding)
            carry, done, length = b"", 0, min(FIRST_BLOCK, BLOCK)
            while data := stream.read(length):
                length = min(2 * length, BLOCK)
                advance(-done + (done := stream.raw.place()))  # type: ignore[attr-defined]
                text = carry + convert(data, False)
                carry = text[-1:] if text.endswith(b"\r") else b""
                yield text[: len(text) - len(carry)]
            yield carry + convert(b"", True)


def _converter(file: SourceFile, encoding: str) -> Callable[[bytes, bool], bytes]:
    """Function from (bytes of the file, whether they are the last) to bytes in UTF-8."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise DataError(f"{file}: encoding must be one that Python knows, such as latin-1, got {encoding!r}") from None
    if name in ("utf-8", "ascii", "utf-8-sig"):
        return lambda data, _: data
    ascii_kept = ALL_ASCII.decode(name, "replace") == ALL_ASCII.decode("ascii")
    decoder = codecs.getincrementaldecoder(name)("strict" if name.startswith(WIDE) else "surrogateescape")

    def convert(data: bytes, final: bool) -> bytes:
        if ascii_kept and data.isascii() and not decoder.getstate()[0]:
            return data
        try:
            text = decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: must be {encoding}, got byte {error.object[error.start]:#04x}") from error
        return text.removeprefix("\ufeff").encode("utf-8", "surrogateescape")

    return convert
