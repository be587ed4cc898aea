"""The served form of a bundle: as it is, of fewer coordinates, or of as many a row as its ratings justify."""

from __future__ import annotations

import logging
from pathlib import Path

from recsys.bundle import Bundle
from recsys.bundle.compression import compressed_bundle, narrowed_bundle
from recsys.bundle.widths import WidthRule
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.fit_widths import fit_widths
from recsys.files import read_json, write_json
from recsys.models.base import RatingModel
from recsys.training.checkpoints import load_best
from recsys.training.export import make_bundle

log = logging.getLogger(__name__)

FILE = "widths.json"  # beside the checkpoints, for a resumed run
MOST = 256  # coordinates that widths are chosen among


def learned_widths(model: RatingModel, data: RatingDataModule, checkpoints: Path, noise: float | None) -> WidthRule:
    """What `fit_widths` finds with the model of the best epoch.

    Args:
        model: Into which that epoch is loaded.
        data: Of the selection.
        checkpoints: Folder of the run's.
        noise: As in `make_bundle`.

    Raises:
        DamagedCheckpointError: Its checkpoint is damaged.
        FileNotFoundError: Or missing.
    """
    stored = read_json(checkpoints / FILE)
    if isinstance(stored, dict) and stored.keys() == set(WidthRule._fields):
        return WidthRule(**stored)
    load_best(model, checkpoints)
    rule, figures = fit_widths(compressed_bundle(make_bundle(model, data, noise), MOST, noise))
    write_json(checkpoints / FILE, rule._asdict())
    log.info(
        "widths by number of ratings keep %.1f%% of the tables of factors, one width for all %.1f%% (validation RMSE "
        "%.4f; %.4f with all coordinates)",
        100 * figures["share"], 100 * figures["uniform_share"], figures["rmse"], figures["full_rmse"],
    )  # fmt: skip
    return rule


def served_form(bundle: Bundle, compress: int | str, noise: float | None, rule: WidthRule | None) -> Bundle:
    """The bundle as `compress` asks for it.

    Args:
        bundle: As exported.
        compress: Number of coordinates, or `auto`.
        noise: As in `compressed_bundle`.
        rule: Of `auto`.
    """
    if rule is None:
        assert isinstance(compress, int)
        return compressed_bundle(bundle, compress, noise)
    return narrowed_bundle(compressed_bundle(bundle, MOST, noise), rule)
