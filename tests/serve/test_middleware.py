"""What is around every request: an id, and limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from recsys.bundle import Bundle
from serve.access.guard import Guard
from serve.http.load import Load
from serve.metrics import Metrics
from serve.middleware import RequestMiddleware
from serve.settings import Settings
from tests.serve.conftest import CheckedClient, client_of


@pytest.mark.parametrize("sane", ["a", "0a1b-2c3d", "A.b_c:d-1", "x" * 128])
def test_a_sane_request_id_comes_back(client: CheckedClient, sane: str) -> None:
    for path in ("/items/50", "/items/4711", "/nothing", "/items/x", "/metrics", "/"):
        assert client.get(path, headers={"X-Request-ID": sane}).headers["x-request-id"] == sane


@pytest.mark.parametrize(
    "odd",
    [b"", b"x" * 129, b"x" * 10_240, b"a b", b"a\r\nSet-Cookie: b=1", b"a\nb", "é".encode(), b"\xff", b"a;b", b"<b>",
     b"a\x00", b"a,b", b"a\n"],
    ids=ascii,
)  # fmt: skip
def test_another_one_is_replaced(client: CheckedClient, odd: bytes) -> None:
    answer = client.get("/items/50", headers=[(b"X-Request-ID", odd)])
    made = answer.headers["x-request-id"]
    assert made != odd.decode("latin-1")
    assert made.isalnum()
    assert "set-cookie" not in answer.headers


def test_made_ids_differ(client: CheckedClient) -> None:
    assert len({client.get("/items/50").headers["x-request-id"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("asked", "found"),
    [("/predict/rating", "/predict/rating/"), ("/items/?query=a%20b", "/items?query=a%20b"), ("/page", "/page/"),
     ("/users/%C3%A9/recommendations/", "/users/%C3%A9/recommendations")],
)  # fmt: skip
def test_a_redirect_names_no_scheme(client: CheckedClient, asked: str, found: str) -> None:
    """Behind a proxy with TLS, `http://` would send what was asked again where everybody can read it."""
    answer = client.get(asked, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, found)


@pytest.fixture
def narrow(bundles: dict[str, Bundle]) -> Iterator[CheckedClient]:
    with client_of(bundles["int"], max_body_bytes=1000) as client:
        yield client


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_is_refused_whatever_its_headers_say(narrow: CheckedClient, chunked: bool) -> None:
    headers = {"Content-Type": "application/json"}
    start = b'{"user_id": "1", "item_id": "50"'
    for size, status in ((1000, 200), (1001, 413), (100_000, 413)):
        body = start + b" " * (size - len(start) - 1) + b"}"
        content: Any = iter([body[at : at + 300] for at in range(0, size, 300)]) if chunked else body
        answer = narrow.post("/predict/rating/", content=content, headers=headers)
        assert answer.status_code == status
        if status == 413:
            assert answer.json()["code"] == "body_too_large"
    assert narrow.get("/items/50").status_code == 200


def test_no_limit_is_no_limit(bundles: dict[str, Bundle]) -> None:
    body = b'{"user_id": "1", "item_id": "50"' + b" " * 2_000_000 + b"}"
    with client_of(bundles["int"], max_body_bytes=0) as client:
        answer = client.post("/predict/rating/", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200


async def ask(edge: RequestMiddleware, path: str) -> tuple[int, dict[bytes, bytes]]:
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await edge({"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"localhost")]}, receive, send)
    return messages[0]["status"], dict(messages[0]["headers"])


def test_beyond_the_limit_requests_are_sent_away_but_not_those_for_health() -> None:
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await release.wait()
        if scope["path"] == "/bad":
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def story() -> None:
        load = Load(2, 1)
        edge = RequestMiddleware(slow, Metrics(load), Guard(Settings()), load, max_body_bytes=0, body_seconds=5)
        waiting = [asyncio.create_task(ask(edge, "/slow")) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert load.in_flight == 2
        status, headers = await ask(edge, "/items")
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert headers[b"x-request-id"]
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert (await ask(edge, path))[0] == 200
        assert b"recsys_requests_in_flight 2.0" in edge.metrics.text()
        waiting[0].cancel()  # a client that went away
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert load.in_flight == 1
        assert (await ask(edge, "/items"))[0] == 200
        assert (await ask(edge, "/bad"))[0] == 500
        assert load.in_flight == 1
        release.set()
        assert (await waiting[1])[0] == 200
        assert load.in_flight == 0

    asyncio.run(story())


def test_overload_has_the_shape_of_all_errors(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"], max_in_flight=1) as client:
        edge = client.app.middleware_stack  # type: ignore[attr-defined]
        while not isinstance(edge, RequestMiddleware):
            edge = edge.app
        edge.load.in_flight = 1
        answer = client.get("/items/50")
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/health/ready").status_code == 200
        assert client.get("/metrics").status_code == 200
