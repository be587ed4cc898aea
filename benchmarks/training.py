"""Train as `python -m recsys.train` does, in this process, on ratings that need not come from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict

from recsys.bundle import Bundle
from recsys.cli import config_dir
from recsys.data.sources.base import RatingsSource
from recsys.evaluation.registry import RMSE
from recsys.training.export import make_bundle
from recsys.training.run import build_data, refit, select
from recsys.training.trainer import quiet_libraries


def configured(overrides: list[str]) -> DictConfig:
    """The configuration of a run with these overrides."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", overrides, return_hydra_config=True)
    with open_dict(cfg):
        cfg.model_name = cfg.hydra.runtime.choices.model
        del cfg.hydra
    return cfg


def bundle_of(
    overrides: list[str], folder: Path, *, source: Callable[[RatingsSource], RatingsSource] | None = None
) -> Bundle:
    """Train with selection and refit, in `folder`, and export.

    Args:
        overrides: Of the configuration, as on the command line.
        folder: Of the checkpoints.
        source: Makes the source of the ratings from the configured one; None for that one.
    """
    quiet_libraries()
    cfg = configured([*overrides, f"run_dir={folder}"])
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    data = build_data(cfg)
    if source is not None:
        data.source = source(data.source)
    data.prepare_data()
    data.setup()
    selection, model = select(cfg, data, folder, list(instantiate(cfg.logger).values()))
    if cfg.refit != "none":
        data = data.with_fit_on("train_val")
        model, _ = refit(cfg, data, selection, folder)
    return make_bundle(model, data, selection.figures.get(RMSE.validation_key))
