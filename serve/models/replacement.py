"""Whether a bundle may take the place of the one in service: only one of the same data, unless told."""

from __future__ import annotations

import numpy as np

from recsys.bundle import Bundle, BundleError
from serve.models.words import words

MIN_SHARE = 0.5  # of the users, and of the items, in service that a new bundle of the same data still has


def check_replacement(served: Bundle, new: Bundle, name: str, *, other_data: bool = False) -> None:
    """Refuse a bundle whose ids mean someone and something else than those in service.

    Data that grew has all former users and items; data of a later time keeps most of them. Ids of another data set
    may be the same numbers, so an item counts as the same only if its title is: one title's words must be among the
    other's. Names of data sets do not matter.

    Args:
        served: The bundle in service.
        new: The one to take its place.
        name: Of the new one, for the error.
        other_data: Accept other users and items, of the same kind of id.

    Raises:
        BundleError: The new one has ids of another kind; or fewer than `MIN_SHARE` of the users or of the items.
    """
    kinds = [bundle.manifest["id_kind"] for bundle in (served, new)]
    if kinds[0] != kinds[1]:
        raise BundleError(f"{name} has ids of another type than the bundle in service; use a separate service for it")
    users, items = shares(served, new)
    if min(users, items) < MIN_SHARE and not other_data:
        raise BundleError(
            f"{name} is of other data than the bundle in service: it has {users:.0%} of the {len(served.user_ids):,} "
            f"users and {items:.0%} of the {len(served.item_ids):,} items in service, and needs {MIN_SHARE:.0%} of "
            "both; python -m serve.promote --other-data replaces it nevertheless"
        )


def shares(served: Bundle, new: Bundle) -> tuple[float, float]:
    """The share of the served users, and of the served items, that the new bundle has."""
    users = [user in new.user_row for user in served.user_row]
    items = [
        item in new.item_row and _alike(served.title(row), new.title(new.item_row[item]), str(item))
        for item, row in served.item_row.items()
    ]
    return float(np.mean(users)), float(np.mean(items))


def _alike(one: str, other: str, item_id: str) -> bool:
    """Whether two titles may be of one item; an item without a title has its id for one."""
    if one == other or item_id in (one, other):
        return True
    first, second = set(words(one)), set(words(other))
    return first <= second or second <= first
