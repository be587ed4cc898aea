"""A service ends in time, whatever it is doing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from serve.models.pointer import write_pointer
from tests.serve.conftest import Served, clean_environment, until

pytestmark = [pytest.mark.long, pytest.mark.slow]

Start = Callable[..., Served]
DRAIN = 0.3


def ends_in_time(served: Served, *signals: int, drain: float = DRAIN) -> None:
    """Send the signals, and see the process end by itself within the promised time."""
    start = time.monotonic()
    for number in signals or (signal.SIGTERM,):
        served.process.send_signal(number)
        time.sleep(0.1)
    assert served.process.wait(drain + 2.5) == 0  # half a second for a machine that is busy otherwise
    assert time.monotonic() - start < drain + 2.5


def connect(served: Served, *sent: bytes) -> list[socket.socket]:
    host, port = served.url.removeprefix("http://").split(":")
    lines = []
    for content in sent:
        line = socket.create_connection((host, int(port)), timeout=10)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        line.sendall(content)
        lines.append(line)
    return lines


HEAD = b" HTTP/1.1\r\nHost: localhost\r\n"
LOADS = [
    b"",
    b"GET /items",
    b"GET /items/50" + HEAD,
    b"POST /predict/rating/" + HEAD + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
    b"POST /predict/rating/" + HEAD + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{",
    (b"GET /users/1/recommendations?explain=true" + HEAD + b"\r\n") * 200,
    (b"GET /openapi.json" + HEAD + b"\r\n") * 100,  # whose answers nobody reads
]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_under_any_load(serve: Start, saved: Path, workers: str) -> None:
    served = serve("--bundle", str(saved), "--drain-seconds", str(DRAIN), "--workers", workers)
    lines = connect(served, *LOADS * 5)
    time.sleep(0.2)
    ends_in_time(served)
    for line in lines:
        line.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_and_an_interrupt_wait_for_no_drain(serve: Start, saved: Path, workers: str) -> None:
    for signals in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT)):
        served = serve("--bundle", str(saved), "--drain-seconds", "60", "--workers", workers)
        connect(served, *LOADS)
        ends_in_time(served, *signals, drain=0)


def test_a_stuck_worker_is_ended_with_the_others(serve: Start, saved: Path) -> None:
    served = serve("--bundle", str(saved), "--drain-seconds", str(DRAIN), "--workers", "2")
    children = workers_of(served)
    os.kill(children[0], signal.SIGSTOP)
    time.sleep(1)
    ends_in_time(served)
    until(lambda: not any(runs(child) for child in children))


def test_workers_end_with_a_parent_that_is_killed(serve: Start, saved: Path) -> None:
    served = serve("--bundle", str(saved), "--drain-seconds", "0", "--workers", "2")
    children = workers_of(served)
    served.process.kill()
    until(lambda: not any(runs(child) for child in children), 10)


def workers_of(served: Served) -> list[int]:
    found = ["pgrep", "-P", str(served.process.pid), "-f", "spawn_main"]
    return [int(one) for one in subprocess.run(found, capture_output=True, text=True, check=True).stdout.split()]


def runs(process: int) -> bool:
    """Whether it runs; whoever waits for it may not have done so yet."""
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def start(folder: Path, *arguments: str, **streams: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "serve", "--port", "0", "--drain-seconds", str(DRAIN), *arguments]
    return subprocess.Popen(command, cwd=folder, env=clean_environment(), text=True, **streams)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_that_nobody_reads_changes_nothing(saved: Path, tmp_path: Path, workers: str) -> None:
    """Standard error is a full pipe before the service says its first word."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for size in (1 << 16, 1):
        try:
            while True:
                os.write(writing, b"x" * size)
        except BlockingIOError:
            pass
    os.set_blocking(writing, True)
    process = start(
        tmp_path, "--bundle", str(saved), "--workers", workers, "--poll-seconds", "0.1",
        stdout=subprocess.PIPE, stderr=writing,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        found = re.match(r"http://\S+", process.stdout.readline())
        assert found is not None
        with httpx2.Client(base_url=found[0], timeout=10) as client:
            until(lambda: said(client).get("status") == "ready")
            for n in range(6000):  # more than the queue holds
                assert client.get(f"/x{n}").status_code == 404
            until(lambda: re.search(r"^recsys_log_lines_dropped_total [1-9]", client.get("/metrics").text, re.M))
        began = time.monotonic()
        process.terminate()
        assert process.wait(DRAIN + 2.5) == 0
        assert time.monotonic() - began < DRAIN + 2.5
    finally:
        process.kill()
        process.wait(10)
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_last_line_of_the_log_is_written(serve: Start, saved: Path, workers: str) -> None:
    served = serve("--bundle", str(saved), "--drain-seconds", "0", "--workers", workers)
    assert httpx2.get(f"{served.url}/items/50", headers={"X-Request-ID": "the-last"}).status_code == 200
    served.stop()
    assert "the-last" in [line.get("request_id") for line in served.lines()]


def test_while_it_starts(saved: Path, tmp_path: Path) -> None:
    for seconds in (0.1, 0.4, 0.8, 1.2):
        process = start(tmp_path, "--bundle", str(saved), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.terminate()
        assert process.wait(DRAIN + 2.5) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_while_it_waits_for_a_file_that_is_a_pipe(saved: Path, tmp_path: Path, workers: str) -> None:
    os.mkfifo(tmp_path / "serving")
    process = start(
        tmp_path, "--pointer", "serving", "--workers", workers, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert "no bundle yet, waiting for one: pointer serving" in process.stdout.readline()
    url = re.match(r"http://\S+", process.stdout.readline())
    assert url is not None
    with httpx2.Client(base_url=url[0], timeout=10) as client:
        assert until(lambda: said(client))["code"] == "no_model"
        (tmp_path / "serving").unlink()
        write_pointer(tmp_path / "serving", saved)
        until(lambda: said(client).get("status") == "ready")
    process.terminate()
    assert process.wait(DRAIN + 2.5) == 0


def said(client: httpx2.Client) -> dict[str, str]:
    try:
        answer: dict[str, str] = client.get("/health/ready").json()
    except httpx2.TransportError:
        return {}
    return answer
