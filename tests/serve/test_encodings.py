"""A model of sequences answers at once for new histories, several of them together."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.encoder_fold_in import EncoderFoldIn
from recsys.events import Event, EventLog
from serve import encodings
from serve.encodings import Encodings
from tests.bundles import encoder_bundle, events_bundle, stars_bundle
from tests.serve.conftest import CheckedClient, client_of


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return encoder_bundle()


@pytest.fixture(scope="module", params=["ranking", "stars"])
def either(request: pytest.FixtureRequest) -> Bundle:
    return encoder_bundle() if request.param == "ranking" else stars_bundle()


def people(bundle: Bundle, n: int = 20, longest: int = 11) -> list[EncoderFoldIn]:
    random = np.random.default_rng(0)
    found = []
    for number in range(n):
        item = random.permutation(12)[: 1 + number % longest]
        folded = bundle.fold_in_rows(item, np.full(len(item), 3, np.float32))
        assert isinstance(folded, EncoderFoldIn)
        found.append(folded)
    return found


def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many people each pass of the encoder is of, from now on."""
    found: list[int] = []
    original = EncoderFoldIn.encode_together

    def counted(some: list[EncoderFoldIn]) -> None:
        found.append(len(some))
        original(some)

    monkeypatch.setattr(EncoderFoldIn, "encode_together", staticmethod(counted))
    return found


async def asked(together: Encodings, some: list[EncoderFoldIn]) -> None:
    await asyncio.gather(*map(together.encoded, some))


@pytest.mark.parametrize("most", [1, 7, 32])
def test_who_asks_at_once_gets_what_each_would_get_alone(
    bundle: Bundle, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, some = turns(monkeypatch), people(bundle)

    async def ask() -> None:
        together = Encodings(most)
        await asyncio.gather(*map(together.encoded, some), together.encoded(None))

    asyncio.run(ask())
    assert [one.is_encoded for one in some] == [most > 1] * 20
    assert sum(passes) == (20 if most > 1 else 0)
    assert max(passes, default=0) <= most
    assert len(passes) <= 3 * 4  # turns, and lengths by powers of two
    for one, alone in zip(some, people(bundle), strict=True):
        np.testing.assert_allclose(one.vector.factors, alone.vector.factors, atol=1e-5)


def test_a_lone_request_does_not_wait_for_others(bundle: Bundle) -> None:
    async def ask() -> int:
        together, [folded], ticks = Encodings(32), people(bundle, 1), 0
        asked = asyncio.ensure_future(together.encoded(folded))
        while not asked.done():
            ticks += 1
            await asyncio.sleep(0)
        return ticks

    assert asyncio.run(ask()) <= 4


def test_a_long_history_is_encoded_alone(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "LONGEST", 3)
    some = people(bundle, 6)

    async def ask() -> None:
        together = Encodings(32)
        await asyncio.gather(*map(together.encoded, some))

    asyncio.run(ask())
    assert [one.is_encoded for one in some] == [len(one.items) <= 3 for one in some]


def test_who_goes_away_takes_nobody_along(bundle: Bundle) -> None:
    some = people(bundle, 3)

    async def ask() -> list[Any]:
        together = Encodings(32)
        tasks = [asyncio.ensure_future(together.encoded(one)) for one in some]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(ask())
    assert [type(one) for one in found] == [type(None), asyncio.CancelledError, type(None)]
    assert some[0].is_encoded
    assert some[2].is_encoded


def test_who_cannot_be_encoded_together_is_encoded_alone(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(some: list[EncoderFoldIn]) -> None:
        raise ArithmeticError("no answer")

    monkeypatch.setattr(EncoderFoldIn, "encode_together", staticmethod(fails))
    some = people(bundle, 3)
    asyncio.run(asked(Encodings(32), some))
    assert not some[0].is_encoded
    assert np.isfinite(some[0].vector.factors).all()


def test_revisions_of_a_model_are_encoded_apart(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that are described in between change the table that the same encoder reads."""
    passes, later = turns(monkeypatch), bundle.with_items([999], [{"title": "new", "year": 2000, "genres": []}])
    some = [*people(bundle, 3, longest=1), *people(later, 3, longest=1)]
    asyncio.run(asked(Encodings(32), some))
    assert [one.is_encoded for one in some] == [True] * 6
    assert passes == [3, 3]


def test_what_takes_long_is_encoded_beside(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    some = people(bundle, 2, longest=1)
    monkeypatch.setattr(encodings, "LONG", 32 * some[0].encoder.work(1) - 1)
    asyncio.run(asked(Encodings(32), some))
    assert [one.is_encoded for one in some] == [False] * 2
    asyncio.run(asked(Encodings(31), some))
    assert [one.is_encoded for one in some] == [True] * 2


def top(client: CheckedClient, user: str, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/users/{user}/recommendations?k=12{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["recommendations"]


def test_an_event_changes_the_next_answer(either: Bundle, url: str, log: EventLog) -> None:
    with client_of(either, database=url) as client:
        before = top(client, "20")
        assert [one["item_id"] for one in before] == [str(one.item_id) for one in either.recommend(20, 12)]
        log.append([Event("e1", "20", "107", "rating", 5.0, 1_500_000_000)])
        after = top(client, "20")
        wanted = either.fold_in({101: 2.0, 107: 5.0}, times={101: 10**9 + 15_000, 107: 1_500_000_000})
        found = {one.item_id: one.score for one in either.recommend(wanted, 12)}
        assert {int(one["item_id"]): pytest.approx(one["score"], abs=1e-4) for one in after} == found
        assert [one["score"] for one in after] != [one["score"] for one in before]
        explained = top(client, "20", "&explain=true")
        reasons = {reason["item_id"] for one in explained for reason in one["explanation"]}
        assert reasons <= {"101", "107"}
        assert reasons


def test_somebody_is_encoded_once_until_they_do_something(
    bundle: Bundle, url: str, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = turns(monkeypatch)
    with client_of(bundle, database=url, answer_cache_bytes=0) as client:
        for number, expected in ((1, 1), (2, 2)):
            log.append([Event(f"e{number}", "20", f"10{5 + number}", "rating", 5.0, 1_500_000_000 + number)])
            answers = [top(client, "20", query) for query in ("", "&exclude_seen=false", "")]
            assert answers[0] == answers[2]
            assert sum(passes) == expected


def test_somebody_new_may_say_when(either: Bundle) -> None:
    with client_of(either) as client:
        ratings = [
            {"item_id": "103", "rating": 5.0, "timestamp": 1_400_000_000},
            {"item_id": "101", "rating": 4.0, "timestamp": 1_300_000_000},
        ]
        answer = client.post("/recommendations/", json={"ratings": ratings, "k": 12}).json()["recommendations"]
        folded = either.fold_in({103: 5.0, 101: 4.0}, times={103: 1_400_000_000, 101: 1_300_000_000})
        wanted = {str(one.item_id): pytest.approx(one.score, abs=1e-4) for one in either.recommend(folded, 12)}
        assert {one["item_id"]: one["score"] for one in answer} == wanted
        del ratings[0]["timestamp"]
        refused = client.post("/recommendations/", json={"ratings": ratings})
        assert (refused.status_code, refused.json()["code"]) == (400, "timestamp_missing")
        assert "body.ratings[0].timestamp" in refused.json()["detail"]
        for seconds in (1_400_000_000_000, -1, 10**20, 4_000_000_000):
            ratings[0]["timestamp"] = seconds
            refused = client.post("/recommendations/", json={"ratings": ratings})
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_timestamp")
            assert refused.json()["detail"].startswith("body.ratings[0].timestamp must be unix seconds from 0 to ")
        for given in ("2025-01-01", 1_400_000_000.5):
            ratings[0]["timestamp"] = given
            refused = client.post("/recommendations/", json={"ratings": ratings})
            assert refused.json()["detail"] == "body.ratings[0].timestamp must be an integer, unix seconds"


def test_kinds_of_events_count(url: str, log: EventLog) -> None:
    bundle = events_bundle()
    with client_of(bundle, database=url) as client:
        assert client.get("/model").json()["service"]["kinds"] == ["view", "cart", "purchase"]
        event = {"event_id": "a", "user_id": "20", "item_id": "107", "kind": "cart", "timestamp": 1_500_000_000}
        assert client.post("/events/", json={"events": [event]}).status_code == 200
        wanted = bundle.fold_in({101: "view", 107: "cart"}, times={101: 10**9 + 15_000, 107: 1_500_000_000})
        found = {int(one["item_id"]): one["score"] for one in top(client, "20")}
        assert found == {one.item_id: pytest.approx(one.score, abs=1e-4) for one in bundle.recommend(wanted, 12)}
        ratings = [{"item_id": "103", "kind": "view"}, {"item_id": "101", "kind": "purchase", "rating": 1}]
        answer = client.post("/recommendations/", json={"ratings": ratings, "k": 12}).json()["recommendations"]
        folded = bundle.fold_in({103: "view", 101: "purchase"})
        wanted_scores = {str(one.item_id): pytest.approx(one.score, abs=1e-4) for one in bundle.recommend(folded, 12)}
        assert {one["item_id"]: one["score"] for one in answer} == wanted_scores
        refused = client.post("/recommendations/", json={"ratings": [{"item_id": "103", "kind": "bookmark"}]})
        assert (refused.status_code, refused.json()["code"]) == (400, "unknown_kind")
        assert refused.json()["detail"] == "body.ratings[0].kind must be one of view, cart, purchase"
        kind = client.get("/openapi.json").json()["components"]["schemas"]["RatingIn"]["properties"]["kind"]
        assert kind["anyOf"][0]["enum"] == ["view", "cart", "purchase"]


def test_a_model_that_reads_no_kinds_takes_none(bundle: Bundle) -> None:
    with client_of(bundle) as client:
        given = {"ratings": [{"item_id": "103", "rating": 5, "kind": "view"}]}
        refused = client.post("/recommendations/", json=given)
        assert (refused.status_code, refused.json()["code"]) == (400, "unknown_kind")
        assert refused.json()["detail"].startswith("body.ratings[0].kind must be left out")
        assert "kind" not in client.get("/openapi.json").json()["components"]["schemas"]["RatingIn"]["properties"]
