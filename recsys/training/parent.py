"""Processes that end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import sys


def exit_with_parent() -> None:
    """Terminate this process when its parent dies, even by SIGKILL and during a computation.

    When the parent dies, its end of a pipe is closed, which raises SIGIO here; the default action terminates the
    process. On Windows, which has no SIGIO, a worker exits after its current job, when it cannot reply.
    """
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform == "win32":
        return
    import fcntl

    fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    if not parent.is_alive():  # died before this took effect
        sys.exit(1)
