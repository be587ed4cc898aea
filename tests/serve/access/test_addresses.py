"""What is this machine's own."""

from __future__ import annotations

import pytest

from serve.access.addresses import MOST_REMEMBERED, Clients, is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.10", True), ("localhost", True), ("LOCALHOST", True), ("::1", True),
     ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("", False), ("192.0.2.7", False),
     ("2001:db8::1", False), ("no.such.host.invalid", False), ("a" * 300, False), ("\ud800", False), ("a\0b", False)],
    ids=ascii,
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def client(forwarded: str, peer: str = "10.0.0.1", proxies: str = "10.0.0.0/8 2001:db8:ffff::/48 192.0.2.99") -> str:
    return Clients(proxies.split()).name(peer, forwarded.encode("latin-1"))


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("", "10.0.0.1"),
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("198.51.100.7,10.0.0.2,192.0.2.99", "198.51.100.7"),
        ("1.2.3.4, 198.51.100.7", "198.51.100.7"),  # the client wrote 1.2.3.4
        ("1.2.3.4, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("198.51.100.7:1234", "198.51.100.7"),
        ("[2001:db8::7]:1234", "2001:db8::/64"),
        ("2001:db8::7", "2001:db8::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:ffff::1", "2001:db8:ffff::/64"),
        ("198.51.100.7, 2001:db8:ffff::1", "198.51.100.7"),
        ("unknown", "10.0.0.1"),
        ("198.51.100.7, unknown", "10.0.0.1"),  # whoever is unknown may have written the rest
        ("198.51.100.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("198.51.100.7,,", "10.0.0.1"),
        ("198.51.100.7, ", "10.0.0.1"),
        ("198.51.100.300", "10.0.0.1"),
        ("_hidden, for=1.2.3.4", "10.0.0.1"),
        ("1.2.3.4\r\nX: y", "10.0.0.1"),
        ("١.2.3.4".encode().decode("latin-1"), "10.0.0.1"),
        ("1.2.3.4, " * 5000 + "198.51.100.7", "198.51.100.7"),
        ("1.2.3.4, " + ", ".join(["10.0.0.2"] * 5000), "10.0.0.2"),
        ("x" * 100_000, "10.0.0.1"),
    ],
    ids=lambda text: ascii(text)[:50],
)
def test_the_last_address_that_is_no_proxys_is_the_client(forwarded: str, expected: str) -> None:
    assert client(forwarded) == expected


def test_others_are_not_believed() -> None:
    assert client("1.2.3.4", peer="198.51.100.7") == "198.51.100.7"
    assert client("1.2.3.4", peer="127.0.0.1") == "127.0.0.1"
    assert client("1.2.3.4", proxies="") == "10.0.0.1"
    assert client("1.2.3.4", peer="::ffff:10.0.0.1") == "1.2.3.4"  # a proxy at a socket for both kinds of address
    assert client("1.2.3.4", peer="::ffff:198.51.100.7") == "198.51.100.7"
    assert client("1.2.3.4", peer="", proxies="0.0.0.0/0") == ""
    assert client("1.2.3.4", peer="fe80::1%eth0") == "fe80::/64"


def test_an_ipv6_client_has_one_of_its_addresses() -> None:
    names = {Clients().name(f"2001:db8:0:1::{n:x}") for n in range(1, 99)}
    assert names == {"2001:db8:0:1::/64"}
    assert Clients().name("2001:db8:0:2::1") not in names


def test_what_clients_write_does_not_fill_memory() -> None:
    clients = Clients(["10.0.0.1"])
    for number in range(3 * MOST_REMEMBERED):
        clients.name("10.0.0.1", b"192.0.2.%d" % number)
    clients.name("10.0.0.1", b"x" * 10_000)
    assert len(clients._known) <= MOST_REMEMBERED
    assert max(len(forwarded) for _, forwarded in clients._known) <= 256
