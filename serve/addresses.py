"""Addresses: which are this machine's own, and who a client is, behind proxies too."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`, an address or a name of addresses.

    False for a name that has no address, and for the wildcards: empty, `0.0.0.0`, `::`.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(plain(str(entry[4][0])).is_loopback for entry in found)


def plain(address: str) -> IPv4Address | IPv6Address:
    """An address; an IPv4 address that is written as an IPv6 one is taken for what it is.

    Raises:
        ValueError: It is none.
    """
    found = ip_address(address)
    return found if found.version == 4 else found.ipv4_mapped or found
