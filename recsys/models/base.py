"""What all rating models share: scale, loss, metrics, optimizer and the way to plain arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from recsys.data.batches import Batch, RatingRows, epoch_seed
from recsys.data.datamodule import RatingDataModule
from recsys.factors import Factors
from recsys.metrics import RatingErrors
from recsys.monitor import RMSE, Monitor

LR_SCHEDULES = ("plateau", "onecycle", "cosine")


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


class RatingModel(LightningModule, ABC):
    """A rating predictor trained by gradient descent.

    Inside, ratings lie in [0, 1]; losses, metrics and `forward` speak stars.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        learning_rate: Adam's first learning rate.
        plateau_factor: Factor on the learning rate when validation loss stops falling, in (0, 1).
        plateau_patience: Epochs without a new minimum before that happens.
        plateau_min_lr: Learning rate that the plateau schedule does not go below.
        lr_schedule: `plateau` as above. `onecycle` climbs to the learning rate within the first 30% of
            `trainer.max_epochs` and anneals it to nothing until their end (Smith & Topin 2018), `cosine` anneals from
            the start. Both step every batch and are never stopped early, so plan few epochs: about ten.
        seed: Initial weights and dropout.
    """

    personalised: ClassVar[bool]  # whether two users may be recommended different items
    can_overfit: ClassVar[bool]  # whether it can learn 50 arbitrary ratings by heart
    task: ClassVar[str] = "rating"
    monitor: ClassVar[Monitor] = RMSE  # what it logs of validation rows, and is selected and compared by

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float,
        rating_max: float,
        learning_rate: float,
        plateau_factor: float,
        plateau_patience: int,
        plateau_min_lr: float,
        lr_schedule: str,
        seed: int,
    ) -> None:
        super().__init__()
        check_range("n_users", n_users, 1)
        check_range("n_items", n_items, 1)
        check_range("plateau_patience", plateau_patience, 0)
        check_range("plateau_min_lr", plateau_min_lr, 0.0)
        check_range("seed", seed, 0)
        if not rating_min < rating_max:
            raise ValueError(f"rating_max must be > rating_min = {rating_min}, got {rating_max}")
        if not 0 < learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be > 0, got {learning_rate}")
        if not 0 < plateau_factor < 1:
            raise ValueError(f"plateau_factor must be in (0, 1), got {plateau_factor}")
        check_choice("lr_schedule", lr_schedule, LR_SCHEDULES)
        self.n_users, self.n_items, self.seed = n_users, n_items, seed
        self.rating_min, self.rating_max, self.span = rating_min, rating_max, rating_max - rating_min
        self.learning_rate = learning_rate
        self.plateau = {"factor": plateau_factor, "patience": plateau_patience}
        self.plateau_min_lr = plateau_min_lr
        self.lr_schedule, self.schedule_epochs = lr_schedule, 0  # a refit may end before its schedule
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
    def training_terms(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions on the [0, 1] scale, `(batch,)`, and the penalty in stars squared, a scalar."""

    @abstractmethod
    def factors(self) -> Factors:
        """The trained model as plain arrays, in stars, with both sides centred."""

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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        predicted, penalty = self.training_terms(batch.user, batch.item)
        loss = self.span**2 * torch.nn.functional.mse_loss(predicted, batch.rating) + penalty
        # Summed on the device, logged once an epoch: self.log in every step costs more than the step's maths.
        self.train_loss += loss.detach()
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss = self._evaluate(batch, self.val_errors)
        self.log("val/loss", loss, on_epoch=True, batch_size=len(batch.user), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the epoch, its training loss too: what is logged at an epoch's end comes after its checkpoint."""
        if self.trainer.state.fn == "fit":
            self.log("train/loss", self.train_loss / self.trainer.num_training_batches, sync_dist=True)
        figures = self.val_errors.compute()
        self.log_dict({"val/rmse": figures["rmse"].float(), "val/mae": figures["mae"].float()})
        self.val_errors.reset()

    def on_validation_end(self) -> None:
        """Step the plateau schedule; Lightning would do so only after the epoch's checkpoint is written."""
        scheduler = self.lr_schedulers() if self.trainer.state.fn == "fit" else None
        if isinstance(scheduler, ReduceLROnPlateau) and not self.trainer.sanity_checking:
            scheduler.step(self.trainer.callback_metrics["val/loss"].item())

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a schedule of batches; `on_validation_end` steps the plateau's."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, self.test_errors)

    def on_test_epoch_end(self) -> None:
        figures = self.test_errors.compute()
        self.log_dict({f"test/{name}": value.float() for name, value in figures.items()})
        self.test_errors.reset()

    def _evaluate(self, batch: Batch, errors: RatingErrors) -> Tensor:
        """Add a batch to the metrics and give its mean squared error in stars, predictions unclipped."""
        predicted = self(batch.user, batch.item)
        rating = self.rating_min + self.span * batch.rating
        warm = (batch.user >= 0) & (batch.item >= 0)
        errors.update(predicted.clamp(self.rating_min, self.rating_max), rating, warm)
        return torch.nn.functional.mse_loss(predicted, rating)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate, the main group first; `lr_factor` multiplies a group's rate."""
        return [{"params": list(self.parameters()), "lr_factor": 1.0}]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam and the schedule; plateau's only where there are validation rows (a refit has none)."""
        fused = self.device.type in ("cpu", "cuda")
        groups = self.parameter_groups()
        for group in groups:
            group["lr"] = self.learning_rate * group["lr_factor"]
        optimizer = torch.optim.Adam(groups, lr=self.learning_rate, fused=fused)
        if self.lr_schedule != "plateau":
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._curve(optimizer), "interval": "step"}}
        if not self.trainer.limit_val_batches:
            return optimizer
        floors = [self.plateau_min_lr * group["lr_factor"] for group in groups]
        scheduler = ReduceLROnPlateau(optimizer, "min", min_lr=floors, **self.plateau)  # type: ignore[arg-type]
        # Not strict: a small data set may leave no validation row, and then the rate stays.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": "val/loss", "strict": False},
        }

    def _curve(self, optimizer: torch.optim.Optimizer) -> LRScheduler:
        """A learning rate for every step of the planned epochs."""
        trainer, epochs = self.trainer, self.trainer.max_epochs or 0
        if epochs < 1:
            raise ValueError(f"lr_schedule={self.lr_schedule} needs trainer.max_epochs >= 1, got {epochs}")
        if trainer.max_steps != -1:
            raise ValueError(f"lr_schedule={self.lr_schedule} needs trainer.max_steps = -1, got {trainer.max_steps}")
        trainer.fit_loop.setup_data()  # else the number of batches is not known yet
        steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        steps = max(1, steps) * (self.schedule_epochs or epochs)
        if self.lr_schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=steps)
        highest = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, highest, total_steps=steps + 1, cycle_momentum=False)
