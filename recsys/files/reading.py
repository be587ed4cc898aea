"""Files of a stranger, read within limits of kind, size and depth."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 1 << 20  # of a file of settings or figures; those of a run have a tenth of that at most
MAX_CURVE_BYTES = 16 << 20  # of a learning curve
HOLLOW = 100  # times its bytes on the disk that a file is long at most, beyond 100 MiB
DEEPEST, MOST_VALUES = 50, 50_000
TOO_DEEP = f"it is nested in more than {DEEPEST} levels"


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


def openness(status: os.stat_result, others: int) -> str | None:
    """What is wrong with the mode of a secret file; None if nobody has a right of `others`, the bits of a mode."""
    mode = stat.S_IMODE(status.st_mode)
    return f"must be closed to others, not {mode:04o}: chmod 600" if os.name == "posix" and mode & others else None


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bounded(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
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


def _is_empty(path: Path) -> bool:
    return not path.stat().st_size


def parsed_json(path: Path) -> Any:
    """The content of a file of figures.

    Raises:
        ValueError: It is no JSON, or larger or deeper than any file of a run.
    """
    try:
        content = json.loads(read_bounded(path))
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

    text, depth = read_bounded(path).decode(), 0
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


def is_hollow(path: Path) -> bool:
    """Whether a file is mostly a hole: to read it would take longer than anything that is in it."""
    about = path.stat()
    blocks = getattr(about, "st_blocks", None)
    if blocks is None or about.st_size <= HOLLOW * (1 << 20) + HOLLOW * 512 * blocks or not hasattr(os, "SEEK_HOLE"):
        return False
    with open_regular(path) as file:
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < about.st_size
