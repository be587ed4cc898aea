from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.sources import DataError, TabularRatings
from tests.data.conftest import HEADER, read_csv, read_parquet


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
        ({USER_ID: [], ITEM_ID: [], RATING: []}, "r.parquet: the file has no rows"),
        (
            {USER_ID: [1.5], ITEM_ID: [1], RATING: [1.0]},
            r"row 1: user_id must be a whole number up to 2\*\*53, got 1.5",
        ),
        ({USER_ID: [1, 2], ITEM_ID: [1, 2], RATING: ["1", "two"]}, "row 2: rating must be a number, got 'two'"),
        ({USER_ID: [1, 2], ITEM_ID: [1, 2], RATING: [[1], [2]]}, "rating must hold texts, numbers or times, got list"),
        (
            {USER_ID: [1, 2], ITEM_ID: [1, 2], RATING: [1.0, float("inf")]},
            "row 2: rating must be finite, got inf",
        ),
    ],
)
def test_broken_parquet(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_parquet(tmp_path, columns)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, -1], r"row 2: t must be unix seconds in \[0, .*\), got -1"),
        (["1970-01-01", "soon"], "row 2: t must be a time in ISO 8601, got 'soon'"),
    ],
)
def test_broken_times_in_parquet(times: list[Any], message: str, tmp_path: Path) -> None:
    columns = {USER_ID: [1, 2], ITEM_ID: [1, 2], RATING: [1.0, 2.0], "t": times}
    with pytest.raises(DataError, match=message):
        read_parquet(tmp_path, columns, timestamp_column="t")


@pytest.mark.parametrize("arguments", [{}, {"timestamp_column": "t"}])
def test_no_parquet_at_all(arguments: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "r.parquet").write_text("user_id,item_id\n")
    with pytest.raises(DataError, match=r"r.parquet: not a readable (?i:parquet) file"):
        TabularRatings(str(tmp_path), "r.parquet", **arguments).read()


def test_no_parquet_of_items(tmp_path: Path) -> None:
    (tmp_path / "i.parquet").write_text("item_id,title\n")
    with pytest.raises(DataError, match=r"i.parquet: not a readable (?i:parquet) file"):
        read_csv(tmp_path, HEADER + "1,2,3\n", items_file="i.parquet")


def test_a_damaged_feather_file_is_named(tmp_path: Path) -> None:
    table = pa.table({USER_ID: list(range(5000)), ITEM_ID: list(range(5000)), RATING: [n % 5 for n in range(5000)]})
    feather.write_feather(table, tmp_path / "r.feather", compression="lz4")
    content = bytearray((tmp_path / "r.feather").read_bytes())
    content[1000:1400] = bytes(400)
    (tmp_path / "r.feather").write_bytes(content)
    with pytest.raises(DataError, match=r"r\.feather: cannot be read: .*LZ4"):
        TabularRatings(str(tmp_path), "r.feather").read()


def test_views_with_bad_rows_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {USER_ID: pa.array(["a", "b", "c"], pa.string_view()), ITEM_ID: [1, 2, 3], RATING: ["1", "?", "5"]}
    )
    with pa.OSFile(str(tmp_path / "r.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    data = TabularRatings(ratings_file=str(tmp_path / "r.arrow"), rating_column=RATING, bad_rows="drop").read()
    assert data.ratings[USER_ID].tolist() == ["a", "c"]


@pytest.mark.parametrize("place", range(4, 60, 3))
def test_a_damaged_page_is_one_sentence(tmp_path: Path, place: int) -> None:
    path = tmp_path / "r.parquet"
    pd.DataFrame({USER_ID: ["a", "b"], ITEM_ID: ["x", "y"], RATING: [1.0, 5.0]}).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    try:
        TabularRatings(ratings_file=str(path)).read()
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert "r.parquet" in str(error)  # noqa: PT017
