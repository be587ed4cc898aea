"""Models as the command configures them, on their training rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from recsys.data.datamodule import RatingDataModule
from recsys.models.base import RatingModel

CONF = Path(__file__).parents[2] / "conf" / "model"


def configured(name: str, data: RatingDataModule, **overrides: Any) -> RatingModel:
    """`model=<name>` with overrides, ready for its first step."""
    settings = OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), {"seed": 0}, overrides)
    arguments = OmegaConf.to_container(settings, resolve=True)
    model: RatingModel = instantiate(
        arguments, n_users=len(data.users), n_items=len(data.items),
        rating_min=data.dataset.rating_min, rating_max=data.dataset.rating_max,
    )  # fmt: skip
    model.init_from_data(data.fit_data)
    return model
