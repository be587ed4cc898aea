"""Uvicorn's HTTP protocol, with bounds on what a client may send, how slowly, and how much of it at once."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serve.http.connections import wait
from serve.http.held_protocol import HeldProtocol
from serve.http.load import ARRIVED, BESIDE, OPERATIONS, REFUSED
from serve.http.refusals import HEADER_TOO_LARGE, MALFORMED, UNSHED

MOST_FIELDS = 100  # of a header
MOST_PIPELINED = 32  # requests that wait for the one before them; the connection ends with the last of these


class _TooLargeError(Exception):
    """A header is larger than allowed."""


class _PipelineFullError(Exception):
    """A client has sent many requests without waiting for an answer."""


class HttpProtocol(HeldProtocol):
    """One connection, whose requests are parsed within bounds."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        if self.ending:  # dropped before it began
            self.count(False)
            transport.abort()
            return
        first, self.first = self.first, b""
        self._receive(first)
        if self.open.closing:
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        if self.ending:
            return
        if not self.in_header and not self.is_busy:
            load = self.load
            if load.in_flight >= load.limit and not self.operations and not UNSHED.match(data):
                self.shed(data)
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
            self.end_after_answers("pipelined")
        except _TooLargeError:
            self.refuse(HEADER_TOO_LARGE, "max_header_bytes")
        except httptools.HttpParserUpgrade:  # its answer is that of a request without the upgrade
            self.end_after_answers("upgrade")
        except httptools.HttpParserError:
            self.refuse(MALFORMED, "malformed")
        if not self.ending:
            self.settle()

    def _parse(self, piece: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, (_TooLargeError, _PipelineFullError)):
                raise error.__context__ from None
            raise
        if self.in_header or self._in_trailer:
            self._header_bytes += len(piece)
            if self._header_bytes > self.max_header_bytes:
                raise _TooLargeError

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _PipelineFullError
        super().on_message_begin()
        self.in_header, self._header_bytes = True, 0
        if self.operations:
            self.scope["state"][OPERATIONS] = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MOST_FIELDS:  # each takes as long as many bytes
            raise _TooLargeError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self.in_header = False
        if self._header_bytes:  # it came in several pieces
            length = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if length > self.max_header_bytes:
                raise _TooLargeError
        if not self.url.startswith(b"/") and self.url != b"*":  # it names a host of its own, besides Host
            raise httptools.HttpParserInvalidURLError
        self._in_trailer = any(name == b"transfer-encoding" for name, _ in self.headers)
        self._header_bytes = 0
        super().on_headers_complete()
        self.headers = []  # for fields after the body, which nobody has checked: they are none of the request's header

    def on_chunk_header(self) -> None:
        self._in_trailer, self._header_bytes = True, 0

    def on_chunk_complete(self) -> None:
        self._in_trailer, self._header_bytes = True, 0

    def on_body(self, body: bytes) -> None:
        self._in_trailer = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_trailer = False
        cycle = self.cycle
        if cycle.transport is not self.transport and not cycle.response_complete:
            cycle.transport, cycle.keep_alive = self.transport, self.body_keep_alive
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope["state"][ARRIVED] = self.arrived or monotonic()
        self.arrived = 0.0
        self.running = cycle
        limited = self.is_limited
        if limited and not self.counted and self.load.full:  # it was not whole when it was let in
            cycle.scope["state"][REFUSED] = True
        self.count(limited)
        task = self.loop.create_task(self._run(cycle, app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _run(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.begun, self.waited = monotonic(), False
        try:
            if not cycle.disconnected:
                await cycle.run_asgi(app)
        finally:
            if self.running is cycle:  # and not the one that was pipelined behind it
                self.count(False)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.counted and not self.waited and self.running and BESIDE not in self.running.scope["state"]:
            self.load.took(monotonic() - self.begun)  # before it waits for the next request
        if self.ending:
            return
        if self.transport.is_closing():  # once the client has read its answer
            wait(self, self.open.idle)
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        self.settle()
