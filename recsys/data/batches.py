"""Ratings as tensors, and batches as slices of columns that are shuffled once per epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

CHUNK = 1 << 16  # rows shuffled at a time, to fit a core's cache


class Batch(NamedTuple):
    """Rows of a batch; -1 is a user or item that is not fitted."""

    user: Tensor  # (batch,) int64, dense row
    item: Tensor  # (batch,) int64, dense row
    rating: Tensor  # (batch,) float32, scaled to [0, 1]


class RatingRows:
    """Ratings as three tensors, indexed by tensors of positions."""

    def __init__(self, user: Tensor, item: Tensor, rating: Tensor) -> None:
        self.columns = Batch(user, item, rating)

    def __len__(self) -> int:
        return len(self.columns.user)

    def __getitem__(self, positions: Tensor) -> Batch:
        return Batch(*(column.index_select(0, positions) for column in self.columns))

    def to(self, device: torch.device) -> RatingRows:
        return RatingRows(*(column.to(device) for column in self.columns))


class RatingBatches:
    """A loader that yields the batches of an epoch, of nearly equal size, on the rows' device.

    In training, each of m batches gets one random row of every m consecutive rows. Each row is used once per epoch,
    batches keep the order by user, so memory accesses are local, and each user's share of a batch is their share of the
    data. The permutation depends on (seed, epoch) only and is distributed over ranks; with several ranks a few rows may
    be repeated, so that all ranks take the same number of steps.

    With a PyTorch DataLoader, fetching a batch takes longer than the training step.

    Args:
        rows: All rows, of which this rank uses its share.
        batch_size: Maximum number of rows in a batch on each rank.
        shuffle: Whether to shuffle (training) or keep the order.
        seed: Seed of the permutation, with the epoch.
        rank: Index of this process.
        world: Number of processes.
        pin: Whether to copy batches to page-locked memory for the GPU.
    """

    batch_sampler = None  # Lightning expects it of a loader with a sampler

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
        """The loader itself: Lightning calls `set_epoch` on the sampler (on a resume after `iter`)."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of batches per epoch; of equal size, since batch norm fails on a last batch of one row."""
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
        """Fill a table with one row per batch of this rank, one column per m rows of the data, and yield its rows."""
        random = np.random.default_rng(epoch_seed(self.seed, self.epoch))
        columns = len(self) * self.world  # one per batch and rank
        full, rest = divmod(len(self.rows), columns)
        tables = [column.new_empty((len(self), full + 1)) for column in self.rows.columns]
        blocks = max(1, CHUNK // columns)
        for start in range(0, full, blocks):
            stop = min(start + blocks, full)
            mine = _places(random, stop - start, columns)[self.rank :: self.world].to(tables[0].device)
            for table, column in zip(tables, self.rows.columns, strict=True):
                chunk = column[start * columns : stop * columns]
                table[:, start:stop] = chunk.index_select(0, mine.flatten()).view(len(self), -1)
        # Remaining rows go to the first batches in a random order, one per rank.
        order = random.permutation(len(self))
        left = order * self.world < rest
        extra = full * columns + (order * self.world + self.rank) % max(rest, 1)
        for table, column in zip(tables, self.rows.columns, strict=True):
            table[:, full] = column[torch.from_numpy(np.where(left, extra, 0)).to(column.device)]
        for number in range(len(self)):
            yield Batch(*(table[number, : full + int(left[number])] for table in tables))


class ItemBatches(RatingBatches):
    """Training batches of all ratings of some items each, as an autoencoder of items needs them.

    Items are permuted anew in every epoch and shared out evenly, so that batches have `batch_size` ratings on average.
    Within a batch, ratings keep the order by user. Arguments as of `RatingBatches`.
    """

    def __init__(self, rows: RatingRows, batch_size: int, **arguments: Any) -> None:
        super().__init__(rows, batch_size, shuffle=True, **arguments)
        item = rows.columns.item.cpu()
        self._by_item = torch.argsort(item, stable=True)
        self._items, self._counts = torch.unique_consecutive(item[self._by_item], return_counts=True)

    def __len__(self) -> int:
        """Number of batches per epoch: one for each item at most."""
        return min(super().__len__(), -(-len(self._items) // self.world))

    def _shuffled(self) -> Iterator[Batch]:
        random = np.random.default_rng(epoch_seed(self.seed, self.epoch))
        order = torch.from_numpy(random.permutation(len(self._items)))
        batches = len(self) * self.world
        order = order[torch.arange(max(batches, len(order))) % len(order)]  # with several ranks some come twice
        starts = self._counts.cumsum(0) - self._counts
        for items in order.tensor_split(batches)[self.rank :: self.world]:
            positions = torch.cat([self._by_item[starts[i] : starts[i] + self._counts[i]] for i in items.tolist()])
            yield self.rows[positions.sort().values.to(self.rows.columns.item.device)]


def _places(random: np.random.Generator, blocks: int, columns: int) -> Tensor:
    """Positions of the rows of each batch relative to the first block, `(columns, blocks)` int32.

    Blocks are permuted by sorting random keys that carry the position in their lowest bits: one sort, no indices.
    """
    bits = columns.bit_length()
    kind: Any = np.uint32 if bits <= 12 else np.uint64  # ties keep their order, but are negligible
    low = kind((1 << bits) - 1)
    keys = random.integers(0, np.iinfo(kind).max, (blocks, columns), kind, endpoint=True)
    keys &= ~low
    keys |= np.arange(columns, dtype=kind)
    keys.sort(axis=1)
    places = (keys & low).astype(np.int32)
    places += np.arange(0, blocks * columns, columns, dtype=np.int32)[:, None]
    return torch.from_numpy(np.ascontiguousarray(places.T))


def epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """A 63-bit seed for one epoch of a run, so that a resume needs no generator state."""
    state = np.random.SeedSequence([seed, epoch, stream]).generate_state(2, np.uint32)
    return int(state[0]) << 31 ^ int(state[1])
