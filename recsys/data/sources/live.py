"""LiveRatings: the ratings of a version, and the events that came after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.attributes import RowAttributes, choices, settable, undescribed
from recsys.bundle.typing import Id
from recsys.data.columns import EVENT, ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.errors import DataError
from recsys.data.rating_data import RatingData
from recsys.data.readers.items import items_frame
from recsys.data.sources.base import RatingsSource, logged
from recsys.update.known import known_beside

FEWEST = 5  # users with a value that the bundle does not know: of fewer it may tell who they are
BRACKETED = ("age",)  # attributes whose new numbers fall into brackets, see `recsys.data.features`
OF_COLUMNS = ("genre", "year")  # attributes of items that columns of their own hold


class LiveRatings(RatingsSource):
    """What counts of a bundle's ratings and of the events in the database since: of each user and item the latest.

    `recsys update` fits a model again on these. The database is the one that the environment variable `RECSYS_DATABASE`
    names, or else SQLite in `outputs/`. Weights of implicit feedback are not in a bundle: all choices weigh the same.

    Args:
        bundle: Folder of the bundle, which says up to which event its own ratings go.
        cut: Last event that counts, by its `seq`; None: all that are there when the ratings are read.
        name: Name of the data set; None: the bundle's.

    Raises:
        ValueError: `cut` is negative.
    """

    def __init__(self, bundle: str, cut: int | None = None, name: str | None = None) -> None:
        if cut is not None and cut < 0:
            raise ValueError(f"cut must be >= 0, got {cut}")
        self.bundle, self.cut, self.given_name = Path(bundle).expanduser(), cut, name
        self.name = name or "live"

    @property
    def origin(self) -> str:
        return str(self.bundle)

    def prepare(self) -> None:
        """Check that there is a bundle, and SQLAlchemy.

        Raises:
            DataError: One is missing.
        """
        if not (self.bundle / "manifest.json").is_file():
            raise DataError(f"bundle must be the folder of a bundle, got {self.bundle}")
        try:
            import sqlalchemy  # noqa: F401
        except ImportError:
            raise DataError("data=live needs SQLAlchemy: pip install 'recsys-lightning[live]'") from None

    def read(self) -> RatingData:
        """Read the bundle and the events.

        Raises:
            DataError: The database does not answer.
            BundleError: The bundle cannot be used.
        """
        from recsys.database import Database, DatabaseError  # SQLAlchemy is an extra
        from recsys.events import EventLog
        from recsys.events.merge import merge_ratings

        bundle = Bundle.load(self.bundle)
        try:
            database = Database.open()
            try:
                merged = merge_ratings(bundle, EventLog(database).since(int(bundle.manifest.get("cut", 0)), self.cut))
                known = known_beside(database, bundle)
            finally:
                database.close()
        except DatabaseError as error:
            raise DataError(str(error)) from None
        rated = merged.ratings
        columns = {
            USER_ID: merged.user_ids[rated.user_index()],
            ITEM_ID: merged.item_ids[rated.item],
            RATING: np.ones_like(rated.rating) if bundle.is_implicit else rated.rating,
        }
        if kinds := tuple(bundle.kind_ratings):
            columns[EVENT] = np.rint(rated.rating * (len(kinds) - 1)).astype(np.int32)
        if rated.timestamp is not None and (bundle.ratings.timestamp is not None or rated.timestamp.any()):
            columns[TIMESTAMP] = rated.timestamp
        frame = pd.DataFrame(columns)
        if bundle.manifest["id_kind"] == "str":
            frame = frame.astype({USER_ID: "str", ITEM_ID: "str"})
        low, high = (1.0, 1.0) if bundle.is_implicit else bundle.scale
        return logged(
            RatingData(
                self.given_name or str(bundle.manifest["data"]),
                frame,
                low,
                high,
                users=_users(bundle, merged.user_ids, known.users),
                items=_items(bundle, merged.item_ids, known.items),
                implicit=bundle.is_implicit,
                events=kinds,
            )
        )


def _users(bundle: Bundle, ids: NDArray[Any], changed: Mapping[Id, Mapping[str, Any]]) -> pd.DataFrame | None:
    """The users with the attributes that were set last, or else those that the bundle has of them; None without any.

    Everybody may read which attributes a model knows. So what was set counts as far as the bundle has its name, and a
    new value once enough users have it: what one person is said to be, such as an address, must not get there.
    """
    known = choices(bundle.attributes)
    told = _told(bundle.attributes, bundle.user_attributes, len(ids))
    for row, user in enumerate(ids.tolist()):
        if user in changed:
            texts = {name: str(value).strip() for name, value in changed[user].items()}
            told[row] = {name: text for name, text in texts.items() if settable(known, name, text)}
    held = Counter(pair for one in told for pair in one.items())
    told = [
        {
            name: text
            for name, text in one.items()
            if text in known[name] or name in BRACKETED or held[name, text] >= FEWEST
        }
        for one in told
    ]
    return _table(USER_ID, ids, told) if any(told) else None


def _items(bundle: Bundle, ids: NDArray[Any], changed: Mapping[Id, Mapping[str, Any]]) -> pd.DataFrame:
    """The items with title, year, genres and other attributes, and what was set of them since."""
    told = _told(bundle.item_attribute_names, bundle.item_attributes, len(ids), OF_COLUMNS)
    about = []
    for row, item in enumerate(ids.tolist()):
        known = bundle.items[row] if row < len(bundle.items) else undescribed(item)
        about.append(changed.get(item, known))
        if item in changed:
            told[row] = dict(changed[item]["attributes"])
    columns = ([one[name] for one in about] for name in ("title", "genres", "year"))
    frame = items_frame(ids.tolist(), *columns)
    others = _table(ITEM_ID, ids, told).drop(columns=[ITEM_ID, *frame.columns], errors="ignore")
    return pd.concat([frame, others], axis=1)


def _told(
    names: list[str], known: RowAttributes | None, n: int, left_out: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """The attributes of each of n rows as values by name."""
    pairs = [tuple(name.split("=", 1)) for name in names]
    of_row = [() if known is None else known.of(row) for row in range(n)]
    return [dict(pairs[k] for k in attributes if pairs[k][0] not in left_out) for attributes in of_row]


def _table(column: str, ids: NDArray[Any], told: list[dict[str, Any]]) -> pd.DataFrame:
    """Ids and attributes; an attribute that a row lacks is empty."""
    names = sorted({name for row in told for name in row} - {column})
    frame = pd.DataFrame({column: ids} | {name: [str(row.get(name, "")) for row in told] for name in names})
    return frame if ids.dtype.kind == "i" else frame.astype({column: "str"})
