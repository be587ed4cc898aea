"""The end of a process, in time whatever it waits for: a timer that needs neither the event loop nor other threads."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from queue import Empty, SimpleQueue

from serve.process import logs

# The service has ended two seconds after `drain_seconds`. Of these:
ANSWER_SECONDS = 1.0  # for requests in flight, at most
WORKER_SECONDS = 1.3  # when a process that has not ended ends itself
KILL_SECONDS = 1.5  # when a worker that has not done so is killed


class Ending:
    """A thread that ends this process at a deadline, unless it has ended by then.

    Nothing is waited for but the log, for a moment: not for threads, which may hang in a read or a write. The thread is
    there from the start: a signal could not count on another one.

    Args:
        last: What to do before.
    """

    def __init__(self, last: Callable[[], object] | None = None) -> None:
        self._last = last
        self._ends: SimpleQueue[float] = SimpleQueue()  # whose `put` may be interrupted by a signal that puts, too
        threading.Thread(target=self._wait, name="end", daemon=True).start()

    def within(self, seconds: float) -> None:
        """End so many seconds from now, if no earlier deadline is set."""
        self._ends.put(time.monotonic() + seconds)

    def _wait(self) -> None:
        end = self._ends.get()
        with contextlib.suppress(Empty):
            while True:
                end = min(end, self._ends.get(timeout=max(end - time.monotonic(), 0)))
        leave(last=self._last)


def leave(status: int = 0, last: Callable[[], object] | None = None) -> None:
    """End this process now, as `Ending` does."""
    try:
        if last is not None:
            last()
        logs.finish(logs.EXIT_SECONDS)
    finally:
        os._exit(status)


def end_with_parent() -> None:
    """Let this worker stop, as by SIGTERM, once its parent is gone, which would have told it to."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def stop() -> None:
        wait([parent.sentinel])
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=stop, name="parent", daemon=True).start()
