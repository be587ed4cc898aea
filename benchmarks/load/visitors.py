"""Visitors: threads that ask over raw sockets, kept or fresh, one thing after another, and hand answers to a judge."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.load.kept import LENGTH

PATIENCE = 30.0  # seconds for an answer


class Answer(NamedTuple):
    """An answer; status 0: there was none."""

    request: bytes
    status: int
    body: bytes
    seconds: float


def get(path: str, *headers: str) -> bytes:
    """A request as it goes over the wire."""
    return ("\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers]) + "\r\n\r\n").encode("latin-1")


class Visitors:
    """Ask from several threads until stopped: `with Visitors(…): …`.

    Args:
        port: Of the service.
        requests: What to ask, without end; one for each thread.
        judge: Called with each answer, by the thread that got it.
        fresh: Every so many requests, the connection is a new one.
    """

    def __init__(
        self, port: int, requests: list[Iterator[bytes]], judge: Callable[[Answer], None], fresh: int = 10
    ) -> None:
        self.port, self.judge, self.fresh = port, judge, fresh
        self.answered = 0
        self._over = threading.Event()
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=[one], daemon=True) for one in requests]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE + 5)

    def _ask(self, requests: Iterator[bytes]) -> None:
        line: socket.socket | None = None
        for number, request in enumerate(requests):
            if self._over.is_set():
                break
            if line is not None and number % self.fresh == 0:
                line.close()
                line = None
            start = time.perf_counter()
            status, body, keeps = 0, b"", False
            try:
                line = line or socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
                line.sendall(request)
                status, body, keeps = _received(line, is_head=request.startswith(b"HEAD "))
            except (OSError, ValueError):
                pass
            if not keeps and line is not None:
                line.close()
                line = None
            self.judge(Answer(request, status, body, time.perf_counter() - start))
            with self._counting:
                self.answered += 1
        if line is not None:
            line.close()


def _received(line: socket.socket, *, is_head: bool) -> tuple[int, bytes, bool]:
    """Status and body of an answer, and whether the connection is kept."""
    content = b""
    while b"\r\n\r\n" not in content:
        if not (part := line.recv(1 << 16)):
            raise ConnectionResetError("no answer")
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    if length is None:
        raise ValueError("no content-length")
    while len(body) < int(length[1]) and not is_head:
        if not (part := line.recv(1 << 16)):
            raise ConnectionResetError("cut short")
        body += part
    return int(head[9:12]), body, b"connection: close" not in head.lower()
