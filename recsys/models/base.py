"""What all rating models share: scale, metrics and the way to plain arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor

from recsys.bundle.factors import Factors
from recsys.data.batches import Batch, RatingRows, epoch_seed
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.metrics import RatingErrors
from recsys.evaluation.monitor import RMSE, Monitor


def check_range(name: str, value: float, low: float, high: float = float("inf"), *, open_high: bool = False) -> None:
    """Raise a ValueError that names the argument, its value and the allowed range."""
    number = isinstance(value, int | float)
    if number and (low <= value < high or (value == high < float("inf") and not open_high)):
        return
    allowed = f">= {low}" if high == float("inf") else f"in [{low}, {high}{')' if open_high else ']'}"
    raise ValueError(f"{name} must be {allowed}, got {value}")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise a ValueError that names the argument, its value and what is allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def penalty_weight(row: NDArray[np.int64], n: int, exponent: float) -> tuple[Tensor, Tensor]:
    """n_row^(exponent - 1), scaled to a mean of 1 over the ratings, `(n,)`; and that of a row with one rating."""
    count = np.bincount(row, minlength=n)
    weight = np.maximum(count, 1.0) ** (exponent - 1.0)
    level = count.sum() / (weight @ count)
    return torch.from_numpy((weight * level).astype(np.float32)), torch.tensor(level, dtype=torch.float32)


def as_array(tensor: Tensor) -> NDArray[np.float64]:
    """The same numbers, in NumPy's double precision."""
    return np.asarray(tensor.detach().double().cpu())


class RatingModel(LightningModule, ABC):
    """A predictor of ratings, however it is fitted: by gradient descent (`GradientModel`) or in sweeps (`SweepModel`).

    Inside, ratings lie in [0, 1]; losses, metrics and `forward` speak stars.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        seed: All that is drawn at random.
    """

    personalised: ClassVar[bool]  # whether two users may be recommended different items
    can_overfit: ClassVar[bool]  # whether it can learn 50 arbitrary ratings by heart
    task: ClassVar[str] = "rating"
    one_batch: ClassVar[bool] = False  # whether a step takes all rows, as they lie
    last_is_best: ClassVar[bool] = False  # whether the end of training is what is wanted, whatever validation says
    patience: ClassVar[int] = 8  # epochs without a better one before early stopping ends its training
    stops_early: bool = True  # whether early stopping may end its training
    replays: bool = False  # whether a refit replays the learning rates of the selection
    schedule_epochs: int = 0  # epochs that were planned, where a refit ends before them
    taken: float | None = None  # what a rating counts as in folding in, where its stars are of no account
    monitor: ClassVar[Monitor] = RMSE  # what it logs of validation rows, and is selected and compared by

    def __init__(self, n_users: int, n_items: int, rating_min: float, rating_max: float, seed: int) -> None:
        super().__init__()
        check_range("n_users", n_users, 1)
        check_range("n_items", n_items, 1)
        check_range("seed", seed, 0)
        if not rating_min < rating_max:
            raise ValueError(f"rating_max must be > rating_min = {rating_min}, got {rating_max}")
        self.n_users, self.n_items, self.seed = n_users, n_items, seed
        self.rating_min, self.rating_max, self.span = rating_min, rating_max, rating_max - rating_min
        self.generator = torch.Generator()
        self.train_loss = torch.zeros(())
        self.val_errors, self.test_errors = RatingErrors(), RatingErrors()

    def __setattr__(self, name: str, value: Any) -> None:
        """As ever, but for one name that Lightning sets forty times a step: Module's way takes 5% of a step then."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @abstractmethod
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted stars, unclipped, `(batch,)`; a row of -1 stands for one never seen in fitting."""

    @abstractmethod
    def factors(self) -> Factors:
        """The trained model as plain arrays, in stars, with both sides centred."""

    def keep_in(self, folder: Path, name: str) -> None:
        """Be told where to keep what checkpoints should not hold, in files that begin with `name`."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what a checkpoint holds besides the state; called before that is loaded."""

    def stars(self, rating: Tensor) -> Tensor:
        """Ratings in [0, 1] as stars."""
        return self.rating_min + self.span * rating

    def initialise(self, rows: RatingRows) -> None:
        """Look at the training rows once, before the first epoch; a model may need nothing of them."""

    def setup(self, stage: str) -> None:
        """Runs before a checkpoint is loaded, so what it sets does not outlive a resume."""
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, RatingDataModule):
            self.initialise(data.fit_data)

    def on_fit_start(self) -> None:
        self.generator = torch.Generator(self.device)

    def on_train_epoch_start(self) -> None:
        """Dropout starts every epoch from (seed, epoch, rank): a resumed run needs no generator's state."""
        self.generator.manual_seed(epoch_seed(self.seed, self.current_epoch, 1 + self.global_rank))
        self.train_loss = torch.zeros((), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss = self._evaluate(batch, self.predicted(batch, batch_idx), self.val_errors)
        self.log("val/loss", loss, on_epoch=True, batch_size=len(batch.user), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the epoch, its training loss too: what is logged at an epoch's end comes after its checkpoint."""
        if self.trainer.state.fn == "fit":
            self.log("train/loss", self.train_loss / self.trainer.num_training_batches, sync_dist=True)
        figures = self.val_errors.compute()
        self.log_dict({"val/rmse": figures["rmse"].float(), "val/mae": figures["mae"].float()})
        self.val_errors.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, self.predicted(batch, batch_idx), self.test_errors)

    def on_test_epoch_end(self) -> None:
        figures = self.test_errors.compute()
        self.log_dict({f"test/{name}": value.float() for name, value in figures.items()})
        self.test_errors.reset()

    def predicted(self, batch: Batch, batch_idx: int) -> Tensor:
        """What validation and test measure, in stars, `(batch,)`."""
        predicted: Tensor = self(batch.user, batch.item)
        return predicted

    def _evaluate(self, batch: Batch, predicted: Tensor, errors: RatingErrors) -> Tensor:
        """Add a batch to the metrics and give its mean squared error in stars, predictions unclipped."""
        rating = self.stars(batch.rating)
        warm = (batch.user >= 0) & (batch.item >= 0)
        errors.update(predicted.clamp(self.rating_min, self.rating_max), rating, warm)
        return torch.nn.functional.mse_loss(predicted, rating)
