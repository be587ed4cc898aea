"""Random numbers of a sweep by row: they do not depend on which rows are drawn for together, or by whom.

They are counter-based (Salmon et al. 2011, *Parallel random numbers: as easy as 1, 2, 3*): a function of the sweep's
key, of what is drawn, and of the row.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

ROWS = 1024  # that come from one generator
LINE = 64  # single numbers that are drawn as a row


class Draws:
    """Random numbers of one sweep.

    Args:
        generator: Gives the key of the sweep, in any state; on the device of the numbers.
        dtype: Of the numbers.
    """

    def __init__(self, generator: torch.Generator, dtype: torch.dtype) -> None:
        self.device, self.dtype = generator.device, dtype
        self.key = torch.randint(1 << 62, (2,), generator=generator, device=generator.device).tolist()

    def normal(self, stream: int, first: int, stop: int, width: int) -> Tensor:
        """Standard normal numbers of the rows from `first` to `stop`, `(stop - first, width)`.

        Args:
            stream: What is drawn; other streams are independent.
            first: First row.
            stop: One past the last row.
            width: Numbers of a row.
        """
        return self._drawn("normal", stream, first, stop, width)

    def uniform(self, stream: int, first: int, stop: int) -> Tensor:
        """Uniform numbers in [0, 1) of the rows from `first` to `stop`, `(stop - first,)`."""
        lines = first // LINE, -(-stop // LINE)
        return self._drawn("uniform", stream, *lines, LINE).flatten()[first - lines[0] * LINE : stop - lines[0] * LINE]

    def _drawn(self, kind: str, stream: int, first: int, stop: int, width: int) -> Tensor:
        chunks = range(first // ROWS, -(-stop // ROWS))
        draw = self._on_cpu if self.device.type == "cpu" else self._on_gpu
        parts = [draw(kind, stream, chunk, width) for chunk in chunks]
        drawn = torch.cat(parts) if parts else torch.empty(0, width, device=self.device, dtype=self.dtype)
        return drawn[first - chunks.start * ROWS : stop - chunks.start * ROWS]

    def _on_cpu(self, kind: str, stream: int, chunk: int, width: int) -> Tensor:
        """By NumPy's Philox, since PyTorch's generator on CPUs has seeds of 32 bits."""
        bits = np.random.Philox(key=self.key, counter=[0, 0, stream, chunk])
        draw = getattr(np.random.Generator(bits), {"normal": "standard_normal", "uniform": "random"}[kind])
        return torch.from_numpy(draw((ROWS, width), dtype=str(self.dtype).removeprefix("torch.")))

    def _on_gpu(self, kind: str, stream: int, chunk: int, width: int) -> Tensor:
        """By PyTorch's own Philox, so that nothing is copied."""
        seed = np.random.SeedSequence([*self.key, stream, chunk]).generate_state(1, np.uint64)
        generator = torch.Generator(self.device).manual_seed(int(seed[0]) >> 1)
        draw = {"normal": torch.randn, "uniform": torch.rand}[kind]
        return draw(ROWS, width, generator=generator, device=self.device, dtype=self.dtype)
