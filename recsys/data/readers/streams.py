"""The decompressed bytes of a file, counted against its size."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from recsys.data.errors import DataError
from recsys.data.readers.archives import DAMAGED, member_stream, no_member
from recsys.data.readers.format import SourceFile
from recsys.data.readers.limits import Expansion
from recsys.files import is_hollow, open_regular

GZIP, ZSTD, BZIP2, XZ, LZMA = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0", b"\x5d\0\0"
CHUNK = 1 << 20
PIECE = 1 << 16  # bytes of a zip's member read at a time: as many are taken in, however little they come to
PADDING = 1 << 20  # bytes of zeros that may follow gzip's data
SYSTEM = ("/proc", "/sys")  # whose files have no size, and may have no end


def open_bytes(file: SourceFile) -> BinaryIO:
    """The decompressed bytes of a file: gz, zst, bz2, xz and zip are told by their first bytes, not by the name.

    Raises:
        DataError: The file is missing, no regular file, or cannot be opened; while reading, it is damaged or truncated,
            or holds more than its size is worth (see `limits`).
    """
    return cast(BinaryIO, io.BufferedReader(_Checked(file), CHUNK))


def size_on_disk(path: Path) -> int:
    """Bytes that a file takes: holes in it are none."""
    about = path.stat()
    return min(about.st_size, about.st_blocks * 512) if hasattr(about, "st_blocks") else about.st_size


def check_regular(path: Path) -> None:
    """Refuse what is no regular file, and one that is mostly a hole: all of it would be read to name it in the cache.

    Raises:
        DataError: It is one of these.
        FileNotFoundError: It does not exist.
    """
    _opened(path).close()


def _opened(path: Path) -> BinaryIO:
    """The file, open, once it is none that `check_regular` refuses."""
    try:
        if is_hollow(path):
            size = path.stat().st_size
            raise DataError(f"{path}: mostly a hole: {size:,} bytes, of which {size_on_disk(path):,} are on the disk")
        return open_regular(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Checked(io.RawIOBase):
    """A stream whose errors name the file, and that knows how much of the file itself was read."""

    def __init__(self, file: SourceFile, *, looks_ahead: bool = True) -> None:
        self.file, self.looks_ahead = file, looks_ahead
        try:
            if file.path.resolve().as_posix().startswith(SYSTEM):
                raise DataError(f"{file}: a file of the operating system, not of ratings")
            self.raw = _opened(file.path)
            inner = self.raw if file.member is None else member_stream(self.raw, file.member)
            self.start = self.raw.tell()
            self.stream = _decompressed(inner)
        except FileNotFoundError:
            raise DataError(f"{file}: no such file") from None
        except KeyError:
            raise no_member(file) from None
        except DAMAGED as error:
            raise _unreadable(file, error) from error
        self.expansion = None if self.stream is self.raw else Expansion(file, isinstance(self.stream, bz2.BZ2File))
        self.ahead: _Checked | None = None
        self.known = 0  # bytes up to which nothing is wrong

    def place(self) -> int:
        """Position in the file, in bytes before decompression."""
        return self.raw.tell()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self.stream.read(len(buffer) if self.file.member is None else min(PIECE, len(buffer)))
        except DAMAGED as error:
            raise _unreadable(self.file, error) from error
        if self.expansion is not None:
            self.expansion.add(len(data), self.raw.tell() - self.start)
            if self.looks_ahead and self.expansion.suspicious and self.expansion.out > self.known:
                self._look_ahead()
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self.closed:
            return
        for stream in (self.ahead, getattr(self, "stream", None), getattr(self, "raw", None)):
            if stream is not None:
                stream.close()
        super().close()

    def _look_ahead(self) -> None:
        """Decompress what follows, keeping nothing, until it is in proportion again.

        So no row is parsed of a file that will be refused.
        """
        assert self.expansion is not None
        if self.ahead is None:
            self.ahead = _Checked(self.file, looks_ahead=False)
        found, space = self.ahead.expansion, memoryview(bytearray(CHUNK))
        assert found is not None
        while found.out <= self.expansion.out or found.suspicious:
            if not self.ahead.readinto(space):
                found.out = 1 << 62  # the end: nothing is wrong
                break
        self.known = found.out


def _unreadable(file: SourceFile, error: BaseException) -> DataError:
    reason = "it needs too much memory" if isinstance(error, MemoryError) else error
    return DataError(f"{file}: cannot be read or decompressed: {reason}")


def _decompressed(raw: BinaryIO) -> BinaryIO:
    place = raw.tell()
    first = raw.read(6)
    raw.seek(place)
    if first.startswith(GZIP):
        return cast(BinaryIO, _Gunzipped(raw))
    if first.startswith(BZIP2):
        return cast(BinaryIO, bz2.BZ2File(raw))
    if first.startswith((XZ, LZMA)):
        return cast(BinaryIO, lzma.LZMAFile(raw))
    if first.startswith(ZSTD):
        return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
    return raw


class _Gunzipped(io.RawIOBase):
    """The content of gzip members one after the other; checksums are verified.

    Python's own reader skips zeros after the data byte by byte, for hours where a file has a hole there.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self.source, self.data = raw, b""
        self.member = zlib.decompressobj(wbits=31)
        self.begun = False  # in this member

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = CHUNK if size < 0 else size
        while True:
            if self.member.eof and not self._next():
                return b""
            self.data = self.data or self.source.read(CHUNK // 8)
            if not self.data:
                if self.begun:
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
                return b""
            self.begun = True
            out = self.member.decompress(self.data, size)
            self.data = self.member.unused_data if self.member.eof else self.member.unconsumed_tail
            if out:
                return out

    def _next(self) -> bool:
        """Begin the next member; False if there is none."""
        skipped = 0
        while not (left := self.data.lstrip(b"\0")):
            skipped += len(self.data)
            if skipped > PADDING:
                raise EOFError(f"more than {PADDING:,} zeros follow the data")
            self.data = self.source.read(CHUNK // 8)
            if not self.data:
                return False
        self.data, self.member, self.begun = left, zlib.decompressobj(wbits=31), False
        if not left.startswith(GZIP[: len(left)]):
            raise OSError("something else than gzip follows the data")
        return True
