"""Rows of ratings as tensors, and their batches: slices of columns that are shuffled once an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

CHUNK = 1 << 16  # rows that are shuffled at a time: they and their places fit into a core's cache


class Batch(NamedTuple):
    """Rows of a batch; -1 marks a user or item outside the fitted ids."""

    user: Tensor  # (batch,) int64, dense row
    item: Tensor  # (batch,) int64, dense row
    rating: Tensor  # (batch,) float32, scaled to [0, 1]


class RatingRows:
    """Rows as three tensors, indexed by many positions at once."""

    def __init__(self, user: Tensor, item: Tensor, rating: Tensor) -> None:
        self.columns = Batch(user, item, rating)

    def __len__(self) -> int:
        return len(self.columns.user)

    def __getitem__(self, positions: Tensor) -> Batch:
        return Batch(*(column.index_select(0, positions) for column in self.columns))

    def to(self, device: torch.device) -> RatingRows:
        return RatingRows(*(column.to(device) for column in self.columns))


class RatingBatches:
    """The batches of an epoch, on the rows' device, of nearly equal size, which Lightning iterates like any loader.

    In training each of m batches takes one row, at random, of every m consecutive ones: each row once an epoch, in
    the rows' order, which is by user, so that the rows of a batch lie near each other; and each user's share of
    a batch is what it is of the data. Chosen from (seed, epoch), the same on every rank, and dealt out by rank; with
    several ranks a few rows may be repeated so that all take equally many steps of equal size.

    A PyTorch DataLoader over the same rows takes longer to look a batch up than a step takes to learn from it.

    Args:
        rows: All rows, of which this rank takes its share.
        batch_size: Rows of a batch at most, on each rank.
        shuffle: Whether for training; otherwise in order.
        seed: Which rows go together, with the epoch.
        rank: Number of this process, from 0.
        world: Number of processes.
        pin: Whether a batch is copied to page-locked memory, from which a GPU fetches it.
    """

    batch_sampler = None  # Lightning asks a loader that has a sampler for this too

    def __init__(
        self,
        rows: RatingRows,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        pin: bool = False,
    ) -> None:
        self.rows, self.batch_size, self.shuffle, self.seed = rows, batch_size, shuffle, seed
        self.rank, self.world, self.pin, self.epoch = rank, world, pin, 0

    @property
    def sampler(self) -> RatingBatches:
        """Itself: Lightning calls `set_epoch` of a loader's sampler, on a resume after it has called `iter`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of an epoch; even ones, since batch norm cannot take a last batch of one row."""
        share = -(-len(self.rows) // self.world)  # rounded up: rows of a rank
        return -(-share // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        if len(self.rows):
            for batch in self._shuffled() if self.shuffle else self._in_order():
                yield Batch(*(column.pin_memory() for column in batch)) if self.pin else batch

    def _in_order(self) -> Iterator[Batch]:
        if len(self) == self.world == 1:
            yield self.rows.columns
            return
        n, device = len(self.rows), self.rows.columns.user.device
        share = -(-n // self.world)
        order = torch.arange(share * self.world, device=device) % n
        for positions in order[self.rank :: self.world].tensor_split(len(self)):
            yield self.rows[positions]

    def _shuffled(self) -> Iterator[Batch]:
        """Rows of tables of one column for every batch of this rank, and one row for every m rows of the data."""
        random = np.random.default_rng(epoch_seed(self.seed, self.epoch))
        columns = len(self) * self.world  # one for every batch of every rank
        full, rest = divmod(len(self.rows), columns)
        tables = [column.new_empty((len(self), full + 1)) for column in self.rows.columns]
        blocks = max(1, CHUNK // columns)
        for start in range(0, full, blocks):
            stop = min(start + blocks, full)
            mine = _places(random, stop - start, columns)[self.rank :: self.world].to(tables[0].device)
            for table, column in zip(tables, self.rows.columns, strict=True):
                chunk = column[start * columns : stop * columns]
                table[:, start:stop] = chunk.index_select(0, mine.flatten()).view(len(self), -1)
        # Rows that are left over go to the first batches of a random order, one to each rank.
        order = random.permutation(len(self))
        left = order * self.world < rest
        extra = full * columns + (order * self.world + self.rank) % max(rest, 1)
        for table, column in zip(tables, self.rows.columns, strict=True):
            table[:, full] = column[torch.from_numpy(np.where(left, extra, 0)).to(column.device)]
        for number in range(len(self)):
            yield Batch(*(table[number, : full + int(left[number])] for table in tables))


def _places(random: np.random.Generator, blocks: int, columns: int) -> Tensor:
    """Which row of each block a batch takes, counted from the first block's first row, `(columns, blocks)` int32.

    A block's order is that of random numbers whose lowest bits hold the place: one sort, without indices.
    """
    bits = columns.bit_length()
    kind: Any = np.uint32 if bits <= 12 else np.uint64  # ties, which keep their order, are too few to matter
    low = kind((1 << bits) - 1)
    keys = random.integers(0, np.iinfo(kind).max, (blocks, columns), kind, endpoint=True)
    keys &= ~low
    keys |= np.arange(columns, dtype=kind)
    keys.sort(axis=1)
    places = (keys & low).astype(np.int32)
    places += np.arange(0, blocks * columns, columns, dtype=np.int32)[:, None]
    return torch.from_numpy(np.ascontiguousarray(places.T))


def epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """A 63-bit seed for one epoch of one run, so that a resumed run needs no generator's state."""
    state = np.random.SeedSequence([seed, epoch, stream]).generate_state(2, np.uint32)
    return int(state[0]) << 31 ^ int(state[1])
