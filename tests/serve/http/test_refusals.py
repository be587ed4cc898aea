"""Errors written as bytes, and what is known of a request that nobody has parsed."""

from __future__ import annotations

import pytest

from serve.http.refusals import OVERLOADED, UNSHED, is_whole, may_follow

WHOLE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\ncontent-length:3 \r\nHost: x\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
]
NOT_WHOLE = [
    b"",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n",
    b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    # As others before the service may read them: what follows would be another request to the one, a body to the other.
    b"POST / HTTP/1.1\r\nX: y\nContent-Length: 3\r\n\r\n",
    b"POST / HTTP/1.1\r\nX: y\rContent-Length: 3\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\n",
    b"POST / HTTP/1.1\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", WHOLE + NOT_WHOLE, ids=ascii)
def test_a_request_is_whole_only_if_nothing_can_follow(request_bytes: bytes) -> None:
    assert is_whole(request_bytes) == (request_bytes in WHOLE)


@pytest.mark.parametrize(
    ("line", "kept"),
    [(b"", True), (b"Connection: keep-alive\r\n", True), (b"connection: Keep-Alive\r\n", True),
     (b"Connection: close\r\n", False), (b"Connection: keep-alive, close\r\n", False), (b"Upgrade: h2c\r\n", False)],
)  # fmt: skip
def test_another_request_may_follow(line: bytes, kept: bool) -> None:
    assert may_follow(b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n") == kept
    assert not may_follow(b"GET / HTTP/1.0\r\nHost: x\r\n" + line + b"\r\n")
    assert not may_follow(b"GET / HTTP/1.0\r\nX: a HTTP/1.1\r\n" + line + b"\r\n")


def test_each_answer_has_its_own_id() -> None:
    assert OVERLOADED.answer() != OVERLOADED.answer()


@pytest.mark.parametrize(
    ("start", "unshed"),
    [(b"GET /health/live HTTP/1.1", True), (b"GET /metrics?x HTTP/1.1", True), (b"HEAD /health/ready HTTP/1.1", True),
     (b"GET /health/lives HTTP/1.1", False), (b"POST /metrics HTTP/1.1", False), (b"GET  /metrics HTTP/1.1", False)],
)  # fmt: skip
def test_health_is_known_by_its_first_bytes(start: bytes, unshed: bool) -> None:
    assert (UNSHED.match(start) is not None) == unshed
