"""Files that are whole or absent, and folders that one process at a time writes."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A partial file in the same folder, which takes the name `path` only once it is complete and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        partial.chmod(0o666 & ~_umask())  # mkstemp's 0600 would hide a run from the others of a team
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One JSON object, indented, whole or not at all.

    Raises:
        ValueError: A number in it is NaN or infinite, which JSON does not have.
    """
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


@contextmanager
def folder_lock(folder: Path, work: str) -> Iterator[None]:
    """Alone in the folder: waits for another process that holds it, and says so. A killed process holds nothing.

    Args:
        folder: Made if it is absent.
        work: What the other process may be doing there, for the log: "trains", "prepares the data".
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("another process %s in %s: waiting for it to end", work, folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a live process holds the folder."""
    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
