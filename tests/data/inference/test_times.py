from __future__ import annotations

import pytest

from recsys.data.errors import DataError
from recsys.data.inference.times import commonest_form, infer_time_format


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1128816302", "seconds"),
        ("1128816302.0", "seconds"),
        ("1128816302007", "milliseconds"),
        ("1128816302007123", "microseconds"),
        ("1128816302007123456", "nanoseconds"),
        ("2005-10-09", "iso8601"),
        ("2005-10-09T02:05:02+02:00", "iso8601"),
        ("2005-10-09 02:05:02.5Z", "iso8601"),
        ("2019-10-01 00:00:00 UTC", "%Y-%m-%d %H:%M:%S UTC"),
        ("20051009", "%Y%m%d"),
        ("20051009142233", "%Y%m%d%H%M%S"),
        ("2008", "%Y"),
        ("2005/01/06", "%Y/%m/%d"),
        ("2010-3-5", "%Y-%m-%d"),
        ("22.03.2005 23:54", "%d.%m.%Y %H:%M"),
        ("22-10-2010", "%d-%m-%Y"),
        ("22.03.05", "%d.%m.%y"),
        ("05/22/2010 17:29:05.123", "%m/%d/%Y %H:%M:%S.%f"),
        ("12/31/05 1:05 PM", "%m/%d/%y %I:%M %p"),
        ("05-Mar-2010", "%d-%b-%Y"),
        ("Mar 5, 2010", "%b %d, %Y"),
        ("5 March 2010, 14:05", "%d %B %Y, %H:%M"),
        ("09 13, 2009", "%m %d, %Y"),
        ("12:30 22/03/2005", "%H:%M %d/%m/%Y"),
        ("Wed Apr 07 18:00:00 +0000 2012", "%a %b %d %H:%M:%S %z %Y"),
        ("Fri, 05 Mar 2010 14:05:00 GMT", "%a, %d %b %Y %H:%M:%S GMT"),
        ("22/03/2005:10:00:00 -0700", "%d/%m/%Y:%H:%M:%S %z"),
    ],
)
def test_format_of_a_time(text: str, expected: str) -> None:
    found = infer_time_format([text], "ratings.csv")
    assert found is not None
    assert found[0] == expected


@pytest.mark.parametrize("text", ["-5", "soon", "12:30", "1.5.2", "41/03/2005"])
def test_other_texts_are_no_times(text: str) -> None:
    assert infer_time_format([text], "ratings.csv") is None


@pytest.mark.parametrize(
    ("text", "first", "second"), [("01/02/2019", "%d/%m/%Y", "%m/%d/%Y"), ("1.2.19", "%d.%m.%y", "%m.%d.%y")]
)
def test_an_order_of_day_and_month_that_no_value_decides_is_asked_for(text: str, first: str, second: str) -> None:
    with pytest.raises(DataError) as error:
        infer_time_format([text, text], "ratings.csv, column 'day'")
    assert "ratings.csv, column 'day'" in str(error.value)
    assert f"data.timestamp_format='{first}' or data.timestamp_format='{second}'" in str(error.value)


def test_one_value_decides_the_order() -> None:
    assert infer_time_format(["01/02/2019", "02/13/2019"], "ratings.csv") == ("%m/%d/%Y", "times such as 01/02/2019")
    assert infer_time_format(["01/02/2019", "13/02/2019"], "ratings.csv") == ("%d/%m/%Y", "times such as 01/02/2019")


def test_the_commonest_form() -> None:
    assert commonest_form(["100 days", "2000-01-01", "2001-02-03"]) == ["2000-01-01", "2001-02-03"]
    assert commonest_form([]) == []


@pytest.mark.parametrize(
    ("times", "bad", "expected"),
    [
        ([f"2009-08-{day:02}" for day in range(1, 25)], "20205-01-01", "iso8601"),
        ([f"{day}.8.2009 12:00" for day in range(1, 25)], "32.8.2009 12:00", "%d.%m.%Y %H:%M"),
        ([f"8/{day}/2009" for day in range(1, 25)], "soon", "%m/%d/%Y"),
        ([str(1128816302 + day) for day in range(1, 25)], "soon", "seconds"),
    ],
)
def test_a_bad_time_among_many_is_for_the_reader(times: list[str], bad: str, expected: str) -> None:
    found = infer_time_format([*times, bad], "f")
    assert found is not None
    assert found[0] == expected
    assert infer_time_format([*times[:5], *(f"{bad} {n}" for n in range(9))], "f") is None


@pytest.mark.parametrize("times", [["jan jan 5 2005", "feb feb 6 2006"], ["2005-01-02 0:30\0", "2005-02-03 1:30\0"]])
def test_a_time_that_names_a_part_twice_is_none(times: list[str]) -> None:
    assert infer_time_format(times, "f") is None
