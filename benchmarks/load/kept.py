"""Load over kept connections, as wrk makes it: each connection asks again as soon as it is answered."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load.service import Running

MOST_BYTES = 1 << 16
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.I)


def post(path: str, body: str, headers: Sequence[str] = ()) -> bytes:
    """A request as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}",
        *headers,
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Kept:
    """Connections to a service, all of which ask in turns.

    Args:
        service: Whom to ask.
        requests: What to ask, over and over.
        connections: How many of them.
        pause: Seconds between two of them, so that all workers accept some, as they do where clients come in time.
    """

    def __init__(
        self, service: Running, requests: Sequence[bytes], connections: int = 16, *, pause: float = 0.0
    ) -> None:
        self.service, self.requests = service, requests
        self._lines = []
        for _ in range(connections):
            self._lines.append(socket.create_connection(("127.0.0.1", service.port)))
            time.sleep(pause)
        self._parts: dict[socket.socket, bytes] = {}
        self._asked = 0

    def rate(self, seconds: float) -> tuple[float, float]:
        """Answers per second, and microseconds of the service's processor time per answer.

        Raises:
            SystemExit: An answer was none of 200.
        """
        waiting, answered = selectors.DefaultSelector(), 0
        for line in self._lines:
            waiting.register(line, selectors.EVENT_READ)
            self._ask(line)
        busy, start = _busy(self.service), time.perf_counter()
        end = start + seconds
        while (now := time.perf_counter()) < end:
            for key, _ in waiting.select(1):
                line = key.fileobj
                assert isinstance(line, socket.socket)
                if self._received(line):
                    answered += 1
                    self._ask(line)
        busy = _busy(self.service) - busy
        for line in self._lines:
            while not self._received(line):
                pass
        waiting.close()
        return answered / (now - start), 1e6 * busy / answered

    def once(self) -> float:
        """Seconds to ask each of the requests once.

        Raises:
            SystemExit: An answer was none of 200.
        """
        waiting, left, self._asked = selectors.DefaultSelector(), len(self.requests), 0
        start = time.perf_counter()
        for line in self._lines[:left]:
            waiting.register(line, selectors.EVENT_READ)
            self._ask(line)
        while left:
            for key, _ in waiting.select(1):
                line = key.fileobj
                assert isinstance(line, socket.socket)
                if self._received(line):
                    left -= 1
                    if self._asked < len(self.requests):
                        self._ask(line)
        seconds = time.perf_counter() - start
        waiting.close()
        return seconds

    def _received(self, line: socket.socket) -> bool:
        """Whether the answer is complete, of which a part has come."""
        part = self._parts.pop(line, b"") + line.recv(MOST_BYTES)
        head, end, body = part.partition(b"\r\n\r\n")
        if end and not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"error: not answered: {part[:300]!r}")
        length = LENGTH.search(head)
        if length is not None and end and len(body) == int(length[1]):
            return True
        self._parts[line] = part
        return False

    def _ask(self, line: socket.socket) -> None:
        line.sendall(self.requests[self._asked % len(self.requests)])
        self._asked += 1

    def close(self) -> None:
        for line in self._lines:
            line.close()


def _busy(service: Running) -> float:
    """Seconds of processor time that the service's thread of requests has used."""
    return int(Path(f"/proc/{service.process.pid}/schedstat").read_text().split()[0]) / 1e9
