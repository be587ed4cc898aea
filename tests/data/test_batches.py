"""What an epoch's batches are made of."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest
import torch

from recsys.data import batches as module
from recsys.data.batches import ItemBatches, RatingBatches, RatingRows, epoch_seed


def batches_of(n: int = 103, batch_size: int = 25, **arguments: Any) -> RatingBatches:
    """Batches whose users are the positions of their rows."""
    rows = RatingRows(torch.arange(n), torch.arange(n) * 10, torch.arange(n) / n)
    return RatingBatches(rows, batch_size, **{"shuffle": True} | arguments)


def positions(n: int = 103, batch_size: int = 25, epoch: int = 0, **arguments: Any) -> list[list[int]]:
    loader = batches_of(n, batch_size, **arguments)
    loader.set_epoch(epoch)
    batches = list(loader)
    assert len(batches) == len(loader)
    for batch in batches:  # a row stays one
        assert torch.equal(batch.item, batch.user * 10)
        torch.testing.assert_close(batch.rating, batch.user / n)
    return [batch.user.tolist() for batch in batches]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


@pytest.mark.parametrize(("n", "batch_size"), [(103, 25), (101, 25), (100, 25), (26, 25), (25, 25), (1, 25), (5, 1)])
def test_batches_are_even_so_that_none_is_left_with_one_row(n: int, batch_size: int) -> None:
    sizes = [len(batch) for batch in positions(n, batch_size)]
    assert sum(sizes) == n
    assert len(sizes) == -(-n // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_the_order_comes_from_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = positions(epoch=3, seed=7)
    torch.manual_seed(2)
    assert positions(epoch=3, seed=7) == first
    assert positions(epoch=4, seed=7) != first
    assert positions(epoch=3, seed=8) != first
    assert sorted(flat(first)) == list(range(103))
    assert flat(positions(shuffle=False)) == list(range(103))


def test_the_epoch_may_be_set_after_iter_is_called() -> None:
    """Lightning does so on a resume."""
    loader = batches_of()
    batches = iter(loader)
    loader.sampler.set_epoch(3)
    assert [batch.user.tolist() for batch in batches] == positions(epoch=3)


def test_a_batch_takes_one_of_every_m_rows_in_their_order() -> None:
    """Ratings lie by user, so a batch has of each user what the data have of them."""
    for batch in positions(1000, 100):
        assert batch == sorted(batch)
        assert [position // 10 for position in batch] == list(range(100))


def test_every_place_of_a_block_is_as_likely_in_every_batch() -> None:
    taken, loader = torch.zeros(8, 8), batches_of(80, 10)
    for epoch in range(400):
        loader.set_epoch(epoch)
        for number, batch in enumerate(loader):
            taken[number] += torch.bincount(batch.user % 8, minlength=8)
    assert taken.sum() == 400 * 80
    assert (taken / 500 - 1).abs().max() < 0.2  # 500 each; five standard deviations are 0.21


def test_rows_that_are_left_over_go_to_any_batch() -> None:
    """Of 83 rows in batches of 8, eleven times 7 come from whole blocks."""
    extra = {
        number for epoch in range(60) for number, batch in enumerate(positions(83, 8, epoch=epoch)) if max(batch) > 76
    }
    assert extra == set(range(11))


@pytest.mark.parametrize(("n", "batch_size"), [(1000, 7), (700, 1), (1025, 2)])
def test_rows_are_shuffled_in_chunks_and_none_is_lost(n: int, batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 300)
    assert sorted(flat(positions(n, batch_size))) == list(range(n))


def test_epoch_seeds_differ_by_seed_epoch_and_stream_and_fit_a_generator() -> None:
    seeds = [epoch_seed(seed, epoch, stream) for seed in range(5) for epoch in range(5) for stream in range(5)]
    assert len(set(seeds)) == 125
    assert all(0 <= seed < 1 << 63 for seed in seeds)
    assert max(seeds) > 1 << 60
    torch.Generator().manual_seed(max(seeds))


@pytest.mark.parametrize("n", [1, 2, 100, 101])
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_share_the_rows_and_repeat_at_most_world_minus_one(n: int, world: int, shuffle: bool) -> None:
    ranks = [positions(n, 8, rank=rank, world=world, shuffle=shuffle, epoch=2) for rank in range(world)]
    assert len({tuple(map(len, batches)) for batches in ranks}) == 1  # equally many steps of equal size
    taken = flat(flat(batches) for batches in ranks)
    assert set(taken) == set(range(n))
    assert len(taken) - n <= world - 1


def item_batches(batch_size: int = 25, epoch: int = 0, **arguments: Any) -> list[list[int]]:
    """Positions of the rows of each batch, 100 rows of 7 items: one has half of them, one a quarter, and so on."""
    item = torch.tensor([(n & -n).bit_length() % 7 for n in range(100)])  # the lowest set bit of n
    rows = RatingRows(torch.arange(100), item, torch.arange(100) / 100)
    loader = ItemBatches(rows, batch_size, **arguments)
    loader.set_epoch(epoch)
    batches = list(loader)
    assert len(batches) == len(loader)
    held = [set(batch.item.tolist()) for batch in batches]
    for batch, items in zip(batches, held, strict=True):  # all rows of each of its items, in the order of the rows
        assert batch.user.tolist() == torch.isin(item, torch.tensor(sorted(items))).nonzero()[:, 0].tolist()
        torch.testing.assert_close(batch.rating, batch.user / 100)
    return [batch.user.tolist() for batch in batches]


def test_batches_of_items_hold_all_ratings_of_their_items() -> None:
    first = item_batches(epoch=3, seed=7)
    assert sorted(flat(first)) == list(range(100))
    assert len(first) == 4
    assert item_batches(epoch=3, seed=7) == first
    assert item_batches(epoch=4, seed=7) != first
    assert item_batches(epoch=3, seed=8) != first


def test_there_are_no_more_batches_of_items_than_items() -> None:
    assert len(item_batches(batch_size=1)) == len(item_batches(batch_size=5)) == 7
    assert len(item_batches(batch_size=1000)) == 1


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_items(world: int) -> None:
    ranks = [item_batches(5, rank=rank, world=world) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert set(flat(flat(batches) for batches in ranks)) == set(range(100))
