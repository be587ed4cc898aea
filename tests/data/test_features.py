from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import GENRES, ITEM_ID, TITLE, USER_ID, YEAR
from recsys.data.features import Attributes, item_attributes, user_attributes
from recsys.data.rating_data import RatingData
from recsys.data.sources import MovieLens
from tests.small_data import frame

SMALL = Attributes(["a", "b", "c"], np.array([0, 2, 2, 3]), np.array([0, 2, 1], np.int32))


def described(users: dict[str, Any] | None = None, items: dict[str, Any] | None = None) -> RatingData:
    """Tables without a rating: attributes look at none."""
    tables = [None if table is None else pd.DataFrame(table) for table in (users, items)]
    return RatingData("small", frame([], [], []), 1.0, 5.0, *tables)


def users_with(column: str, values: list[Any]) -> Attributes:
    """Attributes of users 0, 1, … who have these values."""
    return user_attributes(described({USER_ID: range(len(values)), column: values}), range(len(values)))


def said(found: Attributes) -> list[list[str]]:
    """Names of each row's attributes."""
    return [[found.names[index] for index in found.of(row)] for row in range(len(found))]


def test_rows_of_a_table() -> None:
    assert len(SMALL) == 3
    assert [SMALL.of(row).tolist() for row in range(3)] == [[0, 2], [], [1]]
    assert SMALL.dense().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_taken_rows_come_in_the_order_asked_for() -> None:
    taken = SMALL.take([2, -1, 0, 0, 1])
    assert said(taken) == [["b"], [], ["a", "c"], ["a", "c"], []]
    assert (taken.names, taken.indptr.dtype, taken.index.dtype) == (SMALL.names, np.int64, np.int32)
    assert len(SMALL.take([])) == 0


def test_users_and_ids_of_which_nothing_is_known() -> None:
    users = {USER_ID: [7, 3], "age": [30, 17], "gender": ["F", "M"], "zip_code": ["85711", "T8H1N"]}
    found = user_attributes(described(users), [3, 5, 7, 3])
    young, old = ["age=1", "gender=M", "zip=T"], ["age=25", "gender=F", "zip=8"]
    assert said(found) == [young, [], old, young]
    assert found.names == ["age=1", "age=25", "gender=F", "gender=M", "zip=8", "zip=T"]
    assert (found.indptr.dtype, found.index.dtype) == (np.int64, np.int32)


def test_names_are_those_of_the_whole_table_whoever_is_asked_for() -> None:
    data = described({USER_ID: list("abc"), "team": ["x", "z", "y"]})
    every = user_attributes(data, ["a", "b", "c"])
    assert every.names == ["team=x", "team=y", "team=z"]
    for ids in (["b"], ["c", "unseen"], []):
        some = user_attributes(data, ids)
        assert some.names == every.names
        assert said(some) == [said(every)["abc".index(i)] if i in "abc" else [] for i in ids]


def test_the_order_of_the_table_makes_no_difference() -> None:
    rng = np.random.default_rng(0)
    users = pd.DataFrame({USER_ID: np.arange(300), "spent": rng.normal(size=300), "team": rng.choice(list("xyz"), 300)})
    first, second = (
        user_attributes(described(table.to_dict("list")), np.arange(300)) for table in (users, users.sample(frac=1))
    )
    assert first.names == second.names
    assert said(first) == said(second)


def test_items_have_years_decades_and_genres() -> None:
    items = {
        ITEM_ID: [1, 2, 3, 4],
        TITLE: ["A", "B", "C", "D"],
        YEAR: pd.array([1979, 1980, None, 1934], dtype="Int64"),
        GENRES: ["Drama|Action", "", "Drama|Drama", "Action"],
        "studio": ["s", "", "t", "s "],
    }
    found = item_attributes(described(items=items), [1, 2, 3, 4])
    assert said(found) == [
        ["year=1970s", "genre=Action", "genre=Drama", "studio=s"],
        ["year=1980"],
        ["genre=Drama", "studio=t"],
        ["year=1930s", "genre=Action", "studio=s"],
    ]
    assert found.names[:3] == ["year=1930s", "year=1970s", "year=1980"]


def test_no_table_says_nothing() -> None:
    for table in (None, {USER_ID: []}):
        found = user_attributes(described(table), [1, 2])
        assert (found.names, said(found)) == ([], [[], []])
    assert said(user_attributes(described({USER_ID: [1]}), [1])) == [[]]


def test_ids_of_the_other_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="ids must be int as those fitted"):
        user_attributes(described({USER_ID: [1], "team": ["x"]}), ["1"])


@pytest.mark.parametrize(
    ("age", "bracket"), [(0, 1), (1, 1), (17, 1), (18, 18), (24, 18), (25, 25), (49, 45), (50, 50), (55, 50), (99, 56)]
)
def test_ages_are_cut_where_ml_1m_cuts_them(age: int, bracket: int) -> None:
    assert said(users_with("age", [age])) == said(users_with("age", [str(age)])) == [[f"age={bracket}"]]


def test_ages_in_words_or_unknown() -> None:
    assert said(users_with("age", ["18-24", ""])) == [["age=18-24"], []]
    assert said(users_with("age", ["20", "", "NA"])) == [["age=18"], [], []]


def test_few_numbers_are_categories_however_they_are_written() -> None:
    found = users_with("rooms", ["10", "2", "2.0", "", " 2.5", "nan", "-0"])
    assert said(found) == [["rooms=10"], ["rooms=2"], ["rooms=2"], [], ["rooms=2.5"], [], ["rooms=0"]]
    assert found.names == ["rooms=0", "rooms=2", "rooms=2.5", "rooms=10"]
    assert said(users_with("rooms", [10.0, np.nan])) == [["rooms=10"], []]


def test_up_to_25_numbers_are_categories_and_more_are_cut_into_tenths() -> None:
    assert len(users_with("n", list(range(25)) * 4).names) == 25
    found = users_with("n", [*range(30)])
    assert found.names == [f"n={low}..{low + 2}" for low in range(0, 30, 3)]
    assert said(found) == [[f"n={value // 3 * 3}..{value // 3 * 3 + 2}"] for value in range(30)]


def test_tenths_are_of_rows_and_a_frequent_number_stands_alone() -> None:
    found = users_with("n", ["0"] * 270 + [str(value) for value in range(1, 31)] + ["NA"])
    assert found.names == ["n=0", "n=1..30"]
    assert said(found)[268:273] == [["n=0"], ["n=0"], ["n=1..30"], ["n=1..30"], ["n=1..30"]]
    assert said(found)[-1] == []


@pytest.mark.parametrize("values", [["1", "inf"], ["1", "two"], ["0x10", "1_000"], ["NA", "FR"]])
def test_what_is_not_all_numbers_is_text(values: list[str]) -> None:
    assert said(users_with("code", values)) == [[f"code={value}"] for value in values]


def test_infinity_is_no_number_to_cut_at() -> None:
    assert len(users_with("n", [*map(str, range(30)), "inf"]).names) == 31


def test_a_column_of_more_than_200_texts_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    assert len(users_with("name", [f"Anna {n}" for n in range(200)]).names) == 200
    assert not caplog.records
    found = users_with("name", [f"Anna {n}" for n in range(201)])
    assert (found.names, len(found), len(found.index)) == ([], 201, 0)
    assert "column name from the attributes: 201 distinct values" in caplog.text


def test_two_columns_that_say_the_same_are_one_attribute() -> None:
    data = described({USER_ID: [1, 2], "zip_code": ["9000", "1000"], "zip": ["9", "9"]})
    found = user_attributes(data, [1, 2])
    assert found.names == ["zip=1", "zip=9"]
    assert found.dense().tolist() == [[0, 1], [1, 1]]


def test_real_100k(shared: Callable[[str], Path]) -> None:
    data = MovieLens("ml-100k", root=str(shared("ml-100k"))).read()
    users, items = user_attributes(data, [943, 1, 74]), item_attributes(data, [1, 267, 242, 9999])
    assert said(users)[:2] == [
        ["age=18", "gender=M", "occupation=student", "zip=7"],
        ["age=18", "gender=M", "occupation=technician", "zip=8"],
    ]
    assert said(users)[2] == ["age=35", "gender=M", "occupation=scientist", "zip=T"]
    toy_story = ["year=1995", "genre=Animation", "genre=Children's", "genre=Comedy"]
    assert said(items) == [toy_story, [], ["year=1996", "genre=Comedy"], []]
    assert (len(users.names), len(items.names)) == (7 + 2 + 21 + 19, 25 + 18)
    every = user_attributes(data, np.arange(1, 944))
    assert (np.diff(every.indptr) == 4).all()


@pytest.mark.slow
def test_real_1m(shared: Callable[[str], Path]) -> None:
    data = MovieLens("ml-1m", root=str(shared("ml-1m"))).read()
    users, items = user_attributes(data, np.arange(1, 6041)), item_attributes(data, [1, 3952, 12])
    assert said(users)[:2] == [
        ["age=1", "gender=F", "occupation=10", "zip=4"],
        ["age=56", "gender=M", "occupation=16", "zip=7"],
    ]
    assert users.dense().sum(0)[:9].tolist() == [222, 1103, 2096, 1193, 550, 496, 380, 1709, 4331]
    assert (len(users.names), len(items.names)) == (7 + 2 + 21 + 10, 28 + 18)
    assert said(items)[0] == ["year=1995", "genre=Animation", "genre=Children's", "genre=Comedy"]
    small = MovieLens("ml-100k", root=str(shared("ml-100k"))).read()
    assert users.names[:9] == user_attributes(small, [1]).names[:9]  # ages and genders agree
