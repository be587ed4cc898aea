import numpy as np
import pytest

from recsys.bundle.attributes import RowAttributes, attribute_rows, choices, settable

NAMES = ["gender=F", "age=25", "gender=M", "note=a=b"]


def test_names_and_values() -> None:
    assert choices(NAMES) == {"gender": ["F", "M"], "age": ["25"], "note": ["a=b"]}
    assert attribute_rows(NAMES, {"age": 25, "gender": "M"}).tolist() == [1, 2]
    assert attribute_rows(NAMES, {"note": "a=b"}).tolist() == [3]
    assert attribute_rows(NAMES, {}).tolist() == []


def test_what_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="attributes must be among gender, age, note, got 'sex'"):
        attribute_rows(NAMES, {"sex": "F"})
    with pytest.raises(ValueError, match="attributes: gender must be one of F, M, got 'X'"):
        attribute_rows(NAMES, {"gender": "X"})
    with pytest.raises(ValueError, match="this model knows no attributes of users"):
        attribute_rows([], {"gender": "F"})
    with pytest.raises(TypeError, match="attributes must map names to values"):
        attribute_rows(NAMES, ["gender=F"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("gender", "X", True), ("sex", "F", False), ("", "F", False), ("note", "1", True), ("age", "31", True),
        ("age", "-0.5", True), ("age", "1e3", True), ("age", "abc", False), ("age", "1e999", False),
        ("age", "nan", False), ("age", "1_0", False), ("age", "٣", False), ("age", " 3", False), ("price", "7", True),
        ("price", "5..12", True), ("price", "5..13", False), ("price", "low", False),
    ],
)  # fmt: skip
def test_values_may_be_new_but_no_texts_for_numbers(name: str, value: str, wanted: bool) -> None:
    known = choices([*NAMES, "price=-1..5", "price=5..12", "price=13"])
    assert settable(known, name, value) == wanted


def test_rows_outside_the_data_set_have_none() -> None:
    known = RowAttributes(np.array([0, 2, 2, 3]), np.array([0, 1, 2], np.int32))
    assert [known.of(user).tolist() for user in (-1, 0, 1, 2, 3)] == [[], [0, 1], [], [2], []]
