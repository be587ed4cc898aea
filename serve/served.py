"""What somebody got at a time: computed again from the version that an alias named, and the events until then."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from recsys.events import EventLog
from recsys.events.descriptions import Descriptions
from recsys.events.given_ids import given_id
from recsys.versions import AliasChange, Version, VersionError, Versions
from recsys.versions.forget import WHY
from recsys.versions.moments import shown_moment
from recsys.versions.version import CHAMPION, SHOWN, standing_in
from serve.list_requests import RecommendationOptions
from serve.live.items import LiveItems
from serve.live.last_events import last_events
from serve.live.people import read_person
from serve.models.served_model import ServedModel
from serve.predictor import predict
from serve.recommender import recommend

MICROSECONDS = 1_000_000  # in which revisions count, so that they tell when something was set
UNKNOWN = (
    "nothing is known of this person, and somebody was forgotten since: as it is not kept who, it was they, or there "
    "never was anything of them"
)
MOST_MODELS = 4  # kept

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Served:
    """What somebody got."""

    user_id: str
    at: str  # in UTC
    version: str  # that the alias named
    status: str  # "served"; "forgotten": nothing is known of the person, and somebody was forgotten since
    seq: int  # of the last event of all that counted
    notes: list[str]  # what cannot be known any more
    recommendations: list[dict[str, Any]] | None = None  # the best items, best first, with the rating predicted
    rating: float | None = None  # predicted of the item that was asked for


class Past:
    """Answers of the past.

    A service follows an alias within `poll_seconds`, and adds items that a model was not fitted on once it has made
    their rows: what it answered in that moment may be what it answered before.

    Args:
        versions: Of the service.
        alias: That it followed.
    """

    def __init__(self, versions: Versions, alias: str = CHAMPION) -> None:
        self.versions, self.alias = versions, alias
        self.log, self.descriptions = EventLog(versions.database), Descriptions(versions.database)
        self.reads = last_events(versions.database)
        self._bases: OrderedDict[str, ServedModel] = OrderedDict()
        self._models: OrderedDict[tuple[str, int], ServedModel] = OrderedDict()  # with items, by version and revision

    def served(self, user_id: str, seconds: int, *, k: int = 10, item_id: str | None = None) -> Served:
        """What somebody got.

        Args:
            user_id: As text; where ids are integers, `07` means `7`. So with `item_id`.
            seconds: When, in unix seconds; events received within this second count.
            k: How many of the best items.
            item_id: The rating predicted of this item is wanted instead.

        Raises:
            VersionError: The alias named nothing then, or retention has removed what it named.
            BundleError: The version is not what it should be.
            DatabaseError: The database does not answer.
            ValueError: The model does not know the item, or predicts no ratings; or an id must be an integer.
        """
        history = self.versions.aliases.history(self.alias)
        change = self.versions.aliases.at(self.alias, seconds)
        if change is None:
            raise VersionError(f"alias {self.alias} named nothing at {shown_moment(seconds)}")
        base = self._base(change)
        id_kind = str(base.bundle.manifest["id_kind"])
        user_id, item_id = given_id(user_id, id_kind), None if item_id is None else given_id(item_id, id_kind)
        cut, revision = self.log.cut_at(seconds), (seconds + 1) * MICROSECONDS - 1
        seq, (_, described) = self.log.last_of(user_id, cut), self.reads.state(user_id)
        notes = []
        if described > revision:
            notes.append("the person's attributes were set after that time; those of before are not kept")
        if any(latest > revision for latest, _ in self.descriptions.items(revision)):
            notes.append("items were described after that time; what was said of them before is not kept")
        forgotten_since = any(one.reason == WHY and one.changed >= seconds for one in history)
        if forgotten_since:
            notes.append("somebody was forgotten since: what their ratings said of items that were not fitted is gone")
        found = Served(user_id, shown_moment(seconds), change.version, "served", cut, notes)
        if forgotten_since and user_id not in base.users and not seq:
            return replace(found, status="forgotten", notes=[UNKNOWN])
        model = self._with_items(base, (cut, revision))
        person = read_person(self.reads, model, user_id, (seq, described if described <= revision else 0))
        if item_id is None:
            best = recommend(model, person, RecommendationOptions(k=k)).recommendations
            listed = [
                {"item_id": one.item_id, "title": one.title, "rating": one.rating, "score": one.score} for one in best
            ]
            return replace(found, recommendations=listed)
        row = model.items.get(item_id, -1)
        if row < 0 or model.bundle.is_ranking:
            raise ValueError(f"version {model.version} predicts no rating of item {item_id!r:.80}")
        return replace(found, rating=predict(model, person, row).rating)

    def _with_items(self, base: ServedModel, upto: tuple[int, int]) -> ServedModel:
        items = LiveItems(self.log, self.descriptions, upto)
        key = base.bundle.sha256 or "", items.look(base)
        return _remembered(self._models, key, lambda: items.build(base))

    def _base(self, change: AliasChange) -> ServedModel:
        """The model of what an alias named, or of what stands in for it without somebody who was forgotten."""
        rows = {one.version: one for one in self.versions.registry.all()}
        version = standing_in(change.version, rows)
        if version is None:
            raise VersionError(f"version {change.version[:SHOWN]} was removed: {_why(rows.get(change.version))}")
        row = rows[version]
        return _remembered(self._bases, version, lambda: ServedModel(self.versions.load(row)))


def _remembered(kept: OrderedDict[Key, ServedModel], key: Key, make: Callable[[], ServedModel]) -> ServedModel:
    """One of the few models that are kept, made if it is not among them."""
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    while len(kept) > MOST_MODELS:
        kept.popitem(last=False)
    return kept[key]


def _why(row: Version | None) -> str:
    if row is None or row.withdrawn is None:
        return "what was made of it without somebody who was forgotten is no longer kept"
    return f"{row.reason}, {shown_moment(row.withdrawn)}"
