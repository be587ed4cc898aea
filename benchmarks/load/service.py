"""A service to load: started on a free port, asked over plain sockets, stopped at the end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Of a service whose answers are all computed, where it is not told otherwise.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "RECSYS_DRAIN_SECONDS": "0", "RECSYS_ANSWER_CACHE_BYTES": "0"}
KEEPS_ANSWERS = {"RECSYS_ANSWER_CACHE_BYTES": str(64 << 20)}  # as by default


class Running:
    """A service that answers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, seconds: float) -> None:
        self.process, self.port, self.seconds = process, port, seconds
        self.address = f"http://127.0.0.1:{port}"

    def descriptors(self) -> int:
        """How many the process has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def rss_kib(self) -> int:
        """Resident memory of the process, in KiB."""
        return self._status("VmRSS")

    def anonymous_kib(self) -> int:
        """Resident memory of the process without what is of files, in KiB."""
        return self._status("RssAnon")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise RuntimeError(f"no {name}")


@contextlib.contextmanager
def running(
    *command: str,
    environment: dict[str, str] | None = None,
    python: str = sys.executable,
    cwd: Path = ROOT,
    stderr: int = subprocess.DEVNULL,
    cores: set[int] | None = None,
) -> Iterator[Running]:
    """Start `python <command> --port <free>` and wait for its first 200 on `/health/ready`.

    `cores` are those that it may run on. `seconds` is the time from the start of the process until then.
    """
    port = free_port()
    mine = os.sched_getaffinity(0) if cores else set()
    if cores:
        os.sched_setaffinity(0, cores)  # which the process inherits
    start = time.perf_counter()
    process = subprocess.Popen(
        [python, *command, "--port", str(port)], cwd=cwd, stdout=subprocess.DEVNULL, stderr=stderr,
        env=os.environ | ENVIRONMENT | (environment or {}),
    )  # fmt: skip
    if cores:
        os.sched_setaffinity(0, mine)
    try:
        while not _ready(port):
            if process.poll() is not None:
                raise SystemExit(f"error: the service ended with {process.returncode}: {' '.join(command)}")
            time.sleep(0.005)
        yield Running(process, port, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def pinned() -> Iterator[list[int]]:
    """Keep this process to the first of its cores; the last one is for the service."""
    before = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, before[:1])
    try:
        yield before
    finally:
        os.sched_setaffinity(0, before)


def worker_processes(process: int) -> list[int]:
    """The processes of a service that answer: children of its first process that run Python's `spawn`."""
    found = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _ready(port: int) -> bool:
    try:
        return Client(port).get("/health/ready")[0] in (200, 404)  # 404: the bare app has no such route
    except OSError:
        return False


class Client:
    """One connection, kept open."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> tuple[int, Any]:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        return self._ask("POST", path, json.dumps(body))

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, Any]:
        self.connection.request(method, path, body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


def newest_bundle(arguments: Sequence[str]) -> Path:
    """The bundle that was named, or the newest run's."""
    from recsys.bundle import BundleError
    from serve.models.pointer import bundle_folder, newest_run

    try:
        return bundle_folder(Path(arguments[0])) if arguments else newest_run(ROOT / "outputs")
    except BundleError as error:
        raise SystemExit(f"error: {error}") from error
