from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID, YEAR
from recsys.data.sources import DataError, RatingData, TabularRatings

HEADER = "user_id,item_id,rating\n"


def read_csv(folder: Path, text: str | bytes, **arguments: Any) -> RatingData:
    (folder / "r.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return TabularRatings(str(folder), "r.csv", **arguments).read()


def read_parquet(folder: Path, columns: dict[str, Any], **arguments: Any) -> RatingData:
    pd.DataFrame(columns).to_parquet(folder / "r.parquet")
    return TabularRatings(str(folder), "r.parquet", **arguments).read()


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
        (["1", "2", "3"], ["3", "2.0", "1"], "str"),
        (["1", "-0", "0"], ["3", "2", "1"], "str"),
        (["1", "2", "9223372036854775808"], ["3", "2", "1"], "str"),
        (["9223372036854775807", "2", "-9223372036854775808"], ["3", "2", "1"], "int"),
        (["NA", "null", "nan"], ["é", " b", "x y"], "str"),
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
        assert "rating_min or rating_max is not given; the scale is taken from the data: [3, 10]" in caplog.text


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
    assert "r.csv: 1 of 3 ratings repeat a user and item" in caplog.text


def test_pairs_of_ids_too_far_apart_to_pack(tmp_path: Path) -> None:
    far = 2**62
    text = HEADER + f"{-far},{far},1\n{far},{-far},2\n{-far},{far},3\n"
    assert read_csv(tmp_path, text).ratings[RATING].tolist() == [2.0, 3.0]


def test_forms_of_csv(tmp_path: Path) -> None:
    plain = read_csv(tmp_path, HEADER + "1,2,3\n4,5,1\n").ratings
    quoted = read_csv(tmp_path, 'user_id,"item_id",rating,text\n1,"2",3,"a ""b"", c\nd"\n4,5,1,\n').ratings
    windows = read_csv(tmp_path, "\ufeffuser_id,item_id,rating\r\n1,2,3\r\n4,5,1\r\n").ratings
    blank = read_csv(tmp_path, HEADER + "1,2,3\n\n4,5,1").ratings
    with gzip.open(tmp_path / "z.csv.gz", "wt") as file:
        file.write(HEADER + "1,2,3\n4,5,1\n")
    packed = TabularRatings(str(tmp_path), "z.csv.gz").read()
    assert packed.name == "z"
    for other in (quoted, windows, blank, packed.ratings):
        pd.testing.assert_frame_equal(plain, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.csv: the file is empty"),
        (HEADER, "r.csv: .*(no ratings|Empty)"),
        ("user,item_id,rating\n1,2,3\n", "no column 'user_id'; the columns are user, item_id, rating"),
        ("user_id,item_id,rating,rating\n1,2,3,3\n", "more than one column 'rating'"),
        (HEADER + "1,2,3\n1,3\n", "line 3: must have 3 columns, got 2"),
        (HEADER + "1,2,3\n1,3,4,5\n", "line 3: must have 3 columns, got 4"),
        (HEADER + "1,2,3\n,3,4\n", "line 3: user_id must not be empty, got ''"),
        (HEADER + "1,2,3\n1,  ,4\n", "line 3: item_id must not be empty, got '  '"),
        (HEADER + "1,2,3\n1,3,x\n", "line 3: rating must be a number, got 'x'"),
        (HEADER + "1,2,3\n1,3,\n", "line 3: rating must be a number, got ''"),
        (HEADER + "1,2,3\n1,3,nan\n", "line 3: rating must be finite, got nan"),
        (HEADER + "1,2,3\n1,3,-inf\n", "line 3: rating must be finite, got -inf"),
        ((HEADER + "1,2,3\nJos\u00e9,3,4\n").encode("latin-1"), "line 3: must be UTF-8, got byte 0xe9"),
        (
            'user_id,item_id,rating,t\n1,2,3,"two\nlines"\n1,3,x,\n',
            "line 4: rating must be a number, got 'x'",
        ),
    ],
)
def test_broken_csv(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path, text)


@pytest.mark.parametrize("damage", ["truncated", "plain", "flipped"])
def test_broken_gzip(damage: str, tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "".join(f"{n},{n * n % 9973},3\n" for n in range(20_000))).encode())
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(50) + whole[middle + 50 :]
    contents = {"truncated": whole[:middle], "plain": b"user_id\n", "flipped": flipped}[damage]
    (tmp_path / "r.csv.gz").write_bytes(contents)
    with pytest.raises(DataError, match=r"r.csv.gz"):
        TabularRatings(str(tmp_path), "r.csv.gz").read()


def test_a_quote_that_does_not_end(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n},3\n" for n in range(50_000))
    with pytest.raises(DataError, match=r"r.csv, line 3: "):
        read_csv(tmp_path, HEADER + '1,2,3\n2,"3,4\n' + rows)


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
            "line 3: t must be a time in ISO 8601, as in the first row, got '100 days'",
        ),
        (["2000-01-01", ""], "line 3: t must be a time in ISO 8601, as in the first row, got ''"),
        (["2000-01-01", "1969-12-31"], "line 3: t must be in 1970 or later, got '1969-12-31'"),
        (["31/12/2000", "2000-01-01"], "line 2: t must be a time in ISO 8601"),
    ],
)
def test_broken_times(times: list[str], message: str, tmp_path: Path) -> None:
    text = "user_id,item_id,rating,t\n" + "".join(f"1,{n},3,{time}\n" for n, time in enumerate(times))
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path, text, timestamp_column="t")


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        ([100, 200], [100, 200]),
        (["1970-01-01", "1970-01-02T00:00:01"], [0, 86401]),
        (pd.to_datetime(["1970-01-01T00:00:00.0", "1970-01-02T00:00:01.5"]), [0, 86401]),
        (pd.to_datetime(["1970-01-01T02:00:00+02:00", "1970-01-02T02:00:01+02:00"]), [0, 86401]),
    ],
)
def test_parquet(when: Any, seconds: list[int], tmp_path: Path) -> None:
    columns = {USER_ID: ["b", "a"], ITEM_ID: [7, 8], RATING: [1, 5], "t": when}
    ratings = read_parquet(tmp_path, columns, timestamp_column="t").ratings
    assert ratings[USER_ID].tolist() == ["b", "a"]
    assert ratings[ITEM_ID].tolist() == ["7", "8"]  # one kind for both
    assert str(ratings[RATING].dtype) == "float32"
    assert ratings[TIMESTAMP].tolist() == seconds


def test_parquet_and_csv_give_the_same(tmp_path: Path) -> None:
    first = read_csv(tmp_path, HEADER + "1,2,3\n4,5,1\n")
    second = read_parquet(tmp_path, {USER_ID: pd.Series([1, 4], dtype="int32"), ITEM_ID: [2, 5], RATING: [3.0, 1.0]})
    pd.testing.assert_frame_equal(first.ratings, second.ratings)
    assert first.sha256 == second.sha256


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({ITEM_ID: [1], RATING: [1.0]}, "no column 'user_id'; the columns are item_id, rating"),
        ({USER_ID: [], ITEM_ID: [], RATING: []}, "the file has no ratings"),
        ({USER_ID: [1.5], ITEM_ID: [1], RATING: [1.0]}, "user_id must hold integers or strings, got double"),
        (
            {USER_ID: ["a", None], ITEM_ID: [1, 2], RATING: [1.0, 2]},
            "row 2: user_id must not be empty, got ''",
        ),
        ({USER_ID: [1, 2], ITEM_ID: [1, 2], RATING: ["1", "2"]}, "rating must hold numbers, got"),
        (
            {USER_ID: [1, 2], ITEM_ID: [1, 2], RATING: [1.0, float("inf")]},
            "row 2: rating must be finite, got inf",
        ),
        ({USER_ID: [1, 2], ITEM_ID: [1, 2], RATING: [1.0, None]}, "row 2: rating must be a number, got ''"),
    ],
)
def test_broken_parquet(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_parquet(tmp_path, columns)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, -1], r"row 2: t must be unix seconds in \[0, .*\), got -1"),
        ([1.0, 2.5], "t must hold int64, got double"),
        (["1970-01-01", "soon"], "row 2: t must be a time in ISO 8601, as in the first row, got 'soon'"),
    ],
)
def test_broken_times_in_parquet(times: list[Any], message: str, tmp_path: Path) -> None:
    columns = {USER_ID: [1, 2], ITEM_ID: [1, 2], RATING: [1.0, 2.0], "t": times}
    with pytest.raises(DataError, match=message):
        read_parquet(tmp_path, columns, timestamp_column="t")


@pytest.mark.parametrize("arguments", [{}, {"timestamp_column": "t"}])
def test_no_parquet_at_all(arguments: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "r.parquet").write_text("user_id,item_id\n")
    with pytest.raises(DataError, match=r"r.parquet: not a Parquet file that can be read"):
        TabularRatings(str(tmp_path), "r.parquet", **arguments).read()


def test_no_parquet_of_items(tmp_path: Path) -> None:
    (tmp_path / "i.parquet").write_text("item_id,title\n")
    with pytest.raises(DataError, match=r"i.parquet: not a Parquet file that can be read"):
        read_csv(tmp_path, HEADER + "1,2,3\n", items_file="i.parquet")


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
