"""Which files are meant by a path, glob, archive or standard input, and their decompressed bytes."""

from __future__ import annotations

import bz2
import difflib
import glob
import gzip
import hashlib
import io
import lzma
import os
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from recsys.data.errors import DataError, listed
from recsys.data.readers.format import SourceFile

STANDARD_INPUT = "-"
ZIP, GZIP, ZSTD, BZIP2, XZ, LZMA = b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0", b"\x5d\0\0"
SUFFIXES = {b"PAR1": ".parquet", b"ARROW1": ".arrow", GZIP: ".gz", ZSTD: ".zst", BZIP2: ".bz2", XZ: ".xz", ZIP: ".zip"}
EXCEL_MEMBERS = ("[Content_Types].xml", "content.xml")  # of .xlsx and .ods, which are zip archives too
NO_DATA = (".txt", ".md", ".pdf", ".html", ".rst", ".license")  # members of an archive that explain the others
DAMAGED = (OSError, EOFError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
CHUNK = 1 << 20


def expand(root: Path | None, text: str | Sequence[str]) -> list[SourceFile]:
    """Files that a path, a glob, a list of those, or "-" means; globs in alphabetical order.

    A folder with files `part-*`, as Spark writes a table, means these.

    Args:
        root: Folder that relative paths are in; None for the current one.
        text: Such as `ratings.csv`, `ratings/*.parquet`, `archive.zip`, `archive.zip/ratings.csv`, or "-" for standard
            input, which is kept in the cache.

    Raises:
        DataError: There is no such file; names similar ones.
    """
    if isinstance(text, str):
        return _expanded(root, text)
    if not text:
        raise DataError("a list of files must not be empty")
    return [file for part in text for file in _expanded(root, part)]


def open_bytes(file: SourceFile) -> BinaryIO:
    """The decompressed bytes of a file: gz, zst, bz2, xz and zip are told by their first bytes, not by the name.

    Raises:
        DataError: The file is missing or cannot be opened; while reading, a damaged or truncated archive.
    """
    try:
        raw = cast(BinaryIO, file.path.open("rb"))
        inner = raw if file.member is None else cast(BinaryIO, zipfile.ZipFile(raw).open(file.member))  # noqa: SIM115
        return cast(BinaryIO, io.BufferedReader(_Checked(str(file), raw, _decompressed(inner)), CHUNK))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except KeyError:
        near = _similar(file.member or "", _members(file.path))
        raise DataError(f"{file.path} has no member {file.member!r}{near}") from None
    except DAMAGED as error:
        raise DataError(f"{file}: cannot be read or decompressed: {error}") from error


class _Checked(io.RawIOBase):
    """A stream whose errors name the file, and that knows how much of the file itself was read."""

    def __init__(self, name: str, raw: BinaryIO, stream: BinaryIO) -> None:
        self.name, self.raw, self.stream = name, raw, stream

    def place(self) -> int:
        """Position in the file, in bytes before decompression."""
        return self.raw.tell()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self.stream.read(len(buffer))
        except DAMAGED as error:
            raise DataError(f"{self.name}: cannot be read or decompressed: {error}") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.stream.close()
        self.raw.close()
        super().close()


def _decompressed(raw: BinaryIO) -> BinaryIO:
    first = raw.read(6)
    raw.seek(0)
    if first.startswith(GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if first.startswith(BZIP2):
        return cast(BinaryIO, bz2.BZ2File(raw))
    if first.startswith((XZ, LZMA)):
        return cast(BinaryIO, lzma.LZMAFile(raw))
    if first.startswith(ZSTD):
        return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
    return raw


def _expanded(root: Path | None, text: str) -> list[SourceFile]:
    if text == STANDARD_INPUT:
        return [_member_of(SourceFile(_spooled()))]
    path = Path(text).expanduser()
    path = path if root is None else root / path
    if path.is_file():
        return [_member_of(SourceFile(path))]
    for parent in path.parents:
        if parent.is_file() and zipfile.is_zipfile(parent):
            return _chosen(parent, path.relative_to(parent).as_posix())
    if glob.has_magic(text):
        pattern = str(path) if root is None else str(Path(glob.escape(str(root))) / Path(text).expanduser())
        found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if Path(name).is_file()]  # noqa: PTH207
        if not found:
            raise DataError(f"no file matches {path}{_similar_files(path)}")
        return [_member_of(SourceFile(name)) for name in found]
    if path.is_dir():
        if parts := sorted(part for part in path.glob("part-*") if part.is_file()):  # as Spark writes a table
            return [_member_of(SourceFile(part)) for part in parts]
        names = sorted(name.name for name in path.iterdir() if name.is_file())
        suffixes = Counter(Path(name).suffix for name in names if not name.startswith((".", "_")))
        suffix, several = suffixes.most_common(1)[0] if suffixes else ("", 0)
        hint = f"; '{text.rstrip('/')}/*{suffix}' means all of one kind" if several > 1 else ""
        raise DataError(f"{path} is a folder, not a file; it has {listed(names) or 'no files'}{hint}")
    raise DataError(f"{path}: no such file{_similar_files(path)}")


def _member_of(file: SourceFile) -> SourceFile:
    """The file, or the only member with data of an archive."""
    with file.path.open("rb") as raw:
        if raw.read(4) != ZIP:
            return file
    members = _members(file.path)
    if any(name in members for name in EXCEL_MEMBERS):
        return file
    data = [name for name in members if not name.lower().endswith(NO_DATA)] or members
    if len(data) != 1:
        raise DataError(
            f"{file.path}: an archive with {len(data)} files; name one, such as {file.path.name}/{(data or ['…'])[0]}: "
            f"it has {listed(members) or 'no files'}"
        )
    return SourceFile(file.path, data[0])


def _chosen(archive: Path, member: str) -> list[SourceFile]:
    """Members of an archive with this name or glob."""
    members = _members(archive)
    if member in members:
        return [SourceFile(archive, member)]
    found = [name for name in members if Path(name).match(member)] if glob.has_magic(member) else []
    if not found:
        raise DataError(f"{archive} has no member {member!r}{_similar(member, members)}")
    return [SourceFile(archive, name) for name in found]


def _members(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as file:
            names = [item.filename for item in file.infolist() if not item.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive}: cannot be read or decompressed: {error}") from error
    return sorted(name for name in names if not name.startswith("__MACOSX/") and not Path(name).name.startswith("."))


def _spooled() -> Path:
    """Standard input as a file of the cache, named by its SHA-256."""
    from recsys.data.cache import cache_folder  # which imports sources

    folder = cache_folder() / "stdin"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix=".stdin-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as copy:
            first = b""
            while data := sys.stdin.buffer.read(CHUNK):
                first = first or data[:8]
                digest.update(data)
                copy.write(data)
        if not first:
            raise DataError("standard input is empty")
        suffix = next((suffix for magic, suffix in SUFFIXES.items() if first.startswith(magic)), ".txt")
        path = folder / f"{digest.hexdigest()}{suffix}"
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def _similar_files(path: Path) -> str:
    if not path.parent.is_dir():
        return f": {path.parent} is no folder"
    return _similar(path.name, sorted(file.name for file in path.parent.iterdir()), place=f" in {path.parent}")


def _similar(name: str, names: Sequence[str], place: str = "") -> str:
    lower = {other.lower(): other for other in names}
    near = [lower[other] for other in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.7)]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; the files{place} are {listed(names)}" if names else f"; there are no files{place}"
