"""Calls that do not return hold nobody."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from serve.process.deadlines import Deadlines, Overdue


def test_what_is_returned_or_raised_comes_through() -> None:
    deadlines = Deadlines()
    assert deadlines.call(10, divmod, 7, 2) == (3, 1)
    assert asyncio.run(deadlines.awaited(10, divmod, 7, 2)) == (3, 1)
    for error in (KeyError("x"), TimeoutError("its own"), SystemExit(3)):

        def fail(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            deadlines.call(10, fail)
        if not isinstance(error, SystemExit):
            with pytest.raises(type(error)):
                asyncio.run(deadlines.awaited(10, fail))


def test_what_hangs_is_left_and_bounded_in_number() -> None:
    deadlines, go_on = Deadlines(most=2), threading.Event()
    start = time.monotonic()
    with pytest.raises(Overdue):
        deadlines.call(0.02, go_on.wait)
    assert deadlines.call(10, divmod, 7, 2) == (3, 1)  # beside the one that hangs
    with pytest.raises(Overdue):
        asyncio.run(deadlines.awaited(0.02, go_on.wait))
    threads = threading.active_count()
    for _ in range(10):
        with pytest.raises(Overdue):
            deadlines.call(10, divmod, 7, 2)
    assert threading.active_count() == threads
    assert time.monotonic() - start < 5
    go_on.set()
    while threading.active_count() > threads - 2:
        time.sleep(0.001)
    assert deadlines.call(10, divmod, 7, 2) == (3, 1)


def test_an_error_after_the_caller_has_gone_is_nobodys() -> None:
    """A client that ended a download early left `Future exception was never retrieved` in the log."""
    deadlines, go_on, logged = Deadlines(), threading.Event(), list[str]()

    def fail() -> None:
        go_on.wait(10)
        raise OSError(9, "Bad file descriptor")

    async def gone() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: logged.append(context["message"]))
        waiting = asyncio.ensure_future(deadlines.awaited(10, fail))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        await asyncio.sleep(0.05)
        gc.collect()

    asyncio.run(gone())
    assert logged == []


def test_a_thread_that_cannot_start_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines = Deadlines(most=1)

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="new thread"):
        deadlines.call(10, divmod, 7, 2)
    monkeypatch.undo()
    assert deadlines.call(10, divmod, 7, 2) == (3, 1)
