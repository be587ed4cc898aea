"""Stream: ratings in the order of time, of which the first are fitted and the others arrive in steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float32Array
from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.sources import MovieLens
from recsys.files import atomic_write

ARRIVING = 0.2  # of all ratings, the last ones
WITHHELD = 0.1  # of the items, where some are


@dataclass(frozen=True, eq=False)
class Stream:
    """Ratings in the order of time. Step `s` has the rows `bounds[s]` to `bounds[s + 1]`; those before are fitted."""

    name: str
    user_id: NDArray[np.int64]  # (ratings,)
    item_id: NDArray[np.int64]  # (ratings,)
    rating: Float32Array  # (ratings,) stars
    timestamp: NDArray[np.int64]  # (ratings,) unix seconds
    bounds: NDArray[np.int64]  # (steps + 1,)

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1

    @property
    def fitted(self) -> int:
        """The number of ratings that the first model is fitted on."""
        return int(self.bounds[0])

    def rows(self, step: int) -> slice:
        """The ratings of a step."""
        return slice(int(self.bounds[step]), int(self.bounds[step + 1]))

    def unseen_user(self) -> NDArray[np.bool_]:
        """Whether each arriving rating is of someone that the first model was not fitted on, `(arriving,)`."""
        return ~np.isin(self.user_id[self.fitted :], self.user_id[: self.fitted])

    def unseen_item(self) -> NDArray[np.bool_]:
        """Whether each arriving rating is of an item that the first model was not fitted on, `(arriving,)`."""
        return ~np.isin(self.item_id[self.fitted :], self.item_id[: self.fitted])

    def save(self, file: Path) -> None:
        """Write it, whole or not at all."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ("user_id", "item_id", "timestamp", "bounds")}
        with atomic_write(file) as part, part.open("wb") as stream:
            np.savez(stream, name=np.array(self.name), rating=self.rating, **arrays)

    @classmethod
    def load(cls, file: Path) -> Stream:
        with np.load(file) as arrays:
            return cls(str(arrays["name"]), *(arrays[name] for name in
                       ("user_id", "item_id", "rating", "timestamp", "bounds")))  # fmt: skip


def movielens(name: str, root: str | None, steps: int, *, withheld: float = 0.0, seed: int = 0) -> Stream:
    """The stream of a MovieLens release.

    Args:
        name: Such as `ml-1m`.
        root: Folder of its files; None for the user's cache.
        steps: In which the last fifth arrives, with as many ratings each.
        withheld: Share of the items whose ratings before the first step are left out, so that these items are new.
        seed: Of the choice of these items.
    """
    source = MovieLens(name, root=root)
    source.prepare()
    ratings = source.read().ratings
    ratings = ratings.iloc[np.argsort(ratings[TIMESTAMP].to_numpy(), kind="stable")]
    user, item, stars, time = (ratings[column].to_numpy() for column in (USER_ID, ITEM_ID, RATING, TIMESTAMP))
    fitted = round((1 - ARRIVING) * len(ratings))
    items = np.unique(item)
    chosen = np.random.default_rng(seed).choice(items, round(withheld * len(items)), replace=False)
    kept = np.ones(len(item), bool)
    kept[:fitted] = ~np.isin(item[:fitted], chosen)
    bounds = np.linspace(int(kept[:fitted].sum()), int(kept.sum()), steps + 1).round().astype(np.int64)
    return Stream(name, user[kept], item[kept], stars[kept], time[kept], bounds)
