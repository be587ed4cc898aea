"""Posterior samples of a chain, appended to a file in the run folder or kept in memory."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.files import write_errors

Shapes = dict[str, tuple[int, ...]]


class Samples:
    """Samples with the same named arrays, float32.

    Args:
        shapes: Shape of each array by name.
        file: File of the concatenated samples; None for memory.
    """

    def __init__(self, shapes: Shapes, file: Path | None = None) -> None:
        self.shapes, self.file = shapes, file
        self.length = sum(math.prod(shape) for shape in shapes.values())  # numbers of a sample
        self.memory: list[NDArray[np.float32]] = []

    def __len__(self) -> int:
        if self.file is None:
            return len(self.memory)
        return self.file.stat().st_size // (4 * self.length) if self.file.exists() else 0

    def append(self, sample: dict[str, Tensor]) -> None:
        """Store a sample, whose arrays must have the given shapes."""
        record = torch.cat([sample[name].reshape(-1) for name in self.shapes]).float().cpu().numpy()
        if self.file is None:
            self.memory.append(record)
        else:
            with write_errors(self.file), self.file.open("ab") as file:
                file.write(record.tobytes())
                file.flush()
                os.fsync(file.fileno())  # before the checkpoint that counts it

    def truncate(self, count: int) -> None:
        """Keep only the first `count` samples, those before a restored checkpoint.

        Raises:
            ValueError: There are fewer.
        """
        if len(self) < count:
            raise ValueError(f"{self.file or 'memory'} must contain the checkpoint's {count} samples, got {len(self)}")
        if self.file is None:
            del self.memory[count:]
        elif self.file.exists():
            with self.file.open("r+b") as file:
                file.truncate(4 * self.length * count)

    def __getitem__(self, number: int) -> dict[str, NDArray[np.float32]]:
        """The arrays of a sample, by name."""
        if self.file is None:
            record = self.memory[number]
        else:
            record = np.fromfile(self.file, "<f4", self.length, offset=4 * self.length * number)
        arrays, start = {}, 0
        for name, shape in self.shapes.items():
            arrays[name] = record[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        return arrays
