"""Gives a trial of a study up when it promises too little."""

from __future__ import annotations

import lightning as L
import optuna
from lightning.pytorch.callbacks import Callback
from optuna.trial import Trial

from recsys.evaluation.registry import monitor_of
from recsys.experiments.run_folder import PrunedError
from recsys.experiments.study import make_pruner


class Pruning(Callback):
    """Reports each epoch's validation figure to the study, and gives the run up when it promises too little.

    Args:
        storage: RDB URL of the study.
        study: Its name.
        trial: Number of the trial that this run is.
        pruner: One of `PRUNERS`.

    Raises:
        PrunedError: In training, after an epoch.
    """

    def __init__(self, storage: str, study: str, trial: int, pruner: str = "halving") -> None:
        self.study = optuna.load_study(storage=storage, study_name=study, pruner=make_pruner(pruner))
        self.trial = Trial(self.study, self.study.get_trials(deepcopy=False)[trial]._trial_id)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        monitor, epoch = monitor_of(trainer.callback_metrics), trainer.current_epoch
        value = trainer.callback_metrics[monitor.validation_key].item()
        self.trial.report(monitor.minimized(value), epoch)
        if self.trial.should_prune():
            raise PrunedError(f"validation {monitor.label} {value:.4f} after {epoch + 1} epochs")
