"""What counts of a bundle's ratings and later events: of each user and item the latest one, by time and then by `seq`.

A bundle's own ratings were committed before its cut, so that of equal times an event's counts. A withdrawal takes back
what was said of the item before. A rating model reads stars; a ranking model of implicit feedback takes every other
kind of event for a choice, unless it was trained on kinds: then those count, and others say nothing to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import TRAIN, Bundle, UserRatings
from recsys.bundle.ids import MAX_ID_LENGTH
from recsys.bundle.typing import Float32Array, Id, IndexArray
from recsys.events.event import CHOICE, RATING, WITHDRAWAL

if TYPE_CHECKING:
    from recsys.events.event_log import EventColumns

UNKNOWN_TIME = 0  # of ratings in data without times
LARGEST_INT = 2**63 - 1
FEW = 3  # events that are merged one by one, which takes less


class Said(Protocol):
    """What counts of an event of a user and an item."""

    @property
    def kind(self) -> str: ...
    @property
    def rating(self) -> float | None: ...
    @property
    def timestamp(self) -> int: ...


class PersonRatings(NamedTuple):
    """A user's ratings, ascending by time; of equal times in the order of the bundle, then of `seq`."""

    item: IndexArray  # (n,) item rows
    rating: Float32Array  # (n,) stars
    timestamp: NDArray[np.int64]  # (n,)


@dataclass(frozen=True, eq=False)
class MergedRatings:
    """A bundle's ratings and events; rows of `user_ids` and `item_ids` are the bundle's, and then new ones."""

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    ratings: UserRatings  # by user and time
    touched_users: IndexArray  # ascending rows of the users of events that count
    touched_items: IndexArray  # and of their items
    skipped: int  # events that say nothing to this model, or whose ids are not of its kind


def id_of(text: str, kind: str) -> Id | None:
    """The id that a text stands for in data of this `id_kind`; None if it is none."""
    if kind == "str":
        return text
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20) or str(int(text)) != text:
        return None
    return int(text) if abs(int(text)) <= LARGEST_INT else None


def stars_of(kind: str, rating: float | None, bundle: Bundle) -> float | None:
    """The stars by which an event counts for this bundle's model; None if it says nothing to it."""
    if kind == RATING and rating is not None:
        low, high = bundle.given_scale
        return rating if low <= rating <= high else None
    return _rating_of_kind(kind, bundle) if bundle.is_implicit and kind != WITHDRAWAL else None


def _rating_of_kind(kind: str, bundle: Bundle) -> float | None:
    """What an event of implicit feedback counts as; without a kind, as the heaviest."""
    kinds, top = bundle.kind_ratings, bundle.scale[1]
    if not kinds:
        return top
    return kinds.get(kind, kinds.get(RATING, top)) if kind in (CHOICE, RATING) else kinds.get(kind)


def ratings_of(bundle: Bundle, user: int) -> PersonRatings:
    """The bundle's own ratings of a user's row; none for -1."""
    entries = bundle.ratings.slice_of(user)
    item, rating = bundle.ratings.item[entries].astype(np.int64), bundle.ratings.rating[entries]
    stamps = bundle.ratings.timestamp
    return PersonRatings(
        item, rating, np.full(len(item), UNKNOWN_TIME, np.int64) if stamps is None else stamps[entries]
    )


def merge_events(
    bundle: Bundle, before: PersonRatings, events: Iterable[Said], item_rows: Sequence[int]
) -> PersonRatings:
    """A user's ratings, and events that were committed after them.

    Args:
        bundle: Whose model reads them.
        before: The ratings, such as `ratings_of` the bundle.
        events: Theirs, in the order of `seq`.
        item_rows: The row of each event's item; -1 for one that is left out.
    """
    item, rating, timestamp = before
    latest: dict[int, tuple[int, float]] = {}  # time and stars by item row; NaN: withdrawn
    for event, row in zip(events, item_rows, strict=True):
        stars = stars_of(event.kind, event.rating, bundle)
        if stars is None:
            if event.kind != WITHDRAWAL:
                continue
            stars = np.nan
        if row >= 0 and (row not in latest or event.timestamp >= latest[row][0]):
            latest.pop(row, None)  # so that of equal times the last said is the last
            latest[row] = event.timestamp, stars
    if len(latest) <= FEW:
        for row, (time, stars) in latest.items():
            before = _with_one(before, row, time, stars)
        return before
    rows = np.fromiter(latest, np.int64, len(latest))
    pairs = np.array([*latest.values()])  # exact: seconds are less than 2^53
    times, values = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.float32)
    order = np.argsort(rows)
    place = order[np.searchsorted(rows, item, sorter=order).clip(max=len(rows) - 1)]
    replaced = (rows[place] == item) & (times[place] >= timestamp)
    counts = ~np.isnan(values)
    counts[place[(rows[place] == item) & ~replaced]] = False  # the bundle's rating is later
    kept = ~replaced
    times = np.concatenate([timestamp[kept], times[counts]])
    ascending = np.argsort(times, kind="stable")
    return PersonRatings(
        np.concatenate([item[kept], rows[counts]])[ascending],
        np.concatenate([rating[kept], values[counts]])[ascending],
        times[ascending],
    )


def _with_one(before: PersonRatings, row: int, time: int, stars: float) -> PersonRatings:
    """With what was said last of an item; NaN: withdrawn."""
    item, rating, timestamp = before
    same = item == row
    if same.any():
        if (timestamp[same] > time).any():
            return before
        item, rating, timestamp = item[~same], rating[~same], timestamp[~same]
    if np.isnan(stars):
        return PersonRatings(item, rating, timestamp)
    at = int(timestamp.searchsorted(time, "right"))
    return PersonRatings(
        np.concatenate([item[:at], np.array([row]), item[at:]]),
        np.concatenate([rating[:at], np.array([stars], np.float32), rating[at:]]),
        np.concatenate([timestamp[:at], np.array([time]), timestamp[at:]]),
    )


def merge_ratings(bundle: Bundle, events: Iterable[EventColumns]) -> MergedRatings:
    """The ratings of a bundle and events after its cut, as a training set.

    Args:
        bundle: With ratings of all parts of its split, which are all training rows afterwards.
        events: In the order of `seq`.
    """
    kind = str(bundle.manifest["id_kind"])
    users, items = _Rows(bundle.user_row, kind), _Rows(bundle.item_row, kind)
    user, item, stars, time, skipped = _columns(bundle, events, users, items)
    base, n_users = bundle.ratings, users.count
    indptr = np.append(base.indptr, np.full(n_users - (len(base.indptr) - 1), base.indptr[-1]))
    stamps = np.full(len(base.item), UNKNOWN_TIME, np.int64) if base.timestamp is None else base.timestamp
    touched = np.unique(user)
    index = np.repeat(np.arange(n_users), np.diff(indptr))
    is_old = np.ones(n_users, bool)
    is_old[touched] = False
    old, of_touched = np.flatnonzero(is_old[index]), np.flatnonzero(~is_old[index])
    # Of the touched users, the last by time of each pair; events come after the bundle's ratings of the same time.
    all_user, all_item = np.append(index[of_touched], user), np.append(base.item[of_touched].astype(np.int64), item)
    all_stars, all_time = np.append(base.rating[of_touched], stars), np.append(stamps[of_touched], time)
    order = np.lexsort((np.arange(len(all_user)), all_time, all_item, all_user))
    is_last = np.ones(len(order), bool)
    same = (all_user[order][1:] == all_user[order][:-1]) & (all_item[order][1:] == all_item[order][:-1])
    is_last[:-1] = ~same
    latest = order[is_last]
    decided = latest[latest >= len(of_touched)]  # by an event
    kept = latest[~np.isnan(all_stars[latest])]
    kept = kept[np.lexsort((kept, all_time[kept], all_user[kept]))]
    new_user = np.concatenate([index[old], all_user[kept]])
    by_user = np.argsort(new_user, kind="stable")

    def arranged(untouched: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.concatenate([untouched, others])[by_user])

    counts = np.bincount(new_user, minlength=n_users)
    merged = UserRatings(
        indptr=np.append(0, np.cumsum(counts)).astype(np.int64),
        item=arranged(base.item[old], all_item[kept].astype(np.int32)).astype(np.int32),
        rating=arranged(base.rating[old], all_stars[kept].astype(np.float32)).astype(np.float32),
        part=np.full(len(by_user), TRAIN, np.uint8),
        timestamp=arranged(stamps[old], all_time[kept]).astype(np.int64),
    )
    return MergedRatings(
        users.ids(bundle.user_ids),
        items.ids(bundle.item_ids),
        merged,
        np.unique(all_user[decided]),
        np.unique(all_item[decided]),
        skipped,
    )


class _Rows:
    """Rows of ids, of which new ones get the next."""

    def __init__(self, known: Any, kind: str) -> None:
        self.known, self.kind = known, kind
        self.new: dict[Id, int] = {}
        self.found: dict[str, int] = {}

    @property
    def count(self) -> int:
        return len(self.known) + len(self.new)

    def row(self, text: str) -> int:
        """The row of an id; -1 if it is none of this kind."""
        row = self.found.get(text)
        if row is None:
            row = self.found[text] = self._row(text)
        return row

    def _row(self, text: str) -> int:
        one = id_of(text, self.kind)
        if one is None or len(text) > MAX_ID_LENGTH:
            return -1
        row = self.known.get(one, -1)
        return int(row) if row >= 0 else self.new.setdefault(one, self.count)

    def ids(self, known: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([known, np.array([*self.new], known.dtype)]) if self.new else known


def _columns(
    bundle: Bundle, events: Iterable[EventColumns], users: _Rows, items: _Rows
) -> tuple[IndexArray, IndexArray, NDArray[np.float64], NDArray[np.int64], int]:
    """User and item rows, stars (NaN of a withdrawal) and times of the events that count, and how many do not."""
    user: list[int] = []
    item: list[int] = []
    values, times = [np.zeros(0)], [np.zeros(0, np.int64)]
    skipped = 0
    for chunk in events:
        stars, counts = _stars_of_chunk(bundle, chunk)
        for entry in np.flatnonzero(counts).tolist():
            rows = users.row(chunk.user_id[entry]), items.row(chunk.item_id[entry])
            if min(rows) < 0:
                counts[entry] = False
                continue
            user.append(rows[0])
            item.append(rows[1])
        values.append(stars[counts])
        times.append(chunk.timestamp[counts])
        skipped += len(counts) - int(counts.sum())
    return np.array(user, np.int64), np.array(item, np.int64), np.concatenate(values), np.concatenate(times), skipped


def _stars_of_chunk(bundle: Bundle, chunk: EventColumns) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """As `stars_of`, NaN for None, of all events; and which of them say something: those, and withdrawals."""
    stars = np.full(len(chunk.kind), np.nan)
    low, high = bundle.given_scale
    kinds = np.array(chunk.kind, object)
    rated = (kinds == RATING) & ~np.isnan(chunk.rating)
    inside = rated & (chunk.rating >= low) & (chunk.rating <= high)
    stars[inside] = chunk.rating[inside]
    withdrawn = kinds == WITHDRAWAL
    if bundle.is_implicit:
        of_kind = {kind: _rating_of_kind(kind, bundle) for kind in set(chunk.kind)}
        said = np.flatnonzero(~rated & ~withdrawn)
        stars[said] = np.array([of_kind[kind] for kind in kinds[said]], np.float64)  # NaN for None
    return stars, ~np.isnan(stars) | withdrawn
