"""What MovieLens says of users and items, as integer arrays that need no pandas to read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.columns import GENRES, ITEM_ID, USER_ID, YEAR
from recsys.data.rating_data import RatingData

BRACKETS = (18, 25, 35, 45, 50, 56)  # years at which ml-1m's brackets begin, whose ages those are


def attributes(data: RatingData, user_ids: NDArray[Any], item_ids: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Attributes by dense row; a category is a number from 0, and -1 where it is unknown.

    Returns:
        `user age`, `user gender`, `user occupation` `(n_users,)`, `item year` `(n_items,)`, and `item genres`, uint8
        `(n_items, genres)`; only those that the data set has.
    """
    found: dict[str, NDArray[Any]] = {}
    if data.users is not None and "age" in data.users:
        users = data.users.set_index(USER_ID).reindex(user_ids)
        found["user age"] = np.where(users["age"].isna(), -1, np.digitize(users["age"], BRACKETS))
        found |= {f"user {name}": _categories(users[name]) for name in ("gender", "occupation")}
    if data.items is not None:
        items = data.items.set_index(ITEM_ID).reindex(item_ids)
        found["item year"] = _categories(items[YEAR])
        genres = items[GENRES].fillna("").str.get_dummies("|").drop(columns="", errors="ignore")
        found["item genres"] = genres.to_numpy(np.uint8)
    return found


def _categories(values: pd.Series[Any]) -> NDArray[np.int64]:
    return values.factorize(sort=True)[0].astype(np.int64)
