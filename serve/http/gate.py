"""The gate at a listening socket: who is let in, who waits for their first byte, and who is sent away at once.

An event loop accepts one connection a turn, while a request is answered in each, so that waiting happens in the
kernel's queue, where nothing counts it. The gate empties that queue in each turn instead.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any

from serve.access.addresses import Clients
from serve.http.connections import Connections, Waiting, wait
from serve.http.load import Load
from serve.http.protocol import HttpProtocol
from serve.http.refusals import OVERLOADED, TOO_MANY_CONNECTIONS, UNSHED, Refusal, is_whole

log = logging.getLogger("serve")

BACKLOG = 4096  # connections in the kernel's queue
FIRST_BYTES = 65_536
BATCH, SHARED_BATCH = 64, 16  # connections a turn, alone and with other workers at the same socket
DRAINED = 1024  # if the queue was not seen empty for long, so that no worker can be idle
LONG_SECONDS = 0.025
MOST_UNSHED = 16  # requests for health or metrics a turn that are let in whatever the load
PAUSE_SECONDS = 0.1  # when there are no descriptors left
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_AGAIN = (BlockingIOError, InterruptedError)
_scratch = bytearray(262_144)


class Gate:
    """A listening socket of a running event loop, with the methods of `asyncio.Server` that uvicorn calls.

    Args:
        listening: A bound socket.
        load: Of this worker; None to shed nothing.
        connections: Open connections of this worker.
        clients: Which addresses count as one client, and which are proxies.
        protocol: Makes the protocol of an accepted connection from its first bytes and when they came.
        shared: Whether other workers listen, too.
    """

    def __init__(
        self, listening: socket.socket, load: Load | None, connections: Connections, clients: Clients,
        protocol: Callable[[bytes, str, tuple[str, int]], HttpProtocol], *, shared: bool = False,
    ) -> None:  # fmt: skip
        self.listening, self.load, self.connections = listening, load, connections
        self.clients, self.protocol = clients, protocol
        self.family = int(listening.family)
        self.batch = SHARED_BATCH if shared else BATCH
        self.loop = asyncio.get_running_loop()
        self._emptied = monotonic()  # when the kernel's queue was seen empty
        self._unshed = MOST_UNSHED
        self._paused: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.waiting: set[Opening] = set()
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self.loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Take what is in the queue, and stop listening."""
        if self.listening.fileno() < 0:
            return
        self.connections.closing = True
        if self._paused is None:
            self.batch = DRAINED
            self._accept()
        if self._paused is not None:
            self._paused.cancel()
        self.loop.remove_reader(self.listening)
        self.listening.close()
        for one in list(self.waiting):
            one.close()

    async def wait_closed(self) -> None:
        """All is closed by `close`."""

    def _accept(self) -> None:
        now = monotonic()
        self._unshed = MOST_UNSHED
        batch = self.batch if now - self._emptied < LONG_SECONDS else DRAINED
        for _ in range(batch):
            try:
                fileno, address = self.listening._accept()  # type: ignore[attr-defined]
            except _AGAIN:
                self._emptied = now
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._out_of_descriptors(error)
                    return
                continue  # of a connection that is gone
            self._admit(socket.socket(self.family, socket.SOCK_STREAM, 0, fileno), address, now)

    def _out_of_descriptors(self, error: OSError) -> None:
        """Free one, or come back later: the socket stays readable, so that the loop would spin."""
        log.error("cannot accept connections: %s", error.strerror)
        self.connections.drop_oldest()
        self.loop.remove_reader(self.listening)
        self._paused = self.loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._paused = None
        self.loop.add_reader(self.listening, self._accept)

    def _admit(self, connection: socket.socket, peer: Any, now: float) -> None:
        address = "" if self.clients.is_proxy(peer[0]) else self.clients.name(peer[0])
        try:
            first = connection.recv(FIRST_BYTES, socket.MSG_DONTWAIT)
        except _AGAIN:
            if self.connections.make_room(address):
                Opening(self, connection, address, peer)
            else:
                self.refuse(connection, b"", address, TOO_MANY_CONNECTIONS)
            return
        except OSError:
            first = b""
        if not first:
            connection.close()
            return
        self.begin(connection, first, address, peer, now)

    def begin(self, connection: socket.socket, first: bytes, address: str, peer: Any, now: float) -> None:
        """Let a connection in that has sent its first bytes, or refuse it."""
        load = self.load
        unshed = load is None
        if not unshed and UNSHED.match(first) is not None and self._unshed:
            self._unshed -= 1
            unshed = True
        if not unshed and load is not None and load.in_flight >= load.limit:
            self.refuse(connection, first, address, OVERLOADED)
            return
        if not self.connections.make_room(address) and not (unshed and is_whole(first)):
            self.refuse(connection, first, address, TOO_MANY_CONNECTIONS)
            return
        connection.setblocking(False)
        protocol = self.protocol(first, address, (peer[0], peer[1]))
        protocol.arrived = now
        self.connections.add(protocol)
        if b"\r\n\r\n" not in first:
            wait(protocol, self.connections.opening)
        if not unshed:  # until it is known to be waiting for its client: what is begun in one turn is bounded
            protocol.count(True)
        task = self.loop.create_task(self._connect(connection, protocol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket, protocol: HttpProtocol) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: protocol, connection)
        except (OSError, RuntimeError):  # it is gone
            protocol.abandon()
            connection.close()

    def refuse(self, connection: socket.socket, first: bytes, address: str, refusal: Refusal) -> None:
        """Answer without looking at the request, and see to it that the answer can be read."""
        if self.load is not None:
            self.load.shed[refusal.code] += 1
        try:
            connection.send(refusal.answer(first), socket.MSG_DONTWAIT)
            if is_whole(first):
                connection.close()
                return
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
            return
        Lingering(self, connection, address)


class Opening:
    """A connection that has not sent anything yet: a socket, without transport or parser."""

    __slots__ = ("__weakref__", "address", "connection", "gate", "peer", "waiting")

    def __init__(self, gate: Gate, connection: socket.socket, address: str, peer: Any) -> None:
        self.gate, self.connection, self.address, self.peer = gate, connection, address, peer
        self.waiting: Waiting | None = None
        gate.waiting.add(self)
        gate.connections.add(self)
        self.start()

    def start(self) -> None:
        wait(self, self.gate.connections.opening)
        self.gate.loop.add_reader(self.connection, self.read)

    def read(self) -> None:
        gate = self.gate
        try:
            first = self.connection.recv(FIRST_BYTES, socket.MSG_DONTWAIT)
        except _AGAIN:
            return
        except OSError:
            first = b""
        if not first:
            self.close()
            return
        self.release()
        gate.begin(self.connection, first, self.address, self.peer, monotonic())

    def release(self) -> None:
        """Leave the socket to others."""
        self.gate.loop.remove_reader(self.connection)
        self.gate.waiting.discard(self)
        self.gate.connections.remove(self)

    def close(self) -> None:
        self.release()
        self.connection.close()

    expire = drop = close


class Lingering(Opening):
    """A connection that was refused while its client may still be sending, which is discarded."""

    __slots__ = ()

    def __init__(self, gate: Gate, connection: socket.socket, address: str) -> None:
        super().__init__(gate, connection, address, None)

    def start(self) -> None:
        self.gate.connections.linger(self)
        self.gate.loop.add_reader(self.connection, self.read)

    def read(self) -> None:
        try:
            if self.connection.recv_into(_scratch, 0, socket.MSG_DONTWAIT):
                return
        except _AGAIN:
            return
        except OSError:
            pass
        self.close()
