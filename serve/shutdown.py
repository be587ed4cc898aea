"""The end of a process, in time whatever it waits for: a timer that needs neither the event loop nor other threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait

from serve import logs

# The service has ended two seconds after `drain_seconds`. Of these:
ANSWER_SECONDS = 1.0  # for requests in flight, at most
WORKER_SECONDS = 1.3  # when a process that has not ended ends itself
KILL_SECONDS = 1.5  # when a worker that has not done so is killed


def end_within(seconds: float, status: int = 0, last: Callable[[], object] | None = None) -> None:
    """End this process after so many seconds, unless it has ended by then.

    Nothing is waited for but the log, for a moment: not for threads, which may hang in a read or a write.

    Args:
        seconds: From now.
        status: Exit status.
        last: What to do before.
    """
    end = time.monotonic() + seconds

    def end_late() -> None:
        time.sleep(max(end - time.monotonic(), 0))
        leave(status, last)

    threading.Thread(target=end_late, name="end", daemon=True).start()


def leave(status: int = 0, last: Callable[[], object] | None = None) -> None:
    """End this process now, as in `end_within`."""
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
