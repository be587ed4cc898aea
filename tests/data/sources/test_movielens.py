from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recsys.data.columns import GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID, YEAR
from recsys.data.readers import lines
from recsys.data.sources import DataError, MovieLens, RatingData

HALF_STARS = ("ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small")
WHOLE_STARS = ("ml-100k", "ml-1m")
FILES = {"ml-100k": ("u.data", "\t"), "ml-1m": ("ratings.dat", "::"), "ml-25m": ("ratings.csv", ",")}


ROWS = [(1, 10, 5, 100), (1, 30, 3, 90), (4, 10, 1, 250), (4, 77, 4, 250)]  # as `write_release` writes them

Read = Callable[..., RatingData]
Write = Callable[..., Path]


@pytest.fixture
def read(write_release: Write) -> Read:
    """Writes a small release and reads it."""
    return lambda name, rows=None: MovieLens(name, root=str(write_release(name, rows))).read()


@pytest.mark.parametrize("name", [*WHOLE_STARS, *HALF_STARS])
def test_ratings_of_every_release(name: str, read: Read) -> None:
    data = read(name)
    assert list(data.ratings.columns) == [USER_ID, ITEM_ID, RATING, TIMESTAMP]
    assert data.ratings.dtypes.astype(str).tolist() == ["int64", "int64", "float32", "int64"]
    assert [tuple(row) for row in data.ratings.to_numpy().tolist()] == ROWS
    assert data.ratings.index.equals(data.ratings.reset_index().index)
    assert (data.name, data.implicit) == (name, False)
    assert (data.rating_min, data.rating_max) == (0.5 if name in HALF_STARS else 1.0, 5.0)


@pytest.mark.parametrize(
    ("name", "titles", "years"),
    [
        ("ml-100k", ["Léon (1994)", "unknown", "Babylon 5 (1995) (V)"], [1994, None, 1995]),
        ("ml-1m", ["Léon: The Professional (1994)", "unknown", "Babylon 5"], [1994, None, None]),
        ("ml-10m", ["Léon: The Professional (1994)", "unknown", "Babylon 5"], [1994, None, None]),
        (
            "ml-20m",
            ["Professional, The (Léon) (1994)", 'The "X" Files', "Mosaic (2006\u20132007)"],
            [1994, None, 2006],
        ),
    ],
)
def test_items(name: str, titles: list[str], years: list[int | None], read: Read) -> None:
    items = read(name).items
    assert items is not None
    assert items[ITEM_ID].tolist() == [10, 30, 77]
    assert items[TITLE].tolist() == titles
    assert str(items[YEAR].dtype) == "Int64"
    assert [None if year is pd.NA else year for year in items[YEAR].tolist()] == years
    assert items[GENRES].tolist() == ["Action|Drama", "", "Sci-Fi"]


@pytest.mark.parametrize("name", ["ml-100k", "ml-1m"])
def test_users(name: str, read: Read) -> None:
    users = read(name).users
    assert users is not None
    assert list(users.columns) == [USER_ID, "age", "gender", "occupation", "zip_code"]
    first = {
        "ml-100k": [1, 24, "M", "technician", "85711"],
        "ml-1m": [1, 1, "F", "10", "48067"],
    }
    assert users.iloc[0].tolist() == first[name]


@pytest.mark.parametrize("name", HALF_STARS)
def test_releases_without_users(name: str, read: Read) -> None:
    assert read(name).users is None


def test_from_cache_everything_is_the_same(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read("ml-1m")
    monkeypatch.setattr(MovieLens, "parse", lambda self: pytest.fail("parsed again"))
    again = read("ml-1m")
    assert first.items is not None
    assert first.users is not None
    assert first.ratings.equals(again.ratings)
    assert first.items.equals(again.items)
    assert first.users.equals(again.users)
    assert first.items.dtypes.equals(again.items.dtypes)
    assert (first.sha256, first.rating_min, first.rating_max) == (
        again.sha256,
        again.rating_min,
        again.rating_max,
    )


def test_a_changed_file_is_parsed_again(read: Read) -> None:
    first = read("ml-1m")
    second = read("ml-1m", [*ROWS[:-1], (4, 77, 5, 250)])
    assert second.ratings[RATING].iloc[-1] == 5
    assert first.sha256 != second.sha256


def test_root_is_not_written_to(write_release: Write) -> None:
    folder = write_release("ml-100k")
    before = sorted((file.name, file.stat().st_mtime_ns) for file in folder.iterdir())
    MovieLens("ml-100k", root=str(folder)).read()
    assert sorted((file.name, file.stat().st_mtime_ns) for file in folder.iterdir()) == before


def test_the_later_of_two_ratings_of_a_pair_is_kept(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    rows = [(1, 10, 1, 200), (2, 10, 3, 5), (1, 10, 2, 300), (1, 10, 4, 100), (2, 11, 1, 9), (2, 11, 5, 9)]
    data = read("ml-1m", rows)
    assert [tuple(row) for row in data.ratings.to_numpy().tolist()] == [rows[1], rows[2], rows[5]]
    assert data.ratings.index.tolist() == [0, 1, 2]
    assert "3 of 6 rows repeat a user and item" in caplog.text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("x", 10, 3, 100), "must be an integer, got 'x'"),
        (("", 10, 3, 100), "must be an integer, got ''"),
        ((1, 10.5, 3, 100), "must be an integer, got '10.5'"),
        ((1, 10, "good", 100), "must be a number, got 'good'"),
        ((1, 10, "", 100), "must be a number, got ''"),
        ((1, 10, "nan", 100), r"must be in \[.*, 5\], got nan"),
        ((1, 10, "inf", 100), r"must be in \[.*, 5\], got inf"),
        ((1, 10, 6, 100), r"must be in \[.*, 5\], got 6"),
        ((1, 10, 0, 100), r"must be in \[.*, 5\], got 0"),
        ((1, 10, 3, -1), r"must be unix seconds in \[0, 100000000000\), got -1"),
        ((1, 10, 3, 978300760000), r"must be unix seconds in \[0, 100000000000\), got 978300760000"),
        ((1, 10, 3, "yesterday"), "must be unix seconds, got 'yesterday'"),
        ((1, 10, 3), "must have 4 columns, got 3"),
        ((1, 10, 3, 100, 7), "must have 4 columns, got 5"),
    ],
)
def test_a_bad_line_is_named(name: str, row: tuple[Any, ...], problem: str, read: Read) -> None:
    file, _ = FILES[name]
    line = 3 + (name == "ml-25m")  # after two good ones and the header
    with pytest.raises(DataError, match=rf"{file}, line {line}: .*{problem}"):
        read(name, [*ROWS[:2], row, *ROWS[2:]])


def test_a_single_colon_is_no_separator(write_release: Write) -> None:
    folder = write_release("ml-1m")
    (folder / "ratings.dat").write_text("1::10::5::100\n1:x:10::5::100\n")
    with pytest.raises(DataError, match=r"ratings.dat, line 2: must have 4 columns, got 3"):
        MovieLens("ml-1m", root=str(folder)).read()


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("ml-100k", "u.data", "", "u.data: the file is empty"),
        ("ml-25m", "ratings.csv", "", "ratings.csv: the file is empty"),
        ("ml-25m", "ratings.csv", "userId,movieId,rating,timestamp\n", "ratings.csv: .*(no ratings|Empty)"),
        ("ml-25m", "ratings.csv", "user,movieId\n1,2\n", "no column 'userId'; the columns are user, movieId"),
        ("ml-25m", "movies.csv", "movieId,title\n", "movies.csv: no column 'genres'; the columns are movieId, title"),
        ("ml-1m", "movies.dat", "1::A\n", "movies.dat, line 1: must have 3 columns, got 2"),
        ("ml-1m", "movies.dat", "one::A::B\n", "movies.dat, line 1: item_id must be an integer, got 'one'"),
        ("ml-1m", "users.dat", "1::F::old::10::48067\n", "users.dat, line 1: age must be an integer, got 'old'"),
        ("ml-100k", "u.genre", "Action|0\n", "u.genre: must name 19 genres, got 1"),
    ],
)  # fmt: skip
def test_broken_files(name: str, file: str, text: str, message: str, write_release: Write) -> None:
    folder = write_release(name)
    (folder / file).write_text(text)
    with pytest.raises(DataError, match=message):
        MovieLens(name, root=str(folder)).read()


def test_not_utf8(write_release: Write) -> None:
    folder = write_release("ml-10m")
    (folder / "movies.dat").write_bytes(b"1::A::B\n2::L\xe9on::B\n")
    with pytest.raises(DataError, match=r"movies.dat, line 2: must be UTF-8, got byte 0xe9"):
        MovieLens("ml-10m", root=str(folder)).read()


def test_ratings_alone_are_enough(write_release: Write, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_release("ml-1m")
    (folder / "movies.dat").unlink()
    (folder / "users.dat").unlink()
    data = MovieLens("ml-1m", root=str(folder)).read()
    assert (data.items, data.users, len(data.ratings)) == (None, None, 4)
    assert "movies.dat is missing; reading ml-1m" in caplog.text


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name must be one of ml-100k, ml-1m, .*, got 'ml-2m'"):
        MovieLens("ml-2m")
    with pytest.raises(DataError, match=r"root must be a folder with the files of ml-1m, got .*nowhere"):
        MovieLens("ml-1m", root=str(tmp_path / "nowhere")).prepare()
    with pytest.raises(DataError, match=r"root must contain ratings.dat of ml-1m, got .* without it"):
        MovieLens("ml-1m", root=str(tmp_path)).read()


def test_blocks_of_a_large_file_keep_their_order(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 512)
    rows = [(n, n % 7, 1 + n % 5, n) for n in range(1, 3000)]
    assert read("ml-1m", rows).ratings[USER_ID].tolist() == list(range(1, 3000))


def test_real_100k(shared: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    data = MovieLens("ml-100k", root=str(shared("ml-100k"))).read()
    assert data.items is not None
    assert data.users is not None
    assert (len(data.ratings), len(data.items), len(data.users)) == (100_000, 1682, 943)
    assert data.items.loc[data.items[YEAR].isna(), TITLE].tolist() == ["unknown"]
    assert not caplog.records


@pytest.mark.slow
def test_real_1m(shared: Callable[[str], Path]) -> None:
    data = MovieLens("ml-1m", root=str(shared("ml-1m"))).read()
    assert data.items is not None
    assert (len(data.ratings), data.ratings[USER_ID].nunique(), data.ratings[ITEM_ID].nunique()) == (
        1_000_209,
        6040,
        3706,
    )
    assert data.items[YEAR].notna().all()
