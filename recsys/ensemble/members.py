"""Members of an ensemble: finished runs on the same rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.evaluation.validation_set import FILE, ValidationSet
from recsys.experiments.run_folder import display_path
from recsys.files import read_json

SAME = {"data_sha256": "data", "split": "split", "fit_on": "refit", "rating_scale": "rating scale"}  # in the manifest
TIMED_USERS = 20


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run with its final model, and its selection fit's predictions of the validation rows."""

    folder: Path
    bundle: Bundle
    metrics: dict[str, Any]
    validation: ValidationSet

    @property
    def model(self) -> str:
        return str(self.bundle.manifest["model"])


def costs(bundle: Bundle) -> dict[str, float]:
    """Bytes of a model's arrays as they are stored, and milliseconds of a fitted user's ten best items, the median."""
    seconds = []
    for user in np.linspace(0, bundle.n_users - 1, TIMED_USERS).astype(int).tolist():
        start = time.perf_counter()
        bundle.top_n(bundle.vector(user), 10, seen=bundle.seen(user))
        seconds.append(time.perf_counter() - start)
    stored = sum(array.nbytes for array in bundle.factor_arrays().values())
    return {"bytes": stored, "top_10_ms": round(1000 * float(np.median(seconds)), 3)}


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Finished runs that can be stacked.

    Raises:
        ValueError: There are fewer than two, one repeats or cannot be a member, or they are not of the same rows; the
            message names the folder and says why.
    """
    if len(folders) < 2:
        raise ValueError(f"runs must be two or more folders such as runs=[outputs/a,outputs/b], got {len(folders)}")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError("runs must be different folders: one is given twice")
    runs = [_load_run(folder) for folder in folders]
    for run in runs[1:]:
        _check_same(runs[0], run)
    return runs


def _load_run(folder: Path) -> Run:
    name = display_path(folder)
    metrics = read_json(folder / "metrics.json")
    if metrics is None:
        raise ValueError(f"runs: {name} is not a finished run: its metrics.json is missing or damaged")
    bundle = Bundle.load(folder / "bundle")
    if "members" in bundle.manifest:
        raise ValueError(f"runs: {name} is an ensemble and cannot be a member; give its members instead")
    if bundle.manifest.get("split") == "held_out_users":
        raise ValueError(
            f"runs: {name} cannot be a member: of split held_out_users, no user of a validation row is fitted"
        )
    if bundle.is_ranking:
        raise ValueError(
            f"runs: {name} cannot be a member: its model {bundle.manifest['model']} ranks, it predicts no stars"
        )
    if bundle.manifest["fit_on"] == "all":
        raise ValueError(f"runs: {name} cannot be a member: it was fitted on the test rows too (refit=all)")
    try:
        validation = ValidationSet.load(folder)
    except FileNotFoundError as error:
        raise ValueError(f"runs: {name} has no {FILE}, which runs of older versions lack: train it again") from error
    return Run(folder, bundle, metrics, validation)


def _check_same(one: Run, other: Run) -> None:
    """Refuse members that were not fitted, validated and tested on the same rows."""
    names = f"{display_path(one.folder)} and {display_path(other.folder)}"
    for key, label in SAME.items():
        found = [run.bundle.manifest.get(key) for run in (one, other)]
        if found[0] != found[1]:
            shown = [run.bundle.manifest["data"] for run in (one, other)] if label == "data" else found
            unlike = " of other content" if shown[0] == shown[1] else ""
            raise ValueError(f"runs must have the same {label}: {names} have {shown[0]} and {shown[1]}{unlike}")
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [
        (one.validation.row, other.validation.row),
        (one.validation.rating, other.validation.rating),
    ]
    pairs += [(getattr(one.bundle, ids), getattr(other.bundle, ids)) for ids in ("user_ids", "item_ids")]
    pairs += [(one.bundle.ratings.part, other.bundle.ratings.part)]
    if not all(np.array_equal(*pair) for pair in pairs):
        raise ValueError(f"runs must hold out the same rows: {names} do not (another fold, fraction or seed)")
