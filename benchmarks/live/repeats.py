"""What an answer costs that was given before, beside a no-op.

    python -m benchmarks.live.repeats [--bundle RUN] [--short]

One worker, without a database and with one, in which everybody who asks has events after the bundle's cut. Ratios are
of requests per second, with wrk as the client: as in `benchmarks.serving`, requests and the no-op take turns in one
run, and the figure is the median of the rounds' ratios. `computed` is the same by a service that keeps no answers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.live.events import TIME
from benchmarks.load.ml_1m import save_bundle
from benchmarks.load.service import KEEPS_ANSWERS, Client, Running, pinned, running
from benchmarks.serving import UVICORN, need_wrk, of_rounds, wrk
from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import Event, EventLog
from serve.models.pointer import bundle_folder

PEOPLE = 1000  # who ask in turn
EVENTS = 10  # of each, where there is a database
SCRIPT = """
local requests, last = {{}}, 0
function init()
  for place, path in ipairs({{{paths}}}) do
    requests[place] = wrk.format("{method}", path, {{["content-type"] = "application/json"{header}}}, {body})
  end
end
function request()
  last = last % #requests + 1
  return requests[last]
end
"""


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.live.repeats", description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="folder of a run (default: a bundle of the size of ML-1M)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement with wrk")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; stores nothing")
    arguments = parser.parse_args()
    need_wrk()
    of = provenance("benchmarks.live.repeats", [])
    rounds, seconds = (1, 1) if arguments.short else (arguments.rounds, arguments.seconds)
    with tempfile.TemporaryDirectory() as place:
        folder = bundle_folder(arguments.bundle or save_bundle(Path(place) / "bundle", dim=64))
        figures = {
            name: measure(folder, Path(place) / f"{number}", rounds, seconds, with_database=bool(number))
            for number, name in enumerate(("without a database", "with a database"))
        }
    print(json.dumps(figures, indent=2))
    if not arguments.short:
        write({**of, "figures": figures}, RESULTS / f"live_repeats-{DEVICE}.json")


def measure(folder: Path, place: Path, rounds: int, seconds: int, *, with_database: bool) -> dict[str, Any]:
    """Requests per second beside the no-op's."""
    place.mkdir()
    bundle = Bundle.load(folder)
    people = [str(user) for user in bundle.user_ids[: min(PEOPLE, bundle.n_users)].tolist()]
    tops = [f"/users/{user}/recommendations?k=10&explain=true" for user in people]
    pair = json.dumps({"user_id": people[0], "item_id": str(bundle.item_ids[0])})
    environment = {"RECSYS_BUNDLE": str(folder)}
    if with_database:
        environment["RECSYS_DATABASE"] = f"sqlite:///{place}/live.db"
        record(environment["RECSYS_DATABASE"], bundle, people)
    with (
        pinned() as cores,
        service(environment | KEEPS_ANSWERS, cores[-1]) as keeps,
        service(environment, cores[-1]) as computes,
    ):
        client = Client(keeps.port)
        for path in tops:  # the first round is not of new answers
            client.get(path)
        etag = etag_of(keeps, tops[0])
        cases = {
            "no-op": (keeps, script(place, "POST", ["/noop/rating/"], body=pair)),
            "the same rating": (keeps, script(place, "POST", ["/predict/rating/"], body=pair)),
            "the same top-10 with reasons": (keeps, script(place, "GET", tops[:1])),
            "the same top-10 with reasons, as 304": (keeps, script(place, "GET", tops[:1], etag=etag)),
            "top-10 with reasons of 1,000 people": (keeps, script(place, "GET", tops)),
            "top-10 with reasons of 1,000 people, computed": (computes, script(place, "GET", tops)),
        }
        rates: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, (asked, file) in cases.items():
                rates[name].append(wrk(asked, file, seconds))
        sources = answers_by_source(keeps)
    figures: dict[str, Any] = {"hit_rate": round(1 - sources.get("computed", 0) / sum(sources.values()), 5)}
    for name, found in rates.items():
        ratios = [rate / noop for rate, noop in zip(found, rates["no-op"], strict=True)]
        figures[name] = {
            "requests_per_second": round(statistics.median(found)),
            **of_rounds(ratios),
        }
    return figures


def service(environment: dict[str, str], core: int) -> AbstractContextManager[Running]:
    return running(*UVICORN, "benchmarks.load.noop:with_noop", environment=environment, cores={core})


def record(url: str, bundle: Bundle, people: list[str]) -> None:
    """Some events of each of the people."""
    random = np.random.default_rng(0)
    low, high = bundle.given_scale
    items = [str(item) for item in bundle.item_ids[: bundle.n_items].tolist()]
    chosen = random.choice(len(items), (len(people), EVENTS)).tolist()
    stars = random.integers(1, 6, (len(people), EVENTS)).clip(low, high).tolist()
    events = [
        Event(f"{user} {place}", user, items[item], "rating", float(rating), TIME + place)
        for user, rated, given in zip(people, chosen, stars, strict=True)
        for place, (item, rating) in enumerate(zip(rated, given, strict=True))
    ]
    log = EventLog(Database.open(url))
    log.append(events)
    log.database.close()


def script(folder: Path, method: str, paths: list[str], *, body: str | None = None, etag: str | None = None) -> Path:
    """A Lua script for wrk that asks for these paths in turn."""
    file = folder / f"{len([*folder.iterdir()])}.lua"
    header = "" if etag is None else f', ["if-none-match"] = {json.dumps(etag)}'
    text = "nil" if body is None else json.dumps(body)
    file.write_text(SCRIPT.format(method=method, paths=",".join(map(json.dumps, paths)), header=header, body=text))
    return file


def etag_of(asked: Running, path: str) -> str:
    with urllib.request.urlopen(asked.address + path) as answer:
        return str(answer.headers["etag"])


def answers_by_source(asked: Running) -> dict[str, float]:
    """Answers of the routes that keep them, since the service started."""
    with urllib.request.urlopen(asked.address + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith("recsys_answers_total{"))
    return {name.partition('source="')[2].partition('"')[0]: float(value) for name, _, value in found}


if __name__ == "__main__":
    main()
