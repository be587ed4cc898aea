"""What somebody got at a time is what a service answered then."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.events import EventLog
from recsys.events.descriptions import Descriptions
from recsys.versions import VersionError, Versions, open_versions
from recsys.versions.forget import forget
from recsys.versions.retention import DAY, collect
from serve.models.model_manager import ModelManager
from serve.served import Past
from serve.settings import Settings
from tests.serve.conftest import ITEMS, USERS, CheckedClient, client_of
from tests.serve.live.test_items import NEW, refresh, with_item_side

BEGIN, STEPS = 1_900_000_000, 30
KNOWN = [str(user) for user in USERS[:3]]
PEOPLE = [*KNOWN, "70", "71", "72"]
RATED = [*map(str, ITEMS), "4711", "4712"]


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = BEGIN
        monkeypatch.setattr(time, "time", lambda: float(self.now))
        monkeypatch.setattr(time, "time_ns", lambda: self.now * 10**9)

    def tick(self) -> None:
        self.now += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def versions(tmp_path: Path, clock: Clock) -> Versions:
    found = open_versions(f"sqlite:///{tmp_path}/live.db", tmp_path / "store")
    promote(found, 0)
    return found


def promote(versions: Versions, seed: int, cut: int = 0) -> str:
    parent = versions.aliases.current("champion")
    version = versions.publish(
        with_item_side(seed=seed), parent=parent, cut=cut, made_by="update", metrics={}, configuration={}
    )
    versions.promote("champion", version.version, "ann", "better")
    return version.version


@pytest.fixture
def client(versions: Versions) -> Iterator[CheckedClient]:
    given = {"alias": "champion", "database": str(versions.database.engine.url), "store": str(versions.store)}
    with client_of(ModelManager.from_settings(Settings(**given)), poll_seconds=3600, **given) as one:
        yield one


def best(client: CheckedClient, user: str) -> list[tuple[str, float]]:
    found = client.get(f"/users/{user}/recommendations?k=6").json()["recommendations"]
    return [(one["item_id"], one["rating"]) for one in found]


def follow(client: CheckedClient) -> None:
    client.app.state.service.models.poll()  # type: ignore[attr-defined]
    refresh(client)


def do_something(draw: random.Random, number: int, client: CheckedClient, versions: Versions) -> None:
    """Somebody rates or takes a rating back, a version is promoted, or an alias goes back."""
    what = draw.random()
    if what < 0.8:
        event = {"event_id": f"e{number}", "user_id": draw.choice(PEOPLE), "item_id": draw.choice(RATED)}
        event |= {"timestamp": BEGIN + number}
        event |= {"kind": "withdrawal"} if what < 0.15 else {"rating": draw.choice([1.0, 2.5, 4.0, 5.0])}
        assert client.post("/events/", json={"events": [event]}).status_code == 200
    elif what < 0.95:
        promote(versions, draw.randrange(100), draw.choice([0, EventLog(versions.database).cut()]))
    else:
        versions.promote("champion", draw.choice(versions.aliases.history()).version, "ann", "rollback")


def told(past: Past, user: str, at: int) -> list[tuple[str, float]]:
    found = past.served(user, at, k=6)
    assert found.recommendations is not None
    return [(one["item_id"], one["rating"]) for one in found.recommendations]


@pytest.mark.long
def test_random_questions_have_the_answers_of_the_service(
    versions: Versions, client: CheckedClient, clock: Clock
) -> None:
    draw = random.Random(3)
    Descriptions(versions.database).set_item("4711", NEW["title"], NEW["year"], NEW["genres"], NEW["attributes"])
    answered: list[tuple[int, str, list[tuple[str, float]]]] = []
    for number in range(STEPS):
        clock.tick()
        do_something(draw, number, client, versions)
        clock.tick()
        follow(client)
        user = draw.choice(PEOPLE)
        answered.append((clock.now, user, best(client, user)))
    assert len({at for at, *_ in answered}) == STEPS
    assert len({str(found) for *_, found in answered}) > STEPS // 2
    past = Past(versions)
    draw.shuffle(answered)
    for at, user, found in answered:
        assert told(past, user, at) == found


def test_what_was_predicted(versions: Versions, client: CheckedClient, clock: Clock) -> None:
    event = {"event_id": "e", "user_id": "70", "item_id": RATED[0], "rating": 5.0, "timestamp": BEGIN}
    before = client.post("/predict/rating/", json={"user_id": "70", "item_id": RATED[1]}).json()["rating"]
    clock.tick()
    client.post("/events/", json={"events": [event]})
    after = client.post("/predict/rating/", json={"user_id": "70", "item_id": RATED[1]}).json()["rating"]
    past = Past(versions)
    assert past.served("70", BEGIN, item_id=RATED[1]).rating == before != after
    assert past.served("70", BEGIN + 1, item_id=RATED[1]).rating == after
    with pytest.raises(ValueError, match="predicts no rating of item '4712'"):
        past.served("70", BEGIN, item_id="4712")


def test_before_the_first_version(versions: Versions) -> None:
    with pytest.raises(VersionError, match="named nothing at"):
        Past(versions).served(KNOWN[0], BEGIN - 1)
    with pytest.raises(VersionError, match="named nothing at"):
        Past(versions, "challenger").served(KNOWN[0], BEGIN)


def test_somebody_who_was_forgotten(versions: Versions, client: CheckedClient, clock: Clock) -> None:
    events = [
        {"event_id": user, "user_id": user, "item_id": RATED[4], "rating": 5.0, "timestamp": BEGIN}
        for user in (KNOWN[1], "70")
    ]
    clock.tick()
    client.post("/events/", json={"events": events})
    clock.tick()
    others = {user: best(client, user) for user in PEOPLE}
    at = clock.now
    for user in (KNOWN[0], "70"):
        clock.tick()
        forget(versions, user, "ann")
    past = Past(versions)
    for user in (KNOWN[0], "70", "4242"):  # nothing says whether somebody was unknown, or is forgotten
        found = past.served(user, at)
        assert (found.status, found.recommendations, found.rating) == ("forgotten", None, None)
        assert found.notes[0].startswith("nothing is known of this person, and somebody was forgotten since")
    assert told(past, KNOWN[2], at) == others[KNOWN[2]]
    assert past.served(KNOWN[2], at).notes[0].startswith("somebody was forgotten since")
    clock.tick()
    assert past.served("71", clock.now).status == "served"


def test_a_version_that_is_no_longer_kept(versions: Versions, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(1, 4):
        clock.now += 10 * DAY
        promote(versions, seed)
    collect(versions, 0)
    with pytest.raises(VersionError, match="was removed: retention"):
        Past(versions).served(KNOWN[1], BEGIN)
    assert Past(versions).served(KNOWN[1], clock.now).status == "served"


def test_what_is_not_kept_is_noted(versions: Versions, clock: Clock) -> None:
    described = Descriptions(versions.database)
    assert Past(versions).served(KNOWN[0], clock.now).notes == []
    clock.tick()
    described.set_user(KNOWN[0], {"gender": "F"})
    described.set_item("4711", NEW["title"], NEW["year"], NEW["genres"], NEW["attributes"])
    past = Past(versions)
    assert [note.partition(" were ")[0] for note in past.served(KNOWN[0], BEGIN).notes] == [
        "the person's attributes", "items"
    ]  # fmt: skip
    assert past.served(KNOWN[0], clock.now).notes == []
