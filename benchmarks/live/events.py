"""Requests of events, each of them new, and the services and databases that they are sent to."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load.kept import post
from benchmarks.load.ml_1m import ITEMS, USERS, save_bundle
from benchmarks.load.service import Running, running
from tests.postgres import server, server_binaries

PLACE = b"00000000"  # of the number of a request, in the template
TIME = 1_764_000_000


class NewEvents(Sequence[bytes]):
    """Requests with `count` events each, all of which have ids of their own.

    Args:
        count: Events of a request.
        name: By which these events' ids differ from those of others.
    """

    def __init__(self, count: int, name: str) -> None:
        self.count, self.name = count, name
        events = [
            {
                "event_id": f"{name}-{PLACE.decode()}-{n}", "user_id": str(1 + 37 * n % USERS),
                "item_id": str(1 + 101 * n % ITEMS), "rating": 1 + n % 5, "timestamp": TIME + n,
            }
            for n in range(count)
        ]  # fmt: skip
        self._template = post("/events/", json.dumps({"events": events}))

    def __len__(self) -> int:
        return 10 ** len(PLACE)

    def __getitem__(self, number: int) -> bytes:  # type: ignore[override]
        return self._template.replace(PLACE, b"%08d" % number)


@contextlib.contextmanager
def bundle_folder() -> Iterator[Path]:
    """A folder with a bundle of the size of ML-1M, for databases too: on a disk, not in memory."""
    with TemporaryDirectory(prefix="recsys-live-") as folder:
        save_bundle(Path(folder) / "bundle", items=True)  # with a prior of items, which updates need
        yield Path(folder)


@contextlib.contextmanager
def service(folder: Path, database: str, *, workers: int = 2) -> Iterator[Running]:
    """A service of the folder's bundle with this database."""
    command = ["-m", "serve", "--bundle", str(folder / "bundle"), "--workers", str(workers), "--log-level", "error"]
    with running(*command, environment={"RECSYS_DATABASE": database}) as one:
        yield one


def databases(folder: Path) -> list[tuple[str, contextlib.AbstractContextManager[str]]]:
    """Names and URLs of databases that sync what they commit: SQLite, and PostgreSQL where it is installed."""
    found: list[tuple[str, contextlib.AbstractContextManager[str]]] = [
        ("sqlite", contextlib.nullcontext(f"sqlite:///{folder}/live.db"))
    ]
    if (binaries := server_binaries()) is not None:
        found.append(("postgresql", server(binaries)))
    return found
