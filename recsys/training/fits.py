"""The fits of a run, selection and refit, in this process or in several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from recsys.data.datamodule import RatingDataModule
from recsys.models.base import RatingModel
from recsys.models.gradient import GradientModel
from recsys.training.callbacks import EpochRecord, FitProgress, ReplayLearningRate
from recsys.training.checkpoints import LAST, load_state
from recsys.training.context import RunContext
from recsys.training.divergence import StopDivergence
from recsys.training.options import devices_of, trainer_options
from recsys.training.processes import in_processes
from recsys.training.strategy import EndOnSigterm
from recsys.training.trainer import build_callbacks, build_trainer, fit


@dataclass(frozen=True)
class FitJob:
    """A fit, with all that another process needs to take part in it.

    Args:
        cfg: Configuration of the run.
        folder: The run folder.
        in_sweep: Whether the run is a job of a sweep.
        replayed: Learning rate of each epoch of a refit; None: the selection, with validation.
    """

    cfg: DictConfig
    folder: Path
    in_sweep: bool = False
    replayed: tuple[float, ...] | None = None

    def checkpoint(self, data: RatingDataModule) -> Path:
        """From where it is resumed: its last checkpoint."""
        name = LAST if self.replayed is None else f"refit_{data.fit_on}.ckpt"
        return self.folder / "checkpoints" / name

    def model(self, data: RatingDataModule) -> RatingModel:
        """The model as it is before the fit, for the users and items in the data."""
        low, high = data.dataset.scale
        sizes = {"n_users": len(data.users), "n_items": len(data.items)}
        model: RatingModel = instantiate(self.cfg.model, **sizes, rating_min=low, rating_max=high)
        model.name = self.cfg.model_name
        model.set_artifact_dir(self.folder / "checkpoints", "train" if self.replayed is None else data.fit_on)
        return model

    def record(self, model: RatingModel) -> EpochRecord:
        """What is recorded of its epochs."""
        if self.replayed is not None:
            return EpochRecord()
        named = self.cfg.callbacks.checkpoint.get("monitor")
        mode = None if named is None else self.cfg.callbacks.checkpoint.get("mode", "min")
        return EpochRecord(
            model.monitor, selected_by=named or model.selected_by, mode=mode, last=model.select_last_epoch
        )


@dataclass(frozen=True)
class Fitted:
    """What became of a fit."""

    epochs: list[dict[str, float]]  # as in `EpochRecord`
    steps: int
    batches: int  # of an epoch


def fitted(job: FitJob, data: RatingDataModule, loggers: list[Logger]) -> tuple[RatingModel, EpochRecord, Fitted]:
    """Fit, or resume. Returns the model, the record of its epochs, and what became of it.

    The model is as the fit left it after a refit; after a selection in several processes, it is not fitted.

    Args:
        job: What to fit.
        data: On what.
        loggers: Of the selection.
    """
    model = job.model(data)
    record = job.record(model)
    world = devices_of(job.cfg)
    if world == 1:
        return model, record, fit_here(job, data, model, record, loggers)
    found = in_processes(_of_process, job, data, loggers, world)
    record.epochs = found.epochs
    if job.replayed is not None:
        load_state(model, job.checkpoint(data))
    return model, record, found


def fit_here(
    job: FitJob, data: RatingDataModule, model: RatingModel, record: EpochRecord, loggers: list[Logger]
) -> Fitted:
    """This process's part of the fit; arguments as of `fitted`."""
    context, cfg, folder = RunContext(in_sweep=job.in_sweep), job.cfg, job.folder
    callbacks: list[Callback] = [StopDivergence(), *([EndOnSigterm()] if devices_of(cfg) > 1 else [])]
    configured = build_callbacks(cfg, model)
    if job.replayed is None:
        callbacks += [*configured, record]
        if model.patience is None:
            callbacks = [callback for callback in callbacks if not isinstance(callback, EarlyStopping)]
        trainer = build_trainer(cfg, type(model), folder, callbacks, context, logger=loggers)
        if not len(data.split.val):
            raise ValueError(f"split {data.split_name} leaves no validation rows in {data.dataset.name}")
    else:
        checkpoint = job.checkpoint(data)
        keep = ModelCheckpoint(checkpoint.parent, filename=checkpoint.stem, enable_version_counter=False)
        callbacks += [record, keep]
        if isinstance(model, GradientModel):
            model.planned_epochs = trainer_options(cfg, type(model))["max_epochs"]
            if model.replays_lr:
                callbacks.append(ReplayLearningRate(list(job.replayed)))
        callbacks += [callback for callback in configured if isinstance(callback, FitProgress | ProgressBar)]
        whole = {"max_steps": -1, "max_time": None, "min_epochs": None, "min_steps": None}
        whole |= {"max_epochs": len(job.replayed)}
        unvalidated = {"limit_val_batches": 0, "check_val_every_n_epoch": 1, "num_sanity_val_steps": 0}
        trainer = build_trainer(cfg, type(model), folder, callbacks, context, logger=False, **whole, **unvalidated)
    fit(trainer, model, data, job.checkpoint(data))
    return Fitted(record.epochs, trainer.global_step, int(trainer.num_training_batches))


def _of_process(job: FitJob, data: RatingDataModule, loggers: list[Logger]) -> Fitted:
    """The fit's part of a process that was started for it."""
    model = job.model(data)
    return fit_here(job, data, model, job.record(model), loggers)
