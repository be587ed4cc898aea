from __future__ import annotations

import re

import pytest

from recsys.report.values import csv_cell


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''=1", "＝1+1", "'til", "'", "a=1", "", " =1"],
)
def test_a_text_in_a_csv_is_no_formula_and_can_be_read_back(text: str) -> None:
    cell = csv_cell(text)
    assert cell[:1] not in tuple("=+-@\t\r\n＝")
    assert re.sub(r"^'('*[=+\-@\t\r\n＝＋－＠])", r"\1", cell, count=1) == text


def test_numbers_stay_numbers() -> None:
    assert [csv_cell(value) for value in (-1, -1.5, None, True)] == [-1, -1.5, None, True]
