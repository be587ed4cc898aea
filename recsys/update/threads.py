"""Work of NumPy's in as many threads as there are cores: samples and users do not depend on each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Result = TypeVar("Result")


def in_threads(function: Callable[[T], Result], over: Iterable[T]) -> list[Result]:
    """The function's results, in order. NumPy lets threads run beside each other where it computes."""
    given = list(over)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if min(len(given), cores) < 2:
        return [function(one) for one in given]
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(function, given))
