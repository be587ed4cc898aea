"""Histories: each user's fitted rows in order of time, as ragged arrays, and batches of windows of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.data.batches import RatingRows, epoch_seed


class Histories(NamedTuple):
    """The rows that a model is fitted on: user after user, and each user's by time; ties by their place in the file."""

    user: Tensor  # (rows,) int64, ascending
    item: Tensor  # (rows,) int64
    rating: Tensor  # (rows,) float32, scaled to [0, 1]
    start: Tensor  # (n_users + 1,) int64: user u has the rows start[u] to start[u + 1] - 1, the oldest first
    time: Tensor | None  # (rows,) int64 unix seconds; None: the data have no times, and the order is the file's

    @property
    def steps(self) -> Tensor:
        """Steps from each row to its user's latest, `(rows,)`; the latest has 0."""
        return self.start[1:][self.user] - 1 - torch.arange(len(self.user))


def histories_of(rows: RatingRows, time: Tensor | None, n_users: int) -> Histories:
    """The histories in some rows.

    Args:
        rows: By user, and of each user in the order of the file.
        time: Unix seconds, `(rows,)`; None: not known.
        n_users: Users, of whom some may have no row.
    """
    user, item, rating = rows.columns
    if time is not None:
        order = torch.from_numpy(np.lexsort((time.numpy(), user.numpy())))  # stable
        user, item, rating, time = user[order], item[order], rating[order], time[order]
    return Histories(user, item, rating, starts_of(user, n_users), time)


def starts_of(user: Tensor, n_users: int) -> Tensor:
    """Where each user's rows start, and all end, `(n_users + 1,)`; `user (rows,)` ascends."""
    start = torch.zeros(n_users + 1, dtype=torch.int64)
    start[1:] = torch.bincount(user, minlength=n_users).cumsum(0)
    return start


class HistoryBatch(NamedTuple):
    """Windows of histories, of similar length, from each of whose rows the next one is to be predicted."""

    row: Tensor  # (windows, longest) int64 rows of `Histories`, the oldest first; filled up with a window's last row
    is_target: Tensor  # (windows, longest) bool: whether the row after this one is to be predicted here


class HistoryBatches:
    """A loader of an epoch's batches: every row but each user's first is to be predicted once.

    A history of more than `max_length` rows is cut anew in each epoch; the rows before a cut stay in the window as far
    as they fit. Windows go into batches by length, so that little is filled up, and batches come in random order. All
    this depends on (seed, epoch) only, and the batches of an epoch are shared out to the ranks.

    Args:
        start: Where each user's rows start, as in `Histories`, `(n_users + 1,)`.
        batch_size: Rows to be predicted in a batch, about; at least one window.
        max_length: Rows of a window at most, at least 1.
        seed: Seed of cuts and order, with the epoch.
        rank: Index of this process.
        world: Number of processes.
    """

    batch_sampler = None  # Lightning expects it of a loader with a sampler

    def __init__(
        self, start: Tensor, batch_size: int, max_length: int, *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.start, self.max_length, self.seed = start.cpu().numpy(), max_length, seed
        self.rank, self.world, self.epoch = rank, world, 0
        length = np.maximum(np.diff(self.start) - 1, 0)
        windows = int((-(-length // max_length)).sum())  # at least so many in any epoch
        self._batches = min(-(-int(length.sum()) // (batch_size * world)), max(1, windows // world))

    @property
    def sampler(self) -> HistoryBatches:
        """The loader itself: Lightning calls `set_epoch` on the sampler (on a resume after `iter`)."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of batches per epoch and rank."""
        return self._batches

    def __iter__(self) -> Iterator[HistoryBatch]:
        if not self._batches:
            return
        random = np.random.default_rng(epoch_seed(self.seed, self.epoch))
        first, target, stop = windows(self.start, self.max_length, random)
        length = stop - first
        order = random.permutation(len(first))
        order = order[np.argsort(length[order], kind="stable")]
        batches = self._batches * self.world
        order = np.resize(order, max(batches, len(order)))  # with more ranks than windows some come twice
        filled = np.cumsum(length[order])
        ends = np.searchsorted(filled, filled[-1] * np.arange(1, batches) / batches, "left") + 1
        # At least one window each, also where a few long ones have most rows.
        ends = np.minimum(np.maximum.accumulate(ends - np.arange(len(ends))) + np.arange(len(ends)),
                          len(order) - batches + 1 + np.arange(len(ends)))  # fmt: skip
        parts = np.split(order, ends)
        for number in random.permutation(batches)[self.rank :: self.world].tolist():
            yield padded_windows(first[parts[number]], target[parts[number]], stop[parts[number]])


def windows(
    start: NDArray[np.int64], max_length: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Windows in which each row but a user's first is the next of one row: first rows, first to predict from, ends.

    Args:
        start: As in `Histories`.
        max_length: Rows of a window at most.
        random: Of the cuts in longer histories.
    """
    length = np.diff(start) - 1  # rows that have a next one
    offset = np.where(length > max_length, random.integers(0, max_length, len(length)), 0)
    count = np.maximum(-(-(length + offset) // max_length), 0)
    user = np.repeat(np.arange(len(length)), count)
    number = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    target = np.maximum(number * max_length - offset[user], 0)
    stop = np.minimum((number + 1) * max_length - offset[user], length[user])
    first = np.maximum(stop - max_length, 0)
    begin = start[:-1][user]
    return begin + first, begin + target, begin + stop


def padded_pieces(length: NDArray[np.int64], rows: int) -> list[slice]:
    """Windows in pieces, each of at most so many rows once it is filled up, or of one window.

    Args:
        length: Of each window, ascending.
        rows: In a piece.
    """
    starts = [0]
    for place, longest in enumerate(length.tolist()):
        if (place + 1 - starts[-1]) * longest > rows and place > starts[-1]:
            starts.append(place)
    return [slice(start, stop) for start, stop in pairwise([*starts, len(length)]) if stop > start]


def padded_windows(first: NDArray[np.int64], target: NDArray[np.int64], stop: NDArray[np.int64]) -> HistoryBatch:
    """Windows of rows `first` to `stop - 1`, each `(windows,)`, to predict from `target` on, as one batch."""
    row = first[:, None] + np.arange(int((stop - first).max(initial=1)))
    is_target = (row >= target[:, None]) & (row < stop[:, None])
    return HistoryBatch(torch.from_numpy(np.minimum(row, stop[:, None] - 1)), torch.from_numpy(is_target))
