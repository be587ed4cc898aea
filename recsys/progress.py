"""Progress of long work: one line on a terminal, with the time that remains; nothing in a log file.

And what of a text may be printed, and what becomes of all that is printed once nobody reads it.
"""

from __future__ import annotations

import io
import math
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

DELAY = 2.0  # seconds of work before a line shows
REFRESH_SECONDS = 0.1  # between two pictures of it
_hidden = ContextVar("hidden", default=False)


class Advance(Protocol):
    """Reports that `steps` more are done, and what the end of the line says from now on."""

    def __call__(self, steps: float = 1, status: str | None = None) -> None: ...


def printable(text: str) -> str:
    """The text as one printable line: no control characters, which would reach the terminal, no lone surrogates."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def tolerate_closed_output() -> None:
    """Lose what is printed where nobody reads it: after `| head -1` has gone, or without an output (`>&-`).

    Otherwise a run would end with an error in the middle of its work. Other errors, as of a full disk, stay.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  (to the end)
        elif isinstance(stream, io.TextIOWrapper) and _is_pipe(stream):
            stream.flush()
            pipe = io.BufferedWriter(_Pipe(stream.fileno(), "wb", closefd=False))
            lines = stream.line_buffering or stream.write_through
            tolerant = io.TextIOWrapper(pipe, stream.encoding, stream.errors, line_buffering=lines)
            setattr(sys, name, tolerant)


class _Pipe(io.FileIO):
    """A pipe that takes what is written after its reader has gone."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _is_pipe(stream: io.TextIOWrapper) -> bool:
    if isinstance(getattr(stream.buffer, "raw", None), _Pipe):
        return False  # is tolerant already
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):  # none of the operating system's
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextmanager
def progress(label: str, total: float | None, *, delay: float = DELAY, in_bytes: bool = False) -> Iterator[Advance]:
    """Show how far the work of a `with` block is, once it has taken `delay` seconds.

    The line goes to standard error and is cleared at the end. Nothing shows unless that is a terminal and rich is
    installed.

    Args:
        label: What is being done, at the beginning of the line.
        total: Number of steps; None if it is not known, and then neither is the time that remains.
        delay: Seconds of work before the line shows.
        in_bytes: Steps are bytes.
    """
    if _hidden.get() or not sys.stderr.isatty():
        yield lambda *_, **__: None
        return
    line = _Line(label, total, time.monotonic() + delay, in_bytes=in_bytes)
    with hidden():  # whatever is nested: one line says enough
        try:
            yield line.advance
        finally:
            line.close()


def track(items: Sequence[T], label: str) -> Iterator[T]:
    """Iterate over `items` and show how many are done."""
    with progress(label, len(items)) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def hidden() -> Iterator[None]:
    """Show no progress of the work of a `with` block."""
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)


class _Line:
    def __init__(self, label: str, total: float | None, start: float, *, in_bytes: bool) -> None:
        self.label, self.total, self.in_bytes = label, total, in_bytes
        self.done, self.status = 0.0, ""
        self.next = start  # time of the next picture
        self.bar: Any = None

    def advance(self, steps: float = 1, status: str | None = None) -> None:
        self.done += steps
        self.status = self.status if status is None else status
        if time.monotonic() < self.next:
            return
        if self.bar is None and not self._show():
            self.next = math.inf
            return
        self.bar.update(self.bar.task_ids[0], completed=self.done, status=self.status, refresh=True)
        self.next = time.monotonic() + REFRESH_SECONDS

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()

    def _show(self) -> bool:
        """Whether there is a line now: rich comes with the `train` extra."""
        try:
            from rich import progress as rich
            from rich.console import Console
        except ImportError:
            return False
        self.bar = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=20),
            rich.DownloadColumn() if self.in_bytes else rich.TaskProgressColumn(),
            rich.TimeRemainingColumn(),
            rich.TextColumn("left"),
            rich.TextColumn("{task.fields[status]}"),  # the first to be cut where the terminal is narrow
            console=Console(file=sys.stderr),
            transient=True,
            auto_refresh=False,  # by a thread, which would not survive a fork
            redirect_stdout=sys.stdout.isatty(),  # never from a file: it would go to standard error
        )
        self.bar.add_task(self.label, total=self.total, status=self.status)
        self.bar.start()
        return True
