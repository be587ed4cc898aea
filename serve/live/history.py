"""Somebody's ratings by the bundle and by their events, which may go on to be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recsys.bundle.typing import IndexArray
from recsys.events.event import WITHDRAWAL
from recsys.events.merge import PersonRatings, merge_events, ratings_of
from serve.live.last_events import Said
from serve.models.person import Person, State
from serve.models.served_model import ServedModel

__all__ = ["History", "attributes_of"]


class History(NamedTuple):
    """What counts of all that somebody said."""

    ratings: PersonRatings  # rows from `len(item_ids)` on are of `unknown_items`
    unknown_items: dict[str, int]  # rows of items that the bundle does not have
    withdrawn: dict[str, int]  # when they took back what they had said of an item, for the last time
    last: Said | None  # the last event that was told; None: the bundle alone

    @classmethod
    def of_bundle(cls, model: ServedModel, user_id: str, withdrawn: dict[str, int]) -> History:
        """By the bundle alone, which does not know what was `withdrawn` before its cut."""
        return cls(ratings_of(model.bundle, model.users.get(user_id, -1)), {}, withdrawn, None)

    def told(self, model: ServedModel, said: Sequence[Said]) -> History:
        """The same with further events, in the order of `seq`."""
        if not said:
            return self
        rows_of, unknown, withdrawn = model.items, dict(self.unknown_items), dict(self.withdrawn)
        counted, rows = [], []
        for one in said:
            if one.timestamp < withdrawn.get(one.item_id, -1):
                continue
            row = rows_of.get(one.item_id, -1)
            counted.append(one)
            rows.append(unknown.setdefault(one.item_id, len(rows_of) + len(unknown)) if row < 0 else row)
            if one.kind == WITHDRAWAL:
                withdrawn[one.item_id] = one.timestamp
        return History(merge_events(model.bundle, self.ratings, counted, rows), unknown, withdrawn, said[-1])

    def person(self, model: ServedModel, user_id: str, state: State, attributes: IndexArray | None) -> Person:
        """Whose history this is.

        Args:
            model: That answers.
            user_id: As text.
            state: Up to which the history was told.
            attributes: Other ones than the bundle's, see `attributes_of`.
        """
        bundle, row = model.bundle, model.users.get(user_id, -1)
        own = bundle.ratings.slice_of(row)
        is_of_bundle = (
            len(self.ratings.item) == own.stop - own.start
            and np.array_equal(self.ratings.item, bundle.ratings.item[own])
            and np.array_equal(self.ratings.rating, bundle.ratings.rating[own])
        )
        merged = None if is_of_bundle and attributes is None else self.ratings
        return Person(bundle, row, user_id, state, merged, attributes, tuple(self.unknown_items))


def attributes_of(model: ServedModel, user_id: str, given: dict[str, str]) -> IndexArray | None:
    """Positions of somebody's attributes that the model knows; None if they are those of the bundle's row."""
    names = model.attribute_rows
    found = sorted({names[one] for name, value in given.items() if (one := f"{name}={value}") in names})
    own = model.bundle.attributes_of(model.users.get(user_id, -1))
    if found == sorted([] if own is None else own.tolist()):
        return None
    return np.array(found, np.int64)
