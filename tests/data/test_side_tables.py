"""One's own tables of users and items, by way of TabularRatings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.bundle import Bundle
from recsys.bundle.ids import MAX_ID_LENGTH
from recsys.data.columns import GENRES, ITEM_ID, TITLE, USER_ID, YEAR
from recsys.data.datamodule import RatingDataModule
from recsys.data.features import item_attributes, user_attributes
from recsys.data.side_tables import year_of
from recsys.data.sources import DataError, RatingData, TabularRatings
from recsys.models.mf import MatrixFactorization
from recsys.training.export import make_bundle
from tests.data.conftest import HEADER, read_csv
from tests.small_data import build

RATINGS = HEADER + "1,10,3\n2,10,4\n1,20,5\n"
USERS = "user_id,team,spent\n2,red,7.5\n1,,8\n"
ITEMS = "item_id,title,genres,price,maker\n10,Heat (1995),Crime,5,ACME\n20,Ten,,,\n"


def read(folder: Path, users: str | None = USERS, items: str | None = ITEMS, ratings: str = RATINGS) -> RatingData:
    files = {}
    for name, text in (("users", users), ("items", items)):
        if text is not None:
            (folder / f"{name}.csv").write_text(text)
            files[f"{name}_file"] = f"{name}.csv"
    return read_csv(folder, ratings, rating_min=1, rating_max=5, **files)


def test_other_columns_are_attributes(tmp_path: Path) -> None:
    for _ in range(2):  # from the cache too
        data = read(tmp_path)
        assert data.users is not None
        assert data.items is not None
        assert list(data.users.columns) == [USER_ID, "team", "spent"]
        assert data.users.to_numpy().tolist() == [[2, "red", "7.5"], [1, "", "8"]]
        assert list(data.items.columns) == [ITEM_ID, TITLE, YEAR, GENRES, "price", "maker"]
        users, items = user_attributes(data, [1, 2]), item_attributes(data, [10, 20])
        assert users.names == ["team=red", "spent=7.5", "spent=8"]
        assert users.dense().tolist() == [[0, 0, 1], [1, 1, 0]]
        assert items.names == ["year=1995", "genre=Crime", "price=5", "maker=ACME"]
        assert items.dense().tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_a_table_added_or_changed_is_read_again(tmp_path: Path) -> None:
    assert read(tmp_path, users=None).users is None
    for team in ("red", "blue"):
        users = read(tmp_path, users=f"user_id,team\n1,{team}\n").users
        assert users is not None
        assert users["team"].tolist() == [team]
    assert read(tmp_path, users=None).users is None


def test_a_file_is_the_users_or_the_items(tmp_path: Path) -> None:
    (tmp_path / "both.csv").write_text("user_id,item_id,title\n1,10,Heat\n")
    users = read_csv(tmp_path, RATINGS, rating_min=1, rating_max=5, users_file="both.csv")
    items = read_csv(tmp_path, RATINGS, rating_min=1, rating_max=5, items_file="both.csv")
    assert (users.users is None, users.items is None) == (False, True)
    assert (items.users is None, items.items is None) == (True, False)


def test_ids_are_of_the_kind_that_the_ratings_have(tmp_path: Path) -> None:
    data = read(tmp_path, users="user_id,team\n007,red\n", ratings=HEADER + "007,10,3\n")
    assert data.users is not None
    assert data.users[USER_ID].tolist() == ["007"]
    assert user_attributes(data, ["007"]).dense().tolist() == [[1]]


def test_parquet(tmp_path: Path) -> None:
    users = pd.DataFrame(
        {
            "who": [1, 2, 3],
            "spent": [0.5, np.nan, 2],
            "member": [True, False, None],
            "team": pd.Categorical(["red", None, "red"]),
        }
    )
    users.to_parquet(tmp_path / "users.parquet")
    text = RATINGS.replace("user_id", "who")
    data = read_csv(tmp_path, text, user_column="who", users_file="users.parquet")
    found = user_attributes(data, [1, 2, 3])
    assert found.names == ["spent=0.5", "spent=2", "member=false", "member=true", "team=red"]
    assert found.dense().tolist() == [[1, 0, 0, 1, 1], [0, 0, 1, 0, 0], [0, 1, 0, 0, 1]]


def test_lists_are_no_attributes_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pd.DataFrame({"user_id": [1, 2], "tags": [["a"], []], "team": ["x", "y"]}).to_parquet(tmp_path / "u.parquet")
    data = read_csv(tmp_path, RATINGS, rating_min=1, rating_max=5, users_file="u.parquet")
    assert data.users is not None
    assert list(data.users.columns) == [USER_ID, "team"]
    assert "u.parquet: ignoring column tags" in caplog.text


def test_names_that_the_frame_has_for_other_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "i.csv").write_text(",item_id,name,title,maker\n0,10,Heat,Mr,ACME\n")
    data = read_csv(tmp_path, RATINGS, rating_min=1, rating_max=5, items_file="i.csv", item_title_column="name")
    assert data.items is not None
    assert list(data.items.columns) == [ITEM_ID, TITLE, YEAR, GENRES, "maker"]  # nor the index that pandas writes
    assert data.items[TITLE].tolist() == ["Heat"]
    assert "i.csv: ignoring column title" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "customer,team\n7,red\n",
            "users.csv: no column 'user_id', and none whose values are ids .*; set user_id_column",
        ),
        ("user_id,team,team\n1,red,x\n", "users.csv: more than one column 'team'"),
        ("user_id,team\n1,red\n2\n", "users.csv, line 3: must have 2 columns, got 1"),
        ("", "users.csv: the file is empty"),
    ],
)
def test_broken_users(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, users=text)


def test_rows_without_an_id_of_their_own_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = "user_id,team\n1,red\n1,blue\n ,red\nanna,x\n9,green\n09,blue\n"
    for _ in range(2):  # from the cache too
        caplog.clear()
        found = read(tmp_path, users=users).users
        assert found is not None
        assert found.to_numpy().tolist() == [[1, "red"], [9, "green"]]
        assert "users.csv: 2 rows left out: the id repeats that of a row above" in caplog.text
        assert "users.csv: 1 rows left out: no id" in caplog.text
        assert "users.csv: 1 rows left out: the id is no whole number, as those of the ratings are" in caplog.text


@pytest.mark.parametrize(
    ("ratings", "items", "ids", "rule"),
    [
        ("1,10,3\n2,20,4\n", "item_id,title\n0010,Heat\n20.0,Ten\n0030,Else\n", [10, 20, 30], "as numbers"),
        ("1,0010,3\n2,0020,4\n", "item_id,title\n10,Heat\n20,Ten\n30,Else\n", ["0010", "0020", "30"], "as numbers"),
        ("a,Heat-1,3\nb,TEN,4\n", "item_id,title\nheat-1,Heat\n TEN,Ten\nx,Else\n", ["Heat-1", "TEN", "x"], "trimmed"),
        ("1,10,3\n2,20,4\n", "item_id,title\n10,Heat\n20,Ten\n30,Else\n", [10, 20, 30], "exactly"),
    ],
)  # fmt: skip
def test_ids_written_differently(
    ratings: str, items: str, ids: list[int] | list[str], rule: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    found = read(tmp_path, users=None, items=items, ratings=HEADER + ratings).items
    assert found is not None
    assert found[ITEM_ID].tolist() == ids
    assert found[TITLE].tolist() == ["Heat", "Ten", "Else"]
    assert f"items.csv: it has 2 of the 2 items with ratings (100.0%); ids match {rule}" in caplog.text


def test_a_file_of_other_items_is_a_loud_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = "item_id,title\nX1,a\nX2,b\nX3,c\nX4,d\n"
    for _ in range(2):  # from the cache too
        caplog.clear()
        read(tmp_path, users=None, items=items)
        (text,) = (record.getMessage() for record in caplog.records if "NONE" in record.getMessage())
        assert "items.csv: NONE of the items with ratings is in it" in text
        assert "such as 'X1', 'X2', 'X3', in the ratings such as '10', '20'; set data.item_id_column" in text


def test_columns_of_other_names_are_found_and_said(tmp_path: Path) -> None:
    items = "id;Book-Title;Year-Of-Publication;categories\n10;Heat;1995.0;Crime\n20;;0;\n"
    (tmp_path / "books.csv").write_text(items)
    data = read_csv(tmp_path, RATINGS, items_file="books.csv")
    assert data.items is not None
    assert data.items.drop(columns=YEAR).to_numpy().tolist() == [[10, "Heat", "Crime"], [20, "", ""]]
    assert data.items[YEAR].tolist() == [1995, pd.NA]
    found = {finding.option: finding.value for finding in data.findings}
    assert found["item_id_column"] == "id"
    assert found["item_title_column"] == "Book-Title"
    assert found["item_year_column"] == "Year-Of-Publication"
    assert found["item_genres_column"] == "categories"
    assert found["items_separator"] == ";"
    without = read_csv(tmp_path, RATINGS, items_file="books.csv", item_title_column=None, item_year_column=None).items
    assert without is not None
    assert without[TITLE].tolist() == ["", ""]
    assert without[YEAR].isna().all()


def test_each_file_has_its_own_encoding_and_separator(tmp_path: Path) -> None:
    (tmp_path / "items.txt").write_bytes("item_id|title\n10|Café número\n".encode("latin-1"))
    (tmp_path / "users.csv").write_text("user_id,team\n1,Köln\n", encoding="utf-8")
    files = {"items_file": "items.txt", "users_file": "users.csv"}
    for stated in ({}, {"items_encoding": "latin-1", "items_separator": "pipe", "users_separator": ","}):
        data = read_csv(tmp_path, RATINGS, **files, **stated)
        assert data.items is not None
        assert data.users is not None
        assert data.items[TITLE].tolist() == ["Café número"]
        assert data.users["team"].tolist() == ["Köln"]


@pytest.mark.parametrize(
    ("text", "year"),
    [("1995", 1995), ("1995.0", 1995), ("01-Jan-1995", 1995), ("0", None), ("9999", None), ("MCMXCV", None), ("", None),
     ("12345", None), ("1995-1997", None), ("850", None), ("2020-05-01 10:00", 2020)],
)  # fmt: skip
def test_years(text: str, year: int | None) -> None:
    assert year_of(text) == year


def test_an_id_that_no_service_takes_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    users = f"user_id,team\nanna,red\n{'x' * (MAX_ID_LENGTH + 1)},blue\n"
    found = read(tmp_path, users=users, items=None, ratings=HEADER + "anna,10,3\n").users
    assert found is not None
    assert found[USER_ID].tolist() == ["anna"]
    assert f"1 rows left out: the id has more than {MAX_ID_LENGTH} characters" in caplog.text


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": [1], "photo": [b"\xff\xfe"]}).to_parquet(tmp_path / "u.parquet")
    with pytest.raises(DataError, match=r"u.parquet: photo must hold texts or numbers, got binary"):
        read_csv(tmp_path, RATINGS, users_file="u.parquet")


def test_the_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"users_file: .*users.csv: no such file"):
        read_csv(tmp_path, RATINGS, users_file="users.csv")


def test_a_table_without_rows_or_attributes(tmp_path: Path) -> None:
    for text in ("user_id,team\n", "user_id\n1\n"):
        found = user_attributes(read(tmp_path, users=text), [1, 2])
        assert (found.names, len(found)) == ([], 2)


def test_further_columns_of_items_make_the_same_bundle(tmp_path: Path) -> None:
    ratings = HEADER + "".join(f"{n % 7},{10 * (1 + n % 2)},{1 + n % 5}\n" for n in range(14))
    bundles: list[Bundle] = []
    for items in (ITEMS, "item_id,title,genres\n10,Heat (1995),Crime\n20,Ten,\n"):
        read(tmp_path, items=items, ratings=ratings)
        source = TabularRatings(str(tmp_path), "r.csv", items_file="items.csv", users_file="users.csv")
        data = RatingDataModule(source, split="random", test_fraction=0.2)
        data.setup()
        bundles.append(make_bundle(build(MatrixFactorization, data, embedding_dim=2), data))
    assert (
        bundles[0].items
        == bundles[1].items
        == [
            {"title": "Heat (1995)", "year": 1995, "genres": ["Crime"]},
            {"title": "Ten", "year": None, "genres": []},
        ]
    )
