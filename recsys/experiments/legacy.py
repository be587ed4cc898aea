"""Class paths and defaults of older versions, found in the `config.yaml` of their runs and in their studies."""

from __future__ import annotations

import copy
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
TABULAR = "recsys.data.sources.TabularRatings"
TABULAR_OF_0_2: dict[str, Any] = {  # what was assumed of every file, and is inferred now
    "layout": "long", "header": True, "separator": ",", "encoding": "utf-8", "decimal": ".", "quoting": True,
    "ignored_columns": None, "user_column": "user_id", "item_column": "item_id", "rating_column": "rating",
    "timestamp_column": None, "timestamp_format": "auto", "event_column": None, "weight_column": None, "missing": None,
    "missing_as": "drop", "bad_rows": "error", "rating_min": None, "rating_max": None, "events": None,
    "weight_scale": "linear", "repeats": "latest",
    "users_encoding": "utf-8", "items_encoding": "utf-8", "split": "user_time", "item_title_column": "auto",
    "item_year_column": "auto", "item_genres_column": "auto",
}  # fmt: skip
FIT_PROGRESS = {"_target_": "recsys.training.callbacks.FitProgress"}
OF_ATTRIBUTES = {"attributes": (False, True), "attribute_shrinkage": (2000.0, 2000.0)}  # of models that had none
# Defaults of model arguments before and now, by class; an argument that older configurations lack had the former one.
FORMER_DEFAULTS: dict[str, dict[str, tuple[Any, Any]]] = {
    "recsys.models.mf.MatrixFactorization": {"bias_shrinkage": (0.0, 5.0), **OF_ATTRIBUTES},
    "recsys.models.svdpp.SVDPlusPlus": {"bias_shrinkage": (0.0, 5.0), **OF_ATTRIBUTES},
    "recsys.models.biases.BiasModel": {"bias_shrinkage": (0.0, 5.0)},
    "recsys.models.als.ALS": {
        "reg_lambda": (0.06, 0.15), "reg_exponent": (1.0, 0.5), "bias_shrinkage": (0.0, 5.0),
    },
    "recsys.models.ials.ImplicitALS": {"solver": ("cholesky", "conjugate_gradient"), "cg_steps": (2, 2)},
    "recsys.models.bayesian.model.BayesianMF": {"burn_in": (20, None)},
}  # fmt: skip


def with_former_defaults(cfg: DictConfig, saved: DictConfig) -> DictConfig:
    """The configuration with the defaults that its model had when the saved one was composed, unless set otherwise."""
    target = str(OmegaConf.select(cfg, "model._target_"))
    given = {str(text).partition("=")[0].lstrip("+") for text in cfg.get("overrides") or []}
    cfg = copy.deepcopy(cfg)
    for name, (before, now) in FORMER_DEFAULTS.get(target, {}).items():
        key = f"model.{name}"
        if key not in given and OmegaConf.select(cfg, key) == now and OmegaConf.select(saved, key) == before:
            OmegaConf.update(cfg, key, before)
    return cfg


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


def _stated_tabular(data: dict[str, Any]) -> dict[str, Any]:
    """The settings of one's own files as version 0.2 read them, as inferred ones: the same command is the same run."""
    kind = "parquet" if str(data.get("ratings_file")).endswith(".parquet") else "csv"
    stated = {"format": kind, **TABULAR_OF_0_2} | data
    stated |= {f"{side}_separator": stated["separator"] for side in ("users", "items")}
    stated |= {"user_id_column": stated["user_column"], "item_id_column": stated["item_column"]}
    return {"data": stated, "inferred": [f"data.{key}" for key in stated if key != "_target_"]}


def upgrade_config(cfg: DictConfig) -> DictConfig:
    """Upgrade a saved configuration to what this version would compose."""
    settings = upgrade_settings(OmegaConf.to_container(cfg))
    data = settings.get("data") or {}
    if data.get("_target_") == TABULAR and "format" not in data:
        settings |= _stated_tabular(data)
    if "split_seed" in (settings.get("data") or {}):
        settings["data"].setdefault("ties", "file")
    model = settings.get("model") or {}
    for name, (former, _) in FORMER_DEFAULTS.get(str(model.get("_target_")), {}).items():
        model.setdefault(name, former)
    if "evaluation" in settings:  # of a run, which could not be asked to fold in items
        settings.setdefault("items", "frozen")
        settings.setdefault("targets", "all")
    upgraded = OmegaConf.create(settings)
    assert isinstance(upgraded, DictConfig)
    return upgraded
