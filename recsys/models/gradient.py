"""Base class of models trained by gradient descent: loss, optimizer and learning rate schedules."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from recsys.data.batches import Batch
from recsys.data.datamodule import RatingDataModule
from recsys.models.base import SPAN_IN_UNITS, RatingModel
from recsys.models.validation import check_choice, check_range

LR_SCHEDULES = ("plateau", "onecycle", "cosine")


class GradientModel(RatingModel):
    """A rating predictor trained by Adam.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        learning_rate: Initial learning rate of Adam.
        seed: Seed of the initial weights and dropout.
        plateau_factor: Factor on the learning rate when the validation loss stops improving, in (0, 1).
        plateau_patience: Epochs without improvement before that.
        plateau_min_lr: Lower bound on the learning rate of the plateau schedule.
        lr_schedule: `plateau` as above; `onecycle` warms up over the first 30% of `trainer.max_epochs` and then anneals
            to zero (Smith & Topin 2018); `cosine` anneals from the start. The latter two step every batch and disable
            early stopping, so use about ten epochs.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float,
        rating_max: float,
        *,
        learning_rate: float,
        seed: int,
        plateau_factor: float = 0.2,
        plateau_patience: int = 3,
        plateau_min_lr: float = 1e-6,
        lr_schedule: str = "plateau",
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, seed)
        check_range("learning_rate", learning_rate, 0, open_low=True)
        check_range("plateau_factor", plateau_factor, 0, 1, open_low=True, open_high=True)
        check_range("plateau_patience", plateau_patience, 0)
        check_range("plateau_min_lr", plateau_min_lr, 0.0)
        check_choice("lr_schedule", lr_schedule, LR_SCHEDULES)
        self.learning_rate = learning_rate
        self.plateau = {"factor": plateau_factor, "patience": plateau_patience}
        self.plateau_min_lr = plateau_min_lr
        self.lr_schedule = lr_schedule
        self.replays_lr = lr_schedule == "plateau"  # in a refit; the other schedules depend on the epoch alone
        if not self.replays_lr:
            self.patience = None
        self.planned_epochs = 0  # length of the schedule if training stops earlier; 0: trainer.max_epochs

    def training_terms(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions on the [0, 1] scale, `(batch,)`, and the penalty in units squared, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must have training_terms, or a training_step of its own")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        predicted, penalty = self.training_terms(batch.user, batch.item)
        loss = SPAN_IN_UNITS**2 * torch.nn.functional.mse_loss(predicted, batch.rating) + penalty
        # Summed on the device and logged once per epoch: self.log in every step costs more than the step itself.
        self.train_loss += loss.detach()
        return loss

    def mean_train_loss(self) -> Tensor:
        """Training loss of the epoch in stars squared, a scalar."""
        return super().mean_train_loss() * self.unit**2

    @property
    def plateau_metric(self) -> str:
        """Validation metric that the plateau schedule watches."""
        data = getattr(self.trainer, "datamodule", None)
        folded = isinstance(data, RatingDataModule) and len(data.split.val_history) > 0  # which the loss is not
        if self.task == "rating" and not folded:
            return "val/loss"
        return self.selected_by or self.monitor.validation_key

    def on_validation_end(self) -> None:
        """Step the plateau schedule here, before the checkpoint; Lightning would do so after it."""
        scheduler = self.lr_schedulers() if self.trainer.state.fn == "fit" else None
        if isinstance(scheduler, ReduceLROnPlateau) and not self.trainer.sanity_checking:
            scheduler.step(self.trainer.callback_metrics[self.plateau_metric].item())

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step the per-batch schedules; `on_validation_end` steps the plateau schedule."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups, the main group first; `lr_factor` scales the learning rate of a group."""
        return [{"params": list(self.parameters()), "lr_factor": 1.0}]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with the schedule; plateau only with validation rows (a refit has none)."""
        # Fused Adam unscales the gradients itself, so they could not be clipped before.
        clipped = bool(self.trainer.gradient_clip_val) and "mixed" in str(self.trainer.precision)
        fused = self.device.type in ("cpu", "cuda") and not clipped
        groups = self.parameter_groups()
        for group in groups:
            group["lr"] = self.learning_rate * group["lr_factor"]
        optimizer = torch.optim.Adam(groups, lr=self.learning_rate, fused=fused)
        if self.lr_schedule != "plateau":
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._curve(optimizer), "interval": "step"}}
        if not self.trainer.limit_val_batches:
            return optimizer
        floors = [self.plateau_min_lr * group["lr_factor"] for group in groups]
        scheduler = ReduceLROnPlateau(optimizer, self.monitor.direction, min_lr=floors, **self.plateau)  # type: ignore[arg-type]
        # Not strict: a small data set may have no validation rows, and then the learning rate is constant.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": self.plateau_metric, "strict": False},
        }

    def _curve(self, optimizer: torch.optim.Optimizer) -> LRScheduler:
        """A learning rate for every step of the planned epochs."""
        trainer, epochs = self.trainer, self.trainer.max_epochs or 0
        if epochs < 1:
            raise ValueError(f"lr_schedule={self.lr_schedule} needs trainer.max_epochs >= 1, got {epochs}")
        if trainer.max_steps != -1:
            raise ValueError(f"lr_schedule={self.lr_schedule} needs trainer.max_steps = -1, got {trainer.max_steps}")
        trainer.fit_loop.setup_data()  # sets the number of batches
        steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        steps = max(1, steps) * (self.planned_epochs or epochs)
        if self.lr_schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=steps)
        highest = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, highest, total_steps=steps + 1, cycle_momentum=False)
