"""A long answer keeps nobody waiting but other long ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from recsys.bundle import Bundle
from recsys.bundle.costs import answer_work
from serve.api_error import ApiError
from serve.http import beside
from serve.http.beside import LONG, MOST_WAITING, Beside
from serve.http.load import Load
from serve.routers import recommendations
from tests.serve.conftest import client_of, rich, until
from tests.serve.running import GET, Running, answer, running

TOP = b"GET /users/1/recommendations HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_short_answer_is_computed_at_once() -> None:
    found = asyncio.run(Beside(Load(0, 0.2)).computed({}, LONG - 1, threading.current_thread))
    assert found is threading.main_thread()


def test_long_ones_are_computed_one_at_a_time_and_too_many_are_sent_away() -> None:
    load, most = Load(0, 0.2), 0
    at_once: list[int] = []

    def long() -> None:
        nonlocal most
        at_once.append(1)
        most = max(most, len(at_once))
        time.sleep(0.005)
        at_once.pop()

    async def all_at_once() -> list[Any]:
        queue = Beside(load)
        load.in_flight = MOST_WAITING + 2
        asked = [asyncio.create_task(queue.computed({}, LONG, long)) for _ in range(MOST_WAITING + 2)]
        await asyncio.sleep(0)
        assert load.in_flight == 2  # those that are sent away
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(all_at_once())
    assert found[:MOST_WAITING] == MOST_WAITING * [None]
    for error in found[MOST_WAITING:]:
        assert isinstance(error, ApiError)
        assert (error.status, error.code) == (503, "overloaded")
    assert (most, load.in_flight, load.shed["long"]) == (1, MOST_WAITING + 2, 2)


def test_an_error_comes_back_and_leaves_nothing() -> None:
    load = Load(0, 0.2)

    def fails() -> None:
        raise ApiError(400, "unknown_genre", "none")

    async def twice() -> None:
        queue = Beside(load)
        for _ in range(2 * MOST_WAITING):
            with pytest.raises(ApiError, match="none"):
                await queue.computed({}, LONG, fails)

    asyncio.run(twice())
    assert load.in_flight == 0


def test_answers_are_the_same_beside(bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    asks: list[tuple[str, str, Any]] = [
        ("GET", "/users/1/recommendations?k=5&explain=true&distribution=true", None),
        ("GET", "/users/1/recommendations?genre=none", None),
        ("POST", "/recommendations/", {"ratings": [{"item_id": "50", "rating": 5}], "explain": True}),
        ("POST", "/recommendations/", {"ratings": [{"item_id": "50", "rating": 50}]}),
        ("POST", "/predict/ratings/", {"pairs": [{"user_id": "1", "item_id": "50"}, {"user_id": "x", "item_id": "7"}]}),
    ]
    with client_of(bundles["int"], answer_cache_bytes=0) as client:
        ask = lambda: [client.request(method, path, json=body) for method, path, body in asks]  # noqa: E731
        at_once = ask()
        monkeypatch.setattr(beside, "LONG", 0)
        assert [(one.status_code, one.content) for one in ask()] == [(one.status_code, one.content) for one in at_once]


def test_work_grows_with_what_is_asked_for() -> None:
    plain, ordinal = rich(), rich(samples=3, noisy=True, levels=(1.0, 2.0, 3.0), link="ordinal")
    assert answer_work(plain, 12) < answer_work(plain, 12, 100) < answer_work(plain, 12, 100, 50)
    assert answer_work(plain, 12) < answer_work(ordinal, 12)


@pytest.fixture
def service() -> Iterator[Running]:
    with running() as service:
        yield service


def test_others_are_answered_meanwhile(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    compute = recommendations.recommend

    def slow(*given: Any) -> Any:
        release.wait(10)
        return compute(*given)

    monkeypatch.setattr(beside, "LONG", 0)
    monkeypatch.setattr(recommendations, "recommend", slow)
    took: list[float] = []
    monkeypatch.setattr(service.load, "took", took.append)
    lines = [service.connect() for _ in range(MOST_WAITING)]
    for number, line in enumerate(lines, 1):  # equal ones would be computed once
        line.sendall(TOP.replace(b" HTTP", b"?k=%d HTTP" % number))
    until(lambda: service.service.beside.waiting == MOST_WAITING)
    assert service.load.in_flight == 0
    for _ in range(20):
        assert service.ask(GET)[0] == 200
    status, headers, body = service.ask(TOP)
    assert (status, body["code"]) == (503, "overloaded")
    assert headers["retry-after"] == "1"
    release.set()
    for line in lines:
        assert answer(line)[0] == 200
        line.close()
    assert service.load.in_flight == 0
    until(lambda: len(took) >= 21)
    assert len(took) == 21  # what long answers take says nothing of others
