"""EpochCSVLogger: a run's `metrics.csv`, a row an epoch."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning_utilities.core.rank_zero import rank_zero_only


class EpochCSVLogger(Logger):
    """Writes `metrics.csv`, a row an epoch with all that was logged in it, whole again after each epoch.

    Lightning's own CSVLogger writes training and validation figures on separate lines and deletes the file of a run
    that is resumed; this one goes on from the rows that are there.

    Args:
        save_dir: Folder of the run.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.file = Path(save_dir) / "metrics.csv"
        self.pending: dict[str, float] = {}  # logged before its epoch is known, as learning rates are
        self.rows: dict[int, dict[str, Any]] = {}
        if self.file.exists():
            with self.file.open(newline="") as stream:
                self.rows = {int(row["epoch"]): dict(row) for row in csv.DictReader(stream)}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: `config.yaml` has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures to the row of their epoch; figures of no epoch, as the test's, are left to `metrics.json`."""
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
        working = self.file.with_name(f".{self.file.name}")
        with working.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(self.rows[epoch] for epoch in sorted(self.rows))
        working.replace(self.file)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()
