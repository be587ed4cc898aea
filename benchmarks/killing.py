"""Kill a process, and all that it started, at a moment that is chosen from outside."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

LOOK = 0.0005  # seconds between two looks at the process


def killed(process: int, is_alive: Callable[[], bool], is_due: Callable[[], bool]) -> bool:
    """Wait until the process ends or is due, and then kill it. Returns whether it was killed.

    Args:
        process: Id of the process, which leads a session of its own.
        is_alive: Whether it still runs.
        is_due: Whether the moment has come; called every `LOOK` seconds.
    """
    while is_alive():
        if is_due():
            try:
                os.killpg(process, signal.SIGKILL)
            except ProcessLookupError:  # in its first milliseconds it leads no session yet, and has started nothing
                os.kill(process, signal.SIGKILL)
            return True
        time.sleep(LOOK)
    return False


def after(seconds: float) -> Callable[[], bool]:
    """A moment so many seconds from now."""
    moment = time.monotonic() + seconds
    return lambda: time.monotonic() >= moment
