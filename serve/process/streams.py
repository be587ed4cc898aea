"""A text stream that never waits: a thread writes, and what does not fit into its queue is dropped and counted."""

from __future__ import annotations

import contextlib
import io
import os
import select
import threading
from queue import Empty, SimpleQueue

MOST_BYTES = 1 << 20  # that wait to be written
BATCH_BYTES = 1 << 16  # of a write
GATHER_SECONDS = 0.02  # for which lines gather before they are written: one write, and one switch of threads


class QueuedStream(io.TextIOBase):
    """Writes to a descriptor that may be a pipe whose reader has stalled or is gone, or a file on a full disk.

    Args:
        descriptor: Where to write; None drops everything.
        most_bytes: Bound of what waits.
        notice: Line for the reader, once it is back, with two places for the number of lines that were dropped.
    """

    def __init__(self, descriptor: int | None, *, most_bytes: int = MOST_BYTES, notice: str | None = None) -> None:
        self.dropped = 0
        self._descriptor, self._most_bytes, self._notice = descriptor, most_bytes, notice
        self._told = 0  # of `dropped`
        self._counting = threading.RLock()  # a signal may log while the thread it interrupts does
        self._waiting: SimpleQueue[bytes | threading.Event] = SimpleQueue()  # signals may interrupt its `put`, too
        self._bytes = 0  # in the queue, about: threads may race, and an empty queue sets it right
        self._hurry = threading.Event()
        if descriptor is not None:
            threading.Thread(target=self._write_for_ever, name="log writer", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._descriptor is None:
            raise OSError("the stream is closed")
        return self._descriptor

    def isatty(self) -> bool:
        return self._descriptor is not None and os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        """Queue the text, or drop it if too much waits already."""
        content = text.encode(errors="backslashreplace")
        if self._descriptor is None or self._bytes + len(content) > self._most_bytes:
            self.drop()
        elif content:
            self._bytes += len(content)
            self._waiting.put(content)
        return len(text)

    def flush(self) -> None:
        """Nothing: waiting is what this stream is not for."""

    def drop(self, lines: int = 1) -> None:
        """Count lines that are lost."""
        with self._counting:
            self.dropped += lines

    def finish(self, seconds: float) -> bool:
        """Wait until all of it is written, for so long at most. Returns whether it is."""
        if self._descriptor is None:
            return True
        self._hurry.set()
        reached = threading.Event()
        self._waiting.put(reached)
        return reached.wait(max(seconds, 0))

    def _write_for_ever(self) -> None:
        while True:
            one = self._waiting.get()
            self._hurry.wait(GATHER_SECONDS)
            lines: list[bytes] = []
            size = 0
            with contextlib.suppress(Empty):
                while not isinstance(one, threading.Event):
                    lines.append(one)
                    size += len(one)
                    if size >= BATCH_BYTES:
                        break
                    one = self._waiting.get_nowait()
            self._bytes = 0 if self._waiting.empty() else self._bytes - size
            if not lines or self._written(b"".join(lines)):
                self._tell()
            else:
                self.drop(len(lines))
            if isinstance(one, threading.Event):
                one.set()

    def _tell(self) -> None:
        lost = self.dropped - self._told
        if lost and self._notice is not None and self._written((self._notice % (lost, lost)).encode()):
            self._told += lost

    def _written(self, content: bytes) -> bool:
        """Write all of it, waiting as long as it takes; False if the reader is gone, or the disk is full."""
        assert self._descriptor is not None
        while content:
            try:
                content = content[os.write(self._descriptor, content) :]
            except BlockingIOError:  # somebody made the descriptor so
                with contextlib.suppress(OSError, ValueError):
                    select.select([], [self._descriptor], [], 1)
            except OSError:
                return False
        return True
