"""Uvicorn's HTTP protocol, with bounds on what a client may send, how slowly, and how much of it at once."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from serve.connections import Connections, Waiting, leave, wait
from serve.load import ARRIVED, OPERATIONS, REFUSED, UNLIMITED_PATHS, Load
from serve.refusals import (
    HEADER_TOO_LARGE,
    HEADER_TOO_SLOW,
    MALFORMED,
    OVERLOADED,
    UNSHED,
    Refusal,
    is_whole,
    may_follow,
)

MOST_PIPELINED = 32  # requests that wait for the one before them; the connection ends with the last of these


class _TooLargeError(Exception):
    """A header is larger than allowed."""


class _PipelineFullError(Exception):
    """A client has sent many requests without waiting for an answer."""


class HttpProtocol(HttpToolsProtocol):
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
        self._in_header = False
        self._in_trailer = False  # or where one may begin: after the size of a chunk
        self._header_bytes = 0  # of those that came before this piece
        self._running: RequestResponseCycle | None = None
        self._counted = False  # as in flight
        self._waited = False  # for its client, during a request
        self._keep_alive = True  # of a request whose body is not complete

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        if self.ending:  # dropped before it began
            transport.abort()
            return
        first, self.first = self.first, b""
        self._receive(first)
        if self.open.closing:
            self.shutdown()

    def abandon(self) -> None:
        """The connection was closed before it could be used."""
        self.count(False)
        self.open.remove(self)

    def count(self, in_flight: bool) -> None:
        """Whether something of this connection is to be computed: not while it waits for its client."""
        if in_flight is not self._counted:
            self._counted = in_flight
            self.load.in_flight += 1 if in_flight else -1

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.ending:
            return
        if not self._in_header and not self._is_busy:
            load = self.load
            if load.in_flight >= load.limit and not self.operations and not UNSHED.match(data):
                self._shed(data)
                return
            self.arrived = monotonic()
            if not self.operations and b"\r\n\r\n" in data:
                self.count(True)
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        """Parse in pieces, so that a header is known to be too large before more of it is parsed."""
        try:
            if len(data) <= self.max_header_bytes:
                self._parse(data)
            else:
                view = memoryview(data)
                for at in range(0, len(data), self.max_header_bytes):
                    self._parse(view[at : at + self.max_header_bytes])
        except _PipelineFullError:
            self._end_after_answers("pipelined")
        except _TooLargeError:
            self._refuse(HEADER_TOO_LARGE, "max_header_bytes")
        except httptools.HttpParserUpgrade:  # its answer is that of a request without the upgrade
            self._end_after_answers("upgrade")
        except httptools.HttpParserError:
            self._refuse(MALFORMED, "malformed")
        if not self.ending:
            self._settle()

    def _parse(self, piece: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, (_TooLargeError, _PipelineFullError)):
                raise error.__context__ from None
            raise
        if self._in_header or self._in_trailer:
            self._header_bytes += len(piece)
            if self._header_bytes > self.max_header_bytes:
                raise _TooLargeError

    # Parser

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _PipelineFullError
        super().on_message_begin()
        self._in_header, self._header_bytes = True, 0
        if self.operations:
            self.scope["state"][OPERATIONS] = True

    def on_headers_complete(self) -> None:
        self._in_header = False
        if self._header_bytes:  # it came in several pieces
            length = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if length > self.max_header_bytes:
                raise _TooLargeError
        if not self.url.startswith(b"/") and self.url != b"*":  # it names a host of its own, besides Host
            raise httptools.HttpParserInvalidURLError
        super().on_headers_complete()
        self.headers = []  # for fields after the body, which nobody has checked: they are none of the request's header

    def on_chunk_header(self) -> None:
        self._in_trailer, self._header_bytes = True, 0

    def on_body(self, body: bytes) -> None:
        self._in_trailer = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_trailer = False
        cycle = self.cycle
        if cycle.transport is not self.transport and not cycle.response_complete:
            cycle.transport, cycle.keep_alive = self.transport, self._keep_alive
        super().on_message_complete()

    # Requests

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope["state"][ARRIVED] = self.arrived or monotonic()
        self.arrived = 0.0
        self._running = cycle
        limited = self._is_limited
        if limited and not self._counted and self.load.full:  # it was not whole when it was let in
            cycle.scope["state"][REFUSED] = True
        self.count(limited)
        task = self.loop.create_task(self._run(cycle, app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _run(self, cycle: RequestResponseCycle, app: Any) -> None:
        begun, self._waited = monotonic(), False
        try:
            if not cycle.disconnected:
                await cycle.run_asgi(app)
        finally:
            if self._counted and not self._waited:
                self.load.took(monotonic() - begun)
            if self._running is cycle:  # and not the one that was pipelined behind it
                self.count(False)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.ending:
            return
        if self.transport.is_closing():  # once the client has read its answer
            wait(self, self.open.idle)
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        self._settle()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._settle()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._settle()

    # Waiting

    @property
    def _is_limited(self) -> bool:
        return not self.operations and self._running is not None and self._running.scope["path"] not in UNLIMITED_PATHS

    @property
    def _is_busy(self) -> bool:
        """Whether a request has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _settle(self) -> None:
        """Stand in the table of what this connection waits for."""
        if self.parser is None:  # the connection is lost
            return
        cycle = self.cycle
        if self.flow.write_paused:
            self._wait(self.open.idle)
        elif self._is_busy:
            if self.pipeline or not cycle.more_body:
                leave(self)
                self.count(self._is_limited)
                return
            if cycle.transport is self.transport:  # an answer before the end of the body ends the connection
                self._keep_alive, cycle.keep_alive = cycle.keep_alive, False
                cycle.transport = _Ending(self)  # type: ignore[assignment]
            self._wait(self.open.body)
        else:
            self._wait(self.open.header if self._in_header else self.open.idle)

    def _wait(self, table: Waiting) -> None:
        wait(self, table)
        self.count(False)
        self._waited = True

    def expire(self) -> None:
        if self.transport is None:
            self.drop()
            return
        is_header = self._in_header and not self._is_busy and not self.ending
        if is_header and not self.transport.get_write_buffer_size():
            self._refuse(HEADER_TOO_SLOW, None)
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

    # Refusals

    def _shed(self, data: bytes) -> None:
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

    def _refuse(self, refusal: Refusal, limit: str | None) -> None:
        """Answer what cannot become a request, unless an answer to an earlier one is still due."""
        if limit is not None:
            self.open.closed[limit] += 1
        cycle = self.cycle
        if self._is_busy:
            if not cycle.more_body:
                self._end_after_answers(None)
                return
            cycle.disconnected = True  # its body will not come
            cycle.message_event.set()
            if self.pipeline or cycle.response_started:
                self.transport.close()
                return
        self.transport.write(refusal.answer())
        self.end()

    def _end_after_answers(self, limit: str | None) -> None:
        if limit is not None:
            self.open.closed[limit] += 1
        if not self._is_busy:
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

    def __init__(self, protocol: HttpProtocol) -> None:
        self.protocol = protocol
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        self.protocol.end()
