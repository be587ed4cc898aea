"""What is said of users and items besides events: attributes, titles, years and genres, set while a service runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, func, insert, select, update

from recsys.database import Database
from recsys.database.tables import items, users


class ItemDescription(NamedTuple):
    """An item, as it was set last."""

    item_id: str
    title: str
    year: int | None
    genres: list[str]
    attributes: dict[str, str]


class Descriptions:
    """Users' attributes and items of a database.

    Args:
        database: With their tables.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def set_user(self, user_id: str, attributes: Mapping[str, str]) -> None:
        """Set somebody's attributes, in the place of those before.

        Raises:
            DatabaseError: The database cannot be written.
        """
        self._set(users, "user_id", {"user_id": user_id, "attributes": dict(attributes)})

    def set_item(
        self, item_id: str, title: str, year: int | None, genres: Sequence[str], attributes: Mapping[str, str]
    ) -> None:
        """Add an item, or change all that is said of it.

        Raises:
            DatabaseError: The database cannot be written.
        """
        item = ItemDescription(item_id, title, year, list(genres), dict(attributes))
        self._set(items, "item_id", item._asdict())

    def items(self, after: int = 0) -> list[tuple[int, ItemDescription]]:
        """Items whose revision is greater, with it, in its order: it grows with every change of any item."""
        columns = [items.c[name] for name in ItemDescription._fields]
        wanted = select(items.c.revision, *columns).where(items.c.revision > after).order_by(items.c.revision)
        with self.database.reading() as connection:
            return [(revision, ItemDescription(*row)) for revision, *row in connection.execute(wanted)]

    def users(self) -> dict[str, dict[str, str]]:
        """The attributes of all whose attributes were set, by id."""
        with self.database.reading() as connection:
            rows = connection.execute(select(users.c.user_id, users.c.attributes)).all()
        return {row.user_id: row.attributes for row in rows}

    def _set(self, table: Table, key: str, row: dict[str, Any]) -> None:
        with self.database.writing() as connection:
            is_one = table.c[key] == row[key]
            before = connection.execute(select(*(table.c[name] for name in row)).where(is_one)).mappings().first()
            if before is not None and dict(before) == row:
                return
            row = row | {"revision": _next(connection, table), "changed": int(time.time())}
            connection.execute(insert(table).values(row) if before is None else update(table).where(is_one).values(row))


def _next(connection: Connection, table: Table) -> int:
    """A revision after all that there are and were: microseconds go on also where a row was deleted."""
    last = connection.execute(select(func.coalesce(func.max(table.c.revision), 0))).scalar_one()
    return max(int(last) + 1, time.time_ns() // 1_000)
