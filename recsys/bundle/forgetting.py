"""A bundle without some of its users: their rows and ratings are gone, and everybody else's predictions are the same.

What changes is how far predictions for people without ratings may be off, which is known from all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.attributes import RowAttributes
from recsys.bundle.bundle import Bundle
from recsys.bundle.errors import BundleError
from recsys.bundle.ratings import LAST_PART, TEST, UserRatings
from recsys.bundle.sides import take_users


def without_users(bundle: Bundle, rows: Iterable[int]) -> Bundle:
    """A bundle without these users' rows.

    Items keep what they have learned from all; a later fit learns without these users. Attributes that no user has any
    more are gone from the manifest too, as their names tell of those who had them.

    Args:
        bundle: Of which the result shares arrays that do not change.
        rows: Of the users, in `user_ids`.

    Raises:
        BundleError: No user that the model was fitted on would be left.
    """
    keep = np.ones(len(bundle.user_ids), bool)
    keep[list(rows)] = False
    fitted = keep[: bundle.n_users]
    if not fitted.any():
        raise BundleError("a bundle needs a user that the model was fitted on: none other would be left")
    kept = keep[bundle.ratings.user_index()]
    columns: dict[str, Any] = {
        name: None if array is None else array[kept]
        for name, array in bundle.ratings._asdict().items()
        if name != "indptr"
    }
    ratings = UserRatings(indptr=_indptr(bundle.ratings.indptr, keep), **columns)
    known = bundle.user_attributes
    if known is not None:
        of_kept = np.repeat(keep, np.diff(known.indptr))
        known = RowAttributes(_indptr(known.indptr, keep), known.attribute[of_kept])
    return _with_attributes_of_somebody(
        replace(
            bundle,
            manifest=bundle.manifest | _counts(bundle, int(fitted.sum()), ratings),
            factors=take_users(bundle.factors, np.flatnonzero(fitted)),
            user_ids=bundle.user_ids[keep],
            ratings=ratings,
            user_attributes=known,
            sha256=None,
        )
    )


def _with_attributes_of_somebody(bundle: Bundle) -> Bundle:
    """A bundle without the attributes that none of its users has; their effects enter nobody's predictions."""
    known, names = bundle.user_attributes, bundle.attributes
    if known is None:
        return bundle
    held = np.unique(known.attribute)
    if len(held) == len(names):
        return bundle
    factors = bundle.factors
    effects: dict[str, Any] = {
        name: array[held] if len(held) else None
        for name in ("attribute_effects", "cold_start_effects")
        if (array := getattr(factors, name)) is not None
    }
    return replace(
        bundle,
        manifest=bundle.manifest | {"attributes": [names[place] for place in held]},
        factors=replace(factors, **effects),
        user_attributes=RowAttributes(known.indptr, np.searchsorted(held, known.attribute).astype(np.int32)),
    )


def _indptr(indptr: NDArray[Any], keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.append(0, np.cumsum(np.diff(indptr)[keep])).astype(np.int64)


def _counts(bundle: Bundle, users: int, ratings: UserRatings) -> dict[str, Any]:
    """The manifest's counts; none where it has none."""
    counts = bundle.manifest.get("counts")
    if not isinstance(counts, dict):
        return {}
    last = LAST_PART.get(str(bundle.manifest.get("fit_on")))
    new = {
        "users": users,
        "ratings": len(ratings.item),
        "test_ratings": int((ratings.part == TEST).sum()),
        **({} if last is None else {"fitted_ratings": int((ratings.part <= last).sum())}),
    }
    return {"counts": counts | {name: value for name, value in new.items() if name in counts}}
