"""Validation rows as a run's selection fit, which never saw them, predicts them: what ensembles are weighted by."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import VAL, Bundle
from recsys.bundle.budget import Budget
from recsys.bundle.typing import Float32Array
from recsys.evaluation.run_arrays import load_run_arrays, save_run_arrays

FILE = "validation.safetensors"  # in a run folder
TYPES = {"row": np.int64, "rating": np.float32, "user_ratings": np.int32, "predicted": np.float32, "linear": np.float32}


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """The validation rows of a split, in the order of the data set's ratings, as one model predicts them."""

    row: NDArray[np.int64]  # (rows,) positions in the data set's ratings, ascending
    rating: Float32Array  # (rows,) stars
    user_ratings: NDArray[np.int32]  # (rows,) ratings of the row's user that the model was fitted on
    predicted: Float32Array  # (rows,) stars, clipped to the scale
    linear: Float32Array  # (rows,) mean of the linear part over the samples

    def save(self, folder: Path) -> None:
        """Write the file of a run folder, whole or not at all."""
        save_run_arrays(folder / FILE, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, folder: Path) -> ValidationSet:
        """Read the file of a run folder.

        Raises:
            FileNotFoundError: It is missing.
            ValueError: It is damaged.
        """
        path = folder / FILE
        arrays = load_run_arrays(path, Budget.from_environment())
        found = {name: (array.dtype, array.shape) for name, array in arrays.items()}
        rows = len(arrays["row"]) if "row" in arrays and arrays["row"].ndim == 1 else 0
        if not rows or found != {name: (np.dtype(kind), (rows,)) for name, kind in TYPES.items()}:
            raise ValueError(f"{path} is damaged: it must hold {', '.join(TYPES)}, equally long")
        if not all(np.isfinite(arrays[name]).all() for name in ("rating", "predicted", "linear")):
            raise ValueError(f"{path} is damaged: it holds numbers that are not finite")
        return cls(**arrays)


def predict_validation_set(bundle: Bundle, row: NDArray[np.int64]) -> ValidationSet:
    """Predict the validation rows of a bundle that was fitted on training rows alone.

    Args:
        bundle: Fitted on `train`.
        row: Where each rating of the bundle is among the data set's ratings, `(ratings,)`.
    """
    held_out = np.flatnonzero(bundle.ratings.part == VAL)
    held_out = held_out[np.argsort(row[held_out])]
    users, fitted = bundle.ratings.user_index(), bundle.ratings.part < VAL
    user, item = users[held_out], bundle.ratings.item[held_out].astype(np.int64)
    counts = np.bincount(users[fitted], minlength=len(bundle.user_ids))
    return ValidationSet(
        row=row[held_out],
        rating=bundle.ratings.rating[held_out].astype(np.float32),
        user_ratings=counts[user].astype(np.int32),
        predicted=bundle.predict_rows(user, item),
        linear=bundle.mean_linear_part(user, item),
    )
