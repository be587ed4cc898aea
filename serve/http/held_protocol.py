"""A connection of uvicorn's HTTP protocol: what it waits for, and how it ends with an answer that can be read."""

from __future__ import annotations

from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from serve.http.connections import Connections, Waiting, leave, wait
from serve.http.load import UNLIMITED_PATHS, Load
from serve.http.refusals import HEADER_TOO_SLOW, OVERLOADED, Refusal, is_whole, may_follow


class HeldProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        config: Uvicorn's.
        server_state: Uvicorn's.
        app_state: Uvicorn's.
        load: Of this worker.
        connections: Open connections of this worker.
        max_header_bytes: Maximum size of a request's first line and header together.
        first: What the client has sent so far.
        address: Of the client, as one that is counted.
        client: Address and port of the client.
        server: Address and port of the service.
        operations: Whether this is the operations port, where nothing is shed.
    """

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], *, load: Load,
        connections: Connections, max_header_bytes: int, first: bytes, address: str, client: tuple[str, int],
        server: tuple[str, int], operations: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, app_state)
        self.load, self.open, self.max_header_bytes = load, connections, max_header_bytes
        self.first, self.address, self.operations = first, address, operations
        self.client, self.server, self.scheme = client, server, "http"
        self.waiting: Waiting | None = None
        self.arrived = 0.0
        self.ending = False  # answered for the last time; what still comes is discarded
        self.in_header = False
        self._in_trailer = False  # or between chunks, where one or an extension may be
        self._header_bytes = 0  # of those that came before this piece
        self.running: RequestResponseCycle | None = None
        self.begun = 0.0  # when what is running began
        self.counted = False  # as in flight
        self.waited = False  # for its client, during a request
        self.body_keep_alive = True  # of a request whose body is not complete

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.remove(self)
        super().connection_lost(exc)

    def abandon(self) -> None:
        """The connection was closed before it could be used."""
        self.count(False)
        self.open.remove(self)

    def count(self, in_flight: bool) -> None:
        """Whether something of this connection is to be computed: not while it waits for its client."""
        if in_flight is not self.counted:
            self.counted = in_flight
            self.load.in_flight += 1 if in_flight else -1

    @property
    def is_limited(self) -> bool:
        return not self.operations and self.running is not None and self.running.scope["path"] not in UNLIMITED_PATHS

    @property
    def is_busy(self) -> bool:
        """Whether a request has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def settle(self) -> None:
        """Stand in the table of what this connection waits for."""
        if self.parser is None:  # the connection is lost
            return
        cycle = self.cycle
        if self.flow.write_paused:
            self.wait_in(self.open.idle)
        elif self.is_busy:
            if self.pipeline or not cycle.more_body:
                leave(self)
                self.count(self.is_limited)
                return
            if cycle.transport is self.transport:  # an answer before the end of the body ends the connection
                self.body_keep_alive, cycle.keep_alive = cycle.keep_alive, False
                cycle.transport = _Ending(self)  # type: ignore[assignment]
            self.wait_in(self.open.body)
        else:
            self.wait_in(self.open.header if self.in_header else self.open.idle)

    def wait_in(self, table: Waiting) -> None:
        wait(self, table)
        self.count(False)
        self.waited = True

    def pause_writing(self) -> None:
        super().pause_writing()
        self.settle()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.settle()

    def expire(self) -> None:
        if self.transport is None:
            self.drop()
            return
        is_header = self.in_header and not self.is_busy and not self.ending
        if is_header and not self.transport.get_write_buffer_size():
            self.refuse(HEADER_TOO_SLOW, None)
        else:
            self.drop()

    def drop(self) -> None:
        if self.transport is None:
            self.ending = True
        elif self.transport.get_write_buffer_size():
            self.transport.abort()  # closing would wait for the client to read
        else:
            self.transport.close()

    def shutdown(self) -> None:
        if self.ending:
            self.transport.close()
        else:
            super().shutdown()

    def shed(self, data: bytes) -> None:
        """Answer a request on a kept connection without parsing it."""
        self.load.shed[OVERLOADED.code] += 1
        if is_whole(data) and may_follow(data) and not data.startswith(b"HEAD "):
            self.transport.write(OVERLOADED.answer(data, keep=True))
            leave(self)
            wait(self, self.open.idle)
            if self.flow.write_paused:
                self.drop()  # it asks without reading the answers
        else:
            self.transport.write(OVERLOADED.answer(data))
            self.end()

    def refuse(self, refusal: Refusal, limit: str | None) -> None:
        """Answer what cannot become a request, unless an answer to an earlier one is still due."""
        if limit is not None:
            self.open.closed[limit] += 1
        cycle = self.cycle
        if self.is_busy:
            if not cycle.more_body:
                self.end_after_answers(None)
                return
            cycle.disconnected = True  # its body will not come
            cycle.message_event.set()
            if self.pipeline or cycle.response_started:
                self.transport.close()
                return
        self.transport.write(refusal.answer())
        self.end()

    def end_after_answers(self, limit: str | None) -> None:
        if limit is not None:
            self.open.closed[limit] += 1
        if not self.is_busy:
            self.end()
            return
        cycle = self.cycle
        cycle.keep_alive = False
        cycle.transport = _Ending(self)  # type: ignore[assignment]
        self.flow.pause_reading()

    def end(self) -> None:
        """Send what is written and the end of it, and discard what still comes."""
        self.ending = True
        self.count(False)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self.open.linger(self)


class _Ending:
    """The transport of a connection's last answer: closing it lingers."""

    def __init__(self, protocol: HeldProtocol) -> None:
        self.protocol = protocol
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        self.protocol.end()
