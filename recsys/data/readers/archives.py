"""Members of zip archives; what an archive claims is looked at before it is read."""

from __future__ import annotations

import difflib
import glob
import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from recsys.data.errors import DataError, listed
from recsys.data.readers.format import SourceFile
from recsys.data.readers.limits import MOST_MEMBERS, MOST_READ_MEMBERS
from recsys.files import open_regular

ZIP = b"PK\x03\x04"
EXCEL_MEMBERS = ("[Content_Types].xml", "content.xml")  # of .xlsx and .ods, which are zip archives too
NO_DATA = (".txt", ".md", ".pdf", ".html", ".rst", ".license")  # members of an archive that explain the others
DAMAGED = (OSError, EOFError, RuntimeError, NotImplementedError, MemoryError,
           zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error)  # fmt: skip
END, END64, LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
LARGEST_DIRECTORY = 160 * MOST_MEMBERS  # bytes


def is_archive(path: Path) -> bool:
    with open_regular(path) as raw:
        return raw.read(4) == ZIP


def only_member(file: SourceFile) -> str | None:
    """The only member with data of an archive; None for an Excel file."""
    members = member_names(file.path)
    if any(name in members for name in EXCEL_MEMBERS):
        return None
    data = [name for name in members if not name.lower().endswith(NO_DATA)] or members
    if len(data) != 1:
        raise DataError(
            f"{file.path}: an archive with {len(data)} files; name one, such as {file.path.name}/{(data or ['…'])[0]}: "
            f"it has {listed(members) or 'no files'}"
        )
    return data[0]


def chosen_members(archive: Path, member: str) -> list[str]:
    """Members of an archive with this name or glob."""
    members = member_names(archive)
    if member in members:
        return [member]
    found = [name for name in members if Path(name).match(member)] if glob.has_magic(member) else []
    if not found:
        raise DataError(f"{archive} has no member {member!r}{similar(member, members)}")
    if len(found) > MOST_READ_MEMBERS:
        raise DataError(f"{archive}: at most {MOST_READ_MEMBERS:,} members are read, got {len(found):,}; unpack it")
    return found


def member_names(archive: Path) -> list[str]:
    """Names of the files in an archive, without those that hold no data.

    Raises:
        DataError: It cannot be read, has too many members, or members that share bytes.
    """
    try:
        with open_regular(archive) as raw, _opened(raw) as file:
            given = file.infolist()
            packed = sum(item.compress_size for item in given)
            if packed > archive.stat().st_size:
                raise zipfile.BadZipFile(f"its members claim {packed:,} bytes of {archive.stat().st_size:,}")
            names = [item.filename for item in given if not item.is_dir()]
    except DAMAGED as error:
        raise DataError(f"{archive}: cannot be read or decompressed: {error}") from error
    return sorted(name for name in names if not name.startswith("__MACOSX/") and not Path(name).name.startswith("."))


def member_stream(raw: BinaryIO, member: str) -> BinaryIO:
    """The bytes of a member of an open archive.

    Raises:
        KeyError: There is no such member.
    """
    return cast(BinaryIO, _opened(raw).open(member))


def no_member(file: SourceFile) -> DataError:
    near = similar(file.member or "", member_names(file.path))
    return DataError(f"{file.path} has no member {file.member!r}{near}")


def similar(name: str, names: Sequence[str], place: str = "") -> str:
    """The end of a message that names files with similar names, or the first ones."""
    lower = {other.lower(): other for other in names[:MOST_READ_MEMBERS]}
    near = [lower[other] for other in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.7)]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; the files{place} are {listed(names)}" if names else f"; there are no files{place}"


def _opened(raw: BinaryIO) -> zipfile.ZipFile:
    """The archive, unless the directory at its end is larger than any: Python reads that whole, whatever its size."""
    size = raw.seek(0, 2)
    start = raw.seek(max(0, size - (1 << 16) - 64))
    tail = raw.read()
    place = tail.rfind(END)
    if place >= 0 and len(tail) - place >= 22:
        members, directory = struct.unpack("<HI", tail[place + 10 : place + 16])
        if place >= 20 and tail[place - 20 :].startswith(LOCATOR64):  # of more than 65,535 members or 4 GiB
            before = struct.unpack("<Q", tail[place - 12 : place - 4])[0] if start + place else 0
            for begin in {before, start + place - 20 - 56}:  # where it says, and where Python looks
                raw.seek(min(begin, size))
                record = raw.read(56)
                if record.startswith(END64):
                    members = max(members, struct.unpack("<Q", record[32:40])[0])
                    directory = max(directory, struct.unpack("<Q", record[40:48])[0])
        for what, found, most in (("members", members, MOST_MEMBERS), ("bytes of names", directory, LARGEST_DIRECTORY)):
            if found > most:
                raise zipfile.BadZipFile(f"it has {found:,} {what}, more than {most:,}; unpack it")
    raw.seek(0)
    return zipfile.ZipFile(raw)
