"""Place: the database and the versions of a replay, and its events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.replay.stream import Stream
from recsys.versions import Champion, Versions, open_versions

ALIAS = "champion"


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
            "XDG_CACHE_HOME": str(self.caches),
        }

    @contextmanager
    def versions(self) -> Iterator[Versions]:
        with open_versions(self.database, str(self.store)) as found:
            yield found

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
