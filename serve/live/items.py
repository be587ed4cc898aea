"""Items that the model was not fitted on, by what the database says of them: descriptions, and ratings so far."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from recsys.bundle.typing import Id
from recsys.database import DatabaseError
from recsys.events.merge import id_of
from serve.live.item_ratings import OfItem, added
from serve.live.last_events import last_events
from serve.models.served_model import ServedModel
from serve.process.deadlines import Deadlines, Overdue

if TYPE_CHECKING:
    from recsys.events import EventLog
    from recsys.events.descriptions import Descriptions, ItemDescription

__all__ = ["LiveItems"]

logger = logging.getLogger("serve")

BUILD_SECONDS = 10.0  # for which a swap waits for the items
SHARE = 0.05  # of a core's time that is spent on them
ALL = 2**63  # revisions
MOST_EVENTS = 1_000_000  # on items that were not fitted, in memory


class LiveItems:
    """Adds to a model the items of a database that it was not fitted on, and what was said anew of others.

    What is added depends on the version and on `ServedModel.revision` alone, whichever worker does it.

    Args:
        log: Of the database.
        descriptions: Of the same.
        upto: `seq` of the last event, and revision of the last description, that count; None for all.
    """

    def __init__(self, log: EventLog, descriptions: Descriptions, upto: tuple[int, int] | None = None) -> None:
        self.upto = upto
        self.log, self.descriptions, self.reads = log, descriptions, last_events(log.database)
        self._about: dict[str, ItemDescription] = {}  # the last changed at the end
        self._revision = 0  # of the last one
        self._base: ServedModel | None = None
        self._model: ServedModel | None = None  # the base with items
        self._said: dict[Id, list[OfItem]] = {}  # by item that was not fitted
        self._count = self._last = 0  # of these events, and `seq` of the last one
        self._read_to = 0  # `seq` of the last event of all
        self._next_time = 0.0
        self._threads = Deadlines(most=1)

    def over(self, base: ServedModel) -> ServedModel:
        """The model with the items of the moment, the same object until they change; without, while none are known.

        Called again and again by one thread. Reads that hang are left behind.
        """
        try:
            return self._threads.call(BUILD_SECONDS, self.build, base)
        except (DatabaseError, Overdue) as error:
            logger.error("new items could not be read: %s", str(error) or "not in time")
        except Exception:  # else no other bundle would be served either
            logger.exception("new items could not be added")
        return self._model if self._model is not None and self._base is base else base

    def build(self, base: ServedModel) -> ServedModel:
        """As `over`, for threads and processes that may wait for the database.

        Raises:
            DatabaseError: It does not answer.
        """
        revision = self.look(base)
        if self._model is not None and (revision == self._model.revision or time.monotonic() < self._next_time):
            return self._model
        began, bundle = time.monotonic(), base.bundle
        model = base
        if revision or (bundle.can_fold_in_items and bundle.n_items < len(bundle.item_ids)):
            changed, told = added(base, list(self._about.values()), self._said, self.reads, self._last)
            model = ServedModel(changed, revision=revision, told=told, partner=base.partner)
            model.probe(f"version {model.version} with new items")  # which also makes what its answers need
        self._model, ended = model, time.monotonic()
        self._next_time = ended + (ended - began) / SHARE
        return model

    def look(self, base: ServedModel) -> int:
        """Read what has come since the last time. Returns the revision of the model that `build` makes of it.

        Raises:
            DatabaseError: The database does not answer.
        """
        if self._base is not base:
            self._said, self._count, self._last, self._read_to = {}, 0, 0, base.cut
            self._base, self._model, self._next_time = base, None, 0.0
        self._read(base)
        return self._revision << 63 | self._last

    def _read(self, base: ServedModel) -> None:
        seq, latest = (None, ALL) if self.upto is None else self.upto
        for revision, about in self.descriptions.items(self._revision):
            if revision > latest:
                break
            self._about.pop(about.item_id, None)
            self._about[about.item_id], self._revision = about, revision
        kind, fitted = str(base.bundle.manifest["id_kind"]), base.bundle.fitted_items
        for events in self.log.read(self._read_to, seq):
            ratings: list[float] = events.rating.tolist()
            columns = zip(events.item_id, events.user_id, events.kind, ratings, events.timestamp.tolist(), strict=True)
            for place, (text, *said) in enumerate(columns):
                if 0 <= base.items.get(text, -1) < fitted or (item := id_of(text, kind)) is None:
                    continue
                if self._count < MOST_EVENTS:
                    self._said.setdefault(item, []).append(OfItem(*said))
                    self._count, self._last = self._count + 1, int(events.seq[place])
            self._read_to = int(events.seq[-1])
