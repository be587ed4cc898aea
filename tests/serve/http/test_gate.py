"""Who is let in, who waits and who is sent away, over real sockets."""

from __future__ import annotations

import errno
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.serve.conftest import until
from tests.serve.running import GET, HEALTH, PAIR, POST, Running, answer, descriptors, is_closed, running


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    """With short times, for one module's tests."""
    with running(
        first_byte_seconds=0.4, max_connections=12, max_connections_per_address=8, operations=True, operations_port=0
    ) as service:
        yield service


@pytest.fixture
def overloaded(service: Running) -> Iterator[Running]:
    service.load.limit = 0
    yield service
    service.load.limit = service.load.most


def check_overloaded(found: tuple[int, dict[str, str], Any]) -> None:
    status, headers, body = found
    assert (status, headers["retry-after"], body["code"]) == (503, "1", "overloaded")
    assert set(body) == {"detail", "code"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"]
    assert headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_bytes",
    [GET, GET.replace(b"1.1", b"1.0"), POST % len(PAIR) + PAIR, b"nonsense", b"GET /items/50 HT", b"\x16\x03\x01"],
    ids=["GET", "HTTP/1.0", "POST", "nonsense", "the first bytes", "TLS"],
)  # fmt: skip
def test_fresh_connections_are_sent_away_and_can_read_why(overloaded: Running, request_bytes: bytes) -> None:
    before = overloaded.load.shed["overloaded"]
    with overloaded.connect() as line:
        line.sendall(request_bytes)
        check_overloaded(answer(line))
        assert is_closed(line)
    assert overloaded.load.shed["overloaded"] >= before or overloaded.metric("recsys_requests_shed_total")


def test_a_head_has_no_body(overloaded: Running) -> None:
    with overloaded.connect() as line:
        line.sendall(GET.replace(b"GET", b"HEAD"))
        found = b"".join(iter(lambda: line.recv(65536), b""))
    assert found.startswith(b"HTTP/1.1 503 ")
    assert found.endswith(b"\r\n\r\n")


def test_whoever_sends_in_several_packets_can_read_the_answer_too(overloaded: Running) -> None:
    with overloaded.connect() as line:
        for part in (GET[:10], GET[10:30], GET[30:]):
            line.sendall(part)
            time.sleep(0.05)
        check_overloaded(answer(line))
    body = b'{"ratings": [' + b" " * 10_000_000
    with overloaded.connect() as line:
        line.sendall(POST % len(body))
        time.sleep(0.05)
        line.sendall(body)
        check_overloaded(answer(line))
    client = http.client.HTTPConnection("127.0.0.1", overloaded.port, timeout=10)
    client.request("POST", "/recommendations/", body)
    assert client.getresponse().status == 503
    assert (
        httpx2.post(f"http://127.0.0.1:{overloaded.port}/recommendations/", content=body).json()["code"] == "overloaded"
    )


def test_health_and_metrics_are_not_sent_away(overloaded: Running) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        for method in ("GET", "HEAD"):
            line = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            with overloaded.connect() as connection:
                connection.sendall(line)
                assert connection.recv(12) == b"HTTP/1.1 " + (b"200" if method == "GET" else b"405")
    check_overloaded(overloaded.ask(GET.replace(b"/items/50", b"/health/liver")))
    check_overloaded(overloaded.ask(GET.replace(b"/items/50", b"/metricsx")))


def test_what_is_sent_away_is_counted_by_reason(overloaded: Running) -> None:
    before = overloaded.metric('recsys_requests_shed_total{reason="overloaded"}')
    for _ in range(5):
        check_overloaded(overloaded.ask())
    until(lambda: overloaded.metric('recsys_requests_shed_total{reason="overloaded"}') >= before + 5)


def test_the_operations_port_has_health_and_metrics_only_and_sends_nobody_away(overloaded: Running) -> None:
    port = overloaded.operations_port
    for path in (b"/health/live", b"/health/ready", b"/metrics"):
        assert overloaded.ask(GET.replace(b"/items/50", path), port)[0] == 200
    for request in (GET, GET.replace(b"/items/50", b"/docs"), POST % len(PAIR) + PAIR):
        status, _, body = overloaded.ask(request, port)
        assert (status, body["code"]) == (404, "not_found")
    held = [overloaded.connect() for _ in range(8)]  # as many as this address may have, at the other port
    for line in held:
        line.sendall(GET[:5])
    assert overloaded.ask(HEALTH, port)[0] == 200
    for line in held:
        line.close()


def test_whoever_says_nothing_is_closed_in_time_and_leaves_nothing(service: Running) -> None:
    assert service.ask()[0] == 200  # after which all is open that stays so
    until(lambda: service.connections == 0)
    before = descriptors()
    lines = [service.connect() for _ in range(4)]
    until(lambda: service.connections == 4)
    assert service.ask()[0] == 200
    assert all(is_closed(line, 2.0) for line in lines)
    for line in lines:
        line.close()
    until(lambda: service.connections == 0 and descriptors() <= before)
    assert service.metric('recsys_connections_closed_total{limit="first_byte_seconds"}') >= 4


def test_a_first_byte_may_be_late(service: Running) -> None:
    with service.connect() as line:
        time.sleep(0.2)
        line.sendall(GET)
        assert answer(line)[0] == 200


def test_beyond_its_number_an_address_loses_its_oldest_connection_without_a_request(service: Running) -> None:
    until(lambda: service.connections == 0)
    kept = service.connect()
    kept.sendall(GET)
    assert answer(kept)[0] == 200
    silent = [service.connect() for _ in range(7)]
    other = service.connect("127.0.0.2")
    until(lambda: service.connections == 9)
    assert service.ask()[0] == 200
    assert is_closed(kept)
    assert not is_closed(silent[0], 0.05)
    assert not is_closed(other, 0.05)
    for line in (kept, other, *silent):
        line.close()


def test_when_all_places_are_taken_the_oldest_without_a_request_goes(service: Running) -> None:
    until(lambda: service.connections == 0)
    kept = service.connect("127.0.0.9")
    kept.sendall(GET)
    assert answer(kept)[0] == 200
    silent = [service.connect(f"127.0.0.{2 + n % 5}") for n in range(11)]
    until(lambda: service.connections == 12)
    assert service.ask()[0] == 200
    assert is_closed(silent[0])  # rather than the one that has asked
    assert not is_closed(silent[1], 0.05)
    kept.sendall(GET)
    assert answer(kept)[0] == 200
    for line in (kept, *silent):
        line.close()
    until(lambda: service.connections == 0)


def test_what_is_begun_in_one_turn_is_bounded_though_it_is_not_whole(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a thousand requests came in one turn of the loop, and all were parsed before anybody was answered."""
    loop, pause = service.server.servers[0].loop, threading.Event()  # type: ignore[attr-defined]
    monkeypatch.setattr(service.server.open, "per_address", 0)  # else asking for metrics takes the place of one
    limit, service.load.limit = service.load.limit, 8
    paused = threading.Event()
    loop.call_soon_threadsafe(lambda: (paused.set(), pause.wait(5)))
    assert paused.wait(5)  # else the first ones would come a turn earlier
    lines = [service.connect() for _ in range(40)]
    for line in lines:
        line.sendall(GET[:20])
    pause.set()
    until(lambda: service.load.shed["overloaded"] + service.metric('recsys_requests_shed_total{reason="over') >= 32)
    until(lambda: service.connections == 8)
    until(lambda: service.load.in_flight == 0)  # they wait for their clients
    for line in lines:
        line.close()
    service.load.limit = limit
    until(lambda: service.connections == 0)


def test_where_all_of_an_address_are_busy_another_one_is_sent_away(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.server.open, "per_address", 1)
    monkeypatch.setattr(service.server.open, "_drop", lambda *_: False)
    with service.connect() as busy:
        busy.sendall(GET[:9])
        until(lambda: service.connections == 1)
        status, headers, body = service.ask()
        assert (status, body["code"], headers["retry-after"]) == (503, "too_many_connections", "1")
        until(lambda: service.ask(HEALTH)[0] == 200)  # if its first bytes come with its connection


def test_trusted_proxies_may_have_many_connections() -> None:
    with running(max_connections_per_address=2, trusted_proxies="10.0.0.0/8, 127.0.0.0/30") as service:
        lines = [service.connect() for _ in range(5)]
        until(lambda: service.connections == 5)
        others = [service.connect("127.0.0.9") for _ in range(5)]
        until(lambda: service.connections == 7)
        for line in (*lines, *others):
            line.close()


def test_without_descriptors_it_neither_spins_nor_ends(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    [gate, _] = service.server.servers
    tried = []

    class Exhausted:
        def __init__(self, listening: socket.socket) -> None:
            self.fileno = listening.fileno

        def _accept(self) -> Any:
            tried.append(1)
            raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(gate, "listening", Exhausted(gate.listening))
        line = service.connect()
        line.sendall(GET)
        time.sleep(0.35)
    assert 1 <= len(tried) <= 5
    assert answer(line)[0] == 200
    line.close()


def test_it_ends_at_once_whoever_is_connected() -> None:
    service = Running(operations=True, first_byte_seconds=60, drain_seconds=0)
    kept, silent, dripping = (service.connect() for _ in range(3))
    kept.sendall(GET)
    assert answer(kept)[0] == 200
    dripping.sendall(GET[:9])
    until(lambda: service.connections == 3)
    assert service.close() < 1.0
    assert all(is_closed(line) for line in (kept, silent, dripping))
