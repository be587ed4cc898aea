"""The parent of several workers: starts them, replaces those that die, and ends with them in time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.supervisors import multiprocess
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from serve.http.server import Server
from serve.process.shutdown import KILL_SECONDS, Ending


class Worker(Process):
    """A process with our server."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config)
        return self._server


class Workers(Multiprocess):
    """Uvicorn's supervisor, which ends in time although a worker, or its own check of one, is stuck.

    SIGTERM and SIGINT are passed on the moment they arrive: uvicorn would first finish a round of checks, and wait for
    each worker without a limit. SIGINT, or a second signal, ends the workers without their drain.

    Args:
        config: Uvicorn's.
        sockets: To listen on.
        drain_seconds: For which workers answer after the signal.
        last: What to do before the process has to be ended.
    """

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], drain_seconds: float, last: Callable[[], object]
    ) -> None:
        multiprocess.Process = Worker  # type: ignore[misc]  # uvicorn names the class in each place that starts one
        super().__init__(config, sockets)
        self.drain_seconds, self.last = drain_seconds, last
        self._deadline, self._ending = float("inf"), Ending(last=self._give_up)
        self._told: set[int] = set()  # processes that have the signal
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        at_once = number == signal.SIGINT or self.should_exit.is_set()
        left = KILL_SECONDS + (0.0 if at_once else self.drain_seconds)
        if time.monotonic() + left < self._deadline:
            self._deadline = time.monotonic() + left
            self._ending.within(left)
        self.should_exit.set()
        self._told.clear()
        self._tell(number)

    def terminate_all(self) -> None:
        """Tell the workers that were started while the signal came; a second one would end the others' drain."""
        self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> None:
        for worker in self.processes:
            if worker.pid is None or worker.pid in self._told:
                continue
            self._told.add(worker.pid)
            with contextlib.suppress(OSError):  # it has ended
                if sys.platform == "win32":  # where there is one signal to end a process
                    worker.process.terminate()
                elif worker.process.exitcode is None:
                    os.kill(worker.pid, number)

    def join_all(self) -> None:
        for worker in self.processes:
            worker.process.join(max(self._deadline - time.monotonic(), 0))
            _kill(worker)

    def _give_up(self) -> None:
        for worker in self.processes:
            _kill(worker)
        self.last()


def _kill(worker: Process) -> None:
    with contextlib.suppress(OSError, ValueError):
        worker.process.kill()
