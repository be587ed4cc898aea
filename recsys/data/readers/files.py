"""Which files are meant by a path, glob, archive or standard input."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from recsys.data.errors import DataError, listed
from recsys.data.readers.archives import ZIP, chosen_members, is_archive, only_member, similar
from recsys.data.readers.format import SourceFile
from recsys.data.readers.limits import MOST_FILES, MOST_SEEN
from recsys.data.readers.streams import BZIP2, CHUNK, GZIP, XZ, ZSTD
from recsys.files import cache_folder

STANDARD_INPUT = "-"
SUFFIXES = {b"PAR1": ".parquet", b"ARROW1": ".arrow", GZIP: ".gz", ZSTD: ".zst", BZIP2: ".bz2", XZ: ".xz", ZIP: ".zip"}
LEFT_FREE = 0.05  # share of a disk that standard input does not fill


def expand(root: Path | None, text: str | Sequence[str], max_bytes: int | None = None) -> list[SourceFile]:
    """Files that a path, a glob, a list of those, or "-" means; globs in alphabetical order.

    A folder with files `part-*`, as Spark writes a table, means these. `**` does not follow links.

    Args:
        root: Folder that relative paths are in; None for the current one.
        text: Such as `ratings.csv`, `ratings/*.parquet`, `archive.zip`, `archive.zip/ratings.csv`, or "-" for standard
            input, which is kept in the cache.
        max_bytes: Bytes that each file may hold when unpacked; None: see `limits`.

    Raises:
        DataError: There is no such file, or there are too many; names similar ones.
    """
    if not text:
        raise DataError("a list of files must not be empty")
    parts = [text] if isinstance(text, str) else text
    found = [file for part in parts for file in _expanded(root, part)]
    if len(found) > MOST_FILES:
        raise DataError(f"at most {MOST_FILES:,} files are read together, got {len(found):,}")
    return [replace(file, max_bytes=max_bytes, of=len(found)) for file in found]


def _expanded(root: Path | None, text: str) -> list[SourceFile]:
    if text == STANDARD_INPUT:
        return [_member_of(SourceFile(_spooled()))]
    path = Path(text).expanduser()
    path = path if root is None else root / path
    if path.is_file():
        return [_member_of(SourceFile(path))]
    for parent in path.parents:
        if parent.is_file() and zipfile.is_zipfile(parent):
            return [SourceFile(parent, name) for name in chosen_members(parent, path.relative_to(parent).as_posix())]
    if glob.has_magic(text):
        pattern = str(path) if root is None else str(Path(glob.escape(str(root))) / Path(text).expanduser())
        names = list(islice((name for name in _matches(pattern) if Path(name).is_file()), MOST_FILES + 1))
        if len(names) > MOST_FILES:
            raise DataError(f"{path}: at most {MOST_FILES:,} files are read together, and more match")
        if not names:
            raise DataError(f"no file matches {path}{_similar_files(path)}")
        return [_member_of(SourceFile(Path(name))) for name in sorted(set(names))]
    if path.is_dir():
        if parts := sorted(part for part in path.glob("part-*") if part.is_file()):  # as Spark writes a table
            return [_member_of(SourceFile(part)) for part in parts]
        names = sorted(file.name for file in islice(path.iterdir(), MOST_FILES) if file.is_file())
        suffixes = Counter(Path(name).suffix for name in names if not name.startswith((".", "_")))
        suffix, several = suffixes.most_common(1)[0] if suffixes else ("", 0)
        hint = f"; '{text.rstrip('/')}/*{suffix}' means all of one kind" if several > 1 else ""
        raise DataError(f"{path} is a folder, not a file; it has {listed(names) or 'no files'}{hint}")
    if path.exists():
        kind = "a pipe" if stat.S_ISFIFO(path.stat().st_mode) else "a device or a socket"
        raise DataError(f"{path} is {kind}, not a file; to read a stream, redirect it to standard input: - < {path}")
    raise DataError(f"{path}: no such file{_similar_files(path)}")


def _member_of(file: SourceFile) -> SourceFile:
    """The file, or the only member with data of an archive."""
    try:
        if is_archive(file.path):
            return replace(file, member=only_member(file))
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    return file


def _matches(pattern: str) -> Iterator[str]:
    """Paths that match a glob: as `glob.iglob` has them, but that `**` neither follows links nor goes on for ever."""
    head, stars, tail = pattern.partition("**")
    if not stars or not (head.endswith(os.sep) or not head) or not (tail.startswith(os.sep) or not tail):
        yield from glob.iglob(pattern)  # noqa: PTH207
        return
    seen = 0
    for top in glob.iglob(head or "."):  # noqa: PTH207
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            seen += len(folders) + len(names)
            if seen > MOST_SEEN:
                raise DataError(f"{pattern}: more than {MOST_SEEN:,} names are below {top}; name a folder in it")
            yield from glob.iglob(glob.escape(folder) + (tail or f"{os.sep}*"))  # noqa: PTH207


def _spooled() -> Path:
    """Standard input as a file of the cache, named by its SHA-256."""
    folder = cache_folder() / "stdin"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix=".stdin-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as copy:
            first = b""
            while data := sys.stdin.buffer.read(CHUNK):
                first = first or data[:8]
                if (disk := shutil.disk_usage(folder)).free < LEFT_FREE * disk.total:
                    raise DataError(f"standard input has filled all but {LEFT_FREE:.0%} of the disk of {folder}")
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
    names = sorted(file.name for file in islice(path.parent.iterdir(), MOST_FILES))
    return similar(path.name, names, place=f" in {path.parent}")
