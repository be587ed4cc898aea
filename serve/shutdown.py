"""The end of a process, in time whatever it waits for: a timer that needs neither the event loop nor other threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from serve import logs

GRACE_SECONDS = 2.0  # after `drain_seconds`, when the service has ended
ANSWER_SECONDS = 1.0  # of these: for requests in flight, at most
WORKER_SECONDS = 1.5  # of these: when a worker that has not ended ends itself
KILL_SECONDS = 1.7  # of these: when it is killed


def end_within(seconds: float, status: int = 0, last: Callable[[], object] | None = None) -> None:
    """End this process after so many seconds, unless it has ended by then.

    Nothing is waited for but the log, for a moment: not for threads, which may hang in a read or a write.

    Args:
        seconds: From now.
        status: Exit status.
        last: What to do before.
    """
    end = time.monotonic() + seconds

    def wait() -> None:
        time.sleep(max(end - time.monotonic(), 0))
        leave(status, last)

    threading.Thread(target=wait, name="end", daemon=True).start()


def leave(status: int = 0, last: Callable[[], object] | None = None) -> None:
    """End this process now, as in `end_within`."""
    try:
        if last is not None:
            last()
        logs.finish(0.1)
    finally:
        os._exit(status)
