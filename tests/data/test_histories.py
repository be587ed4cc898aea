"""Histories are in order of time, and an epoch's windows ask for every next row once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.data.histories import HistoryBatches, histories_of, padded_pieces, padded_windows, windows
from tests.small_data import random_ratings, small_data


def starts(random: np.random.Generator, n_users: int = 200, longest: int = 120) -> torch.Tensor:
    """Of users of whom a quarter has two rows at most."""
    length = random.integers(1, longest, n_users)
    length[: n_users // 4] = random.integers(1, 3, n_users // 4)
    return torch.from_numpy(np.append(0, np.cumsum(length)))


def test_histories_go_by_user_and_time() -> None:
    ratings = random_ratings(300, 20, 30)
    ratings["timestamp"] = np.random.default_rng(0).integers(0, 40, len(ratings))  # many equal ones
    data = small_data(ratings, fit_on="all")
    found = histories_of(data.fit_data, data.fit_times, len(data.users))
    assert found.time is not None
    dense = ratings.assign(user=data.users.rows(ratings.user_id), item=data.items.rows(ratings.item_id))
    wanted = dense.sort_values(["user", "timestamp"], kind="stable")
    assert found.user.tolist() == wanted.user.tolist()
    assert found.item.tolist() == wanted.item.tolist()
    assert found.time.tolist() == wanted.timestamp.tolist()
    assert (1 + 4 * found.rating).tolist() == wanted.rating.tolist()
    for user in range(len(data.users)):
        rows = slice(int(found.start[user]), int(found.start[user + 1]))
        assert (found.user[rows] == user).all()
        assert found.steps[rows].tolist() == list(range(rows.stop - rows.start))[::-1]


@pytest.mark.parametrize("max_length", [1, 5, 50, 1000])
@pytest.mark.parametrize("batch_size", [1, 64, 10**6])
@pytest.mark.parametrize("world", [1, 3])
def test_every_row_but_a_user_s_first_is_asked_for_once(max_length: int, batch_size: int, world: int) -> None:
    start = starts(np.random.default_rng(0))
    asked = []
    for rank in range(world):
        loader = HistoryBatches(start, batch_size, max_length, rank=rank, world=world)
        loader.set_epoch(3)
        batches = list(loader)
        assert len(batches) == len(loader)
        assert max(batch.row.shape[1] for batch in batches) <= max_length
        asked += [batch.row[batch.is_target] + 1 for batch in batches]
    wanted = np.setdiff1d(np.arange(int(start[-1])), start.numpy())
    assert torch.cat(asked).sort().values.tolist() == wanted.tolist()


def test_a_window_is_of_one_user_and_without_gaps() -> None:
    start = starts(np.random.default_rng(0)).numpy()
    first, target, stop = windows(start, 20, np.random.default_rng(0))
    user = np.searchsorted(start, first, "right") - 1
    assert (start[user] <= first).all()
    assert (first <= target).all()
    assert (target < stop).all()
    assert (stop < start[user + 1]).all()  # there is a next row
    long = stop - start[user] >= 20
    assert (stop - first)[long].tolist() == [20] * int(long.sum())  # what comes before a cut stays in the window


def test_cuts_and_order_are_those_of_the_epoch() -> None:
    start = starts(np.random.default_rng(0))
    loader = HistoryBatches(start, 500, 20, seed=1)
    epochs = []
    for epoch in (0, 1, 0):
        loader.set_epoch(epoch)
        epochs.append([batch.row for batch in loader])
    first, second, again = epochs
    assert all(map(torch.equal, first, again))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_batches_are_of_similar_length() -> None:
    start = starts(np.random.default_rng(0), 2000)
    batches = list(HistoryBatches(start, 2000, 200))
    asked, filled = (sum(int(part) for part in parts) for parts in zip(
        *((batch.is_target.sum(), batch.is_target.numel()) for batch in batches), strict=True))  # fmt: skip
    assert filled < 1.1 * asked
    assert max(int(batch.is_target.sum()) for batch in batches) < 2500


def test_histories_of_one_row_give_no_batch() -> None:
    assert list(HistoryBatches(torch.arange(5), 10, 10)) == []


def test_padding_repeats_the_last_row() -> None:
    batch = padded_windows(np.array([3, 10]), np.array([4, 10]), np.array([7, 12]))
    assert batch.row.tolist() == [[3, 4, 5, 6], [10, 11, 11, 11]]
    assert batch.is_target.tolist() == [[False, True, True, True], [True, True, False, False]]


def test_pieces_are_small_once_they_are_filled_up() -> None:
    length = np.sort(np.random.default_rng(0).lognormal(3, 1, 500).astype(np.int64) + 1)
    pieces = padded_pieces(length, 300)
    assert [place for piece in pieces for place in range(piece.start, piece.stop)] == list(range(500))
    sizes = [len(length[piece]) * int(length[piece].max()) for piece in pieces]
    assert all(size <= 300 or len(length[piece]) == 1 for size, piece in zip(sizes, pieces, strict=True))
    assert len(pieces) < 2 * length.sum() / 300 + 10
    assert padded_pieces(length[:0], 300) == []
