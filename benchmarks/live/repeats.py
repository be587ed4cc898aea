"""What an answer costs that was given before: beside a no-op, without a database and with one.

    python -m benchmarks.live.repeats --bundle RUN [--rounds 7] [--seconds 4]

Ratios are of requests per second, one worker, with wrk as the client. As in `benchmarks.serving`, requests and the
no-op take turns in one run, and the figure is the median of the rounds' ratios. `new` are answers that are computed:
the same requests to a service that keeps none.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

from benchmarks.load.service import Client, Running, running
from benchmarks.serving import RESULTS, wrk
from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import Event, EventLog
from serve.models.pointer import bundle_folder

PEOPLE = 1000  # who ask in turn
WITH_EVENTS = 10  # each of them, in the service with a database
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a run or a bundle")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement with wrk")
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--device", default=f"cpu-{os.cpu_count()}core")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("error: wrk is needed (apt-get install wrk)")
    folder = bundle_folder(arguments.bundle)
    bundle = Bundle.load(folder)
    found: dict[str, Any] = {}
    for name in ("without a database", "with a database"):
        found[name] = measured(folder, bundle, arguments, with_database=name == "with a database")
        print(json.dumps({name: found[name]}, indent=2), flush=True)
    file = RESULTS / f"live_repeats-{arguments.device}.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    commit = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)
    results[f"{bundle.manifest['model']} dim {bundle.factors.item_factors.shape[2]} on {bundle.manifest['data']}"] = {
        **found,
        "device": arguments.device,
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "git_commit": commit.stdout.strip(),
    }
    file.write_text(json.dumps(results, indent=2) + "\n")


def measured(folder: Path, bundle: Bundle, arguments: argparse.Namespace, *, with_database: bool) -> dict[str, Any]:
    """Requests per second beside the no-op's."""
    people = [str(user) for user in bundle.user_ids[: min(arguments.people, bundle.n_users)].tolist()]
    tops = [f"/users/{user}/recommendations?k=10&explain=true" for user in people]
    pair = json.dumps({"user_id": people[0], "item_id": str(bundle.item_ids[0])})
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        environment = {"RECSYS_BUNDLE": str(folder), "RECSYS_LOG_LEVEL": "info"}
        if with_database:
            environment["RECSYS_DATABASE"] = f"sqlite:///{place}/live.db"
            record(environment["RECSYS_DATABASE"], bundle, people)
        kept = stack.enter_context(service(environment | {"RECSYS_ANSWER_CACHE_BYTES": str(64 << 20)}))
        new = stack.enter_context(service(environment))
        etag = etag_of(kept, tops[0])
        cases = {
            "no-op": (kept, script(Path(place), "POST", ["/noop/rating/"], body=pair)),
            "the same rating again": (kept, script(Path(place), "POST", ["/predict/rating/"], body=pair)),
            "the same top-10 with reasons again": (kept, script(Path(place), "GET", tops[:1])),
            "the same, as 304": (kept, script(Path(place), "GET", tops[:1], etag=etag)),
            f"top-10 with reasons of {len(people):,} people in turn": (kept, script(Path(place), "GET", tops)),
            f"the same of {len(people):,} people, new": (new, script(Path(place), "GET", tops)),
        }
        client = Client(kept.port)
        for path in tops:  # the first round is not of new answers
            client.get(path)
        rates: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(arguments.rounds):
            for name, (asked, file) in cases.items():
                rates[name].append(wrk(asked, file, arguments.seconds))
        sources = answers_by_source(kept)
    beside = {
        name: [rate / noop for rate, noop in zip(found, rates["no-op"], strict=True)] for name, found in rates.items()
    }
    figures: dict[str, Any] = {
        name: {
            "requests_per_second": round(statistics.median(rates[name])),
            "ratio_to_noop": round(statistics.median(ratios), 3),
            "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
        }
        for name, ratios in beside.items()
    }
    return figures | {"hit_rate": round(1 - sources.get("computed", 0) / sum(sources.values()), 5)}


def service(environment: dict[str, str]) -> Any:
    uvicorn = ("-m", "uvicorn", "--factory", "--no-access-log", "--no-server-header", "--log-level", "warning")
    return running(*uvicorn, "benchmarks.load.noop:with_noop", environment=environment)


def record(url: str, bundle: Bundle, people: list[str]) -> None:
    """Some events of each of the people."""
    random = np.random.default_rng(0)
    low, high = bundle.given_scale
    items = [str(item) for item in bundle.item_ids[: bundle.n_items].tolist()]
    chosen = random.choice(len(items), (len(people), WITH_EVENTS)).tolist()
    stars = random.integers(int(np.ceil(low)), int(high) + 1, (len(people), WITH_EVENTS)).tolist()
    log = EventLog(Database.open(url))
    log.append(
        [
            Event(f"{user}-{place}", user, items[item], "rating", float(rating), 1_700_000_000 + place)
            for user, rated, given in zip(people, chosen, stars, strict=True)
            for place, (item, rating) in enumerate(zip(rated, given, strict=True))
        ]
    )
    log.database.close()


def script(folder: Path, method: str, paths: list[str], *, body: str | None = None, etag: str | None = None) -> Path:
    """A Lua script for wrk that asks for these paths in turn."""
    file = folder / f"{len([*folder.iterdir()])}.lua"
    header = "" if etag is None else f', ["if-none-match"] = {json.dumps(etag)}'
    quoted = ",".join(map(json.dumps, paths))
    text = "nil" if body is None else json.dumps(body)
    file.write_text(SCRIPT.format(method=method, paths=quoted, header=header, body=text))
    return file


def etag_of(asked: Running, path: str) -> str:
    with urllib.request.urlopen(asked.address + path) as answer:
        return str(answer.headers["etag"])


def answers_by_source(asked: Running) -> dict[str, float]:
    with urllib.request.urlopen(asked.address + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith("recsys_answers_total{"))
    return {name.partition('source="')[2].partition('"')[0]: float(value) for name, _, value in found}


if __name__ == "__main__":
    main()
