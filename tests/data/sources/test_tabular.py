from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID, YEAR
from recsys.data.sources import DataError, TabularRatings
from tests.data.conftest import HEADER, read_csv


def test_columns_by_name(tmp_path: Path) -> None:
    text = "junk;stars;when;who;what\n?;4.5;1000;1;20\n?;2;900;1;10\n"
    data = read_csv(
        tmp_path,
        text,
        user_column="who",
        item_column="what",
        rating_column="stars",
        timestamp_column="when",
        separator=";",
        rating_min=0.5,
        rating_max=5,
        name="mine",
    )
    assert list(data.ratings.columns) == [USER_ID, ITEM_ID, RATING, TIMESTAMP]
    assert data.ratings.to_numpy().tolist() == [[1, 20, 4.5, 1000], [1, 10, 2, 900]]
    assert data.ratings.dtypes.astype(str).tolist() == ["int64", "int64", "float32", "int64"]
    assert (data.name, data.rating_min, data.rating_max, data.users, data.items) == (
        "mine",
        0.5,
        5.0,
        None,
        None,
    )


def test_no_times_no_column(tmp_path: Path) -> None:
    data = read_csv(tmp_path, HEADER + "1,2,3\n")
    assert TIMESTAMP not in data.ratings
    assert data.name == "r"


@pytest.mark.parametrize(
    ("users", "items", "kind"),
    [
        (["1", "-7", "0"], ["3", "2", "1"], "int"),
        (["1", "007", "7"], ["3", "2", "1"], "str"),
        (["1", "2", "3"], ["3", "+2", "1"], "str"),
        (["1", "-0", "0"], ["3", "2", "1"], "str"),
        (["1", "2", "9223372036854775808"], ["3", "2", "1"], "str"),
        (["9223372036854775807", "2", "-9223372036854775808"], ["3", "2", "1"], "int"),
        (["NA", "null", "nan"], ["é", "b", "x y"], "str"),
    ],
)
def test_ids_are_integers_or_kept_verbatim(users: list[str], items: list[str], kind: str, tmp_path: Path) -> None:
    lines = "".join(f"{user},{item},3\n" for user, item in zip(users, items, strict=True))
    ratings = read_csv(tmp_path, HEADER + lines, rating_min=1, rating_max=5).ratings
    for name, texts in ((USER_ID, users), (ITEM_ID, items)):
        assert ratings[name].tolist() == ([int(text) for text in texts] if kind == "int" else texts)
        assert str(ratings[name].dtype) == ("int64" if kind == "int" else "str")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("978300760", 978300760),
        ("2000-12-31", 978220800),
        ("2000-12-31T22:12:40", 978300760),
        ("2000-12-31 22:12:40", 978300760),
        ("2000-12-31T22:12:40Z", 978300760),
        ("2001-01-01T00:12:40+02:00", 978300760),
        ("2000-12-31T22:12:40.999", 978300760),
    ],
)
def test_times(text: str, seconds: int, tmp_path: Path) -> None:
    data = read_csv(tmp_path, f"user_id,item_id,rating,t\n1,2,3,{text}\n", timestamp_column="t")
    assert data.ratings[TIMESTAMP].tolist() == [seconds]
    assert data.ratings[TIMESTAMP].dtype == np.int64


def test_times_of_different_zones_in_one_column(tmp_path: Path) -> None:
    times = ["1970-01-02", "1970-01-02T01:00:00+01:00", "1970-01-02T00:00:01Z"]
    text = "user_id,item_id,rating,t\n" + "".join(f"1,{n},3,{time}\n" for n, time in enumerate(times))
    assert read_csv(tmp_path, text, timestamp_column="t").ratings[TIMESTAMP].tolist() == [86400, 86400, 86401]


def test_a_scale_not_given_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):  # from the cache too
        caplog.clear()
        data = read_csv(tmp_path, HEADER + "1,2,3\n1,3,4.5\n", rating_max=10)
        assert (data.rating_min, data.rating_max) == (3.0, 10.0)
        assert "using the range of the data: [3, 10]" in caplog.text


def test_implicit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = read_csv(tmp_path, "user_id,item_id\n1,2\n2,2\n", rating_column=None)
    assert data.implicit
    assert list(data.ratings.columns) == [USER_ID, ITEM_ID, RATING]
    assert data.ratings[RATING].tolist() == [1.0, 1.0]
    assert str(data.ratings[RATING].dtype) == "float32"
    assert (data.rating_min, data.rating_max) == (1.0, 1.0)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["int", "str"])
def test_repeated_pairs_without_times_go_by_row(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    user = "7" if kind == "int" else "anna"
    text = HEADER + f"{user},1,1\n{user},2,5\n{user},1,4\n"
    assert read_csv(tmp_path, text).ratings[RATING].tolist() == [5.0, 4.0]
    assert "r.csv: dropping 1 of 3 ratings" in caplog.text


def test_pairs_of_ids_too_far_apart_to_pack(tmp_path: Path) -> None:
    far = 2**62
    text = HEADER + f"{-far},{far},1\n{far},{-far},2\n{-far},{far},3\n"
    assert read_csv(tmp_path, text).ratings[RATING].tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"rating_min": 1, "rating_max": 5}, r"line 3: rating must be in \[1, 5\], got 5.5"),
        ({"rating_max": 5}, "line 3: rating must be <= 5, got 5.5"),
        ({"rating_min": 4}, "line 2: rating must be finite and >= 4, got 3"),
    ],
)
def test_ratings_outside_the_scale(scale: dict[str, float], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path, HEADER + "1,2,3\n1,3,5.5\n", **scale)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["100", "-5"], r"line 3: t must be unix seconds in \[0, .*\), got -5"),
        (["100", ""], "line 3: t must be unix seconds, got ''"),
        (["100", "2000-01-01"], "line 3: t must be unix seconds, got '2000-01-01'"),
        (
            ["2000-01-01", "100 days"],
            "line 3: t must be a time in ISO 8601, got '100 days'",
        ),
        (["2000-01-01", ""], "line 3: t must be a time in ISO 8601, got ''"),
        (["2000-01-01", "1969-12-31"], "line 3: t must be in the years 1970 to 9999, got '1969-12-31'"),
        (["31/12/2000", "2000-01-01"], "line 2: t must be a time in ISO 8601"),
    ],
)
def test_broken_times(times: list[str], message: str, tmp_path: Path) -> None:
    text = "user_id,item_id,rating,t\n" + "".join(f"1,{n},3,{time}\n" for n, time in enumerate(times))
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path, text, timestamp_column="t")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_items(suffix: str, tmp_path: Path) -> None:
    items = pd.DataFrame({"item_id": [2, 9], "name": ["Heat (1995)", "Ten, 10"], "kinds": ["Crime|Drama", None]})
    if suffix == "csv":
        items.to_csv(tmp_path / "items.csv", index=False)
    else:
        items.to_parquet(tmp_path / "items.parquet")
    arguments = {"item_title_column": "name", "item_genres_column": "kinds", "items_file": f"items.{suffix}"}
    found = read_csv(tmp_path, HEADER + "1,2,3\n", **arguments).items
    assert found is not None
    assert found[ITEM_ID].tolist() == [2, 9]
    assert found[TITLE].tolist() == ["Heat (1995)", "Ten, 10"]
    assert found[YEAR].tolist() == [1995, pd.NA]
    assert found[GENRES].tolist() == ["Crime|Drama", ""]
    named = read_csv(tmp_path, HEADER + "1,b,3\n", **arguments).items
    assert named is not None
    assert named[ITEM_ID].tolist() == ["2", "9"]  # of the kind that the ratings have


def test_items_with_years(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,year\n2,Heat,1995\n3,Unknown,\n")
    found = read_csv(tmp_path, HEADER + "1,2,3\n", items_file="items.csv").items
    assert found is not None
    assert found[YEAR].tolist() == [1995, pd.NA]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item_id,name\n2,Heat\n", "items.csv: no column 'title'; the columns are item_id, name"),
        ("item_id,title\nx,Heat\n", "items.csv, line 2: item_id must be an integer, got 'x'"),
        (
            "item_id,title,year\n2,Heat,MCMXCV\n",
            "items.csv: a year must be an integer or empty, got 'MCMXCV'",
        ),
    ],
)
def test_broken_items(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path, HEADER + "1,2,3\n", items_file="items.csv")


def test_arguments(tmp_path: Path) -> None:
    root = str(tmp_path)
    with pytest.raises(ValueError, match=r"separator must be one character .*, got '::'"):
        TabularRatings(root, "r.csv", separator="::")
    with pytest.raises(ValueError, match=r"rating_max must be > rating_min = 5, got 1"):
        TabularRatings(root, "r.csv", rating_min=5, rating_max=1)
    with pytest.raises(ValueError, match=r"rating_min must be finite, got nan"):
        TabularRatings(root, "r.csv", rating_min=float("nan"))
    with pytest.raises(DataError, match=r"root must be a folder with r.csv, got .*nowhere"):
        TabularRatings(str(tmp_path / "nowhere"), "r.csv").prepare()
    with pytest.raises(DataError, match=r"ratings_file must be a file in .*, got 'r.csv'"):
        TabularRatings(root, "r.csv").read()
    (tmp_path / "r.csv").write_text(HEADER + "1,2,3\n")
    with pytest.raises(DataError, match=r"items_file must be a file in .*, got 'items.csv'"):
        TabularRatings(root, "r.csv", items_file="items.csv").read()
    with pytest.raises(DataError, match=r"columns must differ, got"):
        TabularRatings(root, "r.csv", item_column="user_id").read()
