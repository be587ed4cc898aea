from __future__ import annotations

from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

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


def test_a_scale_not_given_is_that_of_the_data(tmp_path: Path) -> None:
    for _ in range(2):  # from the cache too
        data = read_csv(tmp_path, HEADER + "1,2,3\n1,3,4.5\n", rating_max=10)
        assert (data.rating_min, data.rating_max) == (3.0, 10.0)
        assert [(one.option, one.value) for one in data.findings] == [("rating_min", 3)]
    assert not read_csv(tmp_path, HEADER + "1,2,3\n1,3,4.5\n", rating_min=None, rating_max=None).findings


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
    assert "r.csv: 1 of 3 rows repeat a user and item" in caplog.text


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
        (["31/12/2000", "2000-01-01"], "line 3: t must be a time such as 31/12/2005"),
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


def test_items_of_other_names_are_found(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,name,year\n2,Heat,MCMXCV\nx,Ten,1999\n")
    found = read_csv(tmp_path, HEADER + "1,2,3\n", items_file="items.csv").items
    assert found is not None
    assert found[TITLE].tolist() == ["Heat"]
    assert found[YEAR].isna().all()
    with pytest.raises(DataError, match=r"items.csv: no column 'titel', which item_title_column names; the columns"):
        read_csv(tmp_path, HEADER + "1,2,3\n", items_file="items.csv", item_title_column="titel")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"separator": '"'}, "separator must be tab, comma"),
        ({"rating_min": 5, "rating_max": 1}, "rating_max must be > rating_min = 5, got 1"),
        ({"rating_min": float("nan")}, "rating_min must be finite, got nan"),
        ({"format": "cvs"}, "format must be one of .*, got 'cvs'; did you mean csv?"),
        ({"missing_as": "implict"}, "missing_as must be one of .* did you mean implicit?"),
        ({"item_column": "user_id", "user_column": "user_id"}, "user_column and item_column must differ"),
        ({"columns": ["user", "item", "user"]}, "columns must have each name once, got 'user' twice"),
        ({"columns": ["user", "item"], "rating_column": "stars"}, "rating_column must be one of .*got 'stars'"),
        ({"events": {"view": 1}, "event_column": None}, "events=.* needs event_column"),
        ({"ratings_file": []}, "ratings_file must be a file, a glob, a list of these, or -, got"),
        ({"users_file": "-"}, "users_file must be the name of a file, or null, got '-'"),
        ({"items_separator": ""}, "items_separator must be"),
        ({"item_title_column": ["a"]}, "item_title_column must be the name or position of a column"),
    ],
)  # fmt: skip
def test_arguments_are_checked_before_anything_is_read(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        TabularRatings(**({"root": str(tmp_path), "ratings_file": "r.csv"} | arguments))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    root = str(tmp_path)
    with pytest.raises(DataError, match=r"root must be a folder with r.csv, got .*nowhere"):
        TabularRatings(str(tmp_path / "nowhere"), "r.csv").prepare()
    with pytest.raises(DataError, match=r"ratings_file: .*r.csv: no such file"):
        TabularRatings(root, "r.csv").read()
    (tmp_path / "r.csv").write_text(HEADER + "1,2,3\n")
    with pytest.raises(DataError, match=r"items_file: .*items.csv: no such file"):
        TabularRatings(root, "r.csv", items_file="items.csv").read()
    (tmp_path / "i1.csv").write_text("item_id,title\n")
    (tmp_path / "i2.csv").write_text("item_id,title\n")
    with pytest.raises(DataError, match=r"items_file must be one file, got 'i\*.csv', which matches 2"):
        TabularRatings(root, "r.csv", items_file="i*.csv").read()


def test_several_files_are_one_data_set(tmp_path: Path) -> None:
    for name, rows in (("a.csv", "1,2,3\n1,3,4\n"), ("b.csv", "2,2,5\n")):
        (tmp_path / name).write_text(HEADER + rows)
    for files in ("*.csv", ["a.csv", "b.csv"], ["b.csv", "a.csv"]):
        data = TabularRatings(str(tmp_path), files).read()
        assert sorted(data.ratings[RATING].tolist()) == [3, 4, 5]
    names = {
        "b.csv": "b", "sub/*.parquet": "sub", "*.csv": "ratings", "part-*.csv.gz": "part", "a.zip/r.csv": "r",
        "-": "stdin",
    }  # fmt: skip
    assert {file: TabularRatings(ratings_file=file).name for file in names} == names
    assert TabularRatings(ratings_file=["b.csv", "a.csv"]).name == "b"


def test_standard_input_is_recorded_as_the_file_it_is_kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO((HEADER + "1,2,3\n1,3,4\n").encode())))
    data = TabularRatings(ratings_file="-").read()
    assert data.name == "stdin"
    assert data.ratings[RATING].tolist() == [3, 4]
    (kept,) = (finding.value for finding in data.findings if finding.option == "ratings_file")
    assert TabularRatings(ratings_file=kept).read().sha256 == data.sha256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "utf-16"}, "r.csv: cannot be read with data.encoding=utf-16"),
        ({"user_column": "usr_id"}, "r.csv: no column 'usr_id'; the columns are .*; did you mean user_id?"),
        ({"sheet": "first"}, "r.csv: data.sheet is for Excel files, and this is csv"),
        ({"columns": ["user_id", "item_id"]}, "r.csv, line 1: must have 2 columns, got 3"),
        ({"separator": ";"}, "r.csv: cannot tell which columns hold the users and items"),
        ({"format": "parquet"}, "r.csv: not a readable Parquet file"),
    ],
)
def test_options_that_do_not_suit_the_file(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(HEADER + "1,2,3\n1,3,4\n2,2,5\n")
    with pytest.raises(DataError, match=message):
        TabularRatings(str(tmp_path), "r.csv", **options).read()


def test_names_of_columns_are_in_the_file_where_it_has_keys(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"user": 1, "item": 2, "stars": 3}\n{"user": 2, "item": 2, "stars": 4}\n')
    with pytest.raises(DataError, match=r"r.jsonl: data.columns is for files without names, and this is jsonl"):
        TabularRatings(str(tmp_path), "r.jsonl", columns=["a", "b", "c"]).read()
    assert TabularRatings(str(tmp_path), "r.jsonl").read().ratings[RATING].tolist() == [3, 4]


def test_positions_are_columns_too(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("7,1,3.5\n8,1,2\n8,2,1\n")
    positions = {"user_column": 1, "item_column": "0", "rating_column": 2}
    for columns in (None, ["what", "who", "stars"]):
        data = TabularRatings(str(tmp_path), "r.csv", columns=columns, header=False, **positions).read()
        assert data.ratings[USER_ID].tolist() == [1, 1, 2]
        assert data.ratings[ITEM_ID].tolist() == [7, 8, 8]


def test_what_was_inferred_is_said_from_the_cache_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.csv").write_text("user;film;stars\n1;2;3,5\n1;3;4\n2;2;\n")
    first = TabularRatings(str(tmp_path), "r.csv").read()
    monkeypatch.setattr("recsys.data.sources.tabular.read_interactions", None)
    again = TabularRatings(str(tmp_path), "r.csv").read()
    assert (again.findings, again.counts) == (first.findings, first.counts)
    found = {finding.option: finding.value for finding in again.findings}
    assert (found["separator"], found["decimal"], found["rating_column"]) == (";", ",", "stars")
    assert again.counts is not None
    assert again.counts.sentence("r.csv") == "3 rows of r.csv: 2 ratings, 0 refused, 1 dropped (1 not rated)"
