from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.readers import AnyId, Field, IntegerId, Stars, Text, Time, Weight, is_integer
from recsys.data.readers.conversion import BadValuesError
from recsys.data.readers.id_fields import integers_if_all
from tests.data.readers.reading import listed

DAY = 86400


def parsed(field: Field, values: list[Any], kind: Any = None, decimal: str = ".") -> list[Any]:
    """Values of a column, of texts if no type is given."""
    joined = field.join([field.parse(pa.array(values, kind or pa.string()), decimal)])
    return listed(integers_if_all(joined) if isinstance(field, AnyId) else joined)


def problems(field: Field, values: list[Any], kind: Any = None, decimal: str = ".") -> dict[int, str]:
    with pytest.raises(BadValuesError) as caught:
        field.parse(pa.array(values, kind or pa.string()), decimal)
    return dict(zip(caught.value.rows.tolist(), caught.value.problems, strict=True))


@pytest.mark.parametrize(
    ("texts", "ids"),
    [
        (["1", "-7", "0", str(2**63 - 1)], [1, -7, 0, 2**63 - 1]),
        (["1", " 7 ", "3"], [1, 7, 3]),
        (["1.0", "2.00", "-3"], [1, 2, -3]),
        (["007", "7"], ["007", "7"]),
        (["007.0", "7"], ["007", "7"]),
        (["-0", "0"], ["-0", "0"]),
        (["0x1F", "1"], ["0x1F", "1"]),
        (["0xFFFFF", "1"], ["0xFFFFF", "1"]),
        (["1_000", "１", "1e5", "1.5"], ["1_000", "１", "1e5", "1.5"]),
        (["1.0", "a"], ["1.0", "a"]),
        (["1", "", "NA", "nan", r"\N", "None", "2.0"], ["1", None, None, None, None, None, "2"]),
        (["anna", "", "NA", "nan"], ["anna", None, "NA", "nan"]),
        (["NA", "null"], ["NA", "null"]),
        ([str(2**63), "1"], [str(2**63), "1"]),
        ([], []),
    ],
)
def test_ids(texts: list[str], ids: list[Any]) -> None:
    assert parsed(AnyId("user_id"), texts) == ids


def test_ids_of_many_parts_follow_one_rule() -> None:
    field = AnyId("user_id")
    parts = [field.parse(pa.array(texts)) for texts in (["1", "2"], ["2.0", "NA"], ["3"])]
    assert listed(field.join(parts)) == ["1", "2", "2", None, "3"]
    parts = [field.parse(pa.array(texts)) for texts in (["1", "2"], ["2.0", "NA"], ["x"])]
    assert listed(field.join(parts)) == ["1", "2", "2.0", "NA", "x"]
    assert listed(field.join([])) == []


@pytest.mark.parametrize(
    ("values", "kind", "ids"),
    [
        ([1.0, 2.0, None], pa.float64(), ["1", "2", None]),
        ([1, 2, None], pa.int32(), ["1", "2", None]),
        ([3, 2**64 - 1], pa.uint64(), ["3", str(2**64 - 1)]),
        ([Decimal("12345678901234567890.0"), None], pa.decimal128(38, 1), ["12345678901234567890", None]),
        (["a", " b", None], pa.large_string(), ["a", "b", None]),
        (["a", "b", "a"], pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"]),
        ([7, 8], pa.dictionary(pa.int8(), pa.int64()), [7, 8]),
        ([b"a", b"b"], pa.binary(), ["a", "b"]),
    ],
)
def test_ids_of_typed_columns(values: list[Any], kind: pa.DataType, ids: list[Any]) -> None:
    assert parsed(AnyId("user_id"), values, kind) == ids


def test_bad_ids() -> None:
    assert problems(AnyId("u"), ["a", "x" * 2049])[1].startswith("must have at most 2048 characters, got 2049: 'xxx")
    assert problems(AnyId("u"), ["a", "b\nc"]) == {1: r"must have no line end and no NUL character, got 'b\nc'"}
    assert problems(AnyId("u"), [1.0, 2.5], pa.float64()) == {1: "must be a whole number up to 2**53, got 2.5"}
    assert list(problems(AnyId("u"), [1.0, 2.0**60], pa.float64())) == [1]
    assert problems(IntegerId("u"), ["1", "x", " 2", "x"]) == dict.fromkeys((1, 3), "must be an integer, got 'x'")
    assert parsed(IntegerId("u"), ["007", " 2", "-1"]) == [7, 2, -1]


WEIRD = ["1_000", "0x1F", "１", "1,23", "12,34,567", "1.2.3", "five", "--1", "1e", "nan(1)", "1 2", "1\u00a0000"]


@pytest.mark.parametrize("text", WEIRD)
@pytest.mark.parametrize(
    "field", [Stars("r", missing=()), Stars("r"), Weight("w"), Time("t"), Time("t", "milliseconds")]
)
def test_what_only_looks_like_a_number_is_an_error(field: Field, text: str) -> None:
    assert list(problems(field, ["1", text, "2"])) == [1]


@pytest.mark.parametrize("field", [Stars("r", missing=()), Weight("w")])
def test_signs_between_thousands(field: Field) -> None:
    assert field.parse(pa.array(["12", "1,234", "1,234,567.5"])).tolist() == [12, 1234, 1234567.5]
    assert field.parse(pa.array(["12", "1.234", "1.234,5"]), ",").tolist() == [12, 1234, 1234.5]
    assert list(problems(Time("t"), ["1", "1,234"])) == [1]


@pytest.mark.parametrize("field", [Stars("r", missing=()), Weight("w")])
def test_numbers_beyond_the_range_of_floats_are_errors(field: Field) -> None:
    assert list(problems(field, ["1", "1e400", "inf", "-Infinity"])) == [1, 2, 3]


def test_ratings() -> None:
    assert parsed(Stars("r"), ["1", " 2.5", "+3", ".5", "4.", "1e0"]) == [1, 2.5, 3, 0.5, 4, 1]
    assert parsed(Stars("r"), ["2,5", "3", "-1,0"], decimal=",") == [2.5, 3, -1]
    assert problems(Stars("r"), ["2.5"], decimal=",") == {0: "must be a number, got '2.5'"}
    assert problems(Stars("r"), ["1", "", "NA"]) == {n: f"must be a number, got {t!r}" for n, t in ((1, ""), (2, "NA"))}
    assert problems(Stars("r", 1, 5), ["1", "nan", "6"]) == {
        1: "must be in [1, 5], got nan",
        2: "must be in [1, 5], got 6",
    }


def test_missing_ratings() -> None:
    field = Stars("r", 1, 5, missing=(99, "-1", "?", 0.1))
    words = ["", "NA", "N/A", "nan", "NaN", "null", "NULL", "None", r"\N", " "]
    assert parsed(field, ["1", "99", "99.0", "-1", "?", "0.1", *words]) == [1, *[None] * (5 + len(words))]
    assert parsed(field, ["99", "5"]) == [None, 5]
    assert parsed(field, ["99", "99"]) == [None, None]
    assert problems(field, ["99", "98"]) == {1: "must be in [1, 5], got 98"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, None, 99], pa.float64()),
        ([Decimal("1.5"), None, Decimal(99)], pa.decimal128(4, 1)),
        (["1.5", None, "99"], pa.large_string()),
        ([1.5, float("nan"), 99.0], pa.float32()),
    ],
)
def test_ratings_of_typed_columns(values: list[Any], kind: pa.DataType) -> None:
    assert parsed(Stars("r", 1, 5, missing=(99,)), values, kind) == [1.5, None, None]


def test_weights() -> None:
    assert parsed(Weight("w"), ["1", "2.5", "", "NA", "0"]) == [1, 2.5, None, None, 0]
    assert parsed(Weight("w"), [3, None], pa.int64()) == [3, None]
    assert problems(Weight("w"), ["1", "inf"]) == {1: "must be finite, got inf"}
    assert parsed(Weight("w"), ["True", "no", "-2", "FALSE"]) == [1, 0, -2, 0]
    assert parsed(Weight("w"), [True, False], pa.bool_()) == [1, 0]
    assert parsed(Weight("w"), ["352698", "26,5"], decimal=",") == [352698, 26.5]


def test_texts() -> None:
    assert parsed(Text("event"), ["view", " view", "", "cart"]) == ["view", "view", "", "cart"]
    assert parsed(Text("event"), ["view", None], pa.dictionary(pa.int8(), pa.string())) == ["view", ""]


@pytest.mark.parametrize(
    ("format", "text", "seconds"),
    [
        ("seconds", "978300760", 978300760),
        ("seconds", " 978300760.0", 978300760),
        ("seconds", "978300760.9", 978300760),
        ("seconds", "0", 0),
        ("milliseconds", "978300760999", 978300760),
        ("microseconds", "978300760999999", 978300760),
        ("nanoseconds", "978300760999999999", 978300760),
        ("milliseconds", "1.128816302007E12", 1128816302),
        ("iso8601", "2000-12-31", 978220800),
        ("iso8601", "2000-12-31 22:12:40.9", 978300760),
        ("iso8601", "2001-01-01T00:12:40+02:00", 978300760),
        ("iso8601", "2000-12-31 22:12:40 UTC", 978300760),
        ("iso8601", "2001-01-01 00:12:40 +0200", 978300760),
        ("iso8601", "9999-12-31T23:59:59Z", 253402300799),
        ("%d.%m.%Y %H:%M", "31.12.2000 22:12", 978300720),
        ("%m/%d/%y", "12/31/00", 978220800),
        ("%Y-%m-%dT%H:%M:%S%z", "2001-01-01T00:12:40+0200", 978300760),
        ("%d %b %Y", "31 Dec 2000", 978220800),
    ],
)
def test_times(format: str, text: str, seconds: int) -> None:
    assert parsed(Time("t", format), [text]) == [seconds]
    assert Time("t", format).value(text) == seconds


def test_times_with_and_without_a_zone() -> None:
    times = ["1970-01-02", "1970-01-02T01:00:00+01:00", "1970-01-02 00:00:01 UTC"]
    assert parsed(Time("t", "iso8601"), times) == [DAY, DAY, DAY + 1]


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("seconds", "-5", "must be unix seconds in [0, 100000000000), got -5"),
        ("seconds", "978300760000", "must be unix seconds in [0, 100000000000), got 978300760000"),
        ("seconds", "", "must be unix seconds, got ''"),
        ("milliseconds", "1e30", "must be unix milliseconds in [0, 253402300800000), got 1e30"),
        ("nanoseconds", "999999999999999999999", "must be unix nanoseconds in [0, 253402300800000000000), got"),
        ("iso8601", "soon", "must be a time in ISO 8601, got 'soon'"),
        ("iso8601", "", "must be a time in ISO 8601, got ''"),
        ("iso8601", "1969-12-31", "must be in the years 1970 to 9999, got '1969-12-31'"),
        ("iso8601", "2000-13-01", "must be a time in ISO 8601, got '2000-13-01'"),
        ("%d.%m.%Y", "12/31/2000", "must be a time such as 31.12.2005 (%d.%m.%Y), got '12/31/2000'"),
        ("%d.%m.%Y", "31.12.0001", "must be in the years 1970 to 9999, got '31.12.0001'"),
        ("%d.%m.%Y", "31.12.2000 ?", "must be a time such as 31.12.2005 (%d.%m.%Y), got '31.12.2000 ?'"),
    ],
)
def test_bad_times(format: str, text: str, message: str) -> None:
    good = {"iso8601": "2000-01-01", "%d.%m.%Y": "01.01.2000"}.get(format, "1000")
    found = problems(Time("t", format), [good, text, good])
    assert list(found) == [1]
    assert found[1].startswith(message)


@pytest.mark.parametrize(
    ("values", "kind", "seconds"),
    [
        ([1500, 999], pa.timestamp("ms"), [1, 0]),
        ([1_500_000_000], pa.timestamp("ns", "Europe/Berlin"), [1]),
        ([datetime.date(1970, 1, 2)], pa.date32(), [DAY]),
        ([100.0, 2.5], pa.float64(), [100, 2]),
        ([Decimal("100.5")], pa.decimal128(10, 1), [100]),
        ([100], pa.uint32(), [100]),
        (["100"], pa.large_string(), [100]),
        ([DAY], pa.dictionary(pa.int8(), pa.timestamp("s")), [DAY]),
    ],
)
def test_times_of_typed_columns(values: list[Any], kind: pa.DataType, seconds: list[int]) -> None:
    if pa.types.is_dictionary(kind):
        column = pa.array(values, kind.value_type).dictionary_encode()
    else:
        column = pa.array(values, kind)
    assert Time("t").parse(column).tolist() == seconds


def test_bad_times_of_typed_columns() -> None:
    assert problems(Time("t"), [0, -1, None], pa.timestamp("s")) == {
        1: "must be in the years 1970 to 9999, got '1969-12-31 23:59:59'",
        2: "must be in the years 1970 to 9999, got ''",
    }


def test_scalar_and_vectorized_rules_agree() -> None:
    """What `value` takes one by one, `parse` takes at once, and the other way round."""
    texts = ["1", "01", "+1", "-1", "1.0", "1.", ".5", "1e3", "1E-2", "inf", "nan", "", " 1", "1 ", "0x1", "1_0", "-0"]
    fields: list[Field] = [Stars("r"), Stars("r", missing=(1,)), Weight("w"), Time("t"), IntegerId("i")]
    for field in fields:
        for text in texts:
            problem = field.problem(text)
            if problem is not None:
                assert problems(field, [text]) == {0: problem}
            else:
                value = field.value(text)
                assert parsed(field, [text]) == [None if value is None else pytest.approx(float(value))]


def test_canonical_integers() -> None:
    good = ["0", "7", "-7", str(2**63 - 1), str(-(2**63))]
    bad = ["", "-0", "07", "+7", "7.0", " 7", str(2**63), "１", "1_0"]
    assert [is_integer(text) for text in good + bad] == [True] * len(good) + [False] * len(bad)
    random = np.random.default_rng(0).integers(-(10**18), 10**18, 500)
    edges = [sign * (10**n + step) for n in range(18) for step in (-1, 0, 1) for sign in (-1, 1)]
    numbers = [*random.tolist(), *edges]
    assert parsed(AnyId("u"), [str(number) for number in numbers]) == numbers
