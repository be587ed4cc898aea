"""Database: connections for reading, and for the one writer at a time."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from recsys.database.errors import DatabaseError
from recsys.database.urls import first_line, new_engine, parse_url, shown

__all__ = ["DEFAULT_URL", "VARIABLE", "Database", "DatabaseError"]

VARIABLE = "RECSYS_DATABASE"
DEFAULT_URL = "sqlite:///outputs/recsys.db"
REVISION = "0001"  # of the newest file in migrations/versions
LOCK = 0x7265637379730001  # of PostgreSQL's advisory locks: whoever writes holds it until the commit
CHECKPOINT_PAGES = 4000  # of SQLite's write-ahead log, until it is copied: 1,000 by default, which costs a tenth
CONNECT_SECONDS = 5  # to a server
BUSY_SECONDS = 30.0  # for which a writer waits for the one before


class Database:
    """A database whose tables are those of `recsys.database.tables`.

    SQLite keeps a write-ahead log that is synced at each commit, so that what is committed outlives a power cut.

    Args:
        engine: Of SQLAlchemy; see `open`.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._turn = threading.Lock()
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._lock = f"{engine.url.database}.lock" if self.is_sqlite else None
        self._place = self.path.absolute()  # of SQLite's file, wherever the process goes
        self._file: tuple[int, int] | None = None  # SQLite's, as `_file_at` returns it

    @classmethod
    def open(cls, url: str | URL | None = None, *, name: str = VARIABLE, create: bool = True) -> Database:
        """Connect, and make or migrate the tables.

        Args:
            url: SQLAlchemy URL; None: that of the variable `RECSYS_DATABASE`, or else SQLite in `outputs/`.
            name: Of what `url` was given by, for messages.
            create: Whether SQLite's file is made where there is none.

        Raises:
            DatabaseError: It cannot be reached or written, or a newer version of recsys has made its tables.
        """
        database = cls.at(url, name=name)
        if not create and database.is_sqlite and not database.path.exists():
            makers = "`recsys events import` and `recsys versions add` make one, and so does the service"
            raise DatabaseError(f"there is no database at {database}: {makers}")
        database.prepare()
        return database

    @classmethod
    def at(cls, url: str | URL | None = None, *, name: str = VARIABLE) -> Database:
        """The database of a URL, which need not answer yet: call `prepare` before it is used. See `open`.

        Raises:
            DatabaseError: It is no URL of a database that processes can share, or the driver is not installed.
        """
        given = url or os.environ.get(VARIABLE) or DEFAULT_URL
        found = parse_url(given, name) if isinstance(given, str) else given
        is_sqlite = found.get_backend_name() == "sqlite"
        if is_sqlite and found.database in (None, "", ":memory:"):
            raise DatabaseError(f"{name} must name a file, as processes share it, got {shown(found)}")
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}} if is_sqlite else {"pool_pre_ping": True}
        if found.get_driver_name() == "psycopg":
            options["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
        engine = new_engine(found, **options)
        if is_sqlite:
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        return cls(engine)

    def prepare(self) -> None:
        """Make or migrate the tables.

        Raises:
            DatabaseError: It cannot be reached or written, or a newer version of recsys has made its tables.
        """
        try:
            if self.is_sqlite:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                _make_private(self.path)
                self._file = _file_at(self._place)
            self._migrate()
        except SQLAlchemyError as error:
            raise self.error(error) from None
        except OSError as error:
            raise DatabaseError(f"{self}: {error.strerror}: {error.filename}") from None

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def path(self) -> Path:
        """SQLite's file."""
        return Path(str(self.engine.url.database))

    def __str__(self) -> str:
        return shown(self.engine.url)

    def error(self, error: Exception) -> DatabaseError:
        """An error of SQLAlchemy as a sentence, without the password."""
        return DatabaseError(f"{self}: {first_line(error, self.engine.url)}")

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading. In SQLite all that is read is of one moment.

        Raises:
            DatabaseError: The database does not answer.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self.error(error) from None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of the only writer, of all processes and machines; committed at the end, synced to disk.

        Raises:
            DatabaseError: The database does not answer, or other writers do not end; or SQLite's file is not where it
                was, so that nobody would find what is written.
        """
        try:
            with self._alone(), self.engine.connect() as connection:
                connection = connection.execution_options(recsys_writes=True)
                with connection.begin():
                    if not self.is_sqlite:
                        lock = "select set_config('synchronous_commit', 'on', true), pg_advisory_xact_lock(:lock)"
                        connection.execute(text(lock), {"lock": LOCK})
                    yield connection
                    self._check_file()
        except (SQLAlchemyError, self._driver_error) as error:
            raise self.error(error) from None

    def purge(self) -> None:
        """Leave nothing of deleted rows in SQLite's file and its log; in PostgreSQL, free their space.

        Raises:
            DatabaseError: The database does not answer, or somebody goes on reading what it was before; or SQLite's
                file is not where it was.
        """
        try:
            if not self.is_sqlite:
                with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql("vacuum events, users, jobs")
                return
            with self._alone(), contextlib.closing(self.engine.raw_connection()) as raw:
                raw.cursor().execute("vacuum")
                [(is_busy, *_)] = raw.cursor().execute("pragma wal_checkpoint(truncate)").fetchall()
                self._check_file()
        except (SQLAlchemyError, self._driver_error) as error:
            raise self.error(error) from None
        if is_busy:
            raise DatabaseError(f"{self}: a reader keeps its log from being emptied; try again")

    def check(self) -> None:
        """Ask it for nothing.

        Raises:
            DatabaseError: It does not answer, or SQLite's file is not where it was.
        """
        self._check_file()
        with self.reading() as connection:
            connection.execute(text("select 1"))

    def close(self) -> None:
        self.engine.dispose()

    def _check_file(self) -> None:
        """Check that the file with SQLite's name is the one that is open: a deleted one could be written all the same.

        Raises:
            DatabaseError: It is not.
        """
        if self._file is not None and _file_at(self._place) != self._file:
            raise DatabaseError(f"{self}: the file was moved, deleted or replaced; put it back, or start again")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """The turn of this writer. SQLite's own waiting sleeps and tries again, which takes milliseconds a time.

        Raises:
            DatabaseError: SQLite's file is not where it was, once the writers before have ended.
        """
        if self._lock is None:
            yield
            return
        self._check_file()  # before a lock is made where the file no longer is
        with self._turn, _file_lock(self._lock):
            self._check_file()
            yield

    def _migrate(self) -> None:
        """Make the tables, or bring them up to date."""
        if self._revision() == REVISION:  # importing alembic takes longer than all else
            return
        from recsys.database.migration import upgrade

        with self.writing() as connection:
            upgrade(connection, str(self))

    def _revision(self) -> str | None:
        with self.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("select version_num from alembic_version")).scalar()


def _file_at(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at a path; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # sqlite3 begins no transactions of its own
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute(f"pragma wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute("pragma foreign_keys=on")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("recsys_writes", False)
    connection.exec_driver_sql("begin immediate" if writes else "begin")


def _make_private(path: Path) -> None:
    """Make SQLite's file, if there is none, for its owner only: it says what people did. Its log gets the same mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


@contextlib.contextmanager
def _file_lock(path: str) -> Iterator[None]:
    """Wait for the lock of a file; where there are none, SQLite's own has to do."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        descriptor = _open_lock(path)
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: str) -> int:
    """The descriptor of a lock's file, which is made with the mode of the database: who writes it takes its lock."""
    mode = Path(path.removesuffix(".lock")).stat().st_mode & 0o666
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        os.fchmod(descriptor, mode)  # whatever the umask
        return descriptor
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
