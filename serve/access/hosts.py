"""Names by which the service may be asked.

A page of `evil.example` whose name is made to resolve to this machine (DNS rebinding) is of the same origin as the
service in the eyes of a browser, which then lets it read answers. The browser still sends `Host: evil.example`.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address

NAME = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
PATTERN = re.compile(rf"\*|(?:\*\.)?{NAME}")
HOST = re.compile(rf"(?:\[([0-9A-Fa-f:.]{{2,45}})\]|({NAME})\.?)(?::(\d{{1,5}}))?")
LONGEST = 260  # a name and a port
MOST_REMEMBERED = 1024


class Hosts:
    """Which values of `Host` are answered: addresses, `localhost`, this machine's name and those that are listed.

    Args:
        allowed: Names, such as `api.example.org`; `*.example.org` for those below it; `*` for all.
        host: Where the service listens.
    """

    def __init__(self, allowed: Iterable[str] = (), host: str = "") -> None:
        listed = [name.lower() for name in allowed]
        self.any = "*" in listed
        self.names = {"localhost", socket.gethostname().lower(), host.lower(), *listed}
        self.suffixes = tuple(name[1:] for name in listed if name.startswith("*."))
        self._known: dict[bytes, bool] = {}

    def allows(self, value: bytes) -> bool:
        found = self._known.get(value)
        if found is None:
            found = self._allows(value)
            if len(value) <= LONGEST:
                if len(self._known) >= MOST_REMEMBERED:
                    self._known.clear()
                self._known[value] = found
        return found

    def _allows(self, value: bytes) -> bool:
        parts = HOST.fullmatch(value.decode("latin-1")) if len(value) <= LONGEST else None
        if parts is None or int(parts[3] or 1) not in range(1, 65536):
            return False
        if parts[1] is not None:
            return _is_address(parts[1], version=6)
        name = parts[2].lower()
        return self.any or name in self.names or name.endswith(self.suffixes) or _is_address(name, version=4)


def _is_address(text: str, *, version: int) -> bool:
    try:
        return ip_address(text).version == version
    except ValueError:
        return False
