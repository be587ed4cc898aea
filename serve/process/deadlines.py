"""Calls that may never return, such as reads of a file system that hangs: waited for so long, and no longer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Overdue(Exception):  # noqa: N818  it is no error of what was called
    """A call did not return in time; nobody waits for it any more."""


class Deadlines:
    """Each call has a daemon thread of its own: one that hangs holds neither the next call nor the end of the process.

    Args:
        most: Threads at once, those that hang included; beyond it, calls are overdue at once.
    """

    def __init__(self, most: int = 4) -> None:
        self._free = threading.BoundedSemaphore(most)

    def call(self, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises.

        Args:
            seconds: To wait for it.
            function: What to call.
            *args: Its arguments.
            **kwargs: Its arguments.

        Raises:
            Overdue: It took longer, and goes on without anybody who waits for it.
        """
        future = self._start(function, args, kwargs)
        try:
            return future.result(seconds)
        except TimeoutError:
            if future.done():  # the function's own
                return future.result()
            raise Overdue from None

    async def awaited(self, seconds: float | None, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `call`, for a coroutine; with None for seconds, however long it takes."""
        future = asyncio.wrap_future(self._start(function, args, kwargs))
        # Of one that is overdue, or whose caller was cancelled, an error would be logged.
        future.add_done_callback(lambda late: late.cancelled() or late.exception())
        done, _ = await asyncio.wait([future], timeout=seconds)
        if not done:
            raise Overdue
        return future.result()

    def _start(self, function: Callable[..., T], args: Any, kwargs: Any) -> Future[T]:
        if not self._free.acquire(blocking=False):
            raise Overdue
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # so that whoever no longer waits cannot cancel it

        def run() -> None:
            try:
                found = function(*args, **kwargs)
            except BaseException as error:
                self._free.release()
                future.set_exception(error)
            else:
                self._free.release()
                future.set_result(found)

        try:
            threading.Thread(target=run, name="call", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._free.release()
            raise
        return future
