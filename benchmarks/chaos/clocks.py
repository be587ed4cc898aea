"""A clock that is set back by a day beside what lives on: a service, the cache of parsed data, folders of runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from benchmarks.run_kills import DAY
from recsys.bundle import Bundle
from recsys.data.cache import load_or_parse
from recsys.data.rating_data import RatingData
from recsys.files import new_folder
from serve.access.rate_limits import Limiter, RateLimit, Table
from serve.models.model_manager import ModelManager
from serve.models.pointer import write_pointer
from serve.settings import Settings
from tests.small_data import SmallRatings, checkerboard

POLL_SECONDS = 0.05
LIMIT = RateLimit(5, 60)


@contextmanager
def set_back() -> Iterator[None]:
    now, now_ns = time.time, time.time_ns
    with (
        mock.patch("time.time", side_effect=lambda: now() - DAY),
        mock.patch("time.time_ns", side_effect=lambda: now_ns() - int(DAY) * 10**9),
    ):
        yield


def wrong(folder: Path, bundle: Path) -> list[str]:
    """What does otherwise than before once the clock is set back.

    Args:
        folder: For the files that are made.
        bundle: A folder of a bundle that can be served.
    """
    return [name for name, holds in CHECKS.items() if not holds(folder, bundle)]


def _limits(folder: Path, bundle: Path) -> bool:
    """Nobody gets more requests, or waits for longer, in the worker that counted them or in another."""
    first, other = (Limiter(Table(folder / "limits"), "key", LIMIT) for _ in range(2))
    for _ in range(LIMIT.quota):
        first.take("shop")
    with set_back():
        left, seconds = other.take("shop")
    return left == -1 and seconds <= LIMIT.seconds // LIMIT.quota


def _retries(folder: Path, bundle: Path) -> bool:
    """A rejected bundle is not tried at once, but soon; the pointer's age is no negative time."""
    pointer = folder / "serving"
    write_pointer(pointer, folder / "none")
    models = ModelManager.from_settings(Settings(pointer=pointer, poll_seconds=POLL_SECONDS))
    failed = models.failed_loads
    with set_back():
        models.poll()
        early = models.failed_loads != failed
        time.sleep(POLL_SECONDS)
        models.poll()
        late = models.failed_loads == failed
        write_pointer(pointer, bundle)
        models.poll()
        age = models.pointer_age
    served = models.current is not None and models.current.bundle.sha256 == Bundle.load(bundle).sha256
    return served and not early and not late and age is not None and 0 <= age < DAY / 2


def _cache(folder: Path, bundle: Path) -> bool:
    """What is cached stays so."""
    data, parsed = SmallRatings(checkerboard()).read(), list[float]()

    def parse() -> RatingData:
        parsed.append(time.time())
        return data

    load_or_parse("clock", parse)
    with set_back():
        found = load_or_parse("clock", parse)
    return len(parsed) == 1 and found.sha256 == data.sha256


def _folders(folder: Path, bundle: Path) -> bool:
    """A second run of the same second gets a folder of its own."""
    name = folder / "runs" / "12-00-00-mf"
    made = [new_folder(name)]
    with set_back():
        made += [new_folder(name), new_folder(name)]
    return len(set(made)) == 3


CHECKS: dict[str, Callable[[Path, Path], bool]] = {
    "rate limits": _limits,
    "retries of a bundle": _retries,
    "the parse cache": _cache,
    "run folders": _folders,
}
