from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys.data import ids as ids_module
from recsys.data.ids import IdMap


@pytest.mark.parametrize(
    "values",
    [
        [30, 10, 10, 20],
        np.array([-5, 2**62, 0, -(2**62)]),
        pd.Series([7, 7, 3], dtype="int32"),
        ["b", "a", "007", "a"],
        np.array(["x", "yy"]),
        pd.Series(["é", "z", "é"]),
        pd.Series(["é", "z"], dtype=object),
    ],
)
def test_ids_and_rows_are_inverse(values: object) -> None:
    known = IdMap.fit(values)
    rows = known.rows(values)
    assert rows.dtype == np.int64
    assert known.ids(rows).tolist() == list(values)
    assert known.ids(range(len(known))).tolist() == sorted(set(values))
    assert len(known) == len(set(values))


def test_kind() -> None:
    assert IdMap.fit([1]).kind == "int"
    assert IdMap.fit(["1"]).kind == "str"


@pytest.mark.parametrize(("fitted", "asked"), [([10, 20], [20, 15, 5, 25, 10]), (["a", "c"], ["c", "b", "", "z", "a"])])
@pytest.mark.parametrize("span", [0, 1 << 20])  # integers by search, and by table
def test_an_unknown_id_has_row_minus_one(
    fitted: list[int], asked: list[int], span: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids_module, "TABLE_SPAN", span)
    assert IdMap.fit(fitted).rows(asked).tolist() == [1, -1, -1, -1, 0]
    assert IdMap.fit(fitted).rows(pd.Series(asked)).tolist() == [1, -1, -1, -1, 0]


@pytest.mark.parametrize("span", [0, 1 << 20])
def test_fit_by_table_and_by_sort_agree(span: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids_module, "TABLE_SPAN", span)
    values = np.random.default_rng(0).integers(-50, 50, 300)
    known = IdMap.fit(values)
    assert known.ids(range(len(known))).tolist() == sorted(set(values.tolist()))


def test_extreme_integers_do_not_overflow() -> None:
    low, high = -(2**63), 2**63 - 1
    assert IdMap.fit([low, high]).rows([high, 0, low]).tolist() == [1, -1, 0]
    assert IdMap.fit([low, low + 1]).rows([high, low]).tolist() == [-1, 0]


def test_nothing_fitted_and_nothing_asked() -> None:
    assert IdMap.fit([]).rows([1, 2]).tolist() == [-1, -1]
    assert IdMap.fit([1]).rows([]).tolist() == []
    assert len(IdMap.fit(pd.Series([], dtype="int64"))) == 0


def test_the_other_kind_is_an_error_and_not_unknown() -> None:
    with pytest.raises(TypeError, match=r"ids must be int as those fitted, got '1'"):
        IdMap.fit([1, 2]).rows(["1"])
    with pytest.raises(TypeError, match=r"ids must be str as those fitted, got 1"):
        IdMap.fit(["1", "2"]).rows([1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5], "integers or strings, got float64 such as 1.5"),
        ([True], "integers or strings, got bool"),
        ([1, "a"], "all integers or all strings, got 1 among them"),
        (["a", None], "all integers or all strings, got None among them"),
        (pd.Series(["a", None]), "all integers or all strings, got nan among them"),
        ([[1]], r"one-dimensional, got shape \(1, 1\)"),
        (np.array([2**63], dtype=np.uint64), "64 bits with a sign, got 9223372036854775808"),
    ],
)
def test_what_is_no_id(values: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        IdMap.fit(values)


def test_values_must_be_distinct_and_ascending() -> None:
    with pytest.raises(ValueError, match=r"values must be distinct and ascending"):
        IdMap(np.array([2, 1]))


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_outside_has_no_id(row: int) -> None:
    with pytest.raises(IndexError, match=rf"rows must be in \[0, 2\), got {row}"):
        IdMap.fit([5, 6]).ids([0, row])
