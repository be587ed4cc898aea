"""RatingDataModule: splits a source of ratings and yields batches of (user, item, rating) tensors."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from recsys.bundle.encoder_events import ratings_of_kinds
from recsys.data import features
from recsys.data.batches import Batch, ItemBatches, RatingBatches, RatingRows
from recsys.data.columns import EVENT, ITEM_ID, RATING, TIMESTAMP, USER_ID, WEIGHT
from recsys.data.histories import HistoryBatches, starts_of
from recsys.data.ids import IdMap
from recsys.data.inference.finding import AUTO, Finding
from recsys.data.rating_data import RatingData
from recsys.data.sources.base import RatingsSource
from recsys.data.splits import Split, check_split, split_ratings

EVAL_BATCH_SIZE = 1 << 16  # evaluation keeps no activations, so its batches may be large
REFITS = ("none", "train_val", "all")
FIT_ON = ("train", "train_val", "all")


class RatingDataModule(LightningDataModule):
    """Ratings, split and mapped to dense rows.

    Args:
        source: Source of the ratings.
        split: Rule for the test rows, and likewise for the validation rows: `user_time`, `global_time`, `random`,
            `kfold`, `official`, `leave_one_out` or `held_out_users` (see `recsys.data.splits`); `auto`: `user_time` if
            the ratings have times, else `random`.
        test_fraction: Fraction of test rows for `global_time` and `random`, of users for `held_out_users`, in (0, 1).
        folds: Number of folds for `kfold`, at least 2.
        fold: The test fold: from 0 for `kfold`, from 1 for `official`.
        split_seed: Seed of random splits.
        ties: Order of a user's ratings with equal times: `file`, `shuffled`, or `group` for `leave_one_out`.
        batch_size: Ratings per training step on each device.
        seed: Seed of the order of training rows, together with the epoch.
        fit_on: Rows for training: `train`, `train_val` or `all`. Ids are fitted on the same rows.
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
        ties: str = "file",
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
        check_split(split, test_fraction=test_fraction, folds=folds, fold=fold, split_seed=split_seed, ties=ties)
        self.source, self.split_name, self.batch_size, self.seed = source, split, batch_size, seed
        self.split_arguments: dict[str, Any] = {
            "test_fraction": test_fraction,
            "folds": folds,
            "fold": fold,
            "split_seed": split_seed,
            "ties": ties,
        }
        self.fit_on = fit_on
        self.findings: list[Finding] = []  # after setup: options of the source and the split that were inferred
        self._dataset: RatingData | None = None

    def prepare_data(self) -> None:
        self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Read and split once; `stage` is ignored, since all stages need the same ids."""
        if self._dataset is None:
            self._dataset = self.source.read()
            self.findings = list(self._dataset.findings)
            if self.split_name == AUTO:
                timed = TIMESTAMP in self._dataset.ratings
                self.split_name = "user_time" if timed else "random"
                why = "the ratings have times" if timed else "the ratings have no times"
                self.findings.append(Finding("split", self.split_name, why))
            self.split: Split = split_ratings(self._dataset.ratings, self.split_name, **self.split_arguments)
            self._fit_ids()

    def with_fit_on(self, fit_on: str) -> RatingDataModule:
        """A copy with the same data and split, fitted on other rows."""
        self.setup()
        other = copy.copy(self)
        other.fit_on, other.trainer = fit_on, None
        other._fit_ids()
        return other

    @property
    def dataset(self) -> RatingData:
        if self._dataset is None:
            raise RuntimeError("setup() has not been called")
        return self._dataset

    @property
    def fit_rows(self) -> NDArray[np.int64]:
        """Positions of the training rows, int64, ascending."""
        if self.fit_on == "all":
            return np.arange(len(self.dataset.ratings))
        if self.fit_on == "train_val":
            parts = self.split.train, self.split.val, self.split.val_history
            return np.sort(np.concatenate(parts))  # ten times faster than union1d
        return self.split.train

    def _fit_ids(self) -> None:
        ratings = self.dataset.ratings
        rows = self.fit_rows
        if not len(rows):
            raise ValueError(f"split {self.split_name} leaves no training rows in {self.dataset.name}")
        fitted = ratings if len(rows) == len(ratings) else ratings.iloc[rows]
        self.users, self.items = IdMap.fit(fitted[USER_ID]), IdMap.fit(fitted[ITEM_ID])
        low, high = self.dataset.scale
        self.dense = RatingRows(
            torch.from_numpy(self.users.rows(ratings[USER_ID])),
            torch.from_numpy(self.items.rows(ratings[ITEM_ID])),
            torch.from_numpy(((ratings[RATING].to_numpy() - low) / ((high - low) or 1.0)).astype(np.float32)),
        )
        self.fit_data = self.rows(self._by_user(rows))  # so that batches are ordered by user

    def _by_user(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows[np.argsort(self.dense.columns.user.numpy()[rows], kind="stable")]

    @property
    def fit_times(self) -> Tensor | None:
        """Timestamps of `fit_data`, int64 unix seconds `(fit rows,)`; None if unknown."""
        if TIMESTAMP not in self.dataset.ratings:
            return None
        return torch.from_numpy(self.dataset.ratings[TIMESTAMP].to_numpy()[self._by_user(self.fit_rows)])

    @property
    def fit_weights(self) -> Tensor | None:
        """Weights of `fit_data` relative to their mean, float32 `(fit rows,)`; None if all are equal."""
        if WEIGHT not in self.dataset.ratings:
            return None
        weight = self.dataset.ratings[WEIGHT].to_numpy(np.float64)[self._by_user(self.fit_rows)]
        if (weight == weight[0]).all():
            return None
        return torch.from_numpy((weight / weight.mean()).astype(np.float32))

    @property
    def fit_events(self) -> Tensor | None:
        """Ratings that stand for the kinds of events of `fit_data`, float32 `(fit rows,)`; None without kinds."""
        if not self.dataset.events:
            return None
        return torch.from_numpy(self.history_ratings()[self._by_user(self.fit_rows)])

    def history_ratings(self) -> NDArray[np.float32]:
        """What an encoder reads of each row, `(ratings,)`: its rating, or the one that stands for its kind of event."""
        ratings = self.dataset.ratings
        if self.dataset.events:
            return ratings_of_kinds(ratings[EVENT].to_numpy(), self.dataset.events)
        return np.asarray(ratings[RATING].to_numpy(), np.float32)

    def user_attributes(self) -> features.Attributes | None:
        """Attributes of all users of the data set, fitted or not, by row of the bundle; computed on each call.

        None if the source has no users table.
        """
        if self.dataset.users is None:
            return None
        return features.user_attributes(self.dataset, self.all_users()[0])

    def item_attributes(self) -> features.Attributes | None:
        """Attributes of all rated items; None if the source has no items table."""
        if self.dataset.items is None:
            return None
        return features.item_attributes(self.dataset, self.all_items()[0])

    def all_users(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Ids of all users as in a bundle, fitted ones first, and the row among them of each rating, `(ratings,)`."""
        return self.users.with_others(self.dataset.ratings[USER_ID], self.dense.columns.user.numpy())

    def all_items(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """As `all_users`, of items."""
        return self.items.with_others(self.dataset.ratings[ITEM_ID], self.dense.columns.item.numpy())

    def rows(self, positions: NDArray[np.int64]) -> RatingRows:
        """Rows at these positions of the ratings frame."""
        return RatingRows(*self.dense[torch.from_numpy(positions)])

    def train_dataloader(self) -> RatingBatches | HistoryBatches:
        """Shuffled batches: of ratings, or of whole items or histories for a model that asks for them.

        A full-batch model gets all rows in order.
        """
        model = None if self.trainer is None else self.trainer.lightning_module
        if length := getattr(model, "history_length", 0):
            rank, world = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
            start = starts_of(self.fit_data.columns.user, len(self.users))
            return HistoryBatches(start, self.batch_size, length, seed=self.seed, rank=rank, world=world)
        if getattr(model, "full_batch", False):
            return self._batches(self.fit_data, len(self.fit_data), shuffle=False)
        of_items = getattr(model, "batches_of_items", False)
        return self._batches(self.fit_data, self.batch_size, shuffle=True, of_items=of_items)

    def val_dataloader(self) -> RatingBatches:
        return self._batches(self.rows(self.split.val), EVAL_BATCH_SIZE, shuffle=False)

    def test_dataloader(self) -> RatingBatches:
        return self._batches(self.rows(self.split.test), EVAL_BATCH_SIZE, shuffle=False)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Skip batches that are already on the device, where Lightning's check takes longer than a small step."""
        if isinstance(batch, Batch) and batch.user.device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _batches(self, rows: RatingRows, batch_size: int, *, shuffle: bool, of_items: bool = False) -> RatingBatches:
        rank, world, device = 0, 1, torch.device("cpu")
        if self.trainer is not None:
            if not getattr(self.trainer.lightning_module, "full_batch", False):  # or each process looks at all rows
                rank, world = self.trainer.global_rank, self.trainer.world_size
            device = self.trainer.strategy.root_device
        resident = device.type == "cuda" and _fits(rows, device)
        kind = ItemBatches if of_items else partial(RatingBatches, shuffle=shuffle)
        return kind(
            rows.to(device) if resident else rows,
            batch_size,
            seed=self.seed,
            rank=rank,
            world=world,
            pin=device.type == "cuda" and not resident,
        )


def _fits(rows: RatingRows, device: torch.device) -> bool:
    """Whether the rows fit in an eighth of the device's free memory; their shuffled copy takes another eighth."""
    size = sum(column.numel() * column.element_size() for column in rows.columns)
    return size <= torch.cuda.mem_get_info(device)[0] // 8
