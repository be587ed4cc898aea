"""What it costs the rating route that keys, limits and headers are on: both services answer in turns."""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.chaos.campaign import Figures, Row
from benchmarks.load.kept import Kept, post
from benchmarks.load.service import pinned, running
from serve import keys
from tests.bundles import make_bundle, random_factors

SUMMARY = "throughput of the rating route with keys, limits and headers on, against off"
USERS, ITEMS = 2000, 1500


def run(*, short: bool) -> Figures:
    rounds, seconds = (3, 0.25) if short else (25, 2.0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        factors = random_factors(n_users=USERS, n_items=ITEMS, dim=32)
        rated = [(user, user % ITEMS, 4.0, 0) for user in range(USERS)]
        make_bundle(factors, list(range(USERS)), list(range(ITEMS)), rated).save(folder / "bundle")
        key = keys.add(folder / "keys", "load", frozenset(("predict",)))
        options = ("--bundle", str(folder / "bundle"))
        guarded = ("--keys", str(folder / "keys"), "--rate-limit", "900000000/minute")
        bodies = [json.dumps({"user_id": str(n * 7 % USERS), "item_id": str(n * 5 % ITEMS)}) for n in range(997)]
        with (
            pinned() as cores,
            running("-m", "serve", *options, *guarded, cores={cores[-1]}) as on,
            running("-m", "benchmarks.load.unguarded", *options, cores={cores[-1]}) as off,
        ):
            header = (f"Authorization: Bearer {key}",)
            asked = {
                "on": Kept(on, [post("/predict/rating/", body, header) for body in bodies]),
                "off": Kept(off, [post("/predict/rating/", body) for body in bodies]),
            }
            for one in asked.values():
                one.rate(seconds)
            found = [{name: one.rate(seconds) for name, one in asked.items()} for _ in range(rounds)]
            for one in asked.values():
                one.close()
    return {
        "rounds": rounds,
        "seconds": seconds,
        "least": 0.5 if short else 0.85,  # a busy machine decides of what is measured in a second
        "throughput_ratio": round(statistics.median(one["on"][0] / one["off"][0] for one in found), 3),
        "processor_ratio": round(statistics.median(one["off"][1] / one["on"][1] for one in found), 3),
        **{f"per_second_{name}": round(statistics.median(one[name][0] for one in found)) for name in asked},
        **{f"microseconds_{name}": round(statistics.median(one[name][1] for one in found), 1) for name in asked},
    }


def rows(figures: Figures) -> list[Row]:
    what = "rating route with keys, limits and headers on, against off"
    found = (
        f"{figures['throughput_ratio']:.2f} of the throughput ({figures['per_second_on']:,} a second), "
        f"{figures['microseconds_on']:.0f} µs of processor time instead of {figures['microseconds_off']:.0f}"
    )
    return [Row(what, found, figures["throughput_ratio"] >= figures["least"])]
