"""UserRatings: the ratings of a data set by user, and the part of the split that each belongs to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float32Array, IndexArray

TRAIN, VAL, TEST = 0, 1, 2  # the part of the split that a rating belongs to
HISTORY = 3  # of a held-out user: folded in before the user's test rows are asked for, and in no fit
LAST_PART = {"train": TRAIN, "train_val": VAL, "all": HISTORY}  # of the ratings of a fit, by the manifest's `fit_on`


class UserRatings(NamedTuple):
    """All ratings of the data set in compressed rows, by user and time."""

    indptr: IndexArray  # (all users + 1,); user row u has entries indptr[u] to indptr[u + 1]
    item: NDArray[np.int32]  # (ratings,) item row
    rating: Float32Array  # (ratings,) stars
    part: NDArray[np.uint8]  # (ratings,) TRAIN, VAL, TEST or HISTORY
    timestamp: NDArray[np.int64] | None = None  # (ratings,) unix seconds; None if the source has none

    def slice_of(self, user: int) -> slice:
        """The entries of a user's row; empty for a row outside the data set."""
        if not 0 <= user < len(self.indptr) - 1:
            return slice(0, 0)
        return slice(int(self.indptr[user]), int(self.indptr[user + 1]))

    def user_index(self) -> NDArray[np.int64]:
        """The user row of every rating, `(ratings,)`."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
