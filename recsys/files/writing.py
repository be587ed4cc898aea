"""Files and folders that are whole or absent."""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
import re
import secrets
import shutil
import sys
import time
import zlib
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
LEFT = re.compile(r"\.(.+)\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(partial|former)")  # name, machine, process, kind
ABANDONED_SECONDS = 86_400  # after which a partial file of another machine is taken for one of a dead process
NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
ANY = frozenset((None, *errno.errorcode))

_writing: set[Path] = set()  # what this process writes or exchanges


class WriteError(OSError):
    """A file or folder cannot be written; what had its name before is left as it was."""

    def __init__(self, path: Path, error: OSError) -> None:
        reason = os.strerror(error.errno) if error.errno else str(error)
        self.sentence = f"cannot write {path}: {reason}{'; free some space' if error.errno in NO_SPACE else ''}"
        super().__init__(error.errno or 0, reason, str(path))

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[Any, ...]:  # else it could not be sent between processes
        return WriteError, (Path(self.filename), OSError(self.errno, self.strerror))


@contextmanager
def write_errors(path: Path, errors: Container[int | None] = ANY) -> Iterator[None]:
    """Raise the operating system's errors, those of these numbers, as a WriteError that names the path."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        if error.errno not in errors:
            raise
        raise WriteError(path, error) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A partial file in the same folder, which takes the name `path` only once it is complete and on disk.

    Its mode follows the umask. A symbolic link stays one: the file that it names is replaced.

    Raises:
        WriteError: The folder cannot be written to, or there is no space left.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    with _partial(path) as partial:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        with write_errors(path, NO_SPACE):
            yield partial
        with write_errors(path):
            sync(partial)
            partial.replace(path)
            sync(path.parent)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, removed in the end; see `remove_abandoned` for when this process is killed."""
    with _partial(path) as folder:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        yield folder


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, which takes its name only once it is complete and on disk; see `atomic_write`.

    What is at `path` before, a folder or a link to one, is removed.
    """
    with scratch_folder(path) as partial:
        with write_errors(path, NO_SPACE):
            yield partial
        with write_errors(path):
            for file in partial.iterdir():
                sync(file)
            sync(partial)
            if path.is_symlink() or path.exists():
                former = path.with_name(f".{path.name}.{_owner()}.former")
                _writing.add(former)
                path.rename(former)
                try:
                    partial.rename(path)
                except BaseException:
                    former.rename(path)
                    raise
                _remove(former)
                _writing.discard(former)
            else:
                partial.rename(path)
            sync(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder, if there is one; it loses its name at once, so that nobody ever finds half of it.

    Raises:
        WriteError: It cannot be removed.
    """
    with _partial(path) as partial, write_errors(path), suppress(FileNotFoundError):
        path.rename(partial)
        sync(path.parent)
        shutil.rmtree(partial)


def _owner() -> str:
    """Machine and process, and what makes a name of it free."""
    return f"{MACHINE}-{os.getpid()}-{secrets.token_hex(4)}"


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A free name beside `path` that tells who writes; what has it at the end is removed.

    So is what killed processes of this machine left of writing the same: nobody may ever lock the folder.
    """
    for left in path.parent.glob(f".{glob.escape(path.name[:50])}.{MACHINE}-*"):
        _remove_if_abandoned(left)
    partial = path.with_name(f".{path.name[:50]}.{_owner()}.partial")
    _writing.add(partial)
    try:
        yield partial
    finally:
        with suppress(OSError):  # else it would hide why the writing failed
            _remove(partial)
        _writing.discard(partial)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    is_folder = path.is_dir()
    if is_folder and sys.platform == "win32":  # where a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if not is_folder or error.errno != errno.EINVAL:  # some file systems cannot do it with a folder
            raise
    finally:
        os.close(handle)


def remove_abandoned(folder: Path) -> None:
    """Remove the partial files in the folder, and in the folders in it, whose process is gone.

    A folder that was about to be exchanged gets its name back. For the process that holds the folder's lock.
    """
    for path in (*folder.glob(".*"), *folder.glob("*/.*")):
        _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    found = LEFT.fullmatch(path.name)
    if found is None or not _is_abandoned(path, found[2], int(found[3])):
        return
    with suppress(OSError):
        if found[4] == "former" and not path.with_name(found[1]).exists():
            path.rename(path.with_name(found[1]))
        else:
            _remove(path)


def _is_abandoned(path: Path, machine: str, process: int) -> bool:
    if path in _writing:
        return False
    if machine == MACHINE and (process == os.getpid() or not _is_alive(process)):
        return True
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > ABANDONED_SECONDS
    return False


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One JSON object, indented, whole or not at all.

    Raises:
        ValueError: A number in it is NaN or infinite, which JSON does not have.
        WriteError: The folder cannot be written to, or there is no space left.
    """
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
