"""Answers that take long are computed beside the event loop, one at a time: nobody else waits for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from starlette.types import Scope

from serve.api_error import ApiError
from serve.http.load import BESIDE, Load
from serve.process.deadlines import Deadlines, Overdue

LONG = 1_000_000_000  # multiplications, or what takes as long: about a tenth of a second
MOST_WAITING = 8  # answers, the one that is computed included

P = ParamSpec("P")
T = TypeVar("T")


class Beside:
    """A thread for each long answer, and a queue before it that is not the queue of all others.

    NumPy leaves the interpreter to the event loop while it computes.

    Args:
        load: Of this worker, which does not count who waits here.
    """

    def __init__(self, load: Load) -> None:
        self.load = load
        self.waiting = 0
        self._turn = asyncio.Lock()
        self._threads = Deadlines(most=2)  # one may be left of a request that was broken off

    async def computed(self, scope: Scope, work: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises.

        Args:
            scope: Of the request.
            work: Multiplications that it takes; few enough are done at once.
            function: What to call.
            *args: Its arguments.
            **kwargs: Its arguments.

        Raises:
            ApiError: 503, too many wait already.
        """
        if work < LONG:
            return function(*args, **kwargs)
        if self.waiting >= MOST_WAITING:
            raise _full(self.load)
        self.waiting += 1
        try:
            with self.aside(scope):
                async with self._turn:
                    return await self._threads.awaited(None, function, *args, **kwargs)
        except Overdue:
            raise _full(self.load) from None
        finally:
            self.waiting -= 1

    @contextlib.contextmanager
    def aside(self, scope: Scope) -> Iterator[None]:
        """Count a request out of the load while it waits for what the event loop does not compute."""
        scope.setdefault("state", {})[BESIDE] = True
        self.load.in_flight -= 1
        try:
            yield
        finally:
            self.load.in_flight += 1


def _full(load: Load) -> ApiError:
    load.shed["long"] += 1
    return ApiError(503, "overloaded", "too many requests at once that take long; try again")
