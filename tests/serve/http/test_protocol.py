"""What a client may send, how slowly, and how much at once, over real sockets."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serve.http.protocol import MOST_FIELDS, MOST_PIPELINED
from tests.serve.conftest import until
from tests.serve.running import GET, HEALTH, PAIR, POST, Running, answer, is_closed, running


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(
        max_header_bytes=2048, header_seconds=0.4, idle_seconds=0.6, body_seconds=0.4, max_body_bytes=100_000
    ) as service:
        yield service


@pytest.fixture
def overloaded(service: Running) -> Iterator[Running]:
    yield service
    service.load.limit = service.load.most


def header_of(size: int) -> bytes:
    """A request whose first line and header take so many bytes."""
    start = b"GET /items/50 HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_a_header_has_a_size(service: Running, pieces: int) -> None:
    for size, expected in ((2000, 200), (2040, 200), (2200, 431), (3000, 431)):
        request = header_of(size)
        with service.connect() as line:
            for at in range(0, size, -(-size // pieces)):
                line.sendall(request[at : at + -(-size // pieces)])
                time.sleep(0.0005)
            status, headers, body = answer(line)
            assert status == expected, (size, pieces)
            if expected == 431:
                assert (body["code"], headers["connection"]) == ("header_too_large", "close")
                assert headers["x-frame-options"] == "DENY"
                assert is_closed(line)


def test_many_small_headers_and_a_long_path_count_too(service: Running) -> None:
    for request in (
        b"GET /items/50 HTTP/1.1\r\n" + b"A: b\r\n" * 400 + b"\r\n",
        b"GET /items/" + b"5" * 3000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /items/50?" + b"q" * 100_000,
    ):
        assert service.ask(request)[0] == 431


def test_a_header_has_a_number_of_fields(service: Running) -> None:
    fields = lambda number: b"".join(b"a%d: 1\r\n" % n for n in range(number - 1))  # noqa: E731  besides Host
    assert service.ask(GET[:-2] + fields(MOST_FIELDS) + b"\r\n")[0] == 200
    for end in (b"\r\n", b""):
        status, _, body = service.ask(GET[:-2] + fields(MOST_FIELDS + 3) + end)
        assert (status, body["code"]) == (431, "header_too_large")
    chunked = GET[:-2] + b"transfer-encoding: chunked\r\n\r\n0\r\n" + fields(MOST_FIELDS + 2) + b"\r\n"
    assert service.ask(chunked)[0] in (200, 431)
    assert service.load.in_flight == 0


def test_a_huge_header_stalls_nobody(service: Running) -> None:
    chunk = b"X-Long: " + b"a" * 65_000 + b"\r\n"
    with service.connect() as line:
        line.sendall(b"GET / HTTP/1.1\r\n")
        line.settimeout(0.5)
        for _ in range(10_000):
            start = time.monotonic()
            assert service.ask(HEALTH)[0] == 200
            assert time.monotonic() - start < 1
            try:
                line.sendall(chunk * 20)
            except OSError:  # refused long before the end
                return
    raise AssertionError


def test_the_size_holds_for_each_request_of_a_kept_connection(service: Running) -> None:
    with service.connect() as line:
        for _ in range(3):
            line.sendall(header_of(1500))
            assert answer(line)[0] == 200
        line.sendall(header_of(5000))
        assert answer(line)[0] == 431
        assert is_closed(line)
    body = PAIR + b" " * (60_000 - len(PAIR))
    found = everything(service, POST % 60_000 + body + header_of(1500) + header_of(5000))
    assert re.findall(rb"HTTP/1.1 (\d+) ", found) in ([b"200", b"200"], [b"200", b"200", b"431"])


@pytest.mark.parametrize("before", [0, 2], ids=["first", "later"])
def test_a_header_has_a_time_however_it_drips(service: Running, before: int) -> None:
    with service.connect() as line:
        for _ in range(before):
            line.sendall(GET)
            assert answer(line)[0] == 200
        start = time.monotonic()
        line.settimeout(0.05)
        drip = iter(GET[:9] + b"?" + b"q" * 1000)
        found = b""
        while not found and time.monotonic() < start + 5:
            line.sendall(bytes([next(drip)]))
            try:
                found = line.recv(4096)
            except TimeoutError:
                continue
        assert 0.3 < time.monotonic() - start < 3
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b'"header_too_slow"' in found
        assert is_closed(line)


def test_line_ends_before_a_request_are_no_way_to_stay(service: Running) -> None:
    with service.connect() as line:
        start = time.monotonic()
        while not is_closed(line, 0.05):
            assert time.monotonic() < start + 3
            with contextlib.suppress(OSError):
                line.sendall(b"\r\n")


def test_a_kept_connection_is_closed_when_it_is_idle(service: Running) -> None:
    with service.connect() as line:
        for _ in range(3):
            line.sendall(GET)
            assert answer(line)[0] == 200
            time.sleep(0.3)
        start = time.monotonic()
        assert is_closed(line)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("wrong", [
    b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /recommendations/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET http://localhost/items/50 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://evil.example/items/50 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET HTTPS://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
], ids=ascii)  # fmt: skip
def test_what_is_not_http_gets_an_error_like_all_others(service: Running, wrong: bytes) -> None:
    with service.connect() as line:
        line.sendall(wrong)
        status, headers, body = answer(line)
        assert (status, body["code"], headers["connection"]) == (400, "malformed_request", "close")
        assert headers["x-request-id"]
        assert is_closed(line)


def test_a_malformed_request_leaves_the_answer_before_it(service: Running) -> None:
    with service.connect() as line:
        line.sendall(GET + b"nonsense\r\n\r\n")
        assert answer(line)[0] == 200
        assert is_closed(line)


def test_websockets_are_no_way_round(service: Running) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with service.connect() as line:
        line.sendall(GET[:-2] + upgrade + b"\x00\x01 more")
        assert answer(line)[0] == 200
        assert is_closed(line)


CHUNKED = (
    b"POST /predict/rating/ HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\n"
    b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(PAIR), PAIR)
)


@pytest.mark.parametrize("apart", [False, True])
def test_fields_after_a_body_are_none_of_the_header(service: Running, apart: bool) -> None:
    with service.connect() as line:
        line.sendall(CHUNKED)
        if apart:
            time.sleep(0.1)
        line.sendall(b"Host: evil.example\r\nX-Request-ID: late\r\n\r\n")
        status, headers, _ = answer(line)
        assert status == 200  # two hosts would be refused
        assert headers["x-request-id"] != "late"
        line.sendall(GET)
        assert answer(line)[0] == 200


def test_a_trailer_is_bounded_like_a_header(service: Running) -> None:
    with service.connect() as line:
        line.sendall(CHUNKED + b"A: ")
        start = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(64):
                line.sendall(b"x" * 1_000_000)
        status, _, body = answer(line)
        assert (status, body["code"]) == (431, "header_too_large")
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("before", [b"", b"1\r\na\r\n", b"1\r\na\r\n1;x=y\r\nb\r\n"])
@pytest.mark.parametrize("extension", [b"1;", b"0", b"0;"])
def test_an_extension_of_a_chunk_is_bounded_like_a_header(service: Running, before: bytes, extension: bytes) -> None:
    with service.connect() as line:
        line.sendall(POST[: POST.index(b"content-length")] + b"transfer-encoding: chunked\r\n\r\n" + before + extension)
        with contextlib.suppress(OSError):
            for _ in range(20):
                line.sendall(b"0" * 4096)
        status, _, body = answer(line)
        assert (status, body["code"]) == (431, "header_too_large")


def test_long_and_many_chunks_are_no_trailer(service: Running) -> None:
    padding = b" " * 90_000
    sizes = (b"%x\r\n%s\r\n" % (len(padding), padding), b"1\r\n \r\n" * 5_000)
    for part in sizes:
        with service.connect() as line:
            at = CHUNKED.index(b"\r\n\r\n") + 4
            line.sendall(CHUNKED[:at] + part + CHUNKED[at:] + b"\r\n")
            assert answer(line)[0] == 200


@pytest.mark.parametrize(
    "request_", [b"GET /items/50 HTTP/1.1\r\n\r\n", b"GET /items/50 HTTP/1.0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n\r\n",
                 b"GET //evil.example/items/50 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                 b"GET /items/50 HTTP/1.1\r\nHost: localhost\r\nhOsT: evil.example\r\n\r\n"], ids=ascii
)  # fmt: skip
def test_a_request_names_one_host(service: Running, request_: bytes) -> None:
    with service.connect() as line:
        line.sendall(request_)
        status, headers, body = answer(line)
        assert (status, body["code"]) == (400, "invalid_host")
        assert headers["x-content-type-options"] == "nosniff"


def everything(service: Running, request: bytes) -> bytes:
    with service.connect() as line:
        line.sendall(request)
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_pipelined_requests_are_answered_in_order_up_to_a_number(service: Running) -> None:
    paths = [b"/items/50", b"/items/172", b"/nothing"] * 5
    last = GET[:-2] + b"Connection: close\r\n\r\n"
    found = everything(service, b"".join(GET.replace(b"/items/50", path) for path in paths) + last)
    assert re.findall(rb"HTTP/1.1 (\d+) ", found) == [b"200", b"200", b"404"] * 5 + [b"200"]
    found = everything(service, GET * 1000)
    assert 1 <= found.count(b"HTTP/1.1 200") <= 2 * MOST_PIPELINED
    assert found.endswith(b"}")


def test_kept_connections_are_sent_away_without_being_closed(overloaded: Running) -> None:
    with overloaded.connect() as line:
        line.sendall(GET)
        assert answer(line)[0] == 200
        overloaded.load.limit = 0
        for request in (GET, POST % len(PAIR) + PAIR, GET):
            line.sendall(request)
            status, headers, body = answer(line)
            assert (status, body["code"], headers["retry-after"]) == (503, "overloaded", "1")
            assert "connection" not in headers
        line.sendall(HEALTH)
        assert answer(line)[0] == 200
        overloaded.load.limit = overloaded.load.most
        line.sendall(POST % len(PAIR) + PAIR)
        assert answer(line)[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [GET[:20], POST % 10_000_000, GET * 2, GET[:-2] + b"Connection: close\r\n\r\n", GET.replace(b"1.1", b"1.0"),
     GET[:-2] + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"],
    ids=["a part", "a body to come", "two", "close", "HTTP/1.0", "unclear"],
)  # fmt: skip
def test_others_are_closed_with_their_answer(overloaded: Running, request_bytes: bytes) -> None:
    with overloaded.connect() as line:
        line.sendall(GET)
        assert answer(line)[0] == 200
        overloaded.load.limit = 0
        line.sendall(request_bytes)
        status, headers, _ = answer(line)
        assert (status, headers["connection"]) == (503, "close")
        line.sendall(b"x" * 1_000_000)  # which is discarded, and no reset
        assert is_closed(line)


@pytest.mark.parametrize("before", [0, 1], ids=["first", "later"])
def test_a_request_that_becomes_whole_under_overload_is_sent_away(overloaded: Running, before: int) -> None:
    with overloaded.connect() as line:
        for _ in range(before):
            line.sendall(GET)
            assert answer(line)[0] == 200
        line.sendall(GET[:9])
        until(lambda: overloaded.server.open.header)
        overloaded.load.limit = 0
        line.sendall(GET[9:])
        status, _, body = answer(line)
        assert (status, body["code"]) == (503, "overloaded")
        assert overloaded.load.in_flight == 0


def test_a_body_that_is_refused_does_not_cost_the_answer(service: Running) -> None:
    with service.connect() as line:
        line.sendall(POST % 5_000_000)
        line.sendall(b" " * 5_000_000)
        status, headers, body = answer(line)
        assert (status, body["code"], headers["connection"]) == (413, "body_too_large", "close")
        assert is_closed(line)


def test_a_body_has_a_time_and_its_connection_ends(service: Running) -> None:
    with service.connect() as line:
        line.sendall(POST % 100 + b"{")
        status, headers, _ = answer(line)
        assert (status, headers["connection"]) == (408, "close")
        assert is_closed(line)
    with service.connect() as line:
        line.sendall(POST % len(PAIR))
        time.sleep(0.1)
        line.sendall(PAIR)
        status, headers, _ = answer(line)
        assert status == 200
        assert "connection" not in headers
        line.sendall(GET)
        assert answer(line)[0] == 200


def test_whoever_does_not_read_is_closed(service: Running) -> None:
    with service.connect() as line:
        line.setblocking(False)
        page, sent = GET.replace(b"/items/50", b"/openapi.json"), 0
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                sent += line.send(page)
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:
                break
        assert time.monotonic() < end
    until(lambda: service.connections == 0)
    until(lambda: service.load.in_flight == 0)


def test_nothing_stays_in_flight(service: Running) -> None:
    for request in (GET, POST % len(PAIR) + PAIR, POST % 50, GET[:9], b"nonsense\r\n\r\n", GET * 5, HEALTH):
        for _ in range(3):
            with service.connect() as line:
                line.sendall(request)
    service.ask(HEALTH)  # the kernel's queue is in order: all of them have been accepted
    until(lambda: service.load.in_flight == 0 and service.connections == 0)


@pytest.mark.parametrize("end", [b"", b"Connection: close\r\n"])
def test_the_time_of_each_request_is_learned(service: Running, monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """Of those on kept connections, too: else the number that is let in would never fit what they take."""
    took: list[float] = []
    monkeypatch.setattr(service.load, "took", took.append)
    assert service.ask(GET[:-2] + end + b"\r\n")[0] == 200
    until(lambda: len(took) == 1)
    service.ask(HEALTH)
    assert len(took) == 1


def test_parts_of_requests_take_no_place_of_others(service: Running) -> None:
    lines = [service.connect() for _ in range(20)]
    for line, part in zip(lines, (GET[:9], POST % 50 + b"{", GET[:-2], POST[:20]) * 5, strict=True):
        line.sendall(part)
    until(lambda: service.connections == 20 and service.load.in_flight == 0)  # once they wait for their client
    assert service.ask()[0] == 200
    for line in lines:
        line.close()


def test_expect_and_chunks(service: Running) -> None:
    with service.connect() as line:
        line.sendall(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % len(PAIR))
        assert line.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(PAIR)
        assert answer(line)[0] == 200
        start = POST.replace(b"content-length: %d", b"transfer-encoding: chunked")
        line.sendall(start + b"%x\r\n%s\r\n0\r\n\r\n" % (len(PAIR), PAIR))
        status, _, body = answer(line)
        assert (status, "rating" in str(body)) == (200, True)
        line.sendall(GET)
        assert answer(line)[0] == 200


def test_the_client_and_the_server_are_named(service: Running) -> None:
    seen: list[Any] = []
    app = service.server.config.loaded_app
    original = app.middleware_stack

    async def spy(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["server"], scope["scheme"], scope["http_version"]))
        await original(scope, receive, send)

    app.middleware_stack = spy
    try:
        with service.connect() as line:
            line.sendall(GET.replace(b"1.1", b"1.0"))
            assert answer(line)[0] == 200
            name = line.getsockname()
    finally:
        app.middleware_stack = original
    assert seen == [(name, ("127.0.0.1", service.port), "http", "1.0")]
