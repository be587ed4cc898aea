"""SqlRatings: the result of a query as ratings, events or counts."""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
from pyarrow import ipc

from recsys.data import cache
from recsys.data.errors import DataError
from recsys.data.inference.finding import AUTO
from recsys.data.interaction_options import Column, InteractionOptions
from recsys.data.interactions import read_interactions
from recsys.data.rating_data import RatingData
from recsys.data.readers.format import SourceFile
from recsys.data.readers.limits import LONGEST_LINE
from recsys.data.sources.base import RatingsSource, logged
from recsys.database.passwords import has_password

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

CHUNK = 100_000  # rows fetched at a time
STEPS, STEPS_PER_BYTE = 20_000_000, 1000  # of SQLite's machine that a query may take, by the size of its database
STEPS_AT_ONCE = 100_000  # between looks at how many there were
ORIGIN = "data.query"  # in messages, in the place of a file's name


class SqlRatings(RatingsSource):
    """Rows of a query; the columns are as described in `InteractionOptions`.

    The query is run for each training, so that it brings what the database holds. The cache keeps the ratings that its
    result was read as, under the SHA-256 of the result. Give the query an ORDER BY if the same rows are to be split in
    the same way again: where times are equal or absent, their order counts.

    Args:
        query: A query whose rows are ratings, such as `select user_id, item_id, stars, at from ratings order by id`.
        url: The database as an SQLAlchemy URL without a password, such as `sqlite:////data/shop.db` or
            `postgresql+psycopg://reader@db/shop`; None: that of `url_env`.
        url_env: Environment variable that holds the URL, where it may have a password.
        user_column: Column of users in the result.
        item_column: Column of items.
        rating_column: Column of ratings; None: implicit feedback.
        timestamp_column: Column of times; None: without times.
        timestamp_format: `seconds`, `milliseconds`, `microseconds`, `nanoseconds`, `iso8601`, or a strptime pattern;
            columns of times need none.
        missing: Ratings that mean "not rated", such as [99,-1,NA].
        missing_as: `drop` them, or take all rows as `implicit` feedback.
        rating_min: Lowest rating of the scale; None for the minimum of the data.
        rating_max: Highest rating of the scale; None for the maximum of the data.
        event_column: Column of the kind of event.
        events: Weight of each kind, such as {view: 1, purchase: 10}, or a list of kinds.
        weight_column: Column of counts or hours.
        weight_scale: `linear` or `log`.
        repeats: `sum`, `latest` or `first` of the rows of a user and item.
        bad_rows: `error`, or `drop` rows that cannot be read.
        name: Name of the data set.

    Raises:
        ValueError: An option is none of the allowed values, or the URL has a password.
    """

    def __init__(
        self,
        query: str,
        url: str | None = None,
        url_env: str = "RECSYS_DATABASE",
        *,
        user_column: Column = AUTO,
        item_column: Column = AUTO,
        rating_column: Column = AUTO,
        timestamp_column: Column = AUTO,
        timestamp_format: str = AUTO,
        missing: str | float | Sequence[Any] | None = AUTO,
        missing_as: str = "drop",
        rating_min: float | str | None = AUTO,
        rating_max: float | str | None = AUTO,
        event_column: Column = AUTO,
        events: str | Mapping[str, float] | Sequence[str] | None = AUTO,
        weight_column: Column = AUTO,
        weight_scale: str = AUTO,
        repeats: str = AUTO,
        bad_rows: str = "error",
        name: str = "sql",
    ) -> None:
        if not isinstance(query, str) or not query.strip():
            raise ValueError(f"query must be a query whose rows are ratings, got {query!r}")
        if url is not None and has_password(url):
            raise ValueError(
                "url must have no password, which would be written to config.yaml: leave url out, and set the "
                f"environment variable {url_env} to the URL with it"
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(url_env)):
            raise ValueError(f"url_env must be the name of an environment variable, got {url_env!r}")
        self.query, self.url, self.url_env, self.name = query, url, url_env, name
        self.options = InteractionOptions(
            user_column=user_column,
            item_column=item_column,
            rating_column=rating_column,
            timestamp_column=timestamp_column,
            timestamp_format=timestamp_format,
            missing=missing,
            missing_as=missing_as,
            rating_min=rating_min,
            rating_max=rating_max,
            event_column=event_column,
            events=events,
            weight_column=weight_column,
            weight_scale=weight_scale,
            repeats=repeats,
            bad_rows=bad_rows,
        )

    @property
    def origin(self) -> str:
        return ORIGIN

    def prepare(self) -> None:
        """Check that there is a URL, and a driver for it.

        Raises:
            DataError: There is not.
        """
        self._engine().dispose()

    def read(self) -> RatingData:
        """Run the query and read its result.

        Raises:
            DataError: The query fails, or a row is invalid; names the row, column and value, and never a password.
        """
        with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
            result = Path(folder) / "result.arrow"
            self._fetch(result)
            arguments = {"source": type(self).__qualname__, "name": self.name, "options": self.options}
            key = cache.parse_key([result], arguments)
            try:
                data = cache.load_or_parse(key, lambda: self._parsed(result))
            except DataError as error:
                raise DataError(str(error).replace(str(result), ORIGIN)) from None
        return logged(data)

    def _parsed(self, result: Path) -> RatingData:
        return read_interactions([SourceFile(result)], {"kind": "arrow"}, self.options, ORIGIN).data(self.name)

    def _engine(self) -> Engine:
        text = self.url or os.environ.get(self.url_env)
        if not text:
            raise DataError(f"set the environment variable {self.url_env} to the URL of the database, or data.url")
        try:
            from recsys.database import DatabaseError, urls
        except ImportError:
            raise DataError("data=sql needs SQLAlchemy: pip install 'recsys-lightning[live]'") from None
        try:
            url = urls.parse_url(text, "data.url" if self.url else f"the environment variable {self.url_env}")
            if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
                raise DataError(f"{url.database or 'sqlite'}: no such database file")
            return urls.new_engine(url)
        except DatabaseError as error:
            raise DataError(str(error)) from None

    def _fetch(self, path: Path) -> None:
        """Run the query, and write its rows to an Arrow file."""
        engine = self._engine()
        from sqlalchemy.exc import SQLAlchemyError

        from recsys.database.urls import shown

        try:
            with engine.connect() as connection:
                if engine.url.get_backend_name() == "sqlite":
                    _bound(connection.connection.driver_connection, Path(engine.url.database or ""))
                tables = list(_tables(connection, self.query))
        except SQLAlchemyError as error:
            raise DataError(f"{ORIGIN} on {shown(engine.url)}: {_first_line(error, engine.url)}") from None
        finally:
            engine.dispose()
        try:
            table = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"{ORIGIN}: a column has values of different types: {error}") from None
        with ipc.new_file(path, table.schema) as file:
            file.write_table(table)


def _bound(database: Any, path: Path) -> None:
    """Let a query end: a view in the file of a stranger may count for ever, or make texts of gigabytes."""
    left = STEPS + STEPS_PER_BYTE * path.stat().st_size

    def step() -> bool:
        nonlocal left
        left -= STEPS_AT_ONCE
        return left < 0  # interrupts it

    database.set_progress_handler(step, STEPS_AT_ONCE)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_LINE)


def _tables(connection: Connection, query: str) -> Iterator[pa.Table]:
    """The rows in chunks; an empty one at least, for the names of the columns."""
    from sqlalchemy import text

    # A colon in a query is no parameter here.
    result = connection.execution_options(stream_results=True).execute(text(query.replace(":", r"\:")))
    if not result.returns_rows:
        raise DataError(f"{ORIGIN} must return rows, such as select user_id, item_id, rating from ratings")
    names = list(result.keys())
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{ORIGIN}: more than one column {repeated[0]!r}; the columns are {', '.join(names)}")
    rows = 0
    while chunk := result.fetchmany(CHUNK):
        columns = zip(*chunk, strict=True)
        yield pa.table({name: _array(name, column, rows) for name, column in zip(names, columns, strict=True)})
        rows += len(chunk)
    if not rows:
        raise DataError(f"{ORIGIN}: the query returned no rows; its columns are {', '.join(names)}")


def _array(name: str, values: Sequence[Any], start: int) -> pa.Array:
    try:
        return pa.array([_plain(value) for value in values])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        raise DataError(
            f"{ORIGIN}, rows {start + 1} to {start + len(values)}: the column {name} must hold numbers, texts or times "
            f"of one kind, got {', '.join(kinds)}; cast it in the query"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value) if isinstance(value, UUID) else value


def _first_line(error: Exception, url: URL) -> str:
    """The first line of a database's error, without the password."""
    from recsys.database.urls import first_line

    message = first_line(error, url)
    if message == "interrupted":
        return (
            f"it takes more than {STEPS:,} steps and {STEPS_PER_BYTE:,} for each byte of the database; store in a "
            "table what its views compute, or ask for less"
        )
    return message
