"""Limits of clients, counted together by all workers of a host, in memory of a fixed size."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from recsys.bundle import Bundle
from serve import keys
from serve.access import rate_limits
from serve.access.rate_limits import BUCKETS, MOST_REMEMBERED, PLACES, SECOND, Limiter, RateLimit, Table
from tests.serve.conftest import ROOT, CheckedClient, Served, client_of

PAIR = {"user_id": "1", "item_id": "50"}


class Clock:
    """Time that passes when told to."""

    def __init__(self, start: int = 1000 * SECOND) -> None:
        self.now = start

    def monotonic_ns(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(rate_limits, "time", made)
    return made


def accepted(limiter: Limiter, client: str, requests: int) -> int:
    return sum(limiter.take(client)[0] >= 0 for _ in range(requests))


@pytest.mark.parametrize(
    ("text", "limit"), [("600/minute", (600, 60)), ("1/second", (1, 1)), ("7/hour", (7, 3600)), ("9/day", (9, 86_400))]
)
def test_limits_are_written_as_people_say_them(text: str, limit: tuple[int, int]) -> None:
    assert RateLimit.parse(text) == limit


@pytest.mark.parametrize("start", [0, 1, 1000 * SECOND, 10**9 * SECOND])
@pytest.mark.parametrize("quota", [1, 2, 7, 60, 1000])
def test_a_bucket_empties_and_fills(monkeypatch: pytest.MonkeyPatch, quota: int, start: int) -> None:
    clock = Clock(start)
    monkeypatch.setattr(rate_limits, "time", clock)
    limiter = Limiter(Table(), "key", RateLimit(quota, 60))
    told = [limiter.take("a") for _ in range(quota)]
    assert [left for left, _ in told] == list(range(quota - 1, -1, -1))
    assert told[-1][1] == 60  # until it is full again
    left, seconds = limiter.take("a")
    assert left == -1
    assert seconds == -(-60 // quota)  # for one request
    clock.wait(seconds - 1 if quota < 60 else 0)
    assert limiter.take("a")[0] == -1
    clock.wait(1)
    assert accepted(limiter, "a", 10 * quota) == max(1, quota // 60)
    clock.wait(3600)
    assert accepted(limiter, "a", 10 * quota) == quota


def test_waiting_as_told_is_enough(clock: Clock) -> None:
    limiter = Limiter(Table(), "key", RateLimit(7, 60))
    accepted(limiter, "a", 7)
    for _ in range(50):
        left, seconds = limiter.take("a")
        assert left == -1
        assert 1 <= seconds <= 9
        clock.wait(seconds)
        assert limiter.take("a")[0] >= 0


def test_clients_and_kinds_are_counted_apart(clock: Clock) -> None:
    table = Table()
    limiters = [Limiter(table, kind, RateLimit(5, 60)) for kind in ("key", "address", "failure")]
    for limiter in limiters:
        for client in ("a", "b", "a\0b", "", "\udcff"):
            assert accepted(limiter, client, 9) == 5


def test_the_clock_on_the_wall_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter(Table(), "key", RateLimit(5, 3600))
    accepted(limiter, "a", 5)
    for wall in (0.0, 1e10):
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        assert limiter.take("a")[0] == -1


def test_workers_count_together(tmp_path: Path, clock: Clock) -> None:
    workers = [Limiter(Table(tmp_path / "limits"), "key", RateLimit(10, 60)) for _ in range(3)]
    assert sum(accepted(worker, "a", 4) for worker in workers) == 10
    assert [worker.take("a")[0] for worker in workers] == [-1] * 3
    clock.wait(6)
    assert sum(worker.take("a")[0] >= 0 for worker in workers) == 1


def test_a_file_of_another_days_clock_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in (10**6 * SECOND, 60 * SECOND):  # of the machine, then after it was started again
        monkeypatch.setattr(rate_limits, "time", Clock(start))
        assert accepted(Limiter(Table(tmp_path / "limits"), "key", RateLimit(5, 60)), "a", 9) == 5


ASK_OFTEN = """
import sys
from pathlib import Path
from serve.access.rate_limits import Limiter, RateLimit, Table
limiter = Limiter(Table(Path(sys.argv[1])), "key", RateLimit(1000, 86_400))
print(sum(limiter.take("a")[0] >= 0 for _ in range(2000)))
"""


@pytest.mark.long
def test_processes_lose_hardly_a_request(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK_OFTEN, str(tmp_path / "limits")]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    total = sum(int(process.communicate(timeout=60)[0]) for process in processes)
    assert 1000 <= total <= 1050  # a few more, where one was stopped while it had the lock


def test_a_worker_that_stops_with_the_lock_stops_no_other(tmp_path: Path, clock: Clock) -> None:
    limiter = Limiter(Table(tmp_path / "limits"), "key", RateLimit(5, 60))
    with (tmp_path / "limits").open("r+b") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        asked: list[int] = []
        thread = threading.Thread(target=lambda: asked.append(accepted(limiter, "a", 9)), daemon=True)
        thread.start()
        thread.join(10)
    assert asked == [5]


def test_a_million_clients_take_no_more_memory(tmp_path: Path, clock: Clock) -> None:
    limiter = Limiter(Table(tmp_path / "limits"), "address", RateLimit(5, 60))
    size = (tmp_path / "limits").stat().st_size
    assert size < 2 << 20
    for number in range(20_000):
        limiter.take(str(number))
    assert len(limiter._places) <= MOST_REMEMBERED
    assert (tmp_path / "limits").stat().st_size == size


def test_whoever_waits_longest_for_a_full_bucket_keeps_the_place(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "BUCKETS", 1)  # all clients share its places
    limiter = Limiter(Table(), "address", RateLimit(5, 60))
    assert accepted(limiter, "attacker", 9) == 5
    for number in range(50 * PLACES):
        limiter.take(str(number))
        assert limiter.take("attacker")[0] == -1


def test_places_cannot_be_chosen(tmp_path: Path) -> None:
    first, second = Table(tmp_path / "a"), Table(tmp_path / "b")
    assert [first.place(str(n)) for n in range(9)] != [second.place(str(n)) for n in range(9)]
    assert first.place("a") == Table(tmp_path / "a").place("a")
    assert len({first.place(str(n))[1] for n in range(1000)}) > 900 > 1000 / BUCKETS


@pytest.fixture
def limited(bundles: dict[str, Bundle], tmp_path: Path) -> Iterator[tuple[CheckedClient, list[dict[str, str]]]]:
    """A service that lets each ask three times an hour, and the headers of two keys."""
    made = [keys.add(tmp_path / "keys", name, frozenset(("predict",))) for name in "ab"]
    with client_of(bundles["int"], keys=tmp_path / "keys", rate_limit="3/hour") as client:
        yield client, [{"Authorization": f"Bearer {key}"} for key in made]


def told(header: str) -> tuple[int, int]:
    """What is left, and the seconds."""
    found = re.fullmatch(r'"default";r=(\d+);t=(\d+)', header)
    assert found
    return int(found[1]), int(found[2])


def test_each_key_has_its_own_limit(limited: tuple[CheckedClient, list[dict[str, str]]]) -> None:
    client, headers = limited
    for one in headers:
        for left in (2, 1, 0):
            answer = client.post("/predict/rating/", json=PAIR, headers=one)
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == '"default";q=3;w=3600'
            found, seconds = told(answer.headers["ratelimit"])
            assert found == left
            assert -60 < seconds - (3 - left) * 1200 <= 0
        answer = client.post("/predict/rating/", json=PAIR, headers=one)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert told(answer.headers["ratelimit"]) == (0, int(answer.headers["retry-after"]))
        assert 1140 < int(answer.headers["retry-after"]) <= 1200
        assert answer.headers["content-security-policy"]
    for _ in range(5):
        assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200


def test_who_has_no_key_is_limited_by_address(limited: tuple[CheckedClient, list[dict[str, str]]]) -> None:
    client, headers = limited
    statuses = [client.get(path).status_code for path in ("/", "/items/50", "/nothing", "/", "/items/50")]
    assert statuses == [200, 401, 404, 429, 429]
    assert client.get("/items/50", headers=headers[0]).status_code == 200


def test_addresses_have_limits_without_keys_too(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"], rate_limit="3/hour") as client:
        statuses = [client.get("/items/50", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in range(5)]
        assert statuses == [200, 200, 200, 429, 429]  # nobody chooses an address


def test_clients_behind_a_proxy_are_told_apart(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"], rate_limit="3/hour", trusted_proxies="10.0.0.1") as client:
        guard = client.app.state.service.guard  # type: ignore[attr-defined]
        headers = [(b"x-forwarded-for", b"1.2.3.4"), (b"host", b"localhost"), (b"x-forwarded-for", b"192.0.2.7")]
        for peer, expected in (("10.0.0.1", "192.0.2.7"), ("10.0.0.2", "10.0.0.2")):
            assert guard.client({"client": (peer, 1), "headers": headers}) == expected
        assert guard.client({"client": None, "headers": headers}) == ""


@pytest.mark.long
def test_two_workers_serve_as_much_as_one(serve: Callable[..., Served], saved: Path, tmp_path: Path) -> None:
    key = keys.add(tmp_path / "keys", "shop", frozenset(("predict",)))
    served = serve(
        "--bundle", str(saved), "--keys", str(tmp_path / "keys"), "--rate-limit", "40/hour", "--workers", "2"
    )
    statuses, left = Counter[int](), []
    for _ in range(60):  # each over a connection of its own: any worker may take it
        line = HTTPConnection(served.url.removeprefix("http://"))
        line.request("GET", "/items/50", headers={"Authorization": f"Bearer {key}"})
        answer = line.getresponse()
        line.close()
        statuses[answer.status] += 1
        left.append(told(answer.headers["ratelimit"])[0])
    assert statuses == {200: 40, 429: 20}
    assert left == [*range(39, -1, -1), *[0] * 20]
