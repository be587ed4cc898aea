"""The database of a service: absent, not installed, not there yet, gone and back."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from recsys.bundle import Bundle
from recsys.database import Database, DatabaseError
from recsys.events import EventLog
from serve.api_error import ApiError
from serve.http.beside import Beside
from serve.http.load import Load
from serve.live import Live, check_database
from serve.metrics import Metrics
from serve.settings import Settings
from tests.events.test_event_log import event
from tests.serve.conftest import client_of, until
from tests.serve.routers.test_events import given, send
from tests.serve.test_app import refused

NOBODY = "postgresql+psycopg://shop@127.0.0.1:1/shop"  # where nothing listens


@pytest.fixture
def live(url: str) -> Iterator[Live]:
    load = Load(0, 1)
    one = Live.from_settings(Settings(database=url), Beside(load), Metrics(load))
    assert one is not None
    yield one
    one.close()


def test_a_service_that_is_told_of_none_has_none() -> None:
    load = Load(0, 1)
    assert Live.from_settings(Settings(), Beside(load), Metrics(load)) is None
    check_database(Settings())


def test_the_tables_are_made(live: Live, url: str) -> None:
    assert live.answers
    assert Database.at(url).engine is not live.database.engine
    assert EventLog(live.database).append([event(1)]) == [1]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "database must be an SQLAlchemy URL such as"),
        ("sqlite://", "database must name a file"),
        ("sqlite:////proc/nowhere/live.db", "No such file or directory"),
        (NOBODY, "refused"),
        ("oracle://u@h/d", "needs the driver"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said) as error:
        check_database(Settings(database=url))
    assert "\n" not in str(error.value)


def test_packages_that_are_missing_are_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    for name in ("recsys.database.connection", "recsys.database.urls"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(DatabaseError, match=r"database needs sqlalchemy: pip install 'recsys-lightning\[live\]'"):
        check_database(Settings(database=url))


def test_a_worker_starts_without_its_database(bundles: dict[str, Bundle], caplog: pytest.LogCaptureFixture) -> None:
    with client_of(bundles["int"], database=NOBODY) as client:
        assert client.get("/health/ready").json()["database"] == "unavailable"
        assert client.get("/items/50").status_code == 200
        refused(send(client, given(1)), 503, "database_unavailable")
        refused(send(client, given(1)), 503, "database_unavailable")
    assert caplog.text.count("the database does not answer") == 1
    assert "refused" in caplog.text


def test_a_database_that_comes_back_is_noticed(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise DatabaseError("gone")

    ended = threading.Event()
    follower = threading.Thread(target=live.follow, args=[ended, 0.005])
    with monkeypatch.context() as patch:
        patch.setattr(live.database, "check", broken)
        follower.start()
        until(lambda: not live.answers)
    until(lambda: live.answers)
    ended.set()
    follower.join(5)


def test_tables_are_made_once_the_database_answers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Database) -> None:
        raise DatabaseError("not yet")

    load = Load(0, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "prepare", broken)
        live = Live.from_settings(Settings(database=url), Beside(load), Metrics(load))
    assert live is not None
    assert not live.answers
    assert live.look()
    assert live.log.append([event(1)]) == [1]
    live.close()


def test_reads_beside_the_loop(live: Live) -> None:
    scope: dict[str, Any] = {}
    assert asyncio.run(live.call(scope, live.log.cut)) == 0
    assert live.beside.load.in_flight == 0

    def broken() -> None:
        raise DatabaseError("gone")

    with pytest.raises(ApiError) as error:
        asyncio.run(live.call(scope, broken))
    assert (error.value.status, error.value.code) == (503, "database_unavailable")
    assert live.beside.load.in_flight == 0
