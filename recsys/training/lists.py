"""The order of a bundle's lists, learned from the validation rows of the selected model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from recsys.bundle.ranking import KEY, is_valid
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.fit_lists import fit_lists, sentence
from recsys.files import read_json, write_json
from recsys.models.base import RatingModel
from recsys.training.checkpoints import DamagedCheckpointError, load_best
from recsys.training.export import make_bundle

log = logging.getLogger(__name__)

FILE = "lists.json"  # beside the checkpoints, for a resumed run


def learned_lists(model: RatingModel, data: RatingDataModule, checkpoints: Path, noise: float | None) -> Any:
    """What `fit_lists` finds with the model of the best epoch; None where there is nothing to learn.

    Args:
        model: Into which that epoch is loaded.
        data: Of the selection.
        checkpoints: Folder of the run's.
        noise: As in `make_bundle`.
    """
    if model.task == "ranking":
        return None
    stored = read_json(checkpoints / FILE)
    if isinstance(stored, dict) and is_valid(settings := stored.get(KEY)):
        return settings
    try:
        load_best(model, checkpoints)
    except (DamagedCheckpointError, FileNotFoundError) as error:
        log.warning("%s: lists are ordered by stars, as no other order could be learned", error)
        return None
    settings = fit_lists(make_bundle(model, data, noise))
    write_json(checkpoints / FILE, {KEY: settings})
    if settings is not None:
        log.info("%s", sentence(settings))
    return settings
