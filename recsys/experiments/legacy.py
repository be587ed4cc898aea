"""Class paths and defaults of older versions, found in the `config.yaml` of their runs and in their studies."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

RENAMED_TARGETS = {
    "recsys.loggers.EpochCSVLogger": "recsys.training.csv_logger.EpochCSVLogger",
    "recsys.wandb_tracker.WandbTracker": "recsys.training.wandb.WandbTracker",
    "recsys.pruning.Pruning": "recsys.training.pruning.Pruning",
    "recsys.sweep.Sweep": "recsys.experiments.multirun.MultirunCallback",
    "recsys.data.movielens.MovieLens": "recsys.data.sources.MovieLens",
    "recsys.data.tabular.TabularRatings": "recsys.data.sources.TabularRatings",
    "recsys.models.matrix_factorization.MatrixFactorization": "recsys.models.mf.MatrixFactorization",
    "recsys.models.implicit_als.ImplicitALS": "recsys.models.ials.ImplicitALS",
    "recsys.models.bayesian_mf.BayesianMF": "recsys.models.bayesian.model.BayesianMF",
    "hydra_plugins.recsys_optuna.OptunaSweeper": "hydra_plugins.recsys_sweeper.OptunaSweeper",
    "hydra_plugins.recsys_joblib.WorkersLauncher": "hydra_plugins.recsys_launcher.ParallelLauncher",
}
PROGRESS_BAR = {"_target_": "lightning.pytorch.callbacks.RichProgressBar", "refresh_rate": 10}  # default of 0.1
FIT_PROGRESS = {"_target_": "recsys.training.callbacks.FitProgress"}


def upgrade_settings(settings: Any) -> Any:
    """Upgrade plain settings: current class paths and the current progress callback."""
    if settings == PROGRESS_BAR:
        return dict(FIT_PROGRESS)
    if isinstance(settings, dict):
        return {
            key: RENAMED_TARGETS.get(value, value)
            if key == "_target_" and isinstance(value, str)
            else upgrade_settings(value)
            for key, value in settings.items()
        }
    return [upgrade_settings(value) for value in settings] if isinstance(settings, list) else settings


def upgrade_config(cfg: DictConfig) -> DictConfig:
    """Upgrade a saved configuration to what this version would compose."""
    upgraded = OmegaConf.create(upgrade_settings(OmegaConf.to_container(cfg)))
    assert isinstance(upgraded, DictConfig)
    return upgraded
