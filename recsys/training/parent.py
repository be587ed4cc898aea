"""Processes and those that started them: they end together, and signals reach one of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def handled(signum: signal.Signals, handler: Callable[..., Any] | signal.Handlers) -> Iterator[None]:
    """Handle a signal so for a while; processes that are started meanwhile inherit `signal.SIG_IGN`.

    Only the main thread can; in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signum, handler)
    try:
        yield
    finally:
        signal.signal(signum, before)


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
