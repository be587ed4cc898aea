"""A bundle with the items of a database: each has the row of its ratings so far, or else of its attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.factors import UserVector
from recsys.bundle.item_fold_in import ItemRatings
from recsys.bundle.sides import stack_vectors
from recsys.bundle.typing import Id
from recsys.events.event import WITHDRAWAL
from recsys.events.merge import UNKNOWN_TIME, id_of, stars_of
from serve.live.last_events import LastEvents
from serve.live.people import read_person
from serve.models.served_model import ServedModel, Told

if TYPE_CHECKING:
    from recsys.events.descriptions import ItemDescription

__all__ = ["OfItem", "added"]

FEWEST_MOST = 1_000  # items that may be added, also to a model of few

Stars = dict[str, tuple[int, float]]  # time and stars by user; NaN: withdrawn


class OfItem(NamedTuple):
    """An event on an item that was not fitted."""

    user_id: str
    kind: str
    rating: float  # NaN without stars
    timestamp: int


def added(
    base: ServedModel,
    described: Sequence[ItemDescription],
    said: Mapping[Id, Sequence[OfItem]],
    reads: LastEvents,
    last: int,
) -> tuple[Bundle, Told]:
    """The bundle with described items and rated ones.

    At most as many new ones as it has are added: described ones first, the last of all first, then those with the most
    ratings.

    Args:
        base: The model.
        described: Items, the last changed at the end.
        said: Events after the cut by item that was not fitted, in the order of `seq`.
        reads: Of the database.
        last: `seq` of the last of these events: no later ones count.
    """
    bundle, kind = base.bundle, str(base.bundle.manifest["id_kind"])
    about = {item: one for one in reversed(described) if (item := id_of(one.item_id, kind)) is not None}
    rated = _ratings(bundle, said) if bundle.can_fold_in_items else {}
    others = sorted(rated.keys() - about.keys(), key=lambda item: (-len(rated[item]), str(item)))
    most = max(bundle.n_items, FEWEST_MOST)
    new = [item for item in [*about, *others] if item not in bundle.item_row][:most]
    ids = [*(item for item in about if item in bundle.item_row), *new]
    raters = _Raters(base, reads, last)
    kept = set(new) | bundle.item_row.keys()
    ratings = {item: raters.ratings(by_user) for item, by_user in rated.items() if item in kept}
    found: list[dict[str, Any] | None] = [about[item]._asdict() if item in about else None for item in ids]
    changed = bundle.with_items(
        ids,
        found,
        attributes=[None if one is None else one["attributes"] for one in found],
        ratings=ratings,
        raters=stack_vectors(raters.vectors) if raters.vectors else None,
    )
    row = changed.item_row
    stars = {row[item]: [*rated[item].values()] for item in ratings}
    return changed, Told(stars, {row[item]: about[item].attributes for item in ids if item in about})


def _ratings(bundle: Bundle, said: Mapping[Id, Sequence[OfItem]]) -> dict[Id, dict[str, float]]:
    """Stars by user of each item that counts: of the bundle's rating and the events the latest."""
    latest = _of_bundle(bundle, [bundle.item_row[item] for item in said if item in bundle.item_row])
    for item, events in said.items():
        by_user = latest.setdefault(item, {})
        for user_id, kind, rating, timestamp in events:
            stars = stars_of(kind, None if np.isnan(rating) else rating, bundle)
            if stars is None and kind != WITHDRAWAL:
                continue
            if user_id not in by_user or timestamp >= by_user[user_id][0]:
                by_user[user_id] = timestamp, np.nan if stars is None else stars
    counted = {
        item: {user: stars for user, (_, stars) in by_user.items() if not np.isnan(stars)}
        for item, by_user in latest.items()
    }
    return {item: by_user for item, by_user in counted.items() if by_user or item in bundle.item_row}


def _of_bundle(bundle: Bundle, items: Sequence[int]) -> dict[Id, Stars]:
    """The bundle's own ratings of some item rows."""
    rated = bundle.ratings
    wanted = np.zeros(len(bundle.item_ids), bool)
    wanted[list(items)] = True
    entries = np.flatnonzero(wanted[rated.item]) if len(items) else np.zeros(0, np.int64)
    users = np.searchsorted(rated.indptr, entries, side="right") - 1
    times = np.full(len(entries), UNKNOWN_TIME) if rated.timestamp is None else rated.timestamp[entries]
    found: dict[Id, Stars] = {}
    items_of, stars_of_all = rated.item[entries].tolist(), rated.rating[entries].tolist()
    for item, user, time, stars in zip(items_of, users.tolist(), times.tolist(), stars_of_all, strict=True):
        found.setdefault(bundle.item_id(item), {})[str(bundle.user_ids[user])] = time, stars
    return found


class _Raters:
    """Rows of raters: of fitted users their own, of all others those of their fold-ins, after them."""

    def __init__(self, base: ServedModel, reads: LastEvents, last: int) -> None:
        self.base, self.reads, self.last = base, reads, last
        self.vectors: list[UserVector] = []
        self._rows: dict[str, int] = {}

    def ratings(self, by_user: Mapping[str, float]) -> ItemRatings:
        """An item's ratings by these rows."""
        rows = np.fromiter(map(self._row, by_user), np.int64, len(by_user))
        return ItemRatings(rows, np.fromiter(by_user.values(), np.float32, len(by_user)))

    def _row(self, user_id: str) -> int:
        row, n_users = self.base.users.get(user_id, -1), self.base.bundle.n_users
        if 0 <= row < n_users:
            return row
        if user_id not in self._rows:
            self._rows[user_id] = n_users + len(self.vectors)
            self.vectors.append(read_person(self.reads, self.base, user_id, (self.last, 0)).vector)
        return self._rows[user_id]
