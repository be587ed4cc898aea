"""Requests on fresh connections, one each, over raw sockets: closed loop for the capacity, open loop for more than it.

`python -m benchmarks.load.fresh --port 8000 --path '/users/1/recommendations?k=10' [--rate 4000] [--seconds 5]`
"""

from __future__ import annotations

import argparse
import errno
import gc
import itertools
import random
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 250))  # clients', all on this host
REQUEST = "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PATIENCE = 10.0  # seconds for an answer


@dataclass
class Tally:
    """What became of the requests of one run.

    Attributes:
        offered: Requests that were due.
        seconds: From the first to the last one sent.
        ended: When the last one was sent, by the performance counter.
        answered: Of each 200, seconds from when it was due to the end of its answer.
        shed: The same of each 503 that was read whole, with its `Retry-After` and JSON.
        unreadable: Answers cut off or reset, and statuses other than 200 and 503.
        silent: Requests without any answer in `PATIENCE` seconds.
        unsent: Requests for which this client had no free port or descriptor.
        late: Of each request, seconds from when it was due to when it was sent: what the client itself lags behind.
    """

    offered: int = 0
    seconds: float = 0.0
    ended: float = 0.0
    answered: list[float] = field(default_factory=list)
    shed: list[float] = field(default_factory=list)
    unreadable: int = 0
    silent: int = 0
    unsent: int = 0
    late: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Rates per second, and times in milliseconds."""
        refused = len(self.shed) + self.unreadable + self.silent
        return {
            "offered_per_second": round(self.offered / self.seconds, 1),
            "answered_per_second": round(len(self.answered) / self.seconds, 1),
            "answered_ms": percentiles(self.answered),
            "shed": len(self.shed),
            "shed_ms": percentiles(self.shed),
            "unreadable": self.unreadable,
            "silent": self.silent,
            "unsent": self.unsent,
            "readable_share_of_refused": round(len(self.shed) / refused, 5) if refused else None,
            "client_late_ms": percentiles(self.late),
        }


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    return {f"p{q}": round(1000 * float(np.percentile(seconds, q)), 2) for q in (50, 99)}


class Fresh:
    """A client that opens a connection for each request.

    Args:
        port: Of the service, on 127.0.0.1.
        paths: Paths to ask for, with their query; one is drawn for each request.
        addresses: The clients' own addresses, taken in turns.
    """

    def __init__(self, port: int, paths: Sequence[str], addresses: Sequence[str] = ADDRESSES) -> None:
        self.server = ("127.0.0.1", port)
        self.requests = [REQUEST.format(path=path).encode() for path in paths]
        self.addresses = itertools.cycle([(address, 0) for address in addresses])
        self.random = random.Random(0)
        self.epoll = select.epoll()
        self.open: dict[int, tuple[socket.socket, float, list[bytes], list[bytes]]] = {}
        self.tally = Tally()

    def closed_loop(self, seconds: float, connections: int = 32) -> Tally:
        """Ask again as soon as an answer is there, with so many requests at once."""
        self.tally, start = Tally(), time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            while len(self.open) < connections:
                self._send(time.perf_counter())
            self._collect(0.1)
        self.tally.seconds = now - start
        self._abandon(all_of_them=True)
        return self.tally

    def open_loop(self, rate: float, seconds: float) -> Tally:
        """Ask `rate` times a second, whatever the answers."""
        self.tally, start, number = Tally(), time.perf_counter(), 0
        total = int(rate * seconds)
        gc.disable()
        try:
            while number < total:
                now = time.perf_counter()
                for _ in range(64):  # then have a look at answers, so as not to time them late
                    if number >= total or start + number / rate > now:
                        break
                    self._send(start + number / rate)
                    number += 1
                self._collect(max(0.0, min(start + number / rate - time.perf_counter(), 0.1)))
            self.tally.ended = time.perf_counter()
            self.tally.seconds = self.tally.ended - start
            end = time.perf_counter() + PATIENCE
            while self.open and time.perf_counter() < end:
                self._collect(0.1)
        finally:
            gc.enable()
        self._abandon(all_of_them=True)
        return self.tally

    def _send(self, due: float) -> None:
        tally = self.tally
        tally.offered += 1
        try:
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            tally.unsent += 1
            return
        try:
            connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports are free per destination
            connection.bind(next(self.addresses))
            connection.connect(self.server)
        except BlockingIOError:
            pass
        except OSError:
            connection.close()
            tally.unsent += 1
            return
        request = self.random.choice(self.requests)
        waiting = [request]
        try:
            connection.send(request)  # on one host the handshake is over by now, unless the service's queue is full
            waiting.clear()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOTCONN):
                connection.close()
                tally.unreadable += 1
                return
        tally.late.append(time.perf_counter() - due)
        fileno = connection.fileno()
        self.epoll.register(fileno, select.EPOLLIN | (select.EPOLLOUT if waiting else 0))
        self.open[fileno] = (connection, due, waiting, [])

    def _collect(self, timeout: float) -> None:
        for fileno, event in self.epoll.poll(timeout):
            connection, due, waiting, received = self.open[fileno]
            try:
                if waiting and event & select.EPOLLOUT:
                    connection.send(waiting.pop())
                    self.epoll.modify(fileno, select.EPOLLIN)
                    continue
                data = connection.recv(65536)
            except OSError:
                data = None
            if data:
                received.append(data)
                whole = received[0] if len(received) == 1 else b"".join(received)
                if not _complete(whole):
                    continue
                self._count(whole, time.perf_counter() - due)
            else:
                self.tally.unreadable += 1
            connection.close()  # which also takes it from the epoll set
            del self.open[fileno]
        self._abandon()

    def _count(self, answer: bytes, seconds: float) -> None:
        status = answer[9:12]
        if status == b"200":
            self.tally.answered.append(seconds)
        elif status == b"503" and b"retry-after: " in answer[:600].lower() and answer.endswith(b"}"):
            self.tally.shed.append(seconds)
        else:
            self.tally.unreadable += 1

    def _abandon(self, *, all_of_them: bool = False) -> None:
        """Give up those that have waited too long; they are in the order in which they were due."""
        late = time.perf_counter() - PATIENCE
        for fileno, (connection, due, _, _) in list(itertools.islice(self.open.items(), None if all_of_them else 1)):
            if all_of_them or due < late:
                self.tally.silent += due < late
                connection.close()
                del self.open[fileno]


def _complete(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    place = answer.find(b"content-length: ", 0, end)
    return place > 0 and len(answer) == end + 4 + int(answer[place + 16 : answer.index(b"\r\n", place)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/users/1/recommendations?k=10")
    parser.add_argument("--rate", type=float, help="open loop, requests per second; closed loop, if not given")
    parser.add_argument("--connections", type=int, default=32, help="of the closed loop")
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    client = Fresh(arguments.port, [arguments.path])
    if arguments.rate:
        print(client.open_loop(arguments.rate, arguments.seconds).figures())
    else:
        print(client.closed_loop(arguments.seconds, arguments.connections).figures())


if __name__ == "__main__":
    main()
