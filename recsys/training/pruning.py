"""Optuna pruning callback."""

from __future__ import annotations

import lightning as L
import optuna
from lightning.pytorch.callbacks import Callback
from optuna.trial import Trial

from recsys.evaluation.registry import monitor_of
from recsys.training.errors import PrunedError
from recsys.training.pruners import make_pruner


class Pruning(Callback):
    """Reports the validation metric of each validated epoch to the study and stops the run when the pruner decides to.

    Args:
        storage: RDB URL of the study.
        study: Name of the study.
        trial: Number of this run's trial.
        pruner: One of `pruners.PRUNERS`.

    Raises:
        PrunedError: During training, at the end of an epoch.
    """

    def __init__(self, storage: str, study: str, trial: int, pruner: str = "halving") -> None:
        database = optuna.storages.get_storage(storage)
        trial_id = database.get_trial_id_from_study_id_trial_number(database.get_study_id_from_name(study), trial)
        self.study = optuna.load_study(storage=database, study_name=study, pruner=make_pruner(pruner))
        self.trial = Trial(self.study, trial_id)
        self._validated = False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._validated:
            return
        monitor, epoch = monitor_of(trainer.callback_metrics), trainer.current_epoch
        value = trainer.callback_metrics[monitor.validation_key].item()
        pruned = False
        if trainer.is_global_zero:
            self.trial.report(monitor.minimized(value), epoch)
            pruned = epoch + 1 != trainer.max_epochs and self.trial.should_prune()  # else there is nothing left to save
        if trainer.strategy.broadcast(pruned):
            raise PrunedError(f"validation {monitor.label} {value:.4f} after {epoch + 1} epochs")
