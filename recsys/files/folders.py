"""Folders that one process at a time makes or writes, and whose names stand for nothing outside them."""

from __future__ import annotations

import itertools
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recsys.files.writing import WriteError, remove_abandoned, write_errors

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The user's cache: `$RECSYS_CACHE`, else `$XDG_CACHE_HOME/recsys`, else `~/.cache/recsys`."""
    if own := os.environ.get("RECSYS_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "recsys"


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
