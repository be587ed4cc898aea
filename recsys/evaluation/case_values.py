"""The metrics of each case of a ranking evaluation, which a run keeps so that two runs can be compared in pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.budget import Budget
from recsys.bundle.typing import Float32Array
from recsys.evaluation.cases import Cases
from recsys.evaluation.protocol import cases_file
from recsys.evaluation.registry import METRICS
from recsys.evaluation.run_arrays import load_run_arrays, save_run_arrays

MOST_BYTES = 64 << 20  # of a file


@dataclass(frozen=True, eq=False)
class CaseValues:
    """Values of the metrics that are means over the cases, and what the cases were."""

    rows: str  # SHA-256 of users, histories and targets: only values of the same cases may be compared
    user: NDArray[np.int32]  # (cases,) ascending; cases of one user are not independent
    values: Mapping[str, Float32Array]  # by the metric's name, each (cases,)

    @property
    def nbytes(self) -> int:
        """Of the arrays."""
        return self.user.nbytes + sum(one.nbytes for one in self.values.values())

    def save(self, folder: Path, targets: str) -> None:
        """Write the file of a run folder, whole or not at all.

        Raises:
            WriteError: It cannot be written.
        """
        rows = np.frombuffer(bytes.fromhex(self.rows), np.uint8)
        save_run_arrays(folder / cases_file(targets), {"rows": rows, "user": self.user, **self.values})

    @classmethod
    def load(cls, folder: Path, targets: str) -> CaseValues:
        """Read the file of a run folder.

        Raises:
            FileNotFoundError: It is missing.
            ValueError: It is damaged, or larger than `MOST_BYTES`.
        """
        path = folder / cases_file(targets)
        arrays = load_run_arrays(path, Budget(), MOST_BYTES)
        rows, user = arrays.pop("rows", None), arrays.pop("user", None)
        values = {name: array for name, array in arrays.items() if name in METRICS}
        if rows is None or rows.dtype != np.uint8 or rows.shape != (32,):
            raise ValueError(f"{path} is damaged: it must hold rows, a SHA-256")
        if user is None or user.dtype != np.int32 or user.ndim != 1 or not len(user) or user.min() < 0:
            raise ValueError(f"{path} is damaged: it must hold the user of each case")
        if any(one.dtype != np.float32 or one.shape != user.shape or not _finite(one) for one in values.values()):
            raise ValueError(f"{path} is damaged: a metric must have a finite number for each case")
        return cls(bytes(rows).hex(), user, values)


def _finite(values: NDArray[np.floating]) -> bool:
    return bool(np.isfinite(values).all())


def case_values(bundle: Bundle, cases: Cases, values: Mapping[str, NDArray[np.floating]]) -> CaseValues:
    """Values of a bundle's cases, with a digest of these by the ids of the data set."""
    digest = hashlib.sha256()
    for part in (
        bundle.user_ids[cases.user],
        cases.stop - cases.start,
        cases.count,
        bundle.item_ids[cases.item],
        np.array([cases.one_of]),
    ):
        digest.update(f"{len(part)}\n".encode())
        digest.update("\n".join(map(str, part.tolist())).encode())
    singles = {name: value.astype(np.float32) for name, value in values.items()}
    return CaseValues(digest.hexdigest(), cases.user.astype(np.int32), singles)
