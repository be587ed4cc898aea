"""What is said of users and items in a database, by the ids of a bundle's data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recsys.bundle import Bundle
from recsys.bundle.typing import Id
from recsys.events.merge import id_of

if TYPE_CHECKING:
    from recsys.database import Database


@dataclass(frozen=True)
class Known:
    """What is known of users and items beside their ratings, where it was set after the fit.

    Attributes:
        items: `title`, `year`, `genres` and `attributes` (values by name) of items.
        users: Attributes of users, values by name.
    """

    items: Mapping[Id, Mapping[str, Any]] = field(default_factory=dict)
    users: Mapping[Id, Mapping[str, Any]] = field(default_factory=dict)


def known_beside(database: Database, bundle: Bundle) -> Known:
    """Items and users' attributes that were set while a service ran, by ids of the bundle's kind."""
    from recsys.events.descriptions import Descriptions  # SQLAlchemy is an extra

    kind, told = str(bundle.manifest["id_kind"]), Descriptions(database)
    items = {id_of(item.item_id, kind): item._asdict() for _, item in told.items()}
    users = {id_of(user, kind): attributes for user, attributes in told.users().items()}
    return Known(
        {item: about for item, about in items.items() if item is not None},
        {user: about for user, about in users.items() if user is not None},
    )
