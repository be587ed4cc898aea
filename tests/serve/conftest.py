"""Small bundles of every kind, and a client that holds each answer against the OpenAPI document."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recsys.bundle import Bundle
from recsys.bundle.attributes import RowAttributes
from recsys.database import Database
from recsys.events import EventLog
from serve.app import create_app
from serve.models.model_manager import ModelManager
from serve.models.served_model import ServedModel
from serve.settings import Settings
from tests.bundles import encoder_bundle, history_factors, make_bundle, random_factors

ROOT = Path(__file__).parents[2]

# Six users and twelve items are fitted; the last two of each are in the data, but the model never saw them.
USERS = [1, 2, 30, -4, 0, 9_000_000_000, 405, 2**63 - 1]
ITEMS = [50, 172, 7, -8, 0, 2571, 318, 2**63 - 2, 11, 12, 13, 14, 900, 901]
USER_NAMES = ["Zoë", "a/b", "..", " spaced out ", "李", "50%2F", "q?x=1#y", "never fitted"]
ITEM_NAMES = ["a/b", "..", "x y", "ā", "7", "%2F", "🎬", '"', "\\", ".", "007", "similar to", "unfitted", "new/item"]
ABOUT: list[tuple[str, int | None, list[str]]] = [
    ("Matrix, The (1999)", 1999, ["Action", "Sci-Fi"]),
    ("Amélie (Le Fabuleux destin d'Amélie Poulain) (2001)", 2001, ["Comedy", "Romance"]),
    ("Schindler's List (1993)", 1993, ["Drama", "War"]),
    ("千と千尋の神隠し (2001)", 2001, ["Animation"]),
    ("2001: A Space Odyssey (1968)", 1968, ["Sci-Fi"]),
    ("The Oﬃce Party", None, ["Comedy"]),
    ("Straße nach Ångström, Die (1950)", 1950, ["Drama"]),
    ('"Quoted" \\ <b>Film</b> \u2028 & Co.', None, []),
    ("Matrix Reloaded, The (2003)", 2003, ["Action", "Sci-Fi"]),
    ("Toy Story (1995)", 1995, ["Animation", "Comedy"]),
    ("Toy Story 2 (1999)", 1999, ["Animation", "Comedy"]),
    ("M (1931)", 1931, ["Crime"]),
    ("Unfitted (1998)", 1998, ["Drama"]),
    ("Later Still (2024)", 2024, ["Western"]),
]


NAMES = ["gender=F", "gender=M", "age=25"]  # of attributes: each user has one of them, in turns
HALVES = [stars / 2 for stars in range(1, 11)]


def rated() -> list[tuple[int, int, float, int]]:
    """Ratings by user, in half stars: user row 6 was not fitted, row 7 and item row 13 have none."""
    rng = np.random.default_rng(7)
    rows = []
    for user, n in enumerate([5, 6, 3, 1, 8, 2, 2]):
        items = sorted(rng.choice(13, n, replace=False).tolist())
        rows += [(user, item, float(rng.integers(1, 11)) / 2, int(rng.integers(0, 3))) for item in items]
    return rows


def rich(users: list[Any] = USERS, items: list[Any] = ITEMS, *, seed: int = 0, **options: Any) -> Bundle:
    """A bundle of half stars; `options` are of the factors or else of the manifest."""
    kinds = ("samples", "implicit", "exponents", "dim", "noisy", "levels")
    shape = {key: options.pop(key) for key in kinds if key in options}
    names = options.get("attributes", [])
    factors = random_factors(n_users=6, n_items=12, seed=seed, attributes=len(names), **shape)
    manifest = {
        "rating_scale": [0.5, 5.0], "model": "mf", "data": "small", "seed": seed,
        "metrics": {"test/rmse": 0.9, "test/rmse_cold": None},
    } | options  # fmt: skip
    bundle = make_bundle(factors, users, items, rated(), **manifest)
    about = [{"title": title, "year": year, "genres": genres} for title, year, genres in ABOUT]
    known = RowAttributes(np.arange(9), np.arange(8, dtype=np.int32) % 3)
    return replace(bundle, items=about, user_attributes=known if names else None)


KINDS: dict[str, Callable[[], Bundle]] = {
    "int": rich,
    "str": lambda: rich(USER_NAMES, ITEM_NAMES),
    "posterior": lambda: rich(samples=3, implicit=True, exponents=(0.0, 1.0)),
    "ordinal": lambda: rich(
        samples=3, noisy=True, levels=tuple(HALVES), link="ordinal", noise=0.9, attributes=NAMES, counts={"items": 11}
    ),
    "noise": lambda: rich(noise=0.9),
    "ranking": lambda: rich(task="ranking"),
    "histories": lambda: replace(
        rich(task="ranking", fold_in="items", model="ease"), factors=history_factors(n_users=6)
    ),
    "encoder": lambda: replace(
        encoder_bundle(USERS[:7], ITEMS, rated(), rating_scale=[0.5, 5.0]),
        items=[{"title": title, "year": year, "genres": genres} for title, year, genres in ABOUT],
    ),
    "no fold-in": lambda: rich(fold_in="none"),
}


class CheckedClient(TestClient):
    """A client that fails where an answer is not one that the OpenAPI document announces."""

    def request(self, method: str, url: Any, **arguments: Any) -> httpx2.Response:  # type: ignore[override]
        response = super().request(method, url, **arguments)
        assert isinstance(self.app, FastAPI)
        check_against_openapi(self.app, method, response)
        return response

    def unchecked(self, method: str, url: str, **arguments: Any) -> httpx2.Response:
        """Where another test has had the same request checked: a document for each swapped model would take long."""
        return super().request(method, url, **arguments)


def check_against_openapi(app: FastAPI, method: str, response: httpx2.Response) -> None:
    """Fail if the status, the type or the content is not documented; errors have one shape, documented or not."""
    assert response.headers["x-request-id"]
    if response.status_code >= 400:
        assert set(response.json()) == {"detail", "code"}, response.text
        assert re.fullmatch("[a-z][a-z_]+", response.json()["code"])
        assert response.status_code != 422
    document = app.openapi()
    template = template_of(document, response.request.url.raw_path.partition(b"?")[0].decode())
    operation = document["paths"].get(template, {}).get(method.lower())
    if operation is None:  # a page, a redirect, or nothing
        return
    documented = operation["responses"].get(str(response.status_code))
    assert documented, f"{method} {template} answered {response.status_code}, which its document leaves out"
    if response.status_code == 304:  # which has no content
        assert not response.content
        return
    media = response.headers["content-type"].partition(";")[0]
    assert media in documented["content"], f"{method} {template} answered with {media}"
    if media == "application/json":
        schema = {"components": document["components"], **documented["content"][media]["schema"]}
        jsonschema_rs.validate(schema, response.json())


def template_of(document: dict[str, Any], path: str) -> str | None:
    """The documented path that an encoded path is one of; each parameter is one segment."""
    return next((one for one in document["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one), path)), None)


@contextlib.contextmanager
def client_of(model: Bundle | ModelManager, **settings: Any) -> Iterator[CheckedClient]:
    """A client of a service in this process."""
    models = ModelManager(ServedModel(model), Path()) if isinstance(model, Bundle) else model
    with CheckedClient(create_app(Settings(**settings), models), base_url="http://localhost") as client:
        yield client


@pytest.fixture(autouse=True)
def checked_in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check bundles without a process for each, but where the test is about that."""
    if request.module.__name__.rpartition(".")[2] != "test_candidate":
        monkeypatch.setattr(
            "serve.candidate.in_child",
            lambda folder, sha256, settings, gently: ServedModel.load(folder, sha256=sha256, settings=settings),
        )


@pytest.fixture(scope="session")
def bundles() -> dict[str, Bundle]:
    return {kind: make() for kind, make in KINDS.items()}


@pytest.fixture(scope="session")
def clients(bundles: dict[str, Bundle]) -> Iterator[dict[str, CheckedClient]]:
    """A client for each kind of bundle."""
    with contextlib.ExitStack() as stack:
        yield {kind: stack.enter_context(client_of(bundle)) for kind, bundle in bundles.items()}


@pytest.fixture
def client(clients: dict[str, CheckedClient]) -> CheckedClient:
    """Of the bundle with integer ids."""
    return clients["int"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a database that is made by whoever opens it first."""
    return f"sqlite:///{tmp_path}/live.db"


@pytest.fixture
def log(url: str) -> EventLog:
    """Of another process: what it writes is seen, and it sees what is written."""
    return EventLog(Database.open(url))


class Served:
    """`python -m serve` as a process of its own, listening on a free port."""

    def __init__(self, *arguments: str, cwd: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--port", "0", *arguments],
            cwd=cwd,
            env={**clean_environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.first_lines = [self.process.stdout.readline(), self.process.stdout.readline()]
        found = re.match(r"http://\S+", self.first_lines[1])
        if found is None:
            raise AssertionError(f"{self.first_lines}, status {self.process.wait(10)}: {self.process.stderr.read()}")
        self.url = found[0]
        self.log: list[str] = []
        self._reader = threading.Thread(target=self.log.extend, args=[self.process.stderr], daemon=True)
        self._reader.start()

    def ready(self) -> Served:
        """Wait for the first 200."""
        end = time.monotonic() + 20
        with httpx2.Client(base_url=self.url) as client:
            while time.monotonic() < end:
                with contextlib.suppress(httpx2.TransportError):
                    if client.get("/health/ready").status_code == 200:
                        return self
                time.sleep(0.02)
        raise AssertionError(f"{self.url} did not get ready: {self.log}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status, once all of the log is in `log`."""
        self.process.send_signal(number)
        status = self.process.wait(20)
        self._reader.join(10)
        return status

    def lines(self) -> list[dict[str, Any]]:
        """The log, of which each line must be JSON."""
        return [json.loads(line) for line in self.log]


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What the condition finds, once it finds something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of the service."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RECSYS_", "PROMETHEUS_"))}
    return kept | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start services that are ended with the test."""
    started: list[Served] = []

    def start(*arguments: str, **environment: str) -> Served:
        started.append(Served(*arguments, cwd=tmp_path, **environment))
        return started[-1].ready()

    yield start
    for served in started:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait(10)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The folder of the bundle with integer ids."""
    return save(rich(), tmp_path / "bundle")


def save(bundle: Bundle, folder: Path) -> Path:
    bundle.save(folder)
    return folder
