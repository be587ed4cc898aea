"""What people do now changes what they get now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.attributes import RowAttributes
from recsys.database import Database
from recsys.events import Event, EventLog
from serve import keys
from serve.live import people as people_module
from serve.live.last_events import last_events
from serve.live.people import read_person
from serve.models.served_model import ServedModel
from tests.serve.conftest import ITEMS, KINDS, NAMES, CheckedClient, client_of, rich

NOW = int(time.time())


def timed(bundle: Bundle) -> Bundle:
    """With times, all before the events."""
    times = np.arange(len(bundle.ratings.item), dtype=np.int64) + 1_000
    return replace(bundle, ratings=bundle.ratings._replace(timestamp=times))


@pytest.fixture
def bundle() -> Bundle:
    return timed(rich(noise=0.9))


@pytest.fixture
def live(bundle: Bundle, url: str) -> Iterator[CheckedClient]:
    with client_of(bundle, database=url) as client:
        yield client


def event(
    number: int, user: str, item: str, rating: float | None = 4.0, kind: str = "rating", time: int = NOW
) -> Event:
    return Event(f"e{number}", user, item, kind, rating, time)


def history(client: CheckedClient, user: str) -> dict[str, float]:
    return {one["item_id"]: one["rating"] for one in client.get(f"/users/{user}?limit=1000").json()["ratings"]}


def top(client: CheckedClient, user: str, query: str = "k=1000") -> list[dict[str, Any]]:
    answer = client.get(f"/users/{user}/recommendations?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["recommendations"]


def predicted(client: CheckedClient, user: str, item: str) -> dict[str, Any]:
    answer = client.post("/predict/rating/", json={"user_id": user, "item_id": item}).json()
    many = client.post("/predict/ratings/", json={"pairs": [{"user_id": user, "item_id": item}] * 2}).json()
    for one in many["predictions"]:
        assert one["rating"] == pytest.approx(answer["rating"], abs=1e-6)
        assert one["cold_start"] == answer["cold_start"]
    return answer


def test_a_new_person_with_two_events_is_a_user(live: CheckedClient, bundle: Bundle, log: EventLog) -> None:
    assert live.get("/users/77").status_code == 404
    before = top(live, "77")
    log.append([event(1, "77", "50", 5.0), event(2, "77", "172", 1.0)])
    answer = live.get("/users/77")
    assert answer.status_code == 200
    about = answer.json()
    assert (about["user_id"], about["n_ratings"], about["mean_rating"], about["cold_start"]) == ("77", 2, 3.0, False)
    assert history(live, "77") == {"50": 5.0, "172": 1.0}
    folded = bundle.fold_in({50: 5.0, 172: 1.0})
    wanted = bundle.recommend(folded, 1000)
    found = top(live, "77", "k=1000&explain=true")
    assert [one["item_id"] for one in found] == [str(one.item_id) for one in wanted]
    assert [one["item_id"] for one in before] != [one["item_id"] for one in found]
    assert {"50", "172"}.isdisjoint(one["item_id"] for one in found)
    reasons = {reason["item_id"] for one in found for reason in one["explanation"]}
    assert reasons <= {"50", "172"}
    assert reasons
    assert live.get("/users/77/recommendations").json()["cold_start"] is False
    answer = predicted(live, "77", "7")
    assert answer["cold_start"] is False
    assert answer["rating"] == pytest.approx(float(bundle.predict(folded, [7])[0]), abs=1e-5)


def test_without_events_of_theirs_people_are_as_the_bundle_knows_them(
    live: CheckedClient, bundle: Bundle, log: EventLog
) -> None:
    log.append([event(1, "77", "50")])
    with client_of(bundle) as plain:
        for user in map(str, [*bundle.user_ids.tolist(), 4711]):
            for path in (f"/users/{user}", f"/users/{user}/recommendations?explain=true&distribution=true"):
                assert live.get(path).json() == plain.get(path).json()
            pair = {"user_id": user, "item_id": "318"}
            assert live.post("/predict/rating/", json=pair).json() == plain.post("/predict/rating/", json=pair).json()


def test_an_event_of_a_fitted_user_counts_beside_their_ratings(
    live: CheckedClient, bundle: Bundle, log: EventLog
) -> None:
    before = history(live, "1")
    new = next(one for one in map(str, bundle.item_ids[:12].tolist()) if one not in before)
    old = next(iter(before))
    log.append([event(1, "1", new, 0.5), event(2, "1", old, 5.0)])
    assert history(live, "1") == before | {new: 0.5, old: 5.0}
    ratings = {int(item): stars for item, stars in (before | {new: 0.5, old: 5.0}).items()}
    fitted = {item: stars for item, stars in ratings.items() if bundle.item_row[item] < bundle.n_items}
    wanted = bundle.recommend(bundle.fold_in(fitted), 1000)
    found = top(live, "1")
    assert [one["item_id"] for one in found] == [str(one.item_id) for one in wanted]
    assert [one["rating"] for one in found] == pytest.approx([one.score for one in wanted], abs=1e-4)


def test_the_latest_by_time_counts_and_a_withdrawal_takes_back(live: CheckedClient, log: EventLog) -> None:
    log.append([event(1, "77", "50", 5.0, time=NOW), event(2, "77", "50", 2.0, time=NOW - 9)])
    assert history(live, "77") == {"50": 5.0}
    log.append([event(3, "77", "50", None, "withdrawal", NOW + 1)])
    assert history(live, "77") == {}
    log.append([event(4, "77", "50", 3.0, time=NOW)])
    assert history(live, "77") == {}, "it was withdrawn later"
    log.append([event(5, "77", "50", 3.5, time=NOW + 2), event(6, "77", "172", 1.0)])
    assert history(live, "77") == {"50": 3.5, "172": 1.0}
    assert "50" not in [one["item_id"] for one in top(live, "77")]
    assert "50" in [one["item_id"] for one in top(live, "77", "k=1000&exclude_seen=false")]


def test_everything_said_of_a_bundles_own_rating_can_be_taken_back(
    live: CheckedClient, bundle: Bundle, log: EventLog
) -> None:
    before = history(live, "1")
    gone = next(iter(before))
    log.append([event(1, "1", gone, None, "withdrawal")])
    assert history(live, "1") == {item: stars for item, stars in before.items() if item != gone}


def test_events_up_to_the_cut_are_in_the_bundle_already(bundle: Bundle, url: str, log: EventLog) -> None:
    log.append([event(1, "77", "50"), event(2, "77", "172"), event(3, "77", "7")])
    cut = replace(bundle, manifest=bundle.manifest | {"cut": 2})
    with client_of(cut, database=url) as client:
        assert history(client, "77") == {"7": 4.0}


def test_what_was_withdrawn_before_the_cut_stays_so(bundle: Bundle, url: str, log: EventLog) -> None:
    log.append([event(1, "77", "50", None, "withdrawal", NOW), event(2, "77", "50", time=NOW - 1)])
    log.append([event(3, "77", "172", time=NOW - 1)])
    cut = replace(bundle, manifest=bundle.manifest | {"cut": 1})
    with client_of(cut, database=url) as client:
        assert history(client, "77") == {"172": 4.0}
        reads = last_events(log.database)
        assert read_person(reads, ServedModel(cut), "77").seen.tolist() == [1]
        log.append([event(4, "77", "50", 2.0, time=NOW)])
        assert history(client, "77") == {"50": 2.0, "172": 4.0}


def test_an_event_that_says_nothing_changes_nothing(live: CheckedClient, bundle: Bundle, log: EventLog) -> None:
    before = top(live, "1", "k=1000&explain=true")
    log.append([event(1, "1", "50", None, "view")])
    assert top(live, "1", "k=1000&explain=true") == before


def test_an_item_that_nobody_knows_is_in_the_history(live: CheckedClient, log: EventLog) -> None:
    log.append([event(1, "77", "4711", 2.0), event(2, "77", "50", 5.0)])
    found = live.get("/users/77").json()["ratings"]
    assert [(one["item_id"], one["title"], one["rating"]) for one in found[1:]] == [("4711", "4711", 2.0)]
    assert top(live, "77")


def test_people_are_forgotten_where_their_events_are(live: CheckedClient, log: EventLog) -> None:
    log.append([event(1, "77", "50"), event(2, "77", "172")])
    assert len(history(live, "77")) == 2
    log.forget("77")
    log.append([event(3, "77", "7", 1.0)])
    assert history(live, "77") == {"7": 1.0}
    log.forget("77")
    assert live.get("/users/77").status_code == 404


def test_only_new_events_are_read_of_people_who_are_remembered(
    live: CheckedClient, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([event(number, "77", "50", 4.0, time=NOW + number) for number in range(5)])
    people = live.app.state.service.live.people  # type: ignore[attr-defined]
    firsts = []
    read = people.reads.events
    monkeypatch.setattr(
        people.reads, "events", lambda user, first, *rest: firsts.append(first) or read(user, first, *rest)
    )
    assert history(live, "77") == history(live, "77") == {"50": 4.0}
    log.append([event(9, "77", "172", 1.0)])
    assert history(live, "77") == {"50": 4.0, "172": 1.0}
    assert firsts == [1, 5]


def test_a_request_reads_the_state_of_a_person_once_computed_kept_or_outdated(
    live: CheckedClient, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = live.app.state.service.live.people.reads  # type: ignore[attr-defined]
    asked = []
    read = reads.state
    monkeypatch.setattr(reads, "state", lambda user: asked.append(user) or read(user))
    before = history(live, "1")
    assert history(live, "1") == before
    log.append([event(1, "1", "50", 0.5)])
    assert history(live, "1") == before | {"50": 0.5}
    assert asked == ["1", "1", "1"]


def test_a_long_history_is_read_beside_the_event_loop(
    live: CheckedClient, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_module, "QUICK_EVENTS", 2)
    items = ["50", "172", "7", "-8", "0"]
    log.append([event(number, "77", item, 3.0) for number, item in enumerate(items)])
    assert history(live, "77") == dict.fromkeys(items, 3.0)


def test_memory_of_people_is_bounded(live: CheckedClient, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_module, "REMEMBERED_BYTES", 5_000)
    log.append([event(number, f"{number}", "50") for number in range(100, 120)])
    people = live.app.state.service.live.people  # type: ignore[attr-defined]
    for number in range(100, 120):
        assert history(live, f"{number}") == {"50": 4.0}
    [memory] = people._of_model.values()
    assert 0 < len(memory) < 10
    assert memory.nbytes == sum(one.nbytes for one in memory.values()) <= 5_000


def test_a_database_that_does_not_answer_is_said(live: CheckedClient, log: EventLog) -> None:
    with log.database.writing() as connection:
        connection.exec_driver_sql("drop table events")
    for answer in (
        live.get("/users/1"),
        live.get("/users/1/recommendations"),
        live.post("/predict/rating/", json={"user_id": "1", "item_id": "50"}),
        live.post("/predict/ratings/", json={"pairs": [{"user_id": "1", "item_id": "50"}]}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"] == "1"
    assert live.get("/items/50").status_code == 200
    rated = {"ratings": [{"item_id": "50", "rating": 4}]}
    assert live.post("/recommendations/", json=rated).status_code == 200


ATTRIBUTED = {"attributes": NAMES, "samples": 2}


@pytest.fixture
def attributed(url: str) -> Iterator[CheckedClient]:
    with client_of(timed(rich(**ATTRIBUTED)), database=url) as client:
        yield client


def test_attributes_move_the_prior_mean_at_the_next_request(attributed: CheckedClient, log: EventLog) -> None:
    bundle = timed(rich(**ATTRIBUTED))
    answer = attributed.put("/users/77", json={"attributes": {"gender": "M"}})
    assert (answer.status_code, answer.json()) == (200, {"user_id": "77", "attributes": {"gender": "M"}, "unused": []})
    found = attributed.get("/users/77/recommendations?k=1000").json()
    wanted = bundle.recommend(bundle.fold_in({}, {"gender": "M"}), 1000)
    assert [one["item_id"] for one in found["recommendations"]] == [str(one.item_id) for one in wanted]
    assert found["cold_start"] is True
    assert attributed.get("/users/77").json()["n_ratings"] == 0
    log.append([event(1, "77", "50", 5.0)])
    wanted = bundle.recommend(bundle.fold_in({50: 5.0}, {"gender": "M"}), 1000)
    assert [one["item_id"] for one in top(attributed, "77")] == [str(one.item_id) for one in wanted]


def test_attributes_of_a_fitted_user_take_the_place_of_the_bundles(attributed: CheckedClient) -> None:
    bundle = timed(rich(**ATTRIBUTED))
    assert isinstance(bundle.user_attributes, RowAttributes)
    [own] = bundle.user_attributes.of(0).tolist()
    before = top(attributed, "1")
    name, _, value = NAMES[own].partition("=")
    attributed.put("/users/1", json={"attributes": {name: value}})
    assert top(attributed, "1") == before, "they are the same"
    other = next(one for one in NAMES if one != NAMES[own])
    name, _, value = other.partition("=")
    attributed.put("/users/1", json={"attributes": {name: value}})
    entries = bundle.ratings.slice_of(0)
    item, rating = bundle.ratings.item[entries], bundle.ratings.rating[entries]
    kept = item < bundle.n_items
    folded = bundle.fold_in_rows(item[kept], rating[kept], np.array([NAMES.index(other)]))
    wanted = bundle.predictions_for(folded.vector, np.arange(3)).mean
    found = {one["item_id"]: one["rating"] for one in top(attributed, "1", "k=1000&exclude_seen=false")}
    assert [found[str(bundle.item_ids[row])] for row in range(3)] == pytest.approx(wanted.tolist(), abs=1e-5)
    attributed.put("/users/1", json={"attributes": {}})
    assert top(attributed, "1") != before


def test_what_attributes_may_be(attributed: CheckedClient, live: CheckedClient, client: CheckedClient) -> None:
    for attributes in (
        {"gender": 1},
        {"": "x"},
        {"gender": ""},
        {"gender": "a\0b"},
        {f"a{n}": "x" for n in range(101)},
        [],
        None,
    ):
        answer = attributed.put("/users/77", json={"attributes": attributes})
        assert answer.status_code == 400
    assert attributed.put("/users/77", json={}).status_code == 400
    assert attributed.put("/users/seven", json={"attributes": {}}).json()["code"] == "invalid_id"
    answer = client.put("/users/77", json={"attributes": {}})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_database")


def test_values_that_only_the_next_fit_may_know_are_kept_as_those_of_items(attributed: CheckedClient) -> None:
    odd = {"gender": "X", "age": "31.5"}
    before = top(attributed, "77")
    answer = attributed.put("/users/77", json={"attributes": odd})
    assert (answer.status_code, answer.json()["unused"]) == (200, ["gender", "age"])
    assert attributed.get("/users/77").json()["attributes"] == odd
    assert top(attributed, "77") == before


def test_names_are_those_that_the_model_knows(attributed: CheckedClient, live: CheckedClient) -> None:
    """Others became public as columns of the next fit, such as a person's address."""
    for client, attributes, said in (
        (attributed, {"email": "ann@example.org"}, "body.attributes must be among gender, age"),
        (attributed, {"age": "abc"}, "body.attributes.age must be a number"),
        (attributed, {"age": "inf"}, "body.attributes.age must be a number"),
        (live, {"gender": "F"}, "body.attributes must be empty: this model has no user attributes"),
    ):
        answer = client.put("/users/77", json={"attributes": attributes})
        assert (answer.status_code, answer.json()) == (400, {"code": "unknown_attribute", "detail": said})
        assert client.get("/users/77").status_code == 404
    assert live.put("/users/77", json={"attributes": {}}).status_code == 200


@pytest.mark.parametrize("attributes", [{"user_id": 5}, {"item_id": 5}, {"gender": ""}, {"x" * 101: "y"}])
def test_a_fault_in_an_attribute_names_no_attribute_and_says_what_is_allowed(
    attributed: CheckedClient, attributes: dict[str, Any]
) -> None:
    answer = attributed.put("/users/77", json={"attributes": attributes})
    assert answer.json() == {
        "code": "invalid_request",
        "detail": "body.attributes: names and values must be texts of 1 to 100 characters, without control characters",
    }


def test_attributes_are_read_by_those_who_may_set_them(url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    read, write = (
        {"Authorization": f"Bearer {keys.add(file, name, frozenset(scopes))}"}
        for name, scopes in (("reads", ("histories",)), ("writes", ("histories", "events")))
    )
    with client_of(timed(rich(**ATTRIBUTED)), database=url, keys=file) as client:
        assert client.put("/users/1", json={"attributes": {"gender": "F"}}, headers=write).status_code == 200
        for _ in range(2):  # the second one is a kept answer
            assert client.get("/users/1", headers=read).json()["attributes"] is None
            assert client.get("/users/1", headers=write).json()["attributes"] == {"gender": "F"}
        assert client.get("/users/2", headers=write).json()["attributes"] == {}


def test_a_model_that_cannot_fold_in_still_excludes_what_was_seen(url: str, log: EventLog) -> None:
    with client_of(timed(rich(fold_in="none")), database=url) as client:
        log.append([event(1, "1", "318", 5.0), event(2, "77", "318", 5.0)])
        for user in ("1", "77"):
            assert "318" not in [one["item_id"] for one in top(client, user)]
            assert history(client, user)["318"] == 5.0
        assert client.get("/users/77").json()["cold_start"] is True


def test_a_choice_is_a_rating_of_a_model_of_choices(url: str, log: EventLog) -> None:
    bundle = rich(task="ranking")
    chosen = replace(bundle, ratings=bundle.ratings._replace(rating=np.full(len(bundle.ratings.item), 5.0, np.float32)))
    with client_of(timed(chosen), database=url) as client:
        log.append([event(1, "77", "318", None, "purchase")])
        assert history(client, "77") == {"318": None}  # implicit feedback has no stars
        assert client.get("/users/77/recommendations").json()["cold_start"] is False


def test_every_event_is_the_latest_item_of_a_history(url: str, log: EventLog) -> None:
    """Of a fitted user, after the bundle's ratings, and of someone new; what is rated again counts at its latest."""
    bundle = timed(KINDS["histories"]())

    def scores(client: CheckedClient, user: str) -> dict[str, float]:
        return {one["item_id"]: one["score"] for one in top(client, user, "k=1000&exclude_seen=false")}

    def wanted(items: list[int]) -> Any:
        found = bundle.recommend(bundle.fold_in(dict.fromkeys(items, 3.0)), 1000, exclude_seen=False)
        return pytest.approx({str(one.item_id): one.score for one in found}, abs=1e-6)

    rated = [ITEMS[row] for row in bundle.seen(0).tolist() if row < 12]
    with client_of(bundle, database=url) as client:
        assert scores(client, "1") == wanted(rated)
        assert scores(client, "77") == wanted([])
        number = 0
        new: list[int] = []
        for item in (50, 172, 7, 50, 318):
            for user in ("1", "77"):
                number += 1
                log.append([event(number, user, str(item))])
            rated, new = ([one for one in items if one != item] + [item] for items in (rated, new))
            assert scores(client, "1") == wanted(rated)
            assert scores(client, "77") == wanted(new)
        [best, *_] = top(client, "77", "k=1&explain=true")
        assert {one["item_id"] for one in best["explanation"]} <= set(map(str, new))
        log.append([event(98, "77", "318", None, "withdrawal")])
        assert scores(client, "77") == wanted(new[:-1])
        log.append(
            [event(99, "78", one) for one in ("7",)]
            + [event(100 + n, "78", one) for n, one in enumerate(("50", "172", "7", "2571"))]
        )
        assert scores(client, "78") == wanted([50, 172, 7, 2571])  # in one second


@pytest.mark.services
def test_people_by_postgresql(bundle: Bundle, postgres: str) -> None:
    log = EventLog(Database.open(postgres))
    with client_of(bundle, database=postgres) as client:
        assert client.get("/users/8077").status_code == 404
        log.append([event(801, "8077", "50", 5.0), event(802, "8077", "172", 1.0)])
        assert history(client, "8077") == {"50": 5.0, "172": 1.0}
        assert predicted(client, "8077", "7")["cold_start"] is False
        log.append([event(803, "8077", "50", None, "withdrawal", NOW + 1)])
        assert history(client, "8077") == {"172": 1.0}
        assert "172" not in [one["item_id"] for one in top(client, "8077")]
        log.forget("8077")
        assert client.get("/users/8077").status_code == 404
    log.database.close()
