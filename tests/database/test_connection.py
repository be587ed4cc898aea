"""Connections, migrations, and the one writer."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from recsys.database import Database, DatabaseError
from recsys.database.connection import REVISION
from recsys.database.jobs import Jobs
from recsys.database.migration import FOLDER
from recsys.database.tables import metadata
from recsys.events import RATING, Event, EventLog
from recsys.events.descriptions import Descriptions


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(f"sqlite:///{tmp_path}/live.db")


def test_migrations_make_the_tables(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.services
def test_migrations_make_the_tables_of_postgres(postgres: str) -> None:
    with Database.open(postgres).reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_revision_is_known_without_alembic() -> None:
    assert ScriptDirectory(str(FOLDER)).get_current_head() == REVISION


def test_sqlite_files_are_for_their_owner(database: Database) -> None:
    with database.writing(), database.reading():
        files = list(database.path.parent.glob(f"{database.path.name}*"))
        assert {file.name.removeprefix(database.path.name) for file in files} == {"", "-wal", "-shm", ".lock"}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "shared.db"
    file.touch()
    file.chmod(0o640)
    Database.open(f"sqlite:///{file}")
    assert file.stat().st_mode & 0o777 == 0o640


def test_who_writes_the_database_takes_its_lock(tmp_path: Path) -> None:
    """Whatever the umask, which took the group's right to write from the lock."""
    file = tmp_path / "shared.db"
    file.touch()
    file.chmod(0o660)
    before = os.umask(0o027)
    try:
        Database.open(f"sqlite:///{file}")
    finally:
        os.umask(before)
    assert Path(f"{file}.lock").stat().st_mode & 0o777 == 0o660


def test_nothing_is_written_to_a_file_that_nobody_finds(database: Database, tmp_path: Path) -> None:
    """Events were acknowledged that went into a deleted file."""
    log = EventLog(database)
    log.append([Event("a", "1", "50", RATING, 4.0, 1)])
    away = database.path.rename(tmp_path / "away.db")
    for _ in range(2):
        with pytest.raises(DatabaseError, match="moved, deleted or replaced"):
            log.append([Event("b", "1", "50", RATING, 4.0, 1)])
        with pytest.raises(DatabaseError, match="moved, deleted or replaced"):
            database.check()
        assert not database.path.exists() or database.path.stat().st_size == 0
        database.path.touch()  # another one
    away.replace(database.path)
    database.check()
    log.append([Event("b", "1", "50", RATING, 4.0, 1)])
    assert log.count() == 2


@pytest.mark.parametrize("work", ["append", "purge"])
def test_nor_by_a_writer_that_waited_meanwhile(database: Database, tmp_path: Path, work: str) -> None:
    other, event = Database.open(database.engine.url), Event("a", "1", "50", RATING, 4.0, 1)
    tasks: dict[str, Callable[[], object]] = {
        "append": lambda: EventLog(database).append([event]),
        "purge": database.purge,
    }

    def delete_while_it_waits() -> None:
        with other.writing() as connection:
            connection.execute(text("delete from users"))
            waiting.append(pool.submit(tasks[work]))
            while not database._turn.locked():
                time.sleep(0.01)
            time.sleep(0.05)  # now it waits for the lock of the file
            for file in tmp_path.glob("live.db*"):
                file.unlink()

    waiting: list[Future[object]] = []
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(DatabaseError, match="moved, deleted or replaced"):
            delete_while_it_waits()  # which has written into it
        with pytest.raises(DatabaseError, match="moved, deleted or replaced"):
            waiting[0].result()
    assert not list(tmp_path.glob("live.db"))


def test_migrating_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Database.open(f"sqlite:///{tmp_path}/live.db")
    assert not caplog.records


def test_opening_again_changes_nothing(database: Database) -> None:
    Database.open(database.engine.url)


def test_a_database_of_a_newer_recsys_is_refused(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer version of recsys"):
        Database.open(database.engine.url)


def test_sqlite_syncs_each_commit(database: Database) -> None:
    with database.reading() as connection:
        assert connection.execute(text("pragma synchronous")).scalar() == 2  # FULL
        assert connection.execute(text("pragma journal_mode")).scalar() == "wal"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_memory_is_no_database(url: str) -> None:
    with pytest.raises(DatabaseError, match="must name a file"):
        Database.open(url)


def test_a_malformed_url_is_an_error_without_its_password() -> None:
    with pytest.raises(DatabaseError, match="RECSYS_DATABASE must be an SQLAlchemy URL") as error:
        Database.open("nonsense:secret")
    assert "secret" not in str(error.value)


def test_what_fails_is_rolled_back(database: Database) -> None:
    def write() -> None:
        with database.writing() as connection:
            connection.execute(text("insert into items values ('1', 1, 'Alien', 1979, '[]', '{}', 0)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    with database.reading() as connection:
        assert connection.execute(text("select count(*) from items")).scalar() == 0


def test_writers_take_turns(database: Database) -> None:
    other = Database.open(database.engine.url)
    inside: list[int] = []

    def write(of: Database) -> None:
        for _ in range(20):
            with of.writing() as connection:
                inside.append(1)
                assert len(inside) == 1
                connection.execute(text("select 1"))
                inside.pop()

    threads = [threading.Thread(target=write, args=[of]) for of in (database, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside


def test_nothing_is_left_of_deleted_rows(database: Database) -> None:
    insert = text("insert into users (user_id, revision, attributes, changed) values (:user, :number, '{}', 0)")
    with database.writing() as connection:
        connection.execute(insert, [{"user": f"user {number} was here", "number": number} for number in range(2000)])
    other = Database.open(database.engine.url)  # of a service, which stays connected
    other.check()
    with database.writing() as connection:
        connection.execute(text("delete from users where user_id = 'user 77 was here'"))
    database.purge()
    files = [file.read_bytes() for file in database.path.parent.iterdir()]
    assert [b"user 77 was here" in content for content in files] == [False] * len(files)
    assert any(b"user 78 was here" in content for content in files)
    other.close()


@pytest.mark.services
def test_postgres_frees_the_space_of_deleted_rows(postgres: str) -> None:
    """Of each table with people's ids: of events and attributes, and of jobs, whose requests name them."""
    database = Database.open(postgres)
    event = Event("e", "ann", "1", RATING, 4.0, 0)
    EventLog(database).append([event])
    Descriptions(database).set_user("ann", {"gender": "F"})
    Jobs(database).add("job", {"users": ["ann"]})
    tables = ("events", "users", "jobs")
    sizes = text("select " + ", ".join(f"pg_relation_size('{table}')" for table in tables))
    with database.reading() as connection:
        assert all(connection.execute(sizes).one())
    with database.writing() as connection:
        for table in tables:
            connection.execute(text(f"delete from {table}"))
    database.purge()
    with database.reading() as connection:
        assert dict(zip(tables, connection.execute(sizes).one(), strict=True)) == dict.fromkeys(tables, 0)
    database.close()
