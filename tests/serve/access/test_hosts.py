"""Names by which a service may be asked: a page of another name must not read it by DNS rebinding."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from recsys.bundle import Bundle
from serve.access.hosts import MOST_REMEMBERED, Hosts
from tests.serve.conftest import CheckedClient, client_of

ALWAYS = (
    "localhost", "LocalHost", "localhost.", "localhost:8000", "localhost:1", "localhost:65535", "127.0.0.1",
    "127.0.0.1:8000", "192.0.2.7", "10.0.0.1:80", "[::1]", "[::1]:8000", "[2001:db8::1]", "[::ffff:192.0.2.7]:80",
    socket.gethostname(), f"{socket.gethostname()}:8000",
)  # fmt: skip
NEVER = (
    "", ":", ":80", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
    "evil.example#localhost", "localhost@evil.example", "user@localhost", "http://localhost", "localhost/",
    "localhost ", " localhost", "localhost,evil.example",
    "localhost evil.example", "localhost:", "localhost:0", "localhost:65536",
    "localhost:99999999999", "localhost:http", "localhost:-1", "localhost:+80", "localhost:80:80", "localhost:８０",
    "localhost:8 0", "[::1", "::1", "[::1]]", "[::1]x", "[::1%25lo]", "[localhost]", "[127.0.0.1]", "[::g]", "[1:2]",
    "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "256.0.0.1", "localhost..", ".localhost", "*",
    "*.example.org", "local\0host", "localhost\r\nX: y", "lo\u0441alhost", "ⓛocalhost", "xn--", "a" * 10_000,
    "-localhost", "localhost-", "_",
)  # fmt: skip


@pytest.mark.parametrize("host", ALWAYS)
def test_addresses_and_own_names_are_answered(host: str) -> None:
    for _ in range(2):  # judged, then remembered
        assert Hosts().allows(host.encode())


@pytest.mark.parametrize("host", NEVER, ids=lambda host: ascii(host)[:40])
def test_other_names_and_nonsense_are_not(host: str) -> None:
    hosts = Hosts()
    for _ in range(2):
        assert not hosts.allows(host.encode())


def test_listed_names() -> None:
    hosts = Hosts(["api.example.org", "*.Example.NET"], "shop.internal")
    for host in ("api.example.org", "API.example.org:443", "a.example.net", "a.b.example.net", "shop.internal:8000"):
        assert hosts.allows(host.encode()), host
    for host in (
        "example.org",
        "x.api.example.org",
        "example.net",
        "badexample.net",
        ".example.net",
        "shop.internal.x",
    ):
        assert not hosts.allows(host.encode()), host


def test_a_star_is_for_all_names_but_not_for_nonsense() -> None:
    assert Hosts(["*"]).allows(b"evil.example:80")
    for host in (b"", b"evil.example:0", b"a b", b"a,b", b"http://a", b"a/b", b"a@b"):
        assert not Hosts(["*"]).allows(host)


def test_what_strangers_ask_for_does_not_fill_memory() -> None:
    hosts = Hosts()
    for number in range(3 * MOST_REMEMBERED):
        hosts.allows(b"%d.evil.example" % number)
    hosts.allows(b"x" * 16_000)
    assert len(hosts._known) <= MOST_REMEMBERED
    assert max(map(len, hosts._known)) < 300


@pytest.mark.parametrize(
    "path", ["/", "/users/1", "/health/live", "/metrics", "/docs", "/openapi.json", "/page/page.js"]
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "HEAD"])
def test_no_route_answers_another_name(client: CheckedClient, method: str, path: str) -> None:
    hosts: list[Any] = [
        [("Host", "evil.example")], [("Host", "localhost"), ("Host", "evil.example")],
        [("Host", "evil.example"), ("Host", "localhost")], [("Host", "localhost"), ("host", "localhost")],
        [("Host", "")],
    ]  # fmt: skip
    for headers in hosts:
        answer = client.unchecked(method, path, headers=[*headers, ("Origin", "http://evil.example")])
        assert answer.status_code == 400
        assert method == "HEAD" or answer.json()["code"] == "invalid_host"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


def test_the_error_does_not_repeat_the_name(client: CheckedClient) -> None:
    answer = client.get("/items/50", headers={"Host": "<b>evil</b>"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_host")
    assert "evil" not in answer.text + str(answer.headers)


def test_names_may_be_allowed(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"], allowed_hosts="api.example.org, *.example.net") as client:
        for host, status in (("api.example.org", 200), ("a.example.net:8000", 200), ("example.net", 400)):
            assert client.get("/items/50", headers={"Host": host}).status_code == status
