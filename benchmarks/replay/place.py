"""Place: the database and the versions of a replay, and its events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.load.service import Client
from benchmarks.replay.stream import Stream
from recsys.versions import Champion, Versions, open_versions

ALIAS = "champion"
SWAP_SECONDS = 60.0  # for a service to follow the alias


class Place:
    """A folder with the database, the store of versions and the caches of one replay.

    Args:
        folder: Which may be new.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.database = f"sqlite:///{self.folder}/recsys.db"
        self.store, self.caches = self.folder / "store", self.folder / "caches"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which commands and services find it."""
        return {
            "RECSYS_DATABASE": self.database,
            "RECSYS_STORE": str(self.store),
            "RECSYS_CACHE": str(self.caches),
        }

    @contextmanager
    def versions(self) -> Iterator[Versions]:
        found = open_versions(self.database, self.store)
        try:
            yield found
        finally:
            found.database.close()

    def champion(self) -> Champion:
        """The version that is served, and its bundle."""
        with self.versions() as versions:
            return versions.champion(ALIAS)


def mark_of(user_id: int) -> str:
    """What the ids of a user's events, and of nobody else's, begin with: traces of it can be looked for."""
    return f"replay-of-{user_id}-"


def event_of(stream: Stream, row: int) -> dict[str, Any]:
    """A rating as a client sends it."""
    user = int(stream.user_id[row])
    return {
        "event_id": f"{mark_of(user)}{row}",
        "user_id": str(user),
        "item_id": str(stream.item_id[row]),
        "rating": float(stream.rating[row]),
        "timestamp": int(stream.timestamp[row]),
    }


def wait_for(client: Client, version: str) -> None:
    """Wait until a version is served."""
    end = time.monotonic() + SWAP_SECONDS
    while client.get("/health/ready")[1]["model_version"] != version:
        if time.monotonic() > end:
            raise SystemExit(f"error: version {version} was not served within {SWAP_SECONDS:g} s")
        time.sleep(0.02)
