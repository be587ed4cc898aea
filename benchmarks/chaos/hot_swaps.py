"""Two bundles in turns behind one pointer, under load: each answer must be wholly of the version that it names."""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos.campaign import Figures, Row
from benchmarks.load.kept import post
from benchmarks.load.service import KEEPS_ANSWERS, Client, running
from benchmarks.load.visitors import Answer, Visitors, get
from serve.models.pointer import write_pointer
from tests.bundles import make_bundle, random_factors

SUMMARY = "hot swaps between two bundles under load"
USERS, ITEMS = 500, 300
THREADS = 2
PATIENCE = 60.0  # seconds for a swap


def run(*, short: bool) -> Figures:
    swaps = 20 if short else 1000
    with tempfile.TemporaryDirectory() as place:
        pointer, folders = Path(place) / "serving", [Path(place) / name for name in ("one", "two")]
        for seed, folder in enumerate(folders):
            factors = random_factors(n_users=USERS, n_items=ITEMS, dim=16, seed=seed)
            rated = [(user, (user + step) % ITEMS, 4.0 - seed, 0) for user in range(USERS) for step in range(5)]
            users, items = list(range(USERS)), list(range(ITEMS))
            make_bundle(factors, users, items, rated, rating_scale=[1, 5], seed=seed).save(folder)
        asked = _requests()
        write_pointer(pointer, folders[0])
        options = ("--pointer", str(pointer), "--poll-seconds", "0.01", "--log-level", "warning")
        with running("-m", "serve", *options, environment=KEEPS_ANSWERS) as service:
            client = Client(service.port)
            expected: dict[bytes, set[bytes]] = {}
            for folder in reversed(folders):  # what each of the two says, undisturbed
                _swap(client, pointer, folder)
                for answer in _ask_once(service.port, asked):
                    expected.setdefault(answer.request, set()).add(answer.body)
            found: Counter[str] = Counter()
            longest = 0.0

            def judge(answer: Answer) -> None:
                nonlocal longest
                longest = max(longest, answer.seconds)
                known = answer.body in expected[answer.request]
                found["failed" if answer.status != 200 else "right" if known else "mixed"] += 1

            threads: list[Iterator[bytes]] = [itertools.cycle(asked[n:] + asked[:n]) for n in range(THREADS)]
            start = time.perf_counter()
            with Visitors(service.port, threads, judge) as visitors:
                for number in range(swaps):
                    _swap(client, pointer, folders[(number + 1) % 2])
                seconds = time.perf_counter() - start
            ready = client.get("/health/ready")[1]
    return {
        "swaps": swaps,
        "seconds": round(seconds, 1),
        "requests": visitors.answered,
        "failed": found["failed"],
        "mixed": found["mixed"],
        "longest": round(longest, 3),
        "rejected": ready["failed_loads"],
    }


def _requests() -> list[bytes]:
    """Of each route that answers from the model, for several people."""
    ratings = [{"item_id": str(item), "rating": 1 + item % 5} for item in range(0, 40, 4)]
    people = [1, 7, 123, 499]
    return [
        *(get(f"/users/{user}/recommendations?k=20&explain=true&distribution=true") for user in people),
        *(get(f"/users/{user}/recommendations?k=5&exclude_seen=false") for user in people),
        *(post("/predict/rating/", json.dumps({"user_id": user, "item_id": 2 * user % ITEMS})) for user in people),
        post("/predict/ratings/", json.dumps({"pairs": [{"user_id": user, "item_id": 5} for user in people]})),
        post("/recommendations/", json.dumps({"ratings": ratings, "k": 20, "explain": True})),
        get("/items/50/similar"),
        get("/items?query=film&limit=50"),
        get("/model"),
    ]


def _swap(client: Client, pointer: Path, folder: Path) -> None:
    """Name the folder, and wait until the other bundle is served."""
    before = client.get("/health/ready")[1]["model_version"]
    write_pointer(pointer, folder)
    end = time.monotonic() + PATIENCE
    while client.get("/health/ready")[1]["model_version"] == before:
        if time.monotonic() > end:
            raise SystemExit(f"error: {folder} was not swapped in within {PATIENCE:g} s")
        time.sleep(0.002)


def _ask_once(port: int, asked: list[bytes]) -> list[Answer]:
    answers: list[Answer] = []
    with Visitors(port, [iter(asked)], answers.append):
        while len(answers) < len(asked):
            time.sleep(0.01)
    if failed := [one for one in answers if one.status != 200]:
        raise SystemExit(f"error: not answered: {failed[0]}")
    return answers


def rows(figures: Figures) -> list[Row]:
    found = (
        f"{figures['failed']:,} failed and {figures['mixed']:,} mixed answers of {figures['requests']:,} in "
        f"{figures['seconds']:,.0f} s (longest {1000 * figures['longest']:,.0f} ms); "
        f"{figures['rejected']} bundles rejected"
    )
    bad = figures["failed"] or figures["mixed"] or figures["rejected"]
    return [
        Row(f"{figures['swaps']:,} hot swaps under load", found, not bad and figures["requests"] > figures["swaps"])
    ]
