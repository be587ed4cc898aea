"""Callbacks that record a selection, replay it in the refit, and show progress."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from recsys.evaluation.registry import RMSE, Metric
from recsys.progress import Advance, hidden, progress


class EpochRecord(Callback):
    """Records the learning rate, duration and validation metric of each epoch; saved in checkpoints.

    A refit replays the learning rates up to the best epoch, which is one that was validated.

    Args:
        monitor: Validation metric to record.
        selected_by: Logged metric that selects the best epoch; None: the validation metric.
        mode: `min` or `max`: whether the lowest or the highest value of `selected_by` is best; None: as of `monitor`.
        last: Whether to select the last validated epoch regardless of its metric.
    """

    def __init__(
        self,
        monitor: Metric = RMSE,
        *,
        selected_by: str | None = None,
        mode: str | None = None,
        last: bool = False,
    ) -> None:
        self.monitor, self.last = monitor, last
        self.selected_by = selected_by or monitor.validation_key
        self.sign = -1 if (mode or monitor.direction) == "max" else 1
        self.epochs: list[dict[str, float]] = []
        self._started = 0.0
        self._validated = False

    @property
    def seconds(self) -> float:
        """Total time of all epochs, including those before a resume."""
        return sum(epoch["seconds"] for epoch in self.epochs)

    @property
    def validated(self) -> list[int]:
        """Indices of the epochs that have the selecting metric."""
        return [index for index, epoch in enumerate(self.epochs) if self.selected_by in epoch]

    @property
    def best(self) -> int:
        """Index of the best validated epoch; the last epoch if none was validated."""
        if not self.validated:
            return len(self.epochs) - 1
        if self.last:
            return self.validated[-1]
        return min(self.validated, key=lambda index: self.sign * self.epochs[index][self.selected_by])

    @property
    def path(self) -> list[float]:
        """Learning rates of the epochs up to and including the best one."""
        return [epoch["learning_rate"] for epoch in self.epochs[: self.best + 1]]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started, self._validated = time.perf_counter(), False
        del self.epochs[trainer.current_epoch :]
        self.epochs.append({"learning_rate": trainer.optimizers[0].param_groups[0]["lr"]})

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.epochs[-1]["seconds"] = time.perf_counter() - self._started
        if not self._validated:  # Lightning still holds the metrics of an earlier epoch
            return
        for name in (self.monitor.validation_key, self.selected_by):
            if name in trainer.callback_metrics:
                self.epochs[-1][name] = trainer.callback_metrics[name].item()

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]


class FitProgress(Callback):
    """Shows the fit on a terminal as one line: epoch, latest validation metric and remaining time.

    The remaining time does not account for early stopping.
    """

    def __init__(self) -> None:
        self._line = ExitStack()
        self._advance: Advance | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epochs, batches = trainer.max_epochs or -1, trainer.num_training_batches
        total = epochs * batches if epochs > 0 and math.isfinite(batches) else None
        label = f"fit on {trainer.datamodule.fit_on}"  # type: ignore[attr-defined]
        if not trainer.is_global_zero:
            self._line.enter_context(hidden())  # the processes share the terminal
        self._advance = self._line.enter_context(progress(label, total, delay=0))
        self._advance(trainer.current_epoch * int(batches) if total else 0)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert self._advance is not None
        monitor = getattr(pl_module, "monitor", RMSE)
        status = f"epoch {trainer.current_epoch + 1} done"
        if (figure := trainer.callback_metrics.get(monitor.validation_key)) is not None:
            status += f", validation {monitor.label} {figure:.4f}"
        self._advance(0, status)

    def on_train_batch_end(self, *_: Any) -> None:
        assert self._advance is not None
        self._advance()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._line.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._line.close()


class ReplayLearningRate(Callback):
    """Sets the learning rate of each epoch to that of the selection, times each group's `lr_factor`.

    Args:
        path: Learning rate by epoch.
    """

    def __init__(self, path: list[float]) -> None:
        self.learning_rates = path

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.learning_rates[trainer.current_epoch] * group.get("lr_factor", 1.0)
