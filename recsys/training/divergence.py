"""Training that diverges ends in the epoch where it does, with what to change."""

from __future__ import annotations

import math

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from recsys.models.base import RatingModel
from recsys.training.errors import DivergedError

STRONG = 100.0  # a penalty above it is not too weak


class StopDivergence(Callback):
    """Ends training where the loss or the validation metric is not finite, before a checkpoint is written.

    Raises:
        DivergedError: During training, before a validation or at the end of an epoch.
    """

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._check_loss(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, RatingModel)
        self._check_loss(trainer, pl_module)
        name = pl_module.monitor.validation_key
        if (figure := trainer.callback_metrics.get(name)) is not None and not math.isfinite(figure):
            raise diverged(trainer, pl_module, f"{name} is {figure:.4g}")

    def _check_loss(self, trainer: L.Trainer, model: L.LightningModule) -> None:
        assert isinstance(model, RatingModel)
        if not math.isfinite(loss := float(model.train_loss)):
            raise diverged(trainer, model, f"the training loss is {loss}")


def is_finite(model: nn.Module) -> bool:
    """Whether all parameters are finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def diverged(trainer: L.Trainer, model: RatingModel, why: str, epoch: int | None = None) -> DivergedError:
    """The error of a training that diverged; names the epoch and what to change.

    Args:
        trainer: Its current epoch is named, unless `epoch` is given.
        model: Its arguments are named, with their values.
        why: What was found.
        epoch: Number of the epoch, from 1.
    """
    epoch = epoch or trainer.current_epoch + 1
    refit = "" if trainer.limit_val_batches else " of the refit"
    return DivergedError(f"training diverged in epoch {epoch}{refit} ({why}): {_remedy(trainer, model)}")


def _remedy(trainer: L.Trainer, model: RatingModel) -> str:
    given, precision, found = model.hparams, str(trainer.precision), []
    reg_lambda = given.get("reg_lambda")
    if "learning_rate" in given:
        found.append(f"lower model.learning_rate (now {given['learning_rate']:g})")
    elif reg_lambda is not None and reg_lambda <= STRONG:
        found.append(f"raise model.reg_lambda (now {reg_lambda:g})")
    elif "embedding_dim" in given:
        found.append(f"lower model.embedding_dim (now {given['embedding_dim']})")
    if reg_lambda is not None and reg_lambda > STRONG:
        found.append(f"lower model.reg_lambda (now {reg_lambda:g})")
    if "16" in precision:
        found.append(f"set trainer.precision=32-true (now {precision})")
    elif "learning_rate" not in given and precision != "64-true":
        found.append(f"set trainer.precision=64-true (now {precision})")
    return ", or ".join(found) or "check its arguments"
