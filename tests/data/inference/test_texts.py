from __future__ import annotations

import pytest

from recsys.data.inference.texts import is_number, is_time, numeric


@pytest.mark.parametrize("text", ["2005-10-09", "2005-10-09T02:05:02+02:00", "9.10.2005 00:05", "10/9/05", "02:05"])
def test_times(text: str) -> None:
    assert is_time(text)


@pytest.mark.parametrize("text", ["2005", "1.5", "1.2.3.4.5", "0-19-515344-8", "B-12", "10-9"])
def test_no_times(text: str) -> None:
    assert not is_time(text)


def test_numbers() -> None:
    assert all(map(is_number, ("1", "-2.5", "+3", ".5", "1e3", " 7 ", "1.")))
    assert not any(map(is_number, ("", "NA", "nan", "inf", "2,5", "1_000", "0x1", "1.2.3")))
    assert is_number("2,5", ",")
    assert numeric(["1", "", "NA"])
    assert not numeric(["", "NA"])
