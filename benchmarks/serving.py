"""What serving costs: start, throughput beside a no-op, hot swaps under load, memory.

    python -m benchmarks.serving --bundle RUN [--other RUN] [--only start ratios swaps memory]

Ratios are of requests per second, one worker, with wrk (Debian's package) as the client: routes and the no-op
take turns in one run, and the figure is the median of the rounds' ratios. The no-op has the request and response
models of `/predict/rating/` and passes the same middleware; `bare` is the same route without any middleware or log.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")  # sums in the service's order

import orjson

from benchmarks.load.service import KEEPS_ANSWERS, Client, Running, running
from recsys.bundle import Bundle
from serve.models.pointer import bundle_folder, write_pointer

RESULTS = Path(__file__).parent / "results"
CONNECTIONS = 32
UVICORN = ("-m", "uvicorn", "--factory", "--no-access-log", "--no-server-header", "--log-level", "warning")
SCRIPT = """
math.randomseed({seed})
users = {{{users}}}
items = {{{items}}}
function request()
  local user, item = users[math.random(#users)], items[math.random(#items)]
  {request}
end
"""
POST = """return wrk.format("POST", "{path}", {{["content-type"] = "application/json"}},
    '{{"user_id":"' .. user .. '","item_id":"' .. item .. '"}}')"""
GET = """return wrk.format("GET", "/users/" .. user .. "/recommendations?k=10{query}")"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a run or a bundle")
    parser.add_argument("--other", type=Path, help="another bundle of the same data, to swap with")
    parser.add_argument("--only", nargs="+", choices=("start", "ratios", "swaps", "memory"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement with wrk")
    parser.add_argument("--device", default=f"cpu-{os.cpu_count()}core")
    arguments = parser.parse_args()
    folder = bundle_folder(arguments.bundle)
    bundle = Bundle.load(folder)
    file = RESULTS / f"serving-{arguments.device}.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    chosen = arguments.only or ["start", "ratios", *(["swaps"] if arguments.other else []), "memory"]
    name = f"{bundle.manifest['model']} dim {bundle.factors.item_factors.shape[2]} on {bundle.manifest['data']}"
    found: dict[str, Any] = results.setdefault(name, {})
    for what in chosen:
        if what == "start":
            found[what] = starts(folder, arguments.rounds)
        elif what == "ratios":
            found[what] = ratios(folder, bundle, arguments.rounds, arguments.seconds)
        elif what == "swaps":
            found[what] = swaps(folder, bundle_folder(arguments.other))
        else:
            found[what] = memory(folder, bundle)
        print(json.dumps({what: found[what]}, indent=2), flush=True)
    commit = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)
    found |= {
        "device": arguments.device,
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),  # processes at work in the minute before the end
        "git_commit": commit.stdout.strip(),
    }
    file.write_text(json.dumps(results, indent=2) + "\n")


def starts(folder: Path, rounds: int) -> dict[str, float]:
    """Seconds from the start of the process to the first 200 on `/health/ready`."""
    seconds = []
    for _ in range(rounds):
        with running("-m", "serve", "--bundle", str(folder)) as service:
            seconds.append(service.seconds)
    return {"median_seconds": round(statistics.median(seconds), 3), "longest_seconds": round(max(seconds), 3)}


def ratios(folder: Path, bundle: Bundle, rounds: int, seconds: int) -> dict[str, Any]:
    """Requests per second beside the no-op's."""
    need_wrk()
    requests = {
        "no-op": POST.format(path="/noop/rating/"),
        "one rating": POST.format(path="/predict/rating/"),
        "top-10": GET.format(query=""),
        "top-10 with reasons": GET.format(query="&explain=true"),
    }
    environment = {"RECSYS_BUNDLE": str(folder)}
    measured: dict[str, list[float]] = {name: [] for name in ("bare", *requests)}
    with (
        tempfile.TemporaryDirectory() as scripts,
        running(*UVICORN, "benchmarks.load.noop:with_noop", environment=environment) as service,
        running(*UVICORN, "benchmarks.load.noop:bare", environment=environment) as bare,
    ):
        files = {}
        for name, request in requests.items():
            files[name] = Path(scripts) / f"{len(files)}.lua"
            files[name].write_text(script(bundle, request))
        for _ in range(rounds):
            measured["bare"].append(wrk(bare, files["no-op"], seconds))
            for name, file in files.items():
                measured[name].append(wrk(service, file, seconds))
    figures: dict[str, Any] = {}
    for name, rates in measured.items():
        beside = [rate / noop for rate, noop in zip(rates, measured["no-op"], strict=True)]
        figures[name] = {
            "requests_per_second": round(statistics.median(rates)),
            **of_rounds(beside, "ratio_to_noop"),
        }
    return figures


def of_rounds(ratios: Sequence[float], name: str = "ratio") -> dict[str, float]:
    """The median of the rounds' ratios, under this name, and the lowest and highest."""
    found = {name: statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    return {key: round(value, 3) for key, value in found.items()}


def script(bundle: Bundle, request: str) -> str:
    """A Lua script for wrk that asks about all fitted users and items, each as likely."""
    quoted = lambda ids: ",".join(json.dumps(str(one)) for one in ids)  # noqa: E731
    users, items = bundle.user_ids[: bundle.n_users].tolist(), bundle.item_ids[: bundle.n_items].tolist()
    return SCRIPT.format(seed=7, users=quoted(users), items=quoted(items), request=request)


def need_wrk() -> None:
    """End the program where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("error: wrk is needed (apt-get install wrk)")


def wrk(service: Running, file: Path, seconds: int) -> float:
    """Requests per second; a failed request ends the program."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(file), service.address]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"error: requests failed\n{printed}")
    [rate] = re.findall(r"Requests/sec:\s+([\d.]+)", printed)
    return float(rate)


def swaps(folder: Path, other: Path, *, count: int = 50, requests: int = 20_000, threads: int = 4) -> dict[str, Any]:
    """Swap two models to and fro under load; each answer must be the one that its `model_version` gives."""
    from serve.list_requests import RecommendationOptions
    from serve.models.served_model import ServedModel
    from serve.recommender import recommend

    models = {model.version: model for model in map(ServedModel.load, (folder, other))}
    users = list(next(iter(models.values())).users)[:200]
    options = RecommendationOptions(k=10, explain=True)
    expected = {
        (version, user): json.loads(orjson.dumps(recommend(model, model.person(user), options)))
        for version, model in models.items()
        for user in users
    }
    done = threading.Event()
    asked = [0] * threads  # by thread, so that no count is lost

    def ask(service: Running, number: int) -> Counter[str]:
        client, choose = Client(service.port), random.Random(number)
        found: Counter[str] = Counter()
        while not done.is_set():
            user = choose.choice(users)
            asked[number] += 1
            try:
                status, answer = client.get(f"/users/{user}/recommendations?k=10&explain=true")
            except (OSError, http.client.HTTPException, ValueError):
                found["failed"] += 1
                client = Client(service.port)
                continue
            found["failed"] += status != 200
            if status == 200:
                found[answer["model_version"]] += 1
                found["mixed"] += answer != expected.get((answer["model_version"], user))
        return found

    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(threads) as pool:
        pointer = Path(place) / "serving"
        write_pointer(pointer, folder)
        start = time.perf_counter()
        command = ("-m", "serve", "--pointer", str(pointer), "--poll-seconds", "0.05")
        with running(*command, environment=KEEPS_ANSWERS) as service:
            askers = [pool.submit(ask, service, number) for number in range(threads)]
            try:
                watcher, swapped = Client(service.port), 0
                for target in itertools.islice(itertools.cycle((other, folder)), count):
                    before = watcher.get("/health/ready")[1]["model_version"]
                    write_pointer(pointer, target)
                    while watcher.get("/health/ready")[1]["model_version"] == before:
                        time.sleep(0.02)
                    swapped += 1
                    while sum(asked) < requests * swapped / count:  # so that the swaps are spread over the requests
                        time.sleep(0.01)
            finally:
                done.set()
            found = sum((asker.result() for asker in askers), Counter())
    return {
        "swaps": swapped, "requests": sum(asked), "failed": found["failed"], "mixed": found["mixed"],
        "answers_by_version": {version: found[version] for version in models},
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def memory(folder: Path, bundle: Bundle, *, warm_up: int = 20_000, requests: int = 100_000) -> dict[str, Any]:
    """Growth of the process over mixed requests, after a warm-up."""
    users, items = bundle.user_ids[: bundle.n_users].tolist(), bundle.item_ids[: bundle.n_items].tolist()
    choose = random.Random(0)

    def ask(client: Client, number: int) -> None:
        user, item = choose.choice(users), choose.choice(items)
        kind, expected = number % 8, 200
        if kind < 3:
            status, _ = client.post("/predict/rating/", {"user_id": str(user), "item_id": str(item)})
        elif kind < 5:
            status, _ = client.get(f"/users/{user}/recommendations?k=10&explain={'true' if kind == 4 else 'false'}")
        elif kind == 5:
            rated = [{"item_id": str(i), "rating": 4} for i in choose.sample(items, 20)]
            status, _ = client.post("/recommendations/", {"ratings": rated, "explain": True, "distribution": True})
        elif kind == 6:
            status, _ = client.get(f"/items?query={choose.choice('abcdefghijklmnoprstuvw')}&limit=20")
        else:
            status, expected = client.get(f"/nothing/{number}")[0], 404
        if status != expected:
            raise SystemExit(f"error: {status} instead of {expected} for request {number}")

    few = {"RECSYS_ANSWER_CACHE_BYTES": "1000000"}  # which the warm-up fills
    with running("-m", "serve", "--bundle", str(folder), environment=few) as service:
        client = Client(service.port)
        for number in range(warm_up):
            ask(client, number)
        before = service.rss_kib()
        for number in range(requests):
            ask(client, number)
        after = service.rss_kib()
    return {"requests": requests, "mib": round(after / 1024, 1), "growth_mib": round((after - before) / 1024, 2)}


if __name__ == "__main__":
    main()
