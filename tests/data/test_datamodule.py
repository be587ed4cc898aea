from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.data.batches import Batch
from recsys.data.datamodule import RatingDataModule
from recsys.data.rating_data import RatingData
from recsys.data.readers.items import items_frame
from recsys.models.mf import MatrixFactorization
from recsys.training.export import make_bundle
from tests.small_data import SmallRatings, build, fit, frame, random_ratings, small_data

RATINGS = random_ratings(103, 20, 15, seed=1)


def cells(batches: list[Batch], data: RatingDataModule) -> list[tuple[int, int, float]]:
    """(user_id, item_id, stars) of every row."""
    user, item, rating = (torch.cat(column).numpy() for column in zip(*batches, strict=True))
    stars = data.dataset.rating_min + rating * (data.dataset.rating_max - data.dataset.rating_min)
    return list(zip(data.users.ids(user).tolist(), data.items.ids(item).tolist(), stars.tolist(), strict=True))


def cells_of(rows: pd.DataFrame) -> list[tuple[int, int, float]]:
    return list(zip(rows.user_id.tolist(), rows.item_id.tolist(), rows.rating.tolist(), strict=True))


def test_an_epoch_brings_every_training_row_once_with_its_own_rating() -> None:
    data = small_data(RATINGS, batch_size=25)
    batches = list(data.train_dataloader())
    wanted = cells_of(RATINGS.iloc[data.split.train])
    found = cells(batches, data)
    assert sorted(found) == sorted(wanted)
    assert found != wanted  # shuffled
    assert len(batches) == len(data.train_dataloader()) == 4
    assert batches[0].user.dtype == batches[0].item.dtype == torch.int64
    assert batches[0].rating.dtype == torch.float32
    assert all((batch.user.diff() >= 0).all() for batch in batches)


def test_training_sees_a_new_order_every_epoch() -> None:
    seen: list[list[int]] = []
    data = small_data(RATINGS, batch_size=25)

    class Spy(MatrixFactorization):
        def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
            seen.append((batch.user * 1000 + batch.item).tolist())
            return super().training_step(batch, batch_idx)

    fit(build(Spy, data), data, epochs=2)
    first, second = ([cell for step in steps for cell in step] for steps in (seen[:4], seen[4:]))
    assert len(seen) == 8
    assert sorted(first) == sorted(second)
    assert first != second
    loader = data.train_dataloader()
    for epoch, order in enumerate((first, second)):
        loader.sampler.set_epoch(epoch)
        assert torch.cat([batch.user * 1000 + batch.item for batch in loader]).tolist() == order


def test_ratings_are_scaled_to_0_1_by_the_scale_of_the_data() -> None:
    data = small_data(frame([1, 2, 3, 4], [1, 1, 1, 1], [1, 2, 3.5, 5]), split="user_time")
    np.testing.assert_allclose(data.dense.columns.rating, [0, 0.25, 0.625, 1])
    half = RatingDataModule(SmallRatings(data.dataset.ratings, rating_min=0.0, rating_max=10.0), split="user_time")
    half.setup()
    np.testing.assert_allclose(half.dense.columns.rating, [0.1, 0.2, 0.35, 0.5])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("implicit", [True, False])
def test_a_constant_rating_does_not_divide_by_zero(implicit: bool) -> None:
    ones = frame([1, 1, 2, 2], [1, 2, 1, 3], [1, 1, 1, 1])
    data = RatingDataModule(SmallRatings(ones, 1.0, 1.0, implicit=implicit))
    data.setup()
    assert data.dense.columns.rating.tolist() == [float(implicit)] * 4  # of implicit feedback, all that is there is 1


# User 9 and item 90 occur in the last row only, user 8 in the row before.
LATE = frame([1, 1, 2, 2, 1, 2, 3, 3, 8, 9], [10, 20, 10, 20, 30, 30, 10, 20, 10, 90], [3] * 10)


def test_ids_outside_the_training_rows_are_minus_one() -> None:
    data = small_data(LATE, split="global_time", test_fraction=0.1)
    assert (data.split.val.tolist(), data.split.test.tolist()) == ([8], [9])
    [test], [val] = data.test_dataloader(), data.val_dataloader()
    assert (test.user.tolist(), test.item.tolist()) == ([-1], [-1])
    assert (val.user.tolist(), val.item.tolist()) == ([-1], [0])
    assert data.users.values.tolist() == [1, 2, 3]
    assert data.items.values.tolist() == [10, 20, 30]
    assert (data.fit_data.columns.user.min(), data.fit_data.columns.item.min()) == (0, 0)


def test_fit_on_widens_rows_and_ids_and_keeps_the_split() -> None:
    data = small_data(LATE, split="global_time", test_fraction=0.1, seed=5)
    both, everything = data.with_fit_on("train_val"), data.with_fit_on("all")
    assert [len(d.fit_data) for d in (data, both, everything)] == [8, 9, 10]
    assert both.fit_rows.tolist() == list(range(9))
    assert both.users.values.tolist() == [1, 2, 3, 8]
    assert everything.users.values.tolist() == [1, 2, 3, 8, 9]
    assert everything.items.values.tolist() == [10, 20, 30, 90]
    for other in (both, everything):
        assert other.split is data.split
        assert other.dataset is data.dataset
        assert (other.seed, other.batch_size) == (5, 64)
    [test] = both.test_dataloader()
    assert test.user.tolist() == [-1]
    [test] = everything.test_dataloader()
    assert test.user.tolist() == [4]
    assert len(data.fit_data) == 8  # untouched
    source = data.source
    assert isinstance(source, SmallRatings)
    assert source.reads == 1


@pytest.mark.parametrize("fit_on", ["train", "train_val"])
@pytest.mark.parametrize("split", ["user_time", "global_time", "random", "kfold", "leave_one_out"])
def test_no_test_row_is_ever_fitted_on(split: str, fit_on: str) -> None:
    data = small_data(RATINGS, split=split, fit_on=fit_on)
    fitted = set(cells(list(data.train_dataloader()), data))
    held_out = set(cells_of(RATINGS.iloc[data.split.test]))
    assert held_out
    assert not fitted & held_out
    rest = data.split.train if fit_on == "train" else np.concatenate([data.split.train, data.split.val])
    assert fitted == set(cells_of(RATINGS.iloc[rest]))


def test_rows_are_chosen_by_split_seed_and_not_by_seed() -> None:
    rows = small_data(RATINGS).split.test.tolist()
    assert small_data(RATINGS, seed=9).split.test.tolist() == rows
    assert small_data(RATINGS, split_seed=9).split.test.tolist() != rows


def test_evaluation_rows_come_in_order_and_once() -> None:
    data = small_data(RATINGS)
    for loader, rows in ((data.val_dataloader(), data.split.val), (data.test_dataloader(), data.split.test)):
        dense = data.rows(rows).columns
        for found, wanted in zip(zip(*loader, strict=True), dense, strict=True):
            assert torch.equal(torch.cat(found), wanted)
        assert len(dense.user) == len(rows) > 0


def test_setup_reads_once_and_data_before_it_is_an_error() -> None:
    source = SmallRatings(RATINGS)
    data = RatingDataModule(source)
    with pytest.raises(RuntimeError, match=r"setup\(\) has not been called"):
        _ = data.dataset
    for stage in ("fit", "validate", "test", None):
        data.setup(stage)
    assert source.reads == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"fit_on": "test"}, "fit_on must be one of train, train_val, all, got 'test'"),
        ({"split": "users"}, "split must be one of user_time, .*, got 'users'"),
        ({"split": "random", "test_fraction": 1.0}, r"test_fraction must be in \(0, 1\), got 1.0"),
        ({"split": "kfold", "folds": 1}, r"folds must be >= 2 for kfold, got 1"),
        ({"split": "kfold", "fold": 10}, r"fold must be in \[0, 10\) for kfold, got 10"),
        ({"split": "random", "split_seed": -1}, r"split_seed must be in \[0, 2\*\*32\), got -1"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RatingDataModule(SmallRatings(RATINGS), **arguments).setup()


def test_a_split_that_leaves_nothing_to_fit_on_says_so() -> None:
    with pytest.raises(ValueError, match="split random leaves no training rows in small"):
        small_data(frame([1, 2], [1, 2], [1, 5]), split="random", test_fraction=0.9)


class Described(SmallRatings):
    """With tables, in an order of their own: user 7 and item 70 have no rating, item 20 has no row."""

    def read(self) -> RatingData:
        users = pd.DataFrame({"user_id": [9, 7, 8, 3, 2, 1], "team": list("zyxcba")})
        items = items_frame([90, 70, 30, 10], list("ABCD"), [[], ["War"], ["Noir"], ["Noir", "War"]])
        return replace(super().read(), users=users, items=items)


def described(**arguments: Any) -> RatingDataModule:
    late = LATE.assign(user_id=LATE.user_id.where(LATE.user_id != 8, 0))  # 0, who has no row, sorts before all fitted
    data = RatingDataModule(Described(late), split="global_time", **arguments)
    data.setup()
    return data


@pytest.mark.parametrize("fit_on", ["train", "train_val", "all"])
def test_attributes_come_in_the_order_of_the_bundle(fit_on: str) -> None:
    data = described(fit_on=fit_on)
    bundle = make_bundle(build(MatrixFactorization, data, embedding_dim=2), data)
    users, items = data.user_attributes(), data.item_attributes()
    assert users is not None
    assert items is not None
    team = {9: ["team=z"], 3: ["team=c"], 2: ["team=b"], 1: ["team=a"]}
    genre = {30: ["genre=Noir"], 10: ["genre=Noir", "genre=War"]}
    for found, ids, known in ((users, bundle.user_ids, team), (items, bundle.item_ids, genre)):
        said = [[found.names[index] for index in found.of(row)] for row in range(len(found))]
        assert said == [known.get(i, []) for i in ids.tolist()]
    if fit_on == "train":
        assert bundle.user_ids.tolist() == [1, 2, 3, 0, 9]


def test_a_source_that_describes_nobody_has_no_attributes() -> None:
    data = small_data(RATINGS)
    assert (data.user_attributes(), data.item_attributes()) == (None, None)


def test_times_are_those_of_the_rows_that_are_fitted() -> None:
    shuffled = RATINGS.sample(frac=1, random_state=0).reset_index(drop=True)
    for fit_on in ("train", "train_val", "all"):
        data = small_data(shuffled, fit_on=fit_on)
        times = data.fit_times
        assert times is not None
        assert times.dtype == torch.int64
        columns = data.fit_data.columns
        found = zip(data.users.ids(columns.user.numpy()), data.items.ids(columns.item.numpy()), times, strict=True)
        time = {(user, item): time for user, item, time in shuffled[["user_id", "item_id", "timestamp"]].to_numpy()}
        assert [time[user, item] for user, item, _ in found] == times.tolist()
    assert small_data(RATINGS.drop(columns="timestamp")).fit_times is None


def test_the_split_is_in_time_where_there_are_times() -> None:
    timed = small_data(RATINGS, split="auto")
    assert timed.split_name == "user_time"
    assert [(finding.option, finding.value) for finding in timed.findings] == [("split", "user_time")]
    timeless = small_data(RATINGS.drop(columns="timestamp"), split="auto")
    assert timeless.split_name == timeless.with_fit_on("all").split_name == "random"
    assert timeless.findings[0].why == "the ratings have no times"
    assert not small_data(RATINGS, split="random").findings


def test_arguments_of_the_split_are_checked_before_anything_is_read() -> None:
    source = SmallRatings(RATINGS)
    for arguments, message in (
        ({"split": "time"}, "split must be one of .* or auto, got 'time'"),
        ({"split": "random", "test_fraction": 1.5}, r"test_fraction must be in \(0, 1\), got 1.5"),
        ({"split": "official"}, r"fold must be in \[1, 5\]"),
        ({"split": "random", "split_seed": -1}, "split_seed must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            RatingDataModule(source, **arguments)  # type: ignore[arg-type]
    assert source.reads == 0
