"""The processes that share a fit: what each of them does, and how it comes together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor


class Ranks:
    """This process and the others of the process group; without a group it is alone."""

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.world = dist.get_world_size() if together else 1

    def shares(self, count: int) -> list[range]:
        """Which of so many things belong to each rank: consecutive ones, about as many to each."""
        bounds = [count * rank // self.world for rank in range(self.world + 1)]
        return [range(*pair) for pair in pairwise(bounds)]

    def added(self, part: Tensor) -> Tensor:
        """The sum of what all ranks have, in the place of `part`; exact only where the order of a sum is no matter."""
        if self.world > 1:
            dist.all_reduce(part)
        return part

    def highest(self, part: Tensor) -> Tensor:
        """The maximum of what all ranks have, in the place of `part`."""
        if self.world > 1:
            dist.all_reduce(part, dist.ReduceOp.MAX)
        return part

    def joined(self, part: Tensor, sizes: Sequence[int]) -> Tensor:
        """The parts of all ranks in their order, `(sum of sizes, …)`.

        Args:
            part: Of this rank, `(sizes[rank], …)`.
            sizes: Length of each rank's part.
        """
        if self.world == 1:
            return part
        longest = max(sizes)
        padded = part.new_zeros(longest, *part.shape[1:])
        padded[: len(part)] = part
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded)
        return torch.cat([rows[:size] for rows, size in zip(found, sizes, strict=True)])
