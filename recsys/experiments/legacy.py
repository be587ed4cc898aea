"""Class paths of older versions, as `config.yaml` of their runs and the settings of their studies hold them."""

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


def rename_targets(settings: Any) -> Any:
    """Plain settings with each `_target_` under its present path."""
    if isinstance(settings, dict):
        return {
            key: RENAMED_TARGETS.get(value, value) if key == "_target_" else rename_targets(value)
            for key, value in settings.items()
        }
    return [rename_targets(value) for value in settings] if isinstance(settings, list) else settings


def upgrade_config(cfg: DictConfig) -> DictConfig:
    """A saved configuration with each `_target_` under its present path."""
    upgraded = OmegaConf.create(rename_targets(OmegaConf.to_container(cfg)))
    assert isinstance(upgraded, DictConfig)
    return upgraded
