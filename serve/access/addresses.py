"""Addresses: which are this machine's own, and who a client is, behind proxies too."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

MOST_PROXIES = 32  # between a client and the service
MOST_REMEMBERED, MOST_REMEMBERED_BYTES = 4096, 256


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`, an address or a name of addresses.

    False for a name that has no address, and for the wildcards: empty, `0.0.0.0`, `::`.
    """
    found = addresses(host) if host else []
    return bool(found) and all(address.is_loopback for address in found)


def addresses(host: str) -> list[IPv4Address | IPv6Address]:
    """Addresses of a name, or the one that it is; none if it has none."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [plain(str(entry[4][0])) for entry in found]


def plain(address: str) -> IPv4Address | IPv6Address:
    """An address; an IPv4 address that is written as an IPv6 one is taken for what it is.

    Raises:
        ValueError: It is none.
    """
    found = ip_address(address)
    return found if found.version == 4 else found.ipv4_mapped or found


class Clients:
    """Who asks: the peer of a connection or, behind a trusted proxy, the client that it names.

    Args:
        proxies: Addresses and networks whose `X-Forwarded-For` is believed.

    Raises:
        ValueError: One of them is none.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        self.networks = tuple(ip_network(proxy, strict=False) for proxy in proxies)
        self._known: dict[tuple[str, bytes], str] = {}

    def is_proxy(self, address: str) -> bool:
        return bool(self.networks) and _within(address, self.networks)

    def name(self, peer: str, forwarded: bytes = b"") -> str:
        """The client's address, or the network of an IPv6 client, who has 2^64 addresses to choose from.

        Args:
            peer: Address of the connection.
            forwarded: `X-Forwarded-For`, several joined by commas.
        """
        if not self.networks:
            forwarded = b""
        found = self._known.get((peer, forwarded))
        if found is None:
            found = _limited(self._client(peer, forwarded))
            if len(forwarded) <= MOST_REMEMBERED_BYTES:
                if len(self._known) >= MOST_REMEMBERED:
                    self._known.clear()
                self._known[peer, forwarded] = found
        return found

    def _client(self, peer: str, forwarded: bytes) -> str:
        """The last address that is no proxy's: what is before it was written by the client.

        So is what is before anything that is no address.
        """
        for text in reversed(forwarded.split(b",")[-MOST_PROXIES:]) if forwarded else ():
            if not self.is_proxy(peer):
                break
            named = _address(text.strip().decode("latin-1"))
            if named is None:
                break
            peer = named
        return peer


def _within(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        found = plain(address)
    except ValueError:
        return False
    return any(found in network for network in networks)


def _address(text: str) -> str | None:
    """An address as proxies write it, some with a port: `192.0.2.7:443`, `[2001:db8::1]:443`."""
    found = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+)(?::\d+)?|([0-9A-Fa-f:.]+)", text)
    try:
        return None if found is None else str(plain(found[1] or found[2] or found[3]))
    except ValueError:
        return None


def _limited(address: str) -> str:
    try:
        found = plain(address)
    except ValueError:  # such as a socket's path
        return address
    return str(found) if found.version == 4 else str(ip_network((int(found), 64), strict=False))
