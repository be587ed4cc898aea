"""The server around the gates: workers, the operations port, descriptors."""

from __future__ import annotations

import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from serve.http.server import OTHER_DESCRIPTORS, allowed_connections
from tests.serve.conftest import ROOT, Served, clean_environment, until
from tests.serve.running import GET, Running, answer, is_closed, running

Start = Callable[..., Served]


def test_there_are_fewer_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert allowed_connections(1000) == 1024 - OTHER_DESCRIPTORS
    assert allowed_connections(100) == 100
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 4096))
    assert allowed_connections(1000) == 1


def test_the_limit_of_descriptors_is_raised() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (64, 512));"
        "from serve.http.server import raise_descriptor_limit as f; f(); f(); print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert found.stdout == "(512, 512)\n"


def test_a_burst_beyond_the_limit_is_answered_to_the_last() -> None:
    """Of 300 at once, with 8 at a time, each gets its answer or a 503, and at once."""
    with running(max_in_flight=8, max_connections_per_address=0) as service:
        lines = [service.connect() for _ in range(300)]
        for line in lines:
            line.sendall(GET)
        found = [answer(line)[0] for line in lines]
        assert set(found) <= {200, 503}
        assert 8 <= found.count(200) <= 300
        for line in lines:
            line.close()
        until(lambda: service.load.in_flight == 0 and service.connections == 0)


def test_what_is_in_the_queue_when_it_stops_is_answered() -> None:
    service = Running()
    lines = [service.connect() for _ in range(20)]
    for line in lines:
        line.sendall(GET)
    service.close()
    assert [answer(line)[0] for line in lines] == [200] * 20
    assert all(is_closed(line) for line in lines)


@pytest.mark.long
def test_two_workers_share_both_ports(serve: Start, saved: Path) -> None:
    served = serve("--bundle", str(saved), "--workers", "2", "--operations-port", "0", "--drain-seconds", "0.2")
    assert served.process.stdout is not None
    [port] = re.findall(r"http://127\.0\.0\.1:(\d+) for health and metrics only", served.process.stdout.readline())
    operations = f"http://127.0.0.1:{port}"
    until(lambda: workers(operations) == 2)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: status(f"{served.url}/items/50"), range(100)))
    assert found == [200] * 100
    assert status(f"{operations}/health/ready") == 200
    assert status(f"{operations}/items/50") == 404
    line = socket.create_connection(("127.0.0.1", int(port)), timeout=5)
    assert served.stop(signal.SIGTERM) == 0
    assert is_closed(line)
    line.close()
    served.lines()


def workers(address: str) -> float:
    text = urlopen(f"{address}/metrics", timeout=10).read().decode()
    return sum(map(float, re.findall(r"^recsys_model_workers\{.*\} ([\d.]+)$", text, re.MULTILINE)))


def status(address: str) -> int:
    """Of an answer on a fresh connection."""
    try:
        return int(urlopen(address, timeout=10).status)
    except HTTPError as error:
        return error.code


@pytest.mark.long
def test_it_serves_with_few_descriptors(saved: Path, tmp_path: Path) -> None:
    """Of more idle connections than descriptors, the oldest are closed, and requests are answered."""
    code = (
        "import resource as r, sys; r.setrlimit(r.RLIMIT_NOFILE, (450, 450));"
        "from serve.__main__ import main; sys.argv = ['serve', *sys.argv[1:]]; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--bundle", str(saved), "--port", "0", "--max-connections-per-address", "0"],
        cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        [port] = re.findall(r":(\d+) ", process.stdout.readline() + process.stdout.readline())
        until(lambda: can_connect(int(port)))
        lines = [socket.create_connection(("127.0.0.1", int(port)), timeout=5) for _ in range(600)]
        assert status(f"http://127.0.0.1:{port}/items/50") == 200
        assert is_closed(lines[0])
        for line in lines:
            line.close()
    finally:
        process.terminate()
        assert process.wait(20) == 0


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
