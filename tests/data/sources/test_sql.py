"""Ratings from a query: of SQLite, and of a real PostgreSQL where there is one."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID, WEIGHT
from recsys.data.sources import DataError, RatingData, SqlRatings, sql
from tests.postgres import PASSWORD

ROWS = [
    (1, "b-1", 4.5, "2024-01-01 10:00:00"),
    (1, "b-2", None, "2024-01-02 10:00:00"),
    (2, "b-1", 1.0, "2024-01-03 10:00:00"),
    (2, "b-3", 5.0, "2024-01-04 12:30:00"),
]
QUERY = "select customer, book, stars, at from reviews order by at"


def fill(url: str, *, schema: str = "customer integer, book varchar(9), stars numeric(3, 1), at timestamp") -> str:
    """A database with four reviews; its URL."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("drop table if exists reviews"))
        connection.execute(sqlalchemy.text(f"create table reviews ({schema})"))
        insert = sqlalchemy.text("insert into reviews values (:customer, :book, :stars, :at)")
        connection.execute(insert, [dict(zip(("customer", "book", "stars", "at"), row, strict=True)) for row in ROWS])
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return fill(request.getfixturevalue("postgres"))
    return fill(f"sqlite:///{tmp_path / 'shop.db'}")


@pytest.fixture
def database(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RECSYS_DATABASE", url)
    return url


def read(query: str = QUERY, **options: Any) -> RatingData:
    return SqlRatings(query, **options).read()


def test_a_query_is_a_data_set(database: str) -> None:
    data = read(name="shop")
    assert data.ratings.drop(columns=TIMESTAMP).to_numpy().tolist() == [
        ["1", "b-1", 4.5],
        ["2", "b-1", 1],
        ["2", "b-3", 5],
    ]
    assert data.ratings[TIMESTAMP].tolist() == [1704103200, 1704276000, 1704371400]
    assert data.counts is not None
    assert data.counts.sentence("x") == "4 rows of x: 3 ratings, 0 refused, 1 dropped (1 not rated)"
    assert (data.name, data.implicit, data.rating_min, data.rating_max) == ("shop", False, 1, 5)
    found = {finding.option: finding.value for finding in data.findings}
    assert (found["user_column"], found["item_column"], found["rating_column"]) == ("customer", "book", "stars")


def test_the_same_options_as_files_have(database: str) -> None:
    data = read(missing_as="implicit", timestamp_column=None)
    assert data.implicit
    assert len(data.ratings) == 4
    assert TIMESTAMP not in data.ratings
    scaled = read(rating_min=0, rating_max=10)
    assert (scaled.rating_min, scaled.rating_max) == (0, 10)
    weighted = read("select customer, book, 2 as plays from reviews", weight_column="plays", weight_scale="linear")
    assert weighted.ratings[WEIGHT].tolist() == [2] * 4
    with pytest.raises(DataError, match=r"data.query, row 1: stars must be <= 4, got 4.5"):
        read(
            "select customer, book, stars from reviews where stars is not null and stars <> 1 order by at", rating_max=4
        )


def test_colons_and_percent_signs_are_no_parameters(database: str) -> None:
    query = "select customer, book, stars from reviews where book like 'b-%' and book <> 'a:b%:c' and '12:30' = '12:30'"
    assert len(read(query, timestamp_column=None).ratings) == 3


@pytest.mark.services
def test_types_of_postgresql(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_DATABASE", fill(postgres).replace("postgresql+psycopg", "postgresql"))
    data = read(
        "select md5(customer::text)::uuid as user_id, 7::bigint + customer as item_id, stars::real, "
        "at at time zone 'Europe/Berlin' as at from reviews where stars is not null order by at"
    )
    assert data.ratings[TIMESTAMP].tolist() == [1704099600, 1704367800]  # one hour before UTC; of two the latest
    assert data.ratings[ITEM_ID].tolist() == ["8", "9"]
    assert len(data.ratings[USER_ID][0]) == 36


def test_many_rows_come_in_chunks(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.data.sources.sql.CHUNK", 3)
    assert read().ratings[RATING].tolist() == [4.5, 1, 5]


def test_the_database_is_asked_anew_and_its_answer_parsed_once(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = read()
    monkeypatch.setattr("recsys.data.sources.sql.read_interactions", None)
    assert read().sha256 == first.sha256
    monkeypatch.undo()
    monkeypatch.setenv("RECSYS_DATABASE", database)
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    with sqlalchemy.create_engine(database).begin() as connection:
        connection.execute(sqlalchemy.text("update reviews set stars = 2 where stars = 1"))
    assert read().ratings[RATING].tolist() == [4.5, 2, 5]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select customer, book, points from reviews", "data.query on .*points"),
        ("select customer from", "data.query on .*"),
        ("select book, stars from reviews where customer > 9", "no rows; its columns are book, stars"),
        ("select customer, book, stars, stars from reviews", "more than one column 'stars'; the columns are customer"),
        ("update reviews set stars = 1", "data.query (must return rows|on postgresql)"),
        ("select book, stars from reviews where stars > 0", "data.query: cannot tell which columns hold .*users"),
    ],
)  # fmt: skip
def test_a_query_that_does_not_fit(query: str, message: str, database: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(query)
    assert PASSWORD not in str(caught.value)
    assert "result.arrow" not in str(caught.value)


def test_a_query_changes_nothing(database: str) -> None:
    with pytest.raises(DataError):
        read("delete from reviews")
    assert len(read().ratings) == 3


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for text in (f"postgresql+psycopg://me:{PASSWORD}@localhost:1/shop", f"postgresql://h:1/x?password={PASSWORD}"):
        monkeypatch.setenv("RECSYS_DATABASE", text)
        with pytest.raises(DataError, match=r"data.query on postgresql.psycopg://") as caught:
            read()
        assert PASSWORD not in str(caught.value) + caplog.text
        with pytest.raises(ValueError, match=r"url must have no password.*RECSYS_DATABASE") as refused:
            SqlRatings(QUERY, url=text)
        assert PASSWORD not in str(refused.value)
    for text in ("sqlite:////a/b@c:d.db", "postgresql+psycopg://reader@db:5432/shop", "mysql://u@h/d?charset=utf8"):
        SqlRatings(QUERY, url=text)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RECSYS_DATABASE", raising=False)
    with pytest.raises(DataError, match="set the environment variable RECSYS_DATABASE to the URL"):
        SqlRatings(QUERY).prepare()
    for text, message in (
        (f"sqlite:///{tmp_path}/none.db", "none.db: no such database file"),
        ("shop.db", "data.url must be an SQLAlchemy URL such as"),
        ("mysql+nodriver://a@b/c", "mysql"),
    ):
        with pytest.raises(DataError, match=message):
            SqlRatings(QUERY, url=text).prepare()
    with pytest.raises(ValueError, match="query must be a query"):
        SqlRatings(" ")
    with pytest.raises(ValueError, match="url_env must be the name of an environment variable, got 'a b'"):
        SqlRatings(QUERY, url_env="a b")


@pytest.mark.parametrize(
    ("absent", "url", "message"),
    [
        ("sqlalchemy", "sqlite:///shop.db", r"data=sql needs SQLAlchemy: pip install 'recsys-lightning\[live\]'"),
        ("psycopg", "postgresql://u@h/d", r"needs the driver psycopg: pip install 'recsys-lightning\[postgres\]'"),
    ],
)
def test_what_is_not_installed_is_named(absent: str, url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    monkeypatch.delitem(sys.modules, "recsys.database.urls", raising=False)  # else it is not imported again
    monkeypatch.delattr("recsys.database.urls", raising=False)
    with pytest.raises(DataError, match=message):
        SqlRatings(QUERY, url=url).prepare()


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ("with recursive r(n) as (select 1 union all select n + 1 from r) select n as user, n as item from r", "steps"),
        ("with recursive r(n) as (select 1 union all select n + 1 from r) select sum(n) as user, 1 as item from r",
         "steps"),
        ("select 1 as user, hex(zeroblob(100000000)) as item", "too big"),
    ],
    ids=["endless rows", "no row", "a long text"],
)  # fmt: skip
def test_a_view_of_a_stranger_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: str, message: str) -> None:
    monkeypatch.setattr(sql, "STEPS", 200_000)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"create view ratings as {view}"))
    engine.dispose()
    with pytest.raises(DataError, match=message) as error:
        read("select * from ratings", url=f"sqlite:///{tmp_path / 'shop.db'}", rating_column=None)
    assert "\n" not in str(error.value)
