"""Attributes of users, and items, in the database."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete, select

from recsys.database import Database
from recsys.database.tables import users
from recsys.events.descriptions import Descriptions, ItemDescription

FILM = ItemDescription("77", "Later (2024)", 2024, ["Drama"], {"country": "NZ"})


@pytest.fixture
def descriptions(tmp_path: Path) -> Descriptions:
    return Descriptions(Database.open(f"sqlite:///{tmp_path}/live.db"))


def revision_of(descriptions: Descriptions, user_id: str) -> int:
    with descriptions.database.reading() as connection:
        return int(connection.execute(select(users.c.revision).where(users.c.user_id == user_id)).scalar_one())


def test_attributes_take_the_place_of_those_before(descriptions: Descriptions) -> None:
    descriptions.set_user("7", {"gender": "F", "age": "25"})
    first = revision_of(descriptions, "7")
    descriptions.set_user("7", {"gender": "F"})
    second = revision_of(descriptions, "7")
    descriptions.set_user("7", {"gender": "F"})
    assert first < second == revision_of(descriptions, "7"), "what changes nothing is no change"
    with descriptions.database.reading() as connection:
        assert connection.execute(select(users.c.attributes)).scalars().all() == [{"gender": "F"}]


def test_a_revision_is_never_used_again(descriptions: Descriptions) -> None:
    descriptions.set_user("7", {"gender": "F"})
    first = revision_of(descriptions, "7")
    with descriptions.database.writing() as connection:
        connection.execute(delete(users))
    descriptions.set_user("7", {"gender": "M"})
    assert revision_of(descriptions, "7") > first
    descriptions.set_user("8", {})
    assert revision_of(descriptions, "8") > revision_of(descriptions, "7")


def test_items_are_read_by_revision(descriptions: Descriptions) -> None:
    assert descriptions.items() == []
    descriptions.set_item(*FILM)
    [(first, item)] = descriptions.items()
    assert item == FILM
    descriptions.set_item(*FILM._replace(item_id="78"))
    descriptions.set_item(*FILM._replace(title="Still Later"))
    assert [one.title for _, one in descriptions.items()] == ["Later (2024)", "Still Later"]
    assert [one.item_id for _, one in descriptions.items(first)] == ["78", "77"]
    last = descriptions.items()[-1][0]
    descriptions.set_item(*FILM._replace(title="Still Later"))
    assert descriptions.items(last) == [], "what changes nothing is no change"


def test_the_attributes_of_all_users(descriptions: Descriptions) -> None:
    assert descriptions.users() == {}
    for user in ("7", "8"):
        descriptions.set_user(user, {"age": user})
    assert descriptions.users() == {"7": {"age": "7"}, "8": {"age": "8"}}
