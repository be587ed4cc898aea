"""A million mixed requests, most of them nonsense: what the service keeps of them in memory and figures."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.chaos.campaign import Figures, Row
from benchmarks.load.service import Running, running
from benchmarks.load.visitors import Answer, Visitors
from serve import keys
from tests.bundles import make_bundle, random_factors

SUMMARY = "memory, descriptors and metric series over a million mixed requests"
USERS, ITEMS = 500, 300
THREADS = 4
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789äßø李🎬 %/?#&=+\\\"'<>\t"
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND")


def run(*, short: bool) -> Figures:
    first, last = (1_000, 3_000) if short else (100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        factors = random_factors(n_users=USERS, n_items=ITEMS, dim=16)
        rated = [(user, (user + step) % ITEMS, 4.0, 0) for user in range(USERS) for step in range(5)]
        make_bundle(factors, list(range(USERS)), list(range(ITEMS)), rated).save(folder / "bundle")
        key = keys.add(folder / "keys", "load", frozenset(("predict", "histories", "operations")))
        options = (
            "--bundle",
            str(folder / "bundle"),
            "--keys",
            str(folder / "keys"),
            "--rate-limit",
            "900000000/minute",
        )
        waits = ("--max-wait-seconds", "60")  # nothing is shed, whose figures would come up late
        few = {"RECSYS_ANSWER_CACHE_BYTES": "1000000"}  # which are full before anything is measured
        with running("-m", "serve", *options, *waits, "--log-level", "warning", environment=few) as service:
            start = time.perf_counter()
            counts: dict[int, int] = {}

            def judge(answer: Answer) -> None:
                counts[answer.status] = counts.get(answer.status, 0) + 1

            with Visitors(service.port, [iter(strangers())], judge) as visitors:
                _until(lambda: visitors.answered == len(strangers()))
            asked = [Mixture(key, seed).requests() for seed in range(THREADS)]
            with Visitors(service.port, asked, judge, fresh=7) as visitors:
                _until(lambda: visitors.answered >= first)
            before, early = _found(service, key)
            asked = [Mixture(key, THREADS + seed).requests() for seed in range(THREADS)]
            done = visitors.answered
            with Visitors(service.port, asked, judge, fresh=7) as visitors:
                _until(lambda: done + visitors.answered >= last)
            after, series = _found(service, key)
            late = sorted(series - early)
    return {
        "from": first,
        "to": done + visitors.answered,
        "seconds": round(time.perf_counter() - start),
        "statuses": {str(status): counts[status] for status in sorted(counts)},
        "limits": {"memory_kib": 30_000, "descriptors": 2, "series": 200} if short else
        {"memory_kib": 5_000, "descriptors": 0, "series": 0},
        "before": before,
        "after": after,
        "growth": {name: after[name] - before[name] for name in before},
        "late": late,
    }  # fmt: skip


def strangers() -> list[bytes]:
    """Each route without a key: few such requests get this far later, so that their figures would come up late."""
    pages = ["/metrics", "/model"]
    users = ["/users/1", "/users/1/recommendations"]
    asked = [f"GET {path}" for path in (*pages, *users, "/items", "/items/1", "/items/1/similar")]
    asked += [f"OPTIONS {path}" for path in pages]
    asked += [f"POST {path}" for path in ("/predict/rating/", "/predict/ratings/", "/recommendations/")]
    return [f"{one} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode() for one in asked]


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def _found(service: Running, key: str) -> tuple[dict[str, int], set[str]]:
    """What the service holds, once nobody is connected, and its metric series."""
    time.sleep(0.5)
    request = Request(f"{service.address}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    series = {line.rpartition(" ")[0] for line in lines if line and not line.startswith("#")}
    time.sleep(0.5)
    counts = {"memory_kib": service.anonymous_kib(), "descriptors": service.descriptors(), "series": len(series)}
    return counts, series


class Mixture:
    """Requests of every kind, drawn at random.

    Args:
        key: That most of them carry.
        seed: Of what is drawn.
    """

    def __init__(self, key: str, seed: int) -> None:
        self.key, self.draw = key, random.Random(seed)

    def requests(self) -> Iterator[bytes]:
        kinds = [
            self.rating, self.ratings, self.top, self.folded, self.search, self.one, self.lost, self.page, self.broken,
        ]  # fmt: skip
        while True:
            yield self.draw.choice(kinds)()

    def text(self, longest: int = 40) -> str:
        return "".join(self.draw.choices(ALPHABET, k=self.draw.randrange(1, longest)))

    def segment(self, longest: int = 40) -> str:
        return "".join(f"%{byte:02X}" for byte in self.text(longest).encode())

    def id_of(self, count: int) -> Any:
        """One that exists, one that does not, a long one, or none at all."""
        kinds: list[Callable[[], Any]] = [
            lambda: self.draw.randrange(count), lambda: str(self.draw.randrange(count)),
            lambda: self.draw.randrange(10**9), lambda: self.text(400), lambda: -1.5, lambda: None, lambda: [{}],
        ]  # fmt: skip
        return self.draw.choices(kinds, (5, 5, 2, 1, 1, 1, 1))[0]()

    def rating(self) -> bytes:
        pair = {"user_id": self.id_of(USERS), "item_id": self.id_of(ITEMS)}
        return self.posted("/predict/rating/", pair | ({self.text(): 1} if self.draw.random() < 0.1 else {}))

    def ratings(self) -> bytes:
        pairs = [{"user_id": self.id_of(USERS), "item_id": self.draw.randrange(ITEMS)} for _ in range(3)]
        return self.posted("/predict/ratings/", {"pairs": pairs})

    def folded(self) -> bytes:
        items = self.draw.sample(range(ITEMS + 20), 10)
        ratings = [{"item_id": item, "rating": self.draw.choice([1, 2, 3.5, 5, 9])} for item in items]
        return self.posted("/recommendations/", {"ratings": ratings, "k": self.draw.randrange(-1, 30), "explain": True})

    def top(self) -> bytes:
        options = {
            "k": self.draw.randrange(1, 40), "explain": self.draw.choice(["true", "false", "maybe"]),
            "year_from": self.draw.randrange(1900, 2100), "min_ratings": self.draw.randrange(30),
            "genre": self.draw.choice(["Drama", self.segment()]), self.segment(): self.segment(),
        }  # fmt: skip
        chosen = self.draw.sample(list(options.items()), self.draw.randrange(4))
        query = "&".join(f"{name}={value}" for name, value in chosen)
        return self.asked("GET", f"/users/{self.draw.randrange(2 * USERS)}/recommendations?{query}")

    def search(self) -> bytes:
        return self.asked("GET", f"/items?query={self.segment()}&limit={self.draw.randrange(1, 60)}")

    def one(self) -> bytes:
        place = self.draw.choice(["/items/{}", "/items/{}/similar", "/users/{}"])
        kinds = (self.draw.randrange(ITEMS), ITEMS + self.draw.randrange(10**6), self.segment(300))
        return self.asked("GET", place.format(self.draw.choices(kinds, (7, 1, 2))[0]))

    def lost(self) -> bytes:
        method = self.draw.choice([*METHODS, "".join(self.draw.choices("ABCDEFG", k=5))])
        return self.asked(method, f"/{self.segment()}/{self.segment()}")

    def page(self) -> bytes:
        paths = ["/", "/docs", "/openapi.json", "/metrics", "/health/ready", "/health/live", "/model", "/page/nowhere"]
        return self.asked(self.draw.choice(["GET", "GET", "OPTIONS"]), self.draw.choice(paths))

    def broken(self) -> bytes:
        """What is no JSON, or no HTTP."""
        if self.draw.random() < 0.2:
            return f"{self.text()}\r\n{self.text()}\r\n\r\n".encode()
        return self.asked("POST", "/predict/rating/", self.draw.choice([self.text(), "{", "[" * 500, '"\ud800"', ""]))

    def posted(self, path: str, body: Any) -> bytes:
        return self.asked("POST", path, json.dumps(body))

    def asked(self, method: str, path: str, body: str | None = None) -> bytes:
        """With headers that nobody knows, now and then another key, another host or another origin."""
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"Host: {self.draw.choices(['localhost', f'{self.draw.random()}.example'], (20, 1))[0]}"]
        key = self.draw.choices([self.key, f"{self.draw.random()}", None], (20, 1, 1))[0]
        lines += [] if key is None else [f"Authorization: Bearer {key}"]
        for name in ("X-Request-ID", "User-Agent", "Origin", "X-Forwarded-For", f"X-{self.draw.randrange(10**9)}"):
            lines += [f"{name}: {self.draw.random()}"] if self.draw.random() < 0.2 else []
        content = b"" if body is None else body.encode(errors="replace")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content


def rows(figures: Figures) -> list[Row]:
    growth, limits = figures["growth"], figures["limits"]
    found = (
        f"{growth['memory_kib'] / 1000:+.1f} MB of {figures['after']['memory_kib'] / 1000:.0f} MB, "
        f"{growth['descriptors']:+d} descriptors, {growth['series']:+d} metric series"
    )
    what = f"growth from the {figures['from']:,}th to the {figures['to']:,}th mixed request, one worker"
    return [Row(what, found, all(growth[name] <= limits[name] for name in limits))]
