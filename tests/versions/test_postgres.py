"""Versions, aliases, retention and forgetting by PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.database import Database
from recsys.events import RATING, Event, EventLog
from recsys.versions import VersionConflictError, Versions, open_versions
from recsys.versions.forget import forget
from recsys.versions.retention import collect
from tests.versions.conftest import of_users

pytestmark = pytest.mark.services


@pytest.fixture
def versions(postgres: str, tmp_path: Path) -> Iterator[Versions]:
    database = Database.open(postgres)
    yield open_versions(database, tmp_path / "store")
    database.close()


def publish(versions: Versions, *users: int, seed: int = 0, parent: str | None = None, cut: int = 0) -> str:
    version = versions.publish(
        of_users(*users, seed=seed), parent=parent, cut=cut, made_by="update", metrics={"a": 0.1}, configuration={}
    )
    return version.version


def test_a_life_of_versions(versions: Versions) -> None:
    first = publish(versions, 1, 2)
    versions.promote("champion", first, "ann", "first")
    EventLog(versions.database).append([Event("e", "3", "1", RATING, 4.0, 0)])
    cut = EventLog(versions.database).cut()
    second = publish(versions, 1, 2, 3, parent=first, cut=cut)
    versions.promote("champion", second, "ann", "better", expected=first)
    with pytest.raises(VersionConflictError):
        versions.promote("champion", first, "ann", "late", expected=first)
    assert versions.find(second[:10]).metrics == {"a": 0.1}
    found = forget(versions, "3", "ann")
    assert (found.events, found.withdrawn) == (1, [second])
    assert versions.champion().bundle.user_ids.tolist() == [1, 2]
    with pytest.raises(VersionConflictError, match="forgotten meanwhile"):
        publish(versions, 1, 2, 3, seed=1, parent=first, cut=cut)
    assert collect(versions, 0) == []
    last = versions.aliases.verify()
    assert last is not None
    assert last.number == 3


def test_changes_at_once_make_one_chain(versions: Versions) -> None:
    made = [publish(versions, 1, 2, seed=seed) for seed in range(4)]

    def change(version: str) -> None:
        for alias in ("champion", "challenger"):
            versions.promote(alias, version, "ann", "better")

    threads = [threading.Thread(target=change, args=[version]) for version in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = versions.aliases.verify()
    assert last is not None
    assert last.number == 8
