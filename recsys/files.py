"""Files that are whole or absent, and folders that one process at a time writes."""

from __future__ import annotations

import errno
import glob
import itertools
import json
import logging
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

log = logging.getLogger(__name__)

MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
LEFT = re.compile(r"\.(.+)\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(partial|former)")  # name, machine, process, kind
ABANDONED_SECONDS = 86_400  # after which a partial file of another machine is taken for one of a dead process
NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
LARGEST = 1 << 20  # bytes of a file of settings or figures; those of a run have a tenth of that at most
CURVE_BYTES = 16 << 20  # of a learning curve
HOLLOW = 100  # times its bytes on the disk that a file is long at most, beyond 100 MiB
DEEPEST, MOST_VALUES = 50, 50_000
TOO_DEEP = f"it is nested in more than {DEEPEST} levels"
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


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; anything else that has its name is refused at once and never waited for.

    Raises:
        OSError: It cannot be opened, or is a pipe, a device, a socket or a folder (EINVAL).
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):  # absent on Windows
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most: int, check: Callable[[os.stat_result], object] | None = None) -> bytes:
    """The content of a regular file, whatever has its name: what is opened is looked at, before anything is read.

    A pipe, a device, a socket or a folder in its place is refused at once and never waited for.

    Args:
        path: File to read.
        most: Size in bytes that it may have.
        check: Called with the status of the open file, and may raise.

    Raises:
        OSError: It cannot be read, is no regular file (EINVAL), or has more than `most` bytes (EFBIG).
    """
    with open_regular(path) as file:
        about = os.fstat(file.fileno())
        if check is not None:
            check(about)
        content = file.read(most + 1) if about.st_size <= most else b""
    if about.st_size > most or len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One JSON object, indented, whole or not at all.

    Raises:
        ValueError: A number in it is NaN or infinite, which JSON does not have.
        WriteError: The folder cannot be written to, or there is no space left.
    """
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None if there is no such file, or if it is damaged, which is logged."""
    try:
        content = parsed_json(path)
        if not isinstance(content, dict):
            raise ValueError(f"it must hold an object, not {type(content).__name__}")
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s is damaged (%s) and taken for missing", path, "it is empty" if _is_empty(path) else error)
        return None
    return content


def parsed_json(path: Path) -> Any:
    """The content of a file of figures.

    Raises:
        ValueError: It is no JSON, or larger or deeper than any file of a run.
    """
    try:
        content = json.loads(bounded(path))
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    level = [content] if _is_nested(content) else []
    for _ in range(DEEPEST + 1):
        if not level:
            return content
        level = [x for node in level for x in (node.values() if isinstance(node, dict) else node) if _is_nested(x)]
    raise ValueError(TOO_DEEP)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def checked_yaml(path: Path) -> str:
    """The text of a file of settings, which a parser can take without harm.

    Raises:
        ValueError: It is no YAML, has aliases, which may stand for more than memory holds, or is larger or deeper than
            any file of a run.
    """
    import yaml  # type: ignore[import-untyped]  # here: the service has no such package

    text, depth = bounded(path).decode(), 0
    try:
        for number, event in enumerate(yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"line {event.start_mark.line + 1} has an alias, *{event.anchor}")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError(TOO_DEEP)
            if number > MOST_VALUES:
                raise ValueError(f"it has more than {MOST_VALUES:,} values")
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    return text


def bounded(path: Path, most: int = LARGEST) -> bytes:
    """The content of a file of a run.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is no regular file, or has more bytes than `most`.
    """
    try:
        return read_regular(path, most)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ValueError(f"it has more than {most >> 20} MiB") from error
        if error.errno in (errno.EINVAL, errno.EISDIR, errno.ENXIO):
            raise ValueError("it is not a file") from error
        raise


def is_hollow(path: Path) -> bool:
    """Whether a file is mostly a hole: to read it would take longer than anything that is in it."""
    about = path.stat()
    blocks = getattr(about, "st_blocks", None)
    if blocks is None or about.st_size <= HOLLOW * (1 << 20) + HOLLOW * 512 * blocks or not hasattr(os, "SEEK_HOLE"):
        return False
    with open_regular(path) as file:
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < about.st_size


def _is_empty(path: Path) -> bool:
    return not path.stat().st_size


def foreign_names(folder: Path) -> Iterator[str]:
    """What is wrong with names in the folder, at any depth, that stand for files elsewhere, or for no files at all.

    A command that writes its files under such names would change what lies outside.
    """
    root, links = Path(os.path.realpath(folder)), Counter[tuple[int, int]]()
    several: dict[tuple[int, int], tuple[Path, int]] = {}
    for top, folders, files in os.walk(folder):
        for path in (Path(top, name) for name in (*folders, *files)):
            about = path.lstat()
            if stat.S_ISLNK(about.st_mode):
                if not Path(os.path.realpath(path)).is_relative_to(root):
                    yield f"{path} is a link to {os.path.realpath(path)}"
            elif stat.S_ISREG(about.st_mode):
                if about.st_nlink > 1:
                    links[about.st_dev, about.st_ino] += 1
                    several[about.st_dev, about.st_ino] = path, about.st_nlink
            elif not stat.S_ISDIR(about.st_mode):
                yield f"{path} is no file"
    for key, (path, names) in several.items():
        if names > links[key]:
            yield f"{path} is another name of a file elsewhere"


def new_folder(path: Path) -> Path:
    """Make the folder, or if its name is taken the first free one of `path-2`, `path-3`, ….

    Two processes never get the same.

    Raises:
        WriteError: It cannot be made.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir()
                break
    return folder


@contextmanager
def folder_lock(folder: Path, work: str) -> Iterator[None]:
    """Alone in the folder: waits for another process that holds it, and says so. A killed process holds nothing.

    Partial files that killed processes left in it are removed.

    Args:
        folder: Made if it is absent.
        work: What the other process may be doing there, for the log: "trains", "prepares the data".
    """
    from filelock import FileLock, Timeout  # here: the service, which has no such package, writes files too

    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("another process %s in %s: waiting for it to end", work, folder)
        lock.acquire()
    except OSError as error:
        raise WriteError(folder, error) from error
    try:
        remove_abandoned(folder)
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a live process holds the folder."""
    from filelock import FileLock, Timeout

    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True
