"""EpochCSVLogger: writes a run's `metrics.csv`, one row per epoch."""

from __future__ import annotations

import csv
import io
import logging
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from recsys.files import MAX_CURVE_BYTES, atomic_write, read_bounded

log = logging.getLogger(__name__)


class EpochCSVLogger(Logger):
    """Writes `metrics.csv` with one row per epoch; the file is rewritten atomically after each epoch.

    Lightning's CSVLogger writes training and validation metrics on separate lines and deletes the file when a run is
    resumed; this logger continues from the existing rows.

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.file = Path(save_dir) / "metrics.csv"
        self.pending: dict[str, float] = {}  # logged before the epoch is known, such as learning rates
        self.rows: dict[int, dict[str, Any]] = {}
        if self.file.exists():
            self.rows = _read_rows(self.file)

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: hyper-parameters are in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics to the row of their epoch; those without an epoch (test metrics) go to `metrics.json` only."""
        values = dict(metrics)
        if "epoch" not in values:
            self.pending |= values
            return
        epoch = int(values.pop("epoch"))
        row = self.rows.setdefault(epoch, {"epoch": epoch})
        row |= self.pending | values
        self.pending = {}

    @rank_zero_only
    def save(self) -> None:
        if not self.rows:
            return
        columns = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        with atomic_write(self.file) as partial, partial.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(self.rows[epoch] for epoch in sorted(self.rows))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()


def _read_rows(file: Path) -> dict[int, dict[str, Any]]:
    """The rows by epoch; of a damaged file none, since the curve of a run is no reason not to resume it."""
    try:
        with io.StringIO(read_bounded(file, MAX_CURVE_BYTES).decode(), newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if "epoch" not in (reader.fieldnames or ["epoch"]):
                raise ValueError("it has no column epoch")
            return {int(row["epoch"]): _numbers(row) for row in reader}
    except (TypeError, ValueError, csv.Error) as error:
        log.warning("%s is damaged (%s): the learning curve starts with the next epoch", file, error)
        return {}


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    for value in row.values():
        float(value or "nan")
    return dict(row)
