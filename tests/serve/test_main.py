"""`python -m serve` as a process: flags, signals, workers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from serve.pointer import write_pointer
from tests.serve.conftest import (
    ITEM_NAMES,
    USER_NAMES,
    Served,
    clean_environment,
    rich,
    save,
)
from tests.serve.test_metrics import samples

Start = Callable[..., Served]


def failing(cwd: Path, *arguments: str, status: int = 1, **environment: str) -> str:
    """What a start that cannot be says on standard error."""
    ended = subprocess.run(
        [sys.executable, "-m", "serve", *arguments],
        cwd=cwd, env={**clean_environment(), **environment}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (status, "")
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_what_cannot_start_says_so_in_one_sentence(saved: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = [
            ([], "no finished run in outputs"),
            (["--bundle", "none"], "none is not a bundle"),
            (["--bundle", str(saved), "--port", port], f"cannot listen on 127.0.0.1, port {port}: Address already"),
            (["--bundle", str(saved), "--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        ]
        with ThreadPoolExecutor(2) as pool:
            for (_, said), told in zip(cases, pool.map(lambda case: failing(tmp_path, *case[0]), cases), strict=True):
                assert re.fullmatch(rf"error: [^\n]*{re.escape(said)}[^\n]*\n", told)


@pytest.mark.slow
def test_more_that_cannot_start(saved: Path, tmp_path: Path) -> None:
    assert "port: " in failing(tmp_path, "--port", "many")
    assert "port: " in failing(tmp_path, RECSYS_PORT="many")
    assert "pointer" in failing(tmp_path, "--pointer", "none")
    assert "not both" in failing(tmp_path, "--pointer", "none", "--bundle", str(saved))
    assert "unrecognized arguments: --nonsense" in failing(tmp_path, "--nonsense", status=2)
    assert "cannot listen" in failing(tmp_path, "--bundle", str(saved), "--host", "a..b")
    (saved / "items.json").write_text("[]")
    assert failing(tmp_path, "--bundle", str(saved)).count("\n") == 1
    assert failing(tmp_path, "--bundle", str(saved), "--workers", "2").count("\n") == 1


def test_the_newest_finished_run_is_served_until_sigterm(serve: Start, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        save(rich(seed=seed), tmp_path / "outputs" / "day" / name / "bundle")
        (tmp_path / "outputs" / "day" / name / "metrics.json").write_text("{}")
    (tmp_path / "outputs" / "day" / "b" / "metrics.json").unlink()  # still running
    served = serve("--drain-seconds", "0.6")
    assert served.first_lines[0].startswith("mf on small, version ")
    assert httpx2.get(f"{served.url}/model").json()["seed"] == 1

    body = b'{"user_id": "1", "item_id": "50"}'
    waiting = threading.Event()

    def slow_body() -> object:
        yield body[:5]
        waiting.set()
        time.sleep(1.2)  # well into the stop
        yield body[5:]

    headers = {"Content-Type": "application/json", "X-Request-ID": "the-late-one"}
    late: list[httpx2.Response] = []
    post = threading.Thread(
        target=lambda: late.append(httpx2.post(f"{served.url}/predict/rating/", content=slow_body(), headers=headers))
    )
    post.start()
    waiting.wait()
    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    ready = httpx2.get(f"{served.url}/health/ready")
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert httpx2.get(f"{served.url}/items/50").status_code == 200
    post.join()
    assert late[0].status_code == 200  # it came before the signal, so it is answered
    assert served.process.wait(10) == 0
    served._reader.join(5)
    assert "the-late-one" in [line.get("request_id") for line in served.lines()]
    assert {line["level"] for line in served.lines()} == {"info"}


def test_what_comes_at_once_beyond_the_limit_is_sent_away(serve: Start, saved: Path) -> None:
    """The process is held, so that all requests are there when it goes on: it must not just queue them."""
    served = serve("--bundle", str(saved), "--max-in-flight", "3")
    host, port = served.url.removeprefix("http://").split(":")
    lines = [socket.create_connection((host, int(port)), timeout=10) for _ in range(40)]
    time.sleep(0.3)  # let them be accepted
    served.process.send_signal(signal.SIGSTOP)
    for line in lines:
        line.sendall(b"GET /users/1/recommendations HTTP/1.1\r\nHost: x\r\n\r\n")
    served.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    answers = [line.recv(8192) for line in lines]
    for line in lines:
        line.close()
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
    assert len(refused) + sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) == 40
    assert 10 < len(refused) < 40
    assert all(b"retry-after: 1" in answer.lower() and b'"overloaded"' in answer for answer in refused)
    assert httpx2.get(f"{served.url}/items/50").status_code == 200


def test_a_body_that_does_not_come_holds_no_place_for_ever(serve: Start, saved: Path) -> None:
    served = serve("--bundle", str(saved), "--max-in-flight", "2", "--body-seconds", "0.5")
    host, port = served.url.removeprefix("http://").split(":")
    lines = [socket.create_connection((host, int(port)), timeout=10) for _ in range(2)]
    head = b"POST /predict/rating/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    for line in lines:
        line.sendall(head)
    time.sleep(0.2)
    assert httpx2.get(f"{served.url}/items/50").status_code == 503
    for line in lines:
        answer = b""
        while not answer.endswith(b"}"):
            answer += line.recv(4096) or pytest.fail(f"ended with {answer!r}")
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"body_too_slow"' in answer
    assert httpx2.get(f"{served.url}/items/50").status_code == 200
    for line in lines:
        line.close()
    served.process.terminate()
    assert served.process.wait(10) == 0


def test_strings_with_anything_in_them_over_the_wire(serve: Start, tmp_path: Path) -> None:
    served = serve("--bundle", str(save(rich(USER_NAMES, ITEM_NAMES), tmp_path / "strings")), RECSYS_HISTORIES="false")
    host, port = served.url.removeprefix("http://").split(":")

    def raw(path: str, head: str = "") -> str:
        with socket.create_connection((host, int(port)), timeout=5) as line:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}Connection: close\r\n\r\n".encode("latin-1"))
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()

    for name in ITEM_NAMES:
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        found = raw(f"/items/{quoted}")
        assert found.startswith("HTTP/1.1 200"), (name, found)
    assert '"histories_off"' in raw("/users/Zo%C3%AB")
    assert "HTTP/1.1 404" in raw("/items/%FF%FE")
    assert "HTTP/1.1 404" in raw("/items/../../../../etc/passwd")
    assert "HTTP/1.1 404" in raw("/page/..%2f..%2f..%2fetc/passwd")
    assert "HTTP/1.1 400" in raw("/items/x\x00y")  # uvicorn's
    evil = raw("/items/7", "X-Request-ID: abc%0d%0aSet-Cookie: a=b\r\n")
    assert "Set-Cookie" not in evil

    with socket.create_connection((host, int(port)), timeout=5) as line:  # a client that leaves in mid-sentence
        line.sendall(b"POST /predict/rating/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert served.stop(signal.SIGINT) == 0  # Ctrl-C
    assert "Traceback" not in "".join(served.log)
    assert "Zo" not in "".join(served.log)
    served.lines()


def counted(served: Served, route: str) -> float:
    text = httpx2.get(f"{served.url}/metrics").text
    return sum(
        number for (name, labels), number in samples(text).items()
        if name == "recsys_requests_total" and ("route", route) in labels
    )  # fmt: skip


@pytest.mark.slow
def test_figures_are_those_of_all_workers(serve: Start, tmp_path: Path) -> None:
    save(rich(), tmp_path / "outputs" / "run" / "bundle")
    (tmp_path / "outputs" / "run" / "metrics.json").write_text("{}")
    served = serve("--workers", "2", "--drain-seconds", "0.2", TMPDIR=str(tmp_path))
    time.sleep(1)
    for n in range(60):  # new connections, which the workers share
        assert httpx2.get(f"{served.url}/items/{n % 3 + 11}").status_code == 200
    assert counted(served, "/items/{item_id}") == 60
    text = httpx2.get(f"{served.url}/metrics").text
    assert {n for (name, _), n in samples(text).items() if name == "recsys_model_workers"} == {2.0}
    assert {n for (name, _), n in samples(text).items() if name == "recsys_requests_in_flight"} == {0.0}

    # A worker that is killed is replaced, by one that serves the same run although another is newer.
    version = httpx2.get(f"{served.url}/model").json()["model_version"]
    save(rich(seed=5), tmp_path / "outputs" / "newer" / "bundle")
    (tmp_path / "outputs" / "newer" / "metrics.json").write_text("{}")
    children = subprocess.run(
        ["pgrep", "-P", str(served.process.pid), "-f", "spawn_main"], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(children[0]), signal.SIGKILL)
    time.sleep(3)
    assert {httpx2.get(f"{served.url}/model").json()["model_version"] for _ in range(40)} == {version}
    text = httpx2.get(f"{served.url}/metrics").text
    assert {n for (name, _), n in samples(text).items() if name == "recsys_model_workers"} == {2.0}
    assert counted(served, "/items/{item_id}") == 60  # counters outlive their process

    assert served.stop() == 0
    assert not list(tmp_path.glob("recsys-metrics-*"))
    assert "Traceback" not in "".join(served.log)


@pytest.mark.slow
def test_workers_follow_the_pointer_and_keep_their_flags(serve: Start, tmp_path: Path) -> None:
    write_pointer(tmp_path / "serving", save(rich(), tmp_path / "first"))
    served = serve(
        "--workers", "2", "--pointer", "serving", "--poll-seconds", "0.1", "--no-histories", "--drain-seconds", "0",
        RECSYS_LOG_LEVEL="warning",
    )  # fmt: skip
    time.sleep(1)
    assert {httpx2.get(f"{served.url}/users/1").status_code for _ in range(10)} == {403}
    write_pointer(tmp_path / "serving", save(rich(seed=1), tmp_path / "second"))
    time.sleep(1)
    assert {httpx2.get(f"{served.url}/model").json()["seed"] for _ in range(20)} == {1}
    assert served.stop(signal.SIGINT) == 0
    assert served.log == []


@pytest.mark.slow
def test_an_address_of_version_6_is_printed_as_one(serve: Start, saved: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    served = serve("--bundle", str(saved), "--host", "::1")
    assert served.url.startswith("http://[::1]:")
    assert served.stop() == 0
