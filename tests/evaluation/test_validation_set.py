"""Validation rows in the order of the data, whatever the order of the bundle; and damaged files of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import VAL, Bundle
from recsys.bundle.array_file import write_arrays
from recsys.evaluation.validation_set import FILE, ValidationSet, predict_validation_set


@pytest.fixture
def found(small: Bundle) -> ValidationSet:
    part = np.array([0, VAL, VAL, VAL], np.uint8)
    return predict_validation_set(replace(small, ratings=small.ratings._replace(part=part)), np.array([3, 2, 0, 1]))


def test_rows_are_in_the_order_of_the_data(small: Bundle, found: ValidationSet) -> None:
    assert found.row.tolist() == [0, 1, 2]  # entries 2, 3 and 1: users 20, 30 and 10
    assert found.rating.tolist() == [1.0, 5.0, 2.0]
    assert found.user_ratings.tolist() == [0, 0, 1]
    user, item = np.array([1, 2, 0]), np.array([1, 2, 3])
    np.testing.assert_array_equal(found.predicted, small.predict_rows(user, item))
    assert found.linear[0] == pytest.approx(3 - 0.5 - 4)  # predicted 1: the scale's end
    assert found.predicted[0] == 1


def test_saved_rows_are_those_that_are_read(found: ValidationSet, tmp_path: Path) -> None:
    found.save(tmp_path)
    read = ValidationSet.load(tmp_path)
    for name, array in vars(found).items():
        np.testing.assert_array_equal(getattr(read, name), array)
        assert getattr(read, name).dtype == array.dtype


def test_a_damaged_file_is_one_sentence(found: ValidationSet, tmp_path: Path) -> None:
    found.save(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    good = {name: np.asarray(array) for name, array in vars(found).items()}
    (tmp_path / FILE).write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="does not describe the"):
        ValidationSet.load(tmp_path)
    for bad in (
        {"row": good["row"][:1]},
        {"linear": good["linear"] * np.nan},
        {"rating": good["rating"].astype(float)},
    ):
        write_arrays(tmp_path / FILE, good | bad)
        with pytest.raises(ValueError, match=r"validation\.safetensors is damaged"):
            ValidationSet.load(tmp_path)
