"""Thousands of connections that ask for nothing, from eight addresses, and somebody who does want an answer."""

from __future__ import annotations

import itertools
import select
import socket
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.chaos.campaign import Figures, Row
from benchmarks.load.fresh import Fresh
from benchmarks.load.ml_1m import USERS, save_bundle
from benchmarks.load.service import Client, Running, pinned, running

SUMMARY = "half-open, idle and dripping connections beside a normal client"
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 10)]
DRIP = b"GET /users/1/recommendations HTTP/1.1\r\nHost: localhost\r\nX-Drip: "
IDLE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
KINDS = ("half-open", "idle", "dripping")
DRIP_SECONDS = 0.5
TURN_SECONDS = 0.02


class Crowd:
    """Clients that hold so many connections, and open another one for each that is closed.

    Args:
        port: Of the service.
        number: Of connections, a third of each kind.
        per_second: How many to open in a second.
    """

    def __init__(self, port: int, number: int, per_second: int) -> None:
        self.server, self.number, self.per_second = ("127.0.0.1", port), number, per_second
        self.opened = 0
        self._epoll = select.epoll()
        self._held: dict[int, tuple[socket.socket, str]] = {}
        self._sources = itertools.cycle((address, kind) for kind in KINDS for address in ADDRESSES)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        for connection, _ in self._held.values():
            connection.close()

    @property
    def held(self) -> int:
        """Connections that the service has not closed, as far as is known."""
        return len(self._held)

    def _run(self) -> None:
        next_drip = time.monotonic()
        while not self._done.is_set():
            for _ in range(min(self.number - len(self._held), int(self.per_second * TURN_SECONDS))):
                self._open()
            end = time.monotonic() + TURN_SECONDS
            for fileno, _ in self._epoll.poll(0):
                connection, kind = self._held[fileno]
                try:
                    closed = not connection.recv(65536)
                except OSError:
                    closed = True
                if closed:
                    self._close(fileno)
            if time.monotonic() >= next_drip:
                next_drip = time.monotonic() + DRIP_SECONDS
                for fileno, (connection, kind) in list(self._held.items()):
                    if kind == "dripping":
                        try:
                            connection.send(b"x")
                        except OSError:
                            self._close(fileno)
            self._done.wait(max(end - time.monotonic(), 0.001))

    def _open(self) -> None:
        address, kind = next(self._sources)
        connection = socket.socket()
        try:
            connection.settimeout(1)
            connection.bind((address, 0))
            connection.connect(self.server)
            connection.setblocking(False)
            if kind != "half-open":
                connection.send(IDLE if kind == "idle" else DRIP)
        except OSError:
            connection.close()
            return
        self.opened += 1
        self._held[connection.fileno()] = (connection, kind)
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _close(self, fileno: int) -> None:
        self._held.pop(fileno)[0].close()


def run(*, short: bool) -> Figures:
    number, per_second, seconds, settle = (300, 300, 1.5, 0.5) if short else (5000, 1000, 60.0, 10.0)
    options = (
        ("--max-connections", "150", "--max-connections-per-address", "30", "--max-in-flight", "50") if short else ()
    )
    paths = [f"/users/{user}/recommendations?k=10" for user in range(1, USERS + 1, 30)]
    with tempfile.TemporaryDirectory() as place:
        bundle = save_bundle(Path(place) / "bundle")
        command = ("-m", "serve", "--bundle", str(bundle), "--log-level", "warning", *options)
        with pinned() as cores, running(*command, cores={cores[-1]}) as service:
            client = Fresh(service.port, paths, ["127.0.0.1"])
            client.closed_loop(settle, 1)
            before, quiet = service.descriptors(), client.open_loop(100, settle * 2)
            with Crowd(service.port, number, per_second) as crowd:
                time.sleep(settle)
                during = client.open_loop(100, seconds)
                kept = _kept(service, seconds / 4)
                most, opened = service.descriptors(), crowd.opened
            return {
                "short": short,
                "connections": number,
                "opened": opened,
                "seconds": seconds,
                "requests": during.offered,
                "shed": len(during.shed),
                "failed": during.offered - len(during.answered) - len(during.shed),
                "quiet_ms": quiet.figures()["answered_ms"],
                "fresh_ms": during.figures()["answered_ms"],
                "kept_ms": {f"p{q}": round(1000 * float(np.percentile(kept, q)), 2) for q in (50, 99)},
                "descriptors_before": before,
                "descriptors_during": most,
                "descriptors_after": _settled(service, before),
            }


def _kept(service: Running, seconds: float) -> list[float]:
    """Seconds of requests on one kept connection."""
    client, times, end = Client(service.port), [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        client.get("/users/1/recommendations?k=10")
        times.append(time.perf_counter() - start)
        time.sleep(0.01)
    client.connection.close()
    return times


def _settled(service: Running, before: int) -> int:
    """Descriptors once they are as few as before, or at last."""
    end = time.monotonic() + 10
    while (now := service.descriptors()) > before and time.monotonic() < end:
        time.sleep(0.1)
    return now


def rows(figures: Figures) -> list[Row]:
    allowed = 100 * (20 if figures["short"] else 1)  # ms: on a busy machine whoever waits may wait for others
    few = figures["requests"] // 20 if figures["short"] else 0  # a client that gets no processor is taken for idle
    fresh = figures["fresh_ms"] or {"p99": float("inf")}
    slowest = max(fresh["p99"], figures["kept_ms"]["p99"])
    return [
        Row(
            f"{figures['connections']:,} half-open, idle and dripping connections from {len(ADDRESSES)} addresses for "
            f"{figures['seconds']:.0f} s, each opened again when it is closed: p99 of another client "
            "(without them / with them, fresh connections / kept)",
            f"{figures['quiet_ms']['p99']:.1f} ms / {fresh['p99']:.1f} ms / {figures['kept_ms']['p99']:.1f} ms",
            slowest <= allowed,
        ),
        Row(
            "its requests that failed / that were sent away with 503",
            f"{figures['failed']} / {figures['shed']} of {figures['requests']:,}",
            figures["failed"] <= few and (figures["short"] or figures["shed"] == 0),
        ),
        Row(
            "descriptors of the service before / during / after",
            f"{figures['descriptors_before']} / {figures['descriptors_during']} / {figures['descriptors_after']}",
            figures["descriptors_after"] <= figures["descriptors_before"],
        ),
    ]
