"""Whether a model suits what the data say: ratings, or implicit feedback; and the command of one that does."""

from __future__ import annotations

import logging
import shlex

import numpy as np
from hydra.utils import get_class
from omegaconf import DictConfig

from recsys.data.columns import RATING
from recsys.data.datamodule import RatingDataModule
from recsys.data.inference.values import is_counts, value_counts
from recsys.models.base import RatingModel
from recsys.report.overrides import COMMAND, key

log = logging.getLogger(__name__)

RANKING = "ials"


def check_feedback(cfg: DictConfig, data: RatingDataModule) -> None:
    """Refuse a model that predicts ratings where there are none; warn where counts are taken as stars.

    Raises:
        ValueError: The data are implicit feedback, and the model predicts ratings; names the command that ranks.
    """
    kind: type[RatingModel] = get_class(cfg.model._target_)
    if cfg.model.get("task", kind.task) != "rating":
        return
    name, model = data.dataset.name, cfg.get("model_name") or cfg.model._target_
    if data.dataset.implicit:
        weights = cfg.data.get("weight_column")
        what = (
            f"counts or hours (data.weight_column={weights})" if weights not in (None, "auto") else "implicit feedback"
        )
        raise ValueError(
            f"{name} has no ratings but {what}, and model={model} predicts ratings; to rank items instead: "
            f"{ranking_command(cfg)}"
        )
    if data.dataset.rating_max > 100 and is_counts(*value_counts(data.dataset.ratings[RATING].to_numpy(np.float64))):
        column = cfg.data.get("rating_column")
        log.warning(
            "%s: ratings from %g to %g look like counts, not stars; to rank items by them instead: %s",
            name,
            data.dataset.rating_min,
            data.dataset.rating_max,
            ranking_command(cfg, "data.rating_column=null", f"data.weight_column={column}"),
        )


def ranking_command(cfg: DictConfig, *changes: str) -> str:
    """The command of this run with a ranking model, as a shell takes it."""
    replaced = {key(text) for text in changes} | {"data.rating_min", "data.rating_max"} if changes else set()
    kept = [
        text for text in cfg.get("overrides") or () if not _is_of_the_model(key(text)) and key(text) not in replaced
    ]
    return " ".join([COMMAND, *map(shlex.quote, [*kept, *changes, f"model={RANKING}"])])


def _is_of_the_model(name: str) -> bool:
    """Whether an override chooses or tunes the model."""
    return name in ("model", "experiment", "hparams_search") or name.startswith(("model.", "model@", "trial"))
