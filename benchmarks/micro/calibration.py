"""Fixed work that says how fast this machine is at this moment: what the benchmarks' times are divided by.

Three kernels stress what recsys stresses: lookups all over memory, small products of matrices, and the interpreter.
None of them calls recsys, so that a change in it moves the benchmarks alone.

The clock counts the processor's seconds spent in this process, here and in the benchmarks. Whoever else is running
takes turns with it and halves its speed on the wall clock, but hardly changes these. What they leave out is waiting,
for the disk or for a lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import geometric_mean

import numpy as np
import torch

CLOCK = time.process_time
REPEATS = 3


class Calibration:
    """The kernels, and what they work on, made once so that only the work is timed."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.table = random.random((1 << 14, 64), dtype=np.float32)  # 4 MB: more than a core's own cache
        self.rows = random.integers(0, len(self.table), 1 << 14)
        self.square = torch.from_numpy(random.random((320, 320), dtype=np.float32))
        self.numbers = random.integers(0, 1 << 30, 30_000).tolist()

    def seconds(self) -> float:
        """The geometric mean over the kernels of the fastest of a few repeats, which take turns: about 2 ms."""
        kernels = (self.lookup, self.product, self.loop)
        rounds = [[timed(kernel) for kernel in kernels] for _ in range(REPEATS)]
        return geometric_mean(map(min, zip(*rounds, strict=True)))

    def lookup(self) -> None:
        looked_up = self.table[self.rows]
        np.bincount(self.rows, weights=looked_up.sum(axis=1), minlength=len(self.table))

    def product(self) -> None:
        for _ in range(3):
            self.square @ self.square

    def loop(self) -> None:
        count: dict[int, int] = {}
        for number in self.numbers:
            key = number % 997
            count[key] = count.get(key, 0) + 1


def timed(kernel: Callable[[], None]) -> float:
    start = CLOCK()
    kernel()
    return CLOCK() - start
