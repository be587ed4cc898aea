"""What a competitor is given: rows to fit on, rows to predict, and nothing of the answers. Needs NumPy alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """Training and test rows over dense ids: those that occur in training come first, then the others.

    A rating task asks for stars of the pairs `(test_user, test_item)`; a ranking task asks for the best items of the
    users in `test_user`, and has no `test_item`, since those are the answers.
    """

    kind: str  # rating or ranking
    data: str  # name in conf/data
    overrides: tuple[str, ...]  # the split, as the command line has it
    train_user: Rows  # (train rows,)
    train_item: Rows  # (train rows,)
    train_rating: NDArray[np.float32]  # (train rows,) stars
    train_time: Rows  # (train rows,) unix seconds, 0 without times
    test_user: Rows  # (test rows,), or (users,) of a ranking
    test_item: Rows  # (test rows,), or empty
    n_users: int  # of the whole data set
    n_items: int
    fitted_users: int  # rows below it occur in training
    fitted_items: int
    rating_min: float
    rating_max: float
    user_ids: NDArray[Any]  # (n_users,) raw ids, to check that rows mean the same elsewhere
    item_ids: NDArray[Any]  # (n_items,)
    attributes: dict[
        str, NDArray[Any]
    ]  # "user age" (n_users,), "item genres" (n_items, genres): what is known of a row

    def warm(self) -> NDArray[np.bool_]:
        """Whether both the user and the item of a test row occur in training, `(test rows,)`."""
        warm: NDArray[np.bool_] = (self.test_user < self.fitted_users) & (self.test_item < self.fitted_items)
        return warm

    def train_order(self) -> Rows:
        """The training rows by user and time, equal times by their place in the file, `(train rows,)`."""
        return np.lexsort((self.train_time, self.train_user))

    def save(self, file: Path) -> None:
        """Write an `.npz` file that is read without pickle."""
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        plain = {name: value for name, value in vars(self).items() if name not in arrays and name != "attributes"}
        attributes = {f"attribute {name}": value for name, value in self.attributes.items()}
        with file.open("wb") as stream:
            np.savez(stream, allow_pickle=False, plain=np.array(json.dumps(plain)), **arrays, **attributes)

    @classmethod
    def load(cls, file: Path) -> Task:
        with np.load(file) as stored:
            plain = json.loads(str(stored["plain"]))
            names = [name for name in stored.files if name.startswith("attribute ")]
            attributes = {name.removeprefix("attribute "): stored[name] for name in names}
            arrays = {field.name: stored[field.name] for field in fields(cls) if field.name in stored.files}
        return cls(**{**plain, "overrides": tuple(plain["overrides"])}, **arrays, attributes=attributes)
