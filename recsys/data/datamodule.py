"""RatingDataModule: batches of (user, item, rating) tensors from a source of ratings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.ids import IdMap
from recsys.data.ratings import RatingData, RatingsSource
from recsys.data.splits import Split, split_ratings

EVAL_BATCH_SIZE = 1 << 16  # evaluation keeps no activations, so its batches may be large
REFITS = ("none", "train_val", "all")
FIT_ON = ("train", "train_val", "all")


class Batch(NamedTuple):
    """Rows of a batch; -1 marks a user or item outside the fitted ids."""

    user: Tensor  # (batch,) int64, dense row
    item: Tensor  # (batch,) int64, dense row
    rating: Tensor  # (batch,) float32, scaled to [0, 1]


class RatingRows(Dataset[Batch]):
    """Rows as three tensors, indexed by a whole batch of positions at once."""

    def __init__(self, user: Tensor, item: Tensor, rating: Tensor) -> None:
        self.columns = Batch(user, item, rating)

    def __len__(self) -> int:
        return len(self.columns.user)

    def __getitem__(self, positions: Tensor) -> Batch:
        return Batch(*(column.index_select(0, positions) for column in self.columns))

    def to(self, device: torch.device) -> RatingRows:
        return RatingRows(*(column.to(device) for column in self.columns))


class BatchPositions(Sampler[Tensor]):
    """Positions of a batch at a time: shuffled from (seed, epoch), the same on every rank, then dealt out by rank.

    Lightning calls `set_epoch`, on a resume after it has called `iter`: hence the generator, which draws the order
    when the first batch is asked for. Batches are of even size. With several ranks the first rows of the order are
    repeated so that all ranks take equally many steps.
    """

    def __init__(self, n: int, batch_size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.rank, self.world, self.epoch = rank, world, 0
        self.device = torch.device("cpu")

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of an epoch; of nearly equal size, since batch norm cannot take a last batch of one row."""
        share = -(-self.n // self.world)  # rounded up: rows of a rank
        return -(-share // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.n:
            return
        if self.shuffle:
            generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
            order = torch.randperm(self.n, generator=generator)
        else:
            order = torch.arange(self.n)
        if self.world > 1:
            share = -(-self.n // self.world)
            order = order[torch.arange(share * self.world) % self.n][self.rank :: self.world]
        for positions in order.to(self.device).tensor_split(len(self)):
            # Which rows a batch has is random, their order in it is of no account: ascending rows are near each other.
            yield torch.from_numpy(np.sort(positions.numpy())) if self.shuffle and not positions.is_cuda else positions


def epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """A 63-bit seed for one epoch of one run, so that a resumed run needs no generator's state."""
    state = np.random.SeedSequence([seed, epoch, stream]).generate_state(2, np.uint32)
    return int(state[0]) << 31 ^ int(state[1])


def as_is(batch: Any) -> Any:
    return batch


class RatingDataModule(LightningDataModule):
    """Ratings, split and mapped to dense rows.

    Args:
        source: Where the ratings come from.
        split: Rule that chooses the test rows, and by the same rule the validation rows: `user_time`,
            `global_time`, `random`, `kfold`, `official` or `leave_one_out` (see `recsys.data.splits`).
        test_fraction: Share of rows in the test set for `global_time` and `random`, in (0, 1).
        folds: Number of folds for `kfold`, at least 2.
        fold: Which fold is the test set: from 0 for `kfold`, from 1 for `official`.
        split_seed: Chooses rows where the rule is random, and nothing else.
        batch_size: Ratings a training step, on each device.
        seed: Order of training rows, together with the epoch.
        fit_on: Rows that training uses: `train`, `train_val` or `all`. Ids are fitted on the same rows.
    """

    def __init__(
        self,
        source: RatingsSource,
        *,
        split: str = "user_time",
        test_fraction: float = 0.1,
        folds: int = 10,
        fold: int = 0,
        split_seed: int = 0,
        batch_size: int = 8192,
        seed: int = 0,
        fit_on: str = "train",
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        if seed < 0:
            raise ValueError(f"seed must be >= 0, got {seed}")
        if fit_on not in FIT_ON:
            raise ValueError(f"fit_on must be one of {', '.join(FIT_ON)}, got {fit_on!r}")
        self.source, self.split_name, self.batch_size, self.seed = source, split, batch_size, seed
        self.split_arguments: dict[str, Any] = {
            "test_fraction": test_fraction,
            "folds": folds,
            "fold": fold,
            "split_seed": split_seed,
        }
        self.fit_on = fit_on
        self._data: RatingData | None = None

    def prepare_data(self) -> None:
        self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Read and split once; `stage` makes no difference, as every stage needs the same ids."""
        if self._data is None:
            self._data = self.source.read()
            self.split: Split = split_ratings(self._data.ratings, self.split_name, **self.split_arguments)
            self._fit_ids()

    def with_fit_on(self, fit_on: str) -> RatingDataModule:
        """The same rows and split, read already, with another choice of rows to fit on."""
        self.setup()
        other = RatingDataModule(
            self.source,
            split=self.split_name,
            **self.split_arguments,
            batch_size=self.batch_size,
            seed=self.seed,
            fit_on=fit_on,
        )
        other._data, other.split = self._data, self.split
        other._fit_ids()
        return other

    @property
    def data(self) -> RatingData:
        if self._data is None:
            raise RuntimeError("setup() has not been called")
        return self._data

    @property
    def fit_rows(self) -> NDArray[np.int64]:
        """Positions of the rows that training uses, int64, ascending."""
        if self.fit_on == "all":
            return np.arange(len(self.data.ratings))
        if self.fit_on == "train_val":
            return np.union1d(self.split.train, self.split.val)
        return self.split.train

    def _fit_ids(self) -> None:
        ratings = self.data.ratings
        rows = self.fit_rows
        if not len(rows):
            raise ValueError(f"split {self.split_name} leaves no row of {self.data.name} to fit on")
        fitted = ratings if len(rows) == len(ratings) else ratings.iloc[rows]
        self.users, self.items = IdMap.fit(fitted[USER_ID]), IdMap.fit(fitted[ITEM_ID])
        span = self.data.rating_max - self.data.rating_min
        self.dense = RatingRows(
            torch.from_numpy(self.users.rows(ratings[USER_ID])),
            torch.from_numpy(self.items.rows(ratings[ITEM_ID])),
            torch.from_numpy(((ratings[RATING].to_numpy() - self.data.rating_min) / (span or 1.0)).astype(np.float32)),
        )
        by_user = np.argsort(self.dense.columns.user.numpy()[rows], kind="stable")
        self.fit_data = self.rows(rows[by_user])  # so a batch's ratings come user by user

    def rows(self, positions: NDArray[np.int64]) -> RatingRows:
        """Rows at these positions of the ratings frame."""
        return RatingRows(*self.dense[torch.from_numpy(positions)])

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.fit_data, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.rows(self.split.val), EVAL_BATCH_SIZE, shuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.rows(self.split.test), EVAL_BATCH_SIZE, shuffle=False)

    def _loader(self, rows: RatingRows, batch_size: int, *, shuffle: bool) -> DataLoader[Batch]:
        """A loader whose index is a whole batch: collating sample by sample costs three times the step."""
        rank, world, device = 0, 1, torch.device("cpu")
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
            device = self.trainer.strategy.root_device
        sampler = BatchPositions(len(rows), batch_size, shuffle=shuffle, seed=self.seed, rank=rank, world=world)
        resident = device.type == "cuda" and _fits(rows, device)
        if resident:
            rows, sampler.device = rows.to(device), device
        return DataLoader(
            rows,
            sampler=sampler,
            batch_size=None,
            collate_fn=as_is,
            pin_memory=device.type == "cuda" and not resident,
        )


def _fits(rows: RatingRows, device: torch.device) -> bool:
    """Whether the rows take at most a quarter of the device's free memory; the model needs the rest."""
    size = sum(column.numel() * column.element_size() for column in rows.columns)
    return size <= torch.cuda.mem_get_info(device)[0] // 4
