"""One's own tables of users and items, by way of TabularRatings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.bundle import Bundle
from recsys.data.columns import GENRES, ITEM_ID, TITLE, USER_ID, YEAR
from recsys.data.datamodule import RatingDataModule
from recsys.data.features import item_attributes, user_attributes
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
        ("customer,team\n1,red\n", "users.csv: no column 'user_id'; the columns are customer, team"),
        ("user_id,team,team\n1,red,x\n", "users.csv: more than one column 'team'"),
        ("user_id,team\nanna,red\n", "users.csv, line 2: user_id must be an integer, got 'anna'"),
        ("user_id,team\n1,red\n1,blue\n", "users.csv: user_id must have each id once, got '1' again"),
        ("user_id,team\n1,red\n2\n", "users.csv, line 3: must have 2 columns, got 1"),
        ("", "users.csv: the file is empty"),
    ],
)
def test_broken_users(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, users=text)


def test_an_empty_id_among_strings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"users.csv: user_id must not be empty, got ' '"):
        read(tmp_path, users="user_id,team\n ,red\n", ratings=HEADER + "anna,10,3\n")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": [1], "photo": [b"\xff\xfe"]}).to_parquet(tmp_path / "u.parquet")
    with pytest.raises(DataError, match=r"u.parquet: photo must hold texts or numbers, got binary"):
        read_csv(tmp_path, RATINGS, users_file="u.parquet")


def test_the_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"users_file must be a file in .*, got 'users.csv'"):
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
