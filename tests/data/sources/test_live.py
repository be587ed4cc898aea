"""The ratings of a version, and the events since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.attributes import RowAttributes
from recsys.data.columns import EVENT, ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.features import item_attributes, user_attributes
from recsys.data.sources import DataError, LiveRatings, RatingData
from recsys.database import Database
from recsys.events import Event, EventLog
from recsys.events.descriptions import Descriptions
from tests.bundles import events_bundle, make_bundle, random_factors


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    url = f"sqlite:///{tmp_path / 'recsys.db'}"
    monkeypatch.setenv("RECSYS_DATABASE", url)
    return Database.open(url)


RATED = [(0, 0, 4.0, 0), (0, 1, 2.0, 1), (1, 0, 5.0, 2)]


def small(**options: object) -> Bundle:
    return make_bundle(random_factors(n_users=2, n_items=2, dim=2), [7, 8], [1, 2], RATED, [10, 20, 30], **options)


def saved(bundle: Bundle, folder: Path) -> str:
    bundle.save(folder / "bundle")
    return str(folder / "bundle")


def rate(database: Database, *rows: tuple[str, str, float | None]) -> None:
    log = EventLog(database)
    first = log.cut()
    log.append([
        Event(f"{first}-{k}", user, item, "withdrawal" if stars is None else "rating", stars, 100 + k)
        for k, (user, item, stars) in enumerate(rows)
    ])  # fmt: skip


def rows(data: RatingData) -> list[list[object]]:
    return data.ratings[[USER_ID, ITEM_ID, RATING, TIMESTAMP]].to_numpy().tolist()


def test_ratings_and_events_are_a_data_set(database: Database, tmp_path: Path) -> None:
    rate(database, ("7", "2", 5.0), ("9", "3", 1.0), ("8", "1", None))
    data = LiveRatings(saved(small(), tmp_path)).read()
    assert rows(data) == [[7, 1, 4, 10], [7, 2, 5, 100], [9, 3, 1, 101]]
    assert (data.name, data.scale, data.implicit) == ("small", (1, 5), False)
    assert data.items is not None
    assert data.items["title"].tolist() == ["Film 0", "Film 1", "3"]


def test_events_keep_their_kinds(database: Database, tmp_path: Path) -> None:
    EventLog(database).append([
        Event("e1", "20", "107", "cart", None, 1_500_000_000),
        Event("e2", "20", "101", "purchase", None, 1_500_000_001),
    ])  # fmt: skip
    data = LiveRatings(saved(events_bundle(), tmp_path)).read()
    assert (data.events, data.implicit, set(data.ratings[RATING])) == (("view", "cart", "purchase"), True, {1.0})
    kinds = dict(zip(zip(data.ratings[USER_ID], data.ratings[ITEM_ID], strict=True), data.ratings[EVENT], strict=True))
    assert kinds == {(10, 103): 0, (10, 101): 2, (10, 105): 1, (20, 107): 1, (20, 101): 2, (40, 102): 2}


def test_events_count_from_the_bundles_cut_to_the_one_given(database: Database, tmp_path: Path) -> None:
    rate(database, ("7", "1", 1.0), ("7", "1", 2.0), ("7", "1", 3.0))
    folder = saved(small(cut=1), tmp_path)
    assert rows(LiveRatings(folder, cut=2, name="shop").read())[1] == [7, 1, 2, 101]
    assert rows(LiveRatings(folder).read())[1] == [7, 1, 3, 102]
    assert rows(LiveRatings(folder, cut=0).read())[0] == [7, 1, 4, 10]


def test_implicit_feedback_stays_implicit(database: Database, tmp_path: Path) -> None:
    bundle = make_bundle(
        random_factors(n_users=2, n_items=2, dim=2), ["a", "b"], ["x", "y"], [(0, 0, 1.0, 0), (1, 0, 1.0, 0)],
        task="ranking", rating_scale=[0.0, 1.0],
    )  # fmt: skip
    EventLog(database).append([Event("e", "a", "z", "purchase", None, 50)])
    data = LiveRatings(saved(bundle, tmp_path)).read()
    assert data.implicit
    assert data.ratings[[USER_ID, ITEM_ID, RATING]].to_numpy().tolist() == [["a", "x", 1], ["a", "z", 1], ["b", "x", 1]]


def test_attributes_are_those_of_the_bundle_and_what_was_set_since(database: Database, tmp_path: Path) -> None:
    """Read as side tables, they are the attributes that the first fit had."""
    names = ["age=25", "gender=F", "gender=M", "zip=4"]
    known = RowAttributes(np.array([0, 3, 4]), np.array([0, 1, 3, 2], np.int32))
    factors = random_factors(n_users=2, n_items=2, dim=2, attributes=4)
    bundle = make_bundle(factors, [7, 8], [1, 2], RATED, [10, 20, 30], attributes=names)
    told = Descriptions(database)
    told.set_user("9", {"gender": "F", "age": "31"})
    told.set_item("2", "Heat", 1995, ["Crime"], {"studio": "A"})
    rate(database, ("9", "2", 1.0))
    data = LiveRatings(saved(replace(bundle, user_attributes=known), tmp_path)).read()
    users, items = user_attributes(data, [7, 8, 9]), item_attributes(data, [1, 2])
    assert [[users.names[k] for k in users.of(row)] for row in range(3)] == [
        ["age=25", "gender=F", "zip=4"], ["gender=M"], ["age=25", "gender=F"],
    ]  # fmt: skip
    assert [items.names[k] for k in items.of(1)] == ["year=1995", "genre=Crime", "studio=A"]


def attributed() -> Bundle:
    """Of two users and two items, with attributes of both."""
    factors = random_factors(n_users=2, n_items=2, dim=2, attributes=3, items=True, item_attributes=1)
    bundle = make_bundle(
        factors, [7, 8], [1, 2], RATED, [10, 20, 30], attributes=["age=25", "gender=F", "gender=M"],
        item_attributes=["studio=A"],
    )  # fmt: skip
    users = RowAttributes(np.array([0, 2, 3]), np.array([0, 1, 2], np.int32))
    return replace(bundle, user_attributes=users, item_attributes=RowAttributes(np.array([0, 1, 1]), np.array([0])))


def known_of_users(folder: str, users: list[int]) -> tuple[list[str], list[list[str]]]:
    found = user_attributes(LiveRatings(folder).read(), users)
    return found.names, [[found.names[k] for k in found.of(row)] for row in range(len(users))]


def test_what_was_set_takes_the_place_of_what_the_bundle_has(database: Database, tmp_path: Path) -> None:
    """A refit brought back attributes that were removed; an update did not."""
    told = Descriptions(database)
    told.set_user("7", {"gender": "M"})
    told.set_user("8", {})
    told.set_item("1", "Heat", 1995, ["Crime"], {})
    folder = saved(attributed(), tmp_path)
    assert known_of_users(folder, [7, 8]) == (["gender=M"], [["gender=M"], []])
    items = item_attributes(LiveRatings(folder).read(), [1])
    assert {items.names[k] for k in items.of(0)} == {"year=1995", "genre=Crime"}
    assert "studio=A" not in items.names


def test_what_one_person_is_said_to_be_is_no_attribute_of_a_model(database: Database, tmp_path: Path) -> None:
    """Names of attributes are in the manifest, which the service shows to everybody."""
    told = Descriptions(database)
    told.set_user("9", {"email": "ann@example.org", "gender": "ann@example.org", "age": "abc"})
    told.set_user("10", {"gender": "F", "age": "31"})
    rate(database, ("9", "2", 1.0), ("10", "2", 1.0))
    folder = saved(attributed(), tmp_path)
    names, of_user = known_of_users(folder, [7, 9, 10])
    assert names == ["age=25", "gender=F", "gender=M"]
    assert of_user == [["age=25", "gender=F"], [], ["age=25", "gender=F"]]
    new = [str(user) for user in range(20, 25)]
    for user in new[:4]:
        told.set_user(user, {"gender": "X"})
    rate(database, *((user, "2", 1.0) for user in new))
    assert known_of_users(folder, [20])[0] == names
    told.set_user(new[4], {"gender": "X"})
    assert known_of_users(folder, [20])[1] == [["gender=X"]]


def test_what_is_missing_is_said(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"cut must be >= 0, got -1"):
        LiveRatings("bundle", cut=-1)
    with pytest.raises(DataError, match="bundle must be the folder of a bundle, got nowhere"):
        LiveRatings("nowhere").prepare()
    monkeypatch.setenv("RECSYS_DATABASE", f"sqlite:///{tmp_path}")
    with pytest.raises(DataError, match="unable to open database file"):
        LiveRatings(saved(small(), tmp_path)).read()
