"""Items that the model was not fitted on, and changes of others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.item_fold_in import ItemRatings
from recsys.database import Database
from recsys.events import Event, EventLog
from recsys.events.descriptions import Descriptions
from serve.live import items as items_module
from serve.live.items import LiveItems
from serve.models.served_model import ServedModel
from tests.serve.conftest import CheckedClient, client_of, rich

NOW = int(time.time())
NEW = {"title": "Brand New (2026)", "year": 2026, "genres": ["Drama", "Heist"], "attributes": {"country": "NZ"}}


def with_item_side(**options: Any) -> Bundle:
    """With a prior of items and two attributes of theirs."""
    bundle = rich(item_attributes=["genre=Drama", "country=NZ"], noise=0.9, **options)
    rng = np.random.default_rng(3)
    samples, e = bundle.factors.prior_mean.shape
    draw = lambda *shape: rng.normal(0, 0.4, shape).astype(np.float32)  # noqa: E731
    factors = replace(
        bundle.factors,
        item_prior_mean=draw(samples, e),
        item_prior_precision=np.tile(np.eye(e, dtype=np.float32), (1, samples, 1, 1)),
        item_prior_exponent=np.zeros(1, np.float32),
        item_attribute_effects=draw(2, samples, e),
        item_cold_start_mean=draw(samples, e),
    )
    times = np.arange(len(bundle.ratings.item), dtype=np.int64) + 1_000
    return replace(bundle, factors=factors, ratings=bundle.ratings._replace(timestamp=times))


@pytest.fixture
def bundle() -> Bundle:
    return with_item_side()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(f"sqlite:///{tmp_path}/live.db")


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database)


@pytest.fixture
def described(database: Database) -> Descriptions:
    return Descriptions(database)


@pytest.fixture
def items(log: EventLog, described: Descriptions) -> LiveItems:
    return LiveItems(log, described)


@pytest.fixture
def live(bundle: Bundle, database: Database) -> Iterator[CheckedClient]:
    with client_of(bundle, database=f"sqlite:///{database.path}", poll_seconds=3600) as client:
        yield client


def event(number: int, user: str, item: str, rating: float | None = 4.0, kind: str = "rating") -> Event:
    return Event(f"e{number}", user, item, kind, rating, NOW + number)


def refresh(client: CheckedClient) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    service.live.items._next_time = 0.0
    service.models.refresh()


def later(items: LiveItems, base: ServedModel) -> ServedModel:
    """The model after the time that the next one has to wait."""
    items._next_time = 0.0
    return items.over(base)


def row_of(model: ServedModel, item: str) -> np.ndarray:
    row = model.items[item]
    return np.append(model.bundle.factors.item_factors[row, 0], model.bundle.factors.item_bias[row, 0])


def test_an_item_that_is_described_is_served(live: CheckedClient, bundle: Bundle) -> None:
    assert live.get("/items/4711").status_code == 404
    answer = live.put("/items/4711", json=NEW)
    assert (answer.status_code, answer.json()) == (200, NEW | {"item_id": "4711", "unused": []})
    refresh(live)
    about = live.get("/items/4711").json()
    assert (about["title"], about["genres"], about["n_ratings"]) == (NEW["title"], NEW["genres"], 0)
    assert about["attributes"] == NEW["attributes"]
    assert live.get("/items/50").json()["attributes"] == {}
    odd = {"country": "FR", "colour": "red"}
    answer = live.put("/items/4712", json=NEW | {"attributes": odd}).json()
    assert (answer["attributes"], answer["unused"]) == (odd, ["country", "colour"])
    assert [one["item_id"] for one in live.get("/items?query=brand").json()["items"]] == ["4711"]
    answer = live.post("/predict/rating/", json={"user_id": "1", "item_id": "4711"}).json()
    wanted = bundle.with_items([4711], [NEW], attributes=[NEW["attributes"]])
    assert answer["rating"] == pytest.approx(float(wanted.predict([1], [4711])[0]), abs=1e-6)
    assert answer["cold_start"] is True
    found = live.get("/users/1/recommendations?genre=Heist").json()["recommendations"]
    assert [one["item_id"] for one in found] == ["4711"]
    assert "Heist" in live.get("/model").json()["service"]["genres"]
    assert answer["model_version"] == live.get("/model").json()["model_version"]


def test_what_is_said_anew_of_a_fitted_item_leaves_its_row(live: CheckedClient) -> None:
    pair = {"user_id": "1", "item_id": "50"}
    before = live.post("/predict/rating/", json=pair).json()
    live.put("/items/50", json={"title": "The Matrix"})
    refresh(live)
    about = live.get("/items/50").json()
    assert (about["title"], about["year"], about["genres"]) == ("The Matrix", None, [])
    assert live.post("/predict/rating/", json=pair).json() == before


def test_a_genre_that_has_gone_leaves_no_items(live: CheckedClient) -> None:
    """Whoever has read the document, or /model, may ask for it still."""
    schema = lambda: next(  # noqa: E731
        one["schema"]
        for one in live.get("/openapi.json").json()["paths"]["/users/{user_id}/recommendations"]["get"]["parameters"]
        if one["name"] == "genre"
    )
    live.put("/items/4711", json=NEW)
    refresh(live)
    assert "Heist" in live.get("/model").json()["service"]["genres"]
    told = schema()
    assert told["examples"]
    query, body = (
        {"genre": "Heist", "exclude_seen": False},
        {"genre": "Heist", "ratings": [{"item_id": "50", "rating": 5}]},
    )
    (found,) = live.get("/users/1/recommendations", params=query).json()["recommendations"]
    assert found["item_id"] == "4711"
    live.put("/items/4711", json=NEW | {"genres": ["Drama"]})
    refresh(live)
    assert "Heist" not in live.get("/model").json()["service"]["genres"]
    assert schema() == told, "what is allowed is the same whatever items there are"
    for answer in (live.get("/users/1/recommendations", params=query), live.post("/recommendations/", json=body)):
        assert (answer.status_code, answer.json().get("recommendations")) == (200, [])


def test_an_item_that_is_rated_has_the_row_of_its_ratings(
    bundle: Bundle, items: LiveItems, log: EventLog, described: Descriptions
) -> None:
    base = ServedModel(bundle)
    described.set_item("4711", **NEW)
    log.append([event(1, "1", "4711", 5.0), event(2, "2", "4711", 4.5), event(3, "77", "50", 1.0)])
    model = items.over(base)
    ratings = ItemRatings(np.array([0, 1]), np.array([5.0, 4.5], np.float32))
    wanted = bundle.with_items([4711], [NEW], attributes=[NEW["attributes"]], ratings={4711: ratings})
    assert model.bundle.predict([1, 30], [4711, 4711]).tolist() == wanted.predict([1, 30], [4711, 4711]).tolist()
    # A new person's rating counts by the row that their other ratings give them.
    log.append([event(4, "77", "4711", 0.5)])
    other = later(items, base)
    vector = bundle.fold_in({50: 1.0}).vector
    raters = vector._replace(bias=vector.bias[None], factors=vector.factors[None])
    ratings = ItemRatings(np.array([0, 1, 6]), np.array([5.0, 4.5, 0.5], np.float32))
    wanted = bundle.with_items([4711], [NEW], attributes=[NEW["attributes"]], ratings={4711: ratings}, raters=raters)
    assert other.bundle.predict([1, 30], [4711, 4711]) == pytest.approx(wanted.predict([1, 30], [4711, 4711]), abs=1e-6)


def test_an_item_that_was_not_fitted_has_the_ratings_that_its_row_was_made_of(live: CheckedClient) -> None:
    """Its page said that nobody had rated it, and `min_ratings` left it out, until the next update."""
    stars = {"1": 5.0, "2": 4.0, "77": 3.0}
    events = [event(n, user, "4711", rating)._asdict() for n, (user, rating) in enumerate(stars.items(), 1)]
    events += [event(8, "1", "4711", 4.5)._asdict(), event(9, "2", "4711", None, "withdrawal")._asdict()]
    events += [event(10, "78", "4711", None, "purchase")._asdict()]
    fitted = live.get("/items/50").json()
    assert live.post("/events/", json={"events": [*events, event(11, "77", "50")._asdict()]}).status_code == 200
    refresh(live)
    about = live.get("/items/4711").json()
    assert (about["n_ratings"], about["mean_rating"]) == (2, 3.75)
    assert live.get("/items/50").json() == fitted, "whose row is that of the training"
    for least, is_there in ((2, True), (3, False)):
        body = {"ratings": [{"item_id": "50", "rating": 5}], "k": 100, "min_ratings": least}
        found = live.post("/recommendations/", json=body).json()["recommendations"]
        assert ("4711" in [one["item_id"] for one in found]) == is_there


def test_an_item_without_a_row_of_its_own_is_similar_to_none(database: Database, described: Descriptions) -> None:
    described.set_item("4711", **NEW)
    with client_of(rich(), database=f"sqlite:///{database.path}", poll_seconds=3600) as client:
        refresh(client)
        assert client.get("/items/4711/similar").json()["items"] == []
        assert client.get("/items/50/similar").json()["items"]


def test_a_rated_item_needs_no_description(bundle: Bundle, items: LiveItems, log: EventLog) -> None:
    log.append([event(1, "1", "4711", 5.0), event(2, "1", "4712", 1.0), event(3, "1", "4712", None, "withdrawal")])
    model = items.over(ServedModel(bundle))
    assert model.summary(model.items["4711"]) == ("4711", "4711", None, [])
    assert "4712" not in model.items


def test_a_bundles_unfitted_item_is_rated_beside_its_own_ratings(
    bundle: Bundle, items: LiveItems, log: EventLog
) -> None:
    base = ServedModel(bundle)
    alone = items.over(base)
    assert alone.bundle.n_items == len(bundle.item_ids), "an item never fitted has a row"
    assert alone.revision == 0
    rated = bundle.ratings
    of_item = rated.item == 12
    own = dict(zip(rated.user_index()[of_item].tolist(), rated.rating[of_item].tolist(), strict=True))
    assert own
    rater = next(iter(own))
    log.append([event(1, str(bundle.user_ids[rater]), "900", None, "withdrawal"), event(2, "2", "900", 5.0)])
    model = later(items, base)
    own = {user: stars for user, stars in own.items() if user != rater} | {1: 5.0}
    assert all(user < bundle.n_users for user in own), "of the test's data"
    ratings = ItemRatings(np.array([*own]), np.array([*own.values()], np.float32))
    wanted = bundle.with_items([], ratings={900: ratings})
    assert row_of(model, "900") == pytest.approx(
        np.append(wanted.factors.item_factors[12, 0], wanted.factors.item_bias[12, 0]), abs=1e-5
    )


def test_the_same_items_are_the_same_model(bundle: Bundle, items: LiveItems, described: Descriptions) -> None:
    base = ServedModel(bundle)
    described.set_item("4711", **NEW)
    model = items.over(base)
    assert items.over(base) is model is later(items, base)
    described.set_item("4711", **NEW | {"title": "Other"})
    items._next_time = time.monotonic() + 60
    assert items.over(base) is model, "it is not made again and again"
    changed = later(items, base)
    assert changed.revision > model.revision
    assert changed.version == model.version


def test_workers_make_the_same_of_it(bundle: Bundle, log: EventLog, described: Descriptions) -> None:
    early, base = LiveItems(log, described), ServedModel(bundle)
    described.set_item("4711", **NEW)
    early.over(base)
    described.set_item("4712", **NEW)
    log.append([event(1, "77", "50"), event(2, "77", "4713", 1.0), event(3, "1", "4712", 1.0)])
    described.set_item("4711", **NEW | {"title": "Other"})
    log.append([event(4, "77", "172")])
    one, other = later(early, base), LiveItems(log, described).over(ServedModel(bundle))
    assert one.revision == other.revision
    assert one.bundle.item_ids.tolist() == other.bundle.item_ids.tolist()
    assert (one.bundle.factors.item_factors == other.bundle.factors.item_factors).all()
    assert one.bundle.items == other.bundle.items


def test_a_new_bundle_has_the_items_at_once(bundle: Bundle, items: LiveItems, log: EventLog) -> None:
    log.append([event(1, "1", "4711", 5.0)])
    items.over(ServedModel(bundle))
    newer = items.over(ServedModel(with_item_side(seed=1)))
    assert "4711" in newer.items
    cut = replace(bundle, manifest=bundle.manifest | {"cut": 1})
    assert "4711" not in items.over(ServedModel(cut)).items


def test_as_many_items_are_added_as_the_model_has(
    bundle: Bundle, items: LiveItems, log: EventLog, described: Descriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.live.item_ratings.FEWEST_MOST", 2)
    small = replace(bundle, factors=bundle.factors)
    described.set_item("4711", **NEW)
    log.append([event(number, str(number % 3), f"{5000 + number // 2}") for number in range(60)])
    model = items.over(ServedModel(small))
    new = [str(item) for item in model.bundle.item_ids[14:].tolist()]
    assert len(new) == small.n_items
    assert new[0] == "4711"


def test_a_model_without_an_item_side_serves_the_average_item(items: LiveItems, described: Descriptions) -> None:
    bundle = rich()
    described.set_item("4711", **NEW)
    described.set_item("not a number", **NEW)
    model = items.over(ServedModel(bundle))
    assert row_of(model, "4711").tolist() == [0] * 4
    assert "not a number" not in model.items


def test_a_database_that_fails_leaves_what_was_there(
    bundle: Bundle, items: LiveItems, database: Database, described: Descriptions, caplog: pytest.LogCaptureFixture
) -> None:
    described.set_item("4711", **NEW)
    base = ServedModel(bundle)
    model = items.over(base)
    with database.writing() as connection:
        connection.exec_driver_sql("drop table items")
    assert items.over(base) is model
    other = ServedModel(bundle)
    assert items.over(other) is other
    assert "new items could not be read" in caplog.text


def test_events_on_items_are_bounded(
    bundle: Bundle, items: LiveItems, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items_module, "MOST_EVENTS", 3)
    log.append([event(number, str(number), "4711") for number in range(9)])
    items.over(ServedModel(bundle))
    assert sum(map(len, items._said.values())) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"title": ""}, {"title": None}, {"title": "x" * 1001}, {"title": "a\u0000b"}, {"year": "x"}, {"year": 10_000},
        {"genres": "Drama"}, {"genres": ["Drama", ""]}, {"genres": ["x"] * 101}, {"genres": ["x" * 101]},
        {"attributes": {"a": 1}}, {"attributes": {"": "x"}}, {"attributes": {f"a{n}": "x" for n in range(101)}},
        {"rating": 5},
    ],
)  # fmt: skip
def test_what_an_item_may_be(live: CheckedClient, change: dict[str, Any]) -> None:
    answer = live.put("/items/4711", json=NEW | change)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_where_items_are_refused(live: CheckedClient, client: CheckedClient) -> None:
    assert live.put("/items/seven", json=NEW).json()["code"] == "invalid_id"
    answer = client.put("/items/4711", json=NEW)
    assert (answer.status_code, answer.json()["code"]) == (409, "no_database")
    answer = live.put("/items/4711", content=b'{"title": "x"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 400
