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
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import pytest

from serve.__main__ import serve as serve_until_stopped
from serve.flags import read_settings
from serve.models.pointer import write_pointer
from tests.serve.conftest import ITEM_NAMES, USER_NAMES, Served, clean_environment, rich, save, until
from tests.serve.test_metrics import samples

pytestmark = pytest.mark.long

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
        told = failing(tmp_path, "--bundle", str(saved), "--port", port)
    assert re.fullmatch(rf"error: cannot listen on 127\.0\.0\.1, port {port}: Address already in use\n", told)


@pytest.mark.slow
def test_an_address_that_is_taken_after_it_was_bound_is_told_in_one_sentence(saved: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    ended = subprocess.run(
        [sys.executable, "-m", "serve", "--bundle", str(saved), "--port", port, "--operations-port", port,
         "--operations-host", "localhost"],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr == f"error: cannot listen on port {port} and {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no finished run in outputs"),
        (["--bundle", "none"], "none is not a bundle"),
        (["--bundle", "bundle", "--database", "shop"], "database must be an SQLAlchemy URL"),
        (["--bundle", "bundle", "--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
    ],
)
def test_a_start_that_fails_names_its_reason(
    saved: Path, tmp_path: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["serve", *arguments])
    monkeypatch.setattr("serve.process.logs.configure", lambda level: None)
    with pytest.raises(SystemExit) as ended:
        serve_until_stopped(read_settings())
    assert re.fullmatch(rf"error: [^\n]*{re.escape(said)}[^\n]*", str(ended.value.code))


@pytest.mark.slow
def test_more_that_cannot_start(saved: Path, tmp_path: Path) -> None:
    assert "port: " in failing(tmp_path, "--port", "many")
    assert "RECSYS_PORT: " in failing(tmp_path, RECSYS_PORT="many")
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
    started, stopping = threading.Event(), threading.Event()

    def slow_body() -> object:
        yield body[:5]
        started.set()
        stopping.wait(20)
        yield body[5:]

    headers = {"Content-Type": "application/json", "X-Request-ID": "the-late-one"}
    late: list[httpx2.Response] = []
    post = threading.Thread(
        target=lambda: late.append(httpx2.post(f"{served.url}/predict/rating/", content=slow_body(), headers=headers))
    )
    post.start()
    started.wait(20)
    with httpx2.Client(base_url=served.url) as client:
        assert client.get("/health/ready").status_code == 200
        served.process.send_signal(signal.SIGTERM)
        ready = until(lambda: (now := client.get("/health/ready")).status_code != 200 and now)
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert client.get("/items/50").status_code == 200
    until(lambda: refuses_connections(served))
    stopping.set()
    post.join()
    assert late[0].status_code == 200  # it came before the signal, so it is answered
    assert served.process.wait(10) == 0
    served._reader.join(5)
    assert "the-late-one" in [line.get("request_id") for line in served.lines()]
    assert {line["level"] for line in served.lines()} == {"info"}


def refuses_connections(served: Served) -> bool:
    host, port = served.url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service of two requests at a time, whose bodies must come soon."""
    folder = tmp_path_factory.mktemp("narrow")
    bundle = str(save(rich(), folder / "bundle"))
    limits = ("--max-in-flight", "2", "--body-seconds", "0.3")
    served = Served("--bundle", bundle, *limits, "--drain-seconds", "0", cwd=folder).ready()
    yield served
    assert served.stop() == 0


def connections(served: Served, number: int) -> list[socket.socket]:
    host, port = served.url.removeprefix("http://").split(":")
    return [socket.create_connection((host, int(port)), timeout=10) for _ in range(number)]


def received(line: socket.socket) -> tuple[HTTPResponse, bytes]:
    """An answer that is awaited, and its body."""
    answer = HTTPResponse(line)
    answer.begin()
    return answer, answer.read()


def test_what_comes_at_once_beyond_the_limit_is_sent_away(narrow: Served) -> None:
    """The process is held, so that all requests are there when it goes on: it must not just queue them."""
    lines = connections(narrow, 40)
    for line in lines:  # each is accepted once it was answered
        line.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert received(line)[0].status == 200
    narrow.process.send_signal(signal.SIGSTOP)
    for line in lines:
        line.sendall(b"GET /users/1/recommendations HTTP/1.1\r\nHost: localhost\r\n\r\n")
    narrow.process.send_signal(signal.SIGCONT)
    answers = [received(line) for line in lines]
    for line in lines:
        line.close()
    refused = [(answer, body) for answer, body in answers if answer.status == 503]
    assert len(refused) + sum(answer.status == 200 for answer, _ in answers) == 40
    assert 10 < len(refused) < 40
    assert all(answer.headers["retry-after"] == "1" and b'"overloaded"' in body for answer, body in refused)
    assert httpx2.get(f"{narrow.url}/items/50").status_code == 200


def test_bodies_that_do_not_come_take_no_place_of_others(narrow: Served) -> None:
    lines = connections(narrow, 2)
    head = b"POST /predict/rating/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 50\r\n\r\n{"
    for line in lines:
        line.sendall(head)
    with httpx2.Client(base_url=narrow.url) as client:
        assert [client.get("/items/50").status_code for _ in range(20)] == [200] * 20
    for line in lines:
        answer, body = received(line)
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert b'"body_too_slow"' in body
        line.close()


def test_strings_with_anything_in_them_over_the_wire(serve: Start, tmp_path: Path) -> None:
    served = serve("--bundle", str(save(rich(USER_NAMES, ITEM_NAMES), tmp_path / "strings")), RECSYS_HISTORIES="false")
    host, port = served.url.removeprefix("http://").split(":")

    def raw(path: str, head: str = "") -> str:
        with socket.create_connection((host, int(port)), timeout=5) as line:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}Connection: close\r\n\r\n".encode("latin-1"))
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
        line.sendall(b"POST /predict/rating/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
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
    until(lambda: {httpx2.get(f"{served.url}/model").json()["seed"] for _ in range(20)} == {1})
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
