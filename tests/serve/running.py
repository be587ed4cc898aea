"""The service with its sockets, in a thread of this process, and clients of plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import uvicorn

from serve.app import create_app
from serve.http.server import Server
from serve.models.model_manager import ModelManager
from serve.models.served_model import ServedModel
from serve.settings import Settings
from tests.serve.conftest import rich, until

GET = b"GET /items/50 HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = (
    b"POST /predict/rating/ HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
PAIR = b'{"user_id": "1", "item_id": "50"}'


class Running:
    """A server in a thread.

    Attributes:
        port: Where all may ask.
        operations_port: Where operations may, if there is one.
        load: What is in flight, also to pretend.
    """

    def __init__(self, operations: bool = False, **settings: Any) -> None:
        app = create_app(Settings(**settings), ModelManager(ServedModel(rich()), Path()))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, ws="none", proxy_headers=False,
            http="httptools", timeout_graceful_shutdown=1,
        )  # fmt: skip
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(1 + operations)]
        self.port, self.operations_port = (one.getsockname()[1] for one in (self.sockets[0], self.sockets[-1]))
        self.service = app.state.service
        self.load = self.service.load
        self.server = Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=self.server.run, args=[self.sockets])
        self.thread.start()
        until(lambda: hasattr(self.server, "open"))

    def connect(self, source: str = "127.0.0.1", port: int | None = None) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=10, source_address=(source, 0))

    def ask(self, request: bytes = GET, port: int | None = None) -> tuple[int, dict[str, str], Any]:
        """The answer on a fresh connection."""
        with self.connect(port=port) as line:
            line.sendall(request)
            return answer(line)

    def metric(self, name: str) -> float:
        _, _, text = self.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    @property
    def connections(self) -> int:
        return len(self.server.open)

    def close(self) -> float:
        """Stop, and return how many seconds it took."""
        start = time.monotonic()
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
        return time.monotonic() - start


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[Running]:
    service = Running(**settings)
    try:
        yield service
    finally:
        service.close()


def answer(line: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and content of the next answer, which must be whole."""
    response = HTTPResponse(line)
    response.begin()
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    assert len(body) == int(headers["content-length"])
    return response.status, headers, json.loads(body) if "json" in headers["content-type"] else body.decode()


def is_closed(line: socket.socket, seconds: float = 5.0) -> bool:
    """Whether the service closes the connection within that time, without another answer."""
    line.settimeout(seconds)
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
