"""What the default order of lists costs: requests for a top 10 by it, and by stars as before there were orders.

    python -m benchmarks.list_speed RUN [--rounds 30]

The service answers in this process, in one thread and without its cache of answers: a hundred users a round, one order
after the other. Prints the median microseconds of CPU of a request by each order, and the ratio of requests per second.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
from starlette.types import ASGIApp, Message

from serve.app import create_app
from serve.models.model_manager import ModelManager
from serve.models.pointer import bundle_folder
from serve.models.served_model import ServedModel
from serve.settings import Settings

USERS = 100
QUERIES = {"stars": b"k=10&rank_by=stars&min_ratings=0", "default": b"k=10"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or of a bundle")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    folder = bundle_folder(arguments.run)
    found = asyncio.run(measured(ServedModel.load(folder), folder, arguments.rounds))
    for name, microseconds in found.items():
        print(f"{name:8} {microseconds:7.0f} µs a request")
    print(f"requests per second, default to stars: {found['stars'] / found['default']:.3f}")


async def measured(model: ServedModel, folder: Path, rounds: int) -> dict[str, float]:
    """Median microseconds of CPU of a request, by order."""
    app = create_app(Settings(answer_cache_bytes=0), ModelManager(model, folder))
    rows = np.random.default_rng(0).integers(0, model.bundle.n_users, USERS)
    paths = [f"/users/{model.bundle.user_ids[row]}/recommendations" for row in rows.tolist()]
    seconds: dict[str, list[float]] = {name: [] for name in QUERIES}
    async with app.router.lifespan_context(app):
        for _ in range(rounds):
            for name, query in QUERIES.items():
                began = time.process_time()
                for path in paths:
                    await ask(app, path, query)
                seconds[name].append((time.process_time() - began) / len(paths))
    return {name: 1e6 * float(np.median(of)) for name, of in seconds.items()}


async def ask(app: ASGIApp, path: str, query: bytes) -> None:
    """Ask for one list.

    Raises:
        RuntimeError: The answer is not one.
    """
    scope: dict[str, Any] = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode(),
        "query_string": query, "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        "server": ("localhost", 80), "scheme": "http", "root_path": "", "state": {},
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"{path} answered {message['status']}")

    await app(scope, receive, send)


if __name__ == "__main__":
    main()
