"""Infer the encoding of a text file."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import IO

from recsys.data.errors import UndecidedError
from recsys.data.readers.format import SourceFile
from recsys.data.readers.streams import open_bytes

HEAD = 1 << 20  # bytes of which letters are looked at
WHOLE = 64 << 20  # bytes of a file that is decoded to the end to tell its encoding
UTF8 = "all bytes looked at are UTF-8"
BOMS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


def infer_encoding(file: SourceFile, head: bytes, complete: bool) -> tuple[str, str]:
    """The name of a Python codec and why.

    Args:
        file: The file.
        head: Its first bytes.
        complete: Whether these are all.

    Raises:
        UndecidedError: It is neither Unicode nor that of a Western language.
    """
    for bom, encoding in BOMS:
        if head.startswith(bom):
            return encoding, f"the file begins with the byte order mark of {encoding.upper()}"
    zeros = [head[start:4096:2].count(0) for start in (0, 1)]
    if max(zeros) > 4 * min(zeros) + 8:
        encoding = "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
        return encoding, "every second byte is zero"
    text, place = head, "the first bytes"
    if not complete and not _not_utf8(head, final=False):
        about = file.path.stat()
        if _rest_is_utf8(file, about.st_size, about.st_mtime_ns, about.st_ino):
            return "utf-8", UTF8
        text, place = _rest(file), "the file"
    if not (bad := _not_utf8(text, final=complete)):
        return "utf-8", UTF8
    line = text.count(b"\n", 0, bad[0]) + 1
    where = f"line {line}" if place == "the first bytes" or len(text) <= WHOLE else place
    if _is_foreign(text):
        raise UndecidedError(
            f"{file}: {where} has the byte {bad[1]:#04x}, which is no UTF-8, and its texts are in no Western script; "
            "set data.encoding, such as cp1251, gb18030 or shift_jis",
            [{"encoding": encoding} for encoding in ("cp1251", "gb18030", "shift_jis") if _decodes(text, encoding)],
        )
    controls = any(0x80 <= byte < 0xA0 for byte in text if byte >= 0x80)
    encoding = "cp1252" if controls and _decodes(text, "cp1252") else "latin-1"
    return encoding, f"{where} has the byte {bad[1]:#04x}, which is no UTF-8"


def _is_foreign(text: bytes) -> bool:
    """Whether most letters beyond ASCII stand together, which those of Western languages do not."""
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", text[:HEAD])]
    return sum(run for run in runs if run > 2) > 0.6 * sum(runs)


@lru_cache(maxsize=100)
def _rest_is_utf8(file: SourceFile, *_: int) -> bool:
    """Whether a file that is read in several ways, one after another, is UTF-8."""
    return not _not_utf8(_rest(file), final=False)


def _rest(file: SourceFile) -> bytes:
    """The file, up to a length that is decoded in no time; the readers name the line of what follows."""
    with open_bytes(file) as stream:
        return read_bytes(stream, WHOLE)


def _not_utf8(data: bytes, *, final: bool) -> tuple[int, int] | None:
    """Position and value of the first byte that is not UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final)
    except UnicodeDecodeError as error:
        return error.start, data[error.start]
    return None


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def read_bytes(stream: IO[bytes], size: int) -> bytes:
    """As many bytes, or as many as there are."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
