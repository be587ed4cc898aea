"""Uvicorn's server with a gate at each listening socket, and a second socket for health and metrics only."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import sys
from typing import Any

import uvicorn

from serve.http.connections import MOST_LINGERING, Connections
from serve.http.gate import Gate
from serve.http.protocol import HttpProtocol
from serve.service import Service

log = logging.getLogger("serve")

OTHER_DESCRIPTORS = MOST_LINGERING + 128  # files, pipes, libraries
MOST_DESCRIPTORS = 65_536
MOST_AT_OPERATIONS = 64  # connections
REPORT_SECONDS = 0.1


class Server(uvicorn.Server):
    """Serves the application of `serve.app`. The first socket is for all, the second one for operations."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        service: Service = self.config.loaded_app.state.service
        settings, load = service.settings, service.load
        most = allowed_connections(settings.max_connections)
        if most < settings.max_connections:
            log.warning("max_connections is %d: the process may open no more descriptors", most)
        shared = self.config.workers > 1
        main, *operations = sockets or []
        self.open = Connections(settings, most, settings.max_connections_per_address, load.closed)
        clients = service.guard.clients
        try:
            gates = [Gate(main, load, self.open, clients, self._protocols(main, service, self.open), shared=shared)]
            for one in operations:
                few = Connections(settings, MOST_AT_OPERATIONS, 0, load.closed)
                gates.append(
                    Gate(one, None, few, clients, self._protocols(one, service, few, operations=True), shared=shared)
                )
        except OSError as error:  # another process, or the other socket, listens there since it was bound
            await self.lifespan.shutdown()
            ports = " and ".join(str(one.getsockname()[1]) for one in sockets or [])
            sys.exit(f"error: cannot listen on port {ports}: {error.strerror}")
        self.servers = gates  # type: ignore[assignment]
        self._reporting = asyncio.create_task(_report(service, gates))

    def _protocols(
        self, listening: socket.socket, service: Service, connections: Connections, *, operations: bool = False
    ) -> Any:
        host, port, *_ = listening.getsockname()
        made = functools.partial(
            HttpProtocol, self.config, self.server_state, self.lifespan.state, load=service.load,
            connections=connections, max_header_bytes=service.settings.max_header_bytes, server=(host, port),
            operations=operations,
        )  # fmt: skip
        return lambda first, address, client: made(first=first, address=address, client=client)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._reporting.cancel()


async def _report(service: Service, gates: list[Gate]) -> None:
    """Close what has waited for too long, and say what was refused: in metrics, and in a line a second at most."""
    load, told, since = service.load, 0.0, 0
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        for gate in gates:
            try:
                gate.connections.expire()
            except Exception:  # else nothing would be bounded in time any more
                log.exception("connections were not closed")
        since += load.shed.total()
        service.metrics.report_load(sum(len(gate.connections) for gate in gates))
        service.answers.follow(service.model)
        service.metrics.report_answers(service.answers.counts, service.answers.bytes)
        if since and clock() >= told + 1:
            log.warning("overloaded: %d requests were sent away", since, extra={"fields": {"shed": since}})
            told, since = clock(), 0


def allowed_connections(wanted: int) -> int:
    """As many of these as there are descriptors for."""
    with contextlib.suppress(ImportError):
        import resource

        return min(wanted, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_DESCRIPTORS, 1))
    return wanted


def raise_descriptor_limit() -> None:
    """Let this process and its children open as many descriptors as the system allows."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
