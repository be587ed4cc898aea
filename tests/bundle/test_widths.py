"""Tables whose rows end in zeros: stored without them, and answers are those of the table with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import TEST, Bundle, BundleError
from recsys.bundle.budget import Budget
from recsys.bundle.compression import compressed_bundle, narrowed_bundle
from recsys.bundle.widths import TABLES, WidthRule, packed_tables, unpacked_tables
from tests.bundles import exchange, make_bundle, one_sentence, random_factors

RATED = [(u, i, 1.0 + (u + i) % 5, 0) for u in range(6) for i in range(2 * u)]
FACTORS = "factors.safetensors"


@pytest.fixture(scope="module")
def narrow() -> Bundle:
    """User u has 2 u ratings, and half as many coordinates; items as many as ratings, but four at most."""
    whole = make_bundle(random_factors(n_users=6, n_items=12, dim=4), [*range(6)], [*range(12)], RATED, noise=0.9)
    return narrowed_bundle(compressed_bundle(whole, 4), WidthRule(4, 1.0, 0.5, 1.0))


@pytest.fixture
def saved(narrow: Bundle, tmp_path: Path) -> Path:
    narrow.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_rows_keep_their_first_coordinates_by_number_of_ratings(narrow: Bundle) -> None:
    assert (narrow.factors.user_factors[:, 0] != 0).sum(1).tolist() == [0, 1, 2, 3, 4, 4]
    assert (narrow.factors.item_factors[:, 0] != 0).sum(1).tolist() == [4, 4, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert not np.triu(narrow.factors.user_factors[:4, 0]).any()


def test_test_ratings_do_not_count(narrow: Bundle) -> None:
    tested = narrow.ratings._replace(part=np.full(len(RATED), TEST, np.uint8))
    bundle = replace(narrow, ratings=tested, manifest=narrow.manifest | {"fit_on": "train"})
    assert not narrowed_bundle(bundle, WidthRule(4, 1.0, 1.0, 1.0)).factors.user_factors.any()


def test_a_bundle_stores_no_more_and_answers_as_with_the_zeros(narrow: Bundle, saved: Path) -> None:
    loaded = Bundle.load(saved)
    assert loaded.manifest["schema_version"] == 5
    for name, array in narrow.factor_arrays().items():
        np.testing.assert_array_equal(loaded.factor_arrays()[name], array, err_msg=name)
    assert loaded.recommend(3, 5) == narrow.recommend(3, 5)
    stored = packed_tables(narrow.factor_arrays())
    assert len(stored["user_factors_values"]) == 14
    assert len(stored["item_factors_values"]) == 28
    assert not set(TABLES) & stored.keys()


@pytest.mark.parametrize("samples", [1, 2])
def test_unpacking_is_the_inverse_of_packing(samples: int) -> None:
    arrays: dict[str, Any] = {
        "user_factors": np.array([[0, 0, 0], [0, 2, 0], [1, 0, 3]], np.float32)[:, None].repeat(samples, 1),
        "item_factors": np.zeros((2, samples, 3), np.float32),
        "prior_mean": np.zeros((samples, 4), np.float32),
    }
    packed = packed_tables(arrays)
    if samples == 1:
        assert packed["user_factors_width"].tolist() == [0, 2, 3]
        assert packed["user_factors_values"].tolist() == [0, 2, 1, 0, 3]
    unpacked = unpacked_tables(packed)
    assert unpacked.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(unpacked[name], array)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"user_factors_width": np.array([5, 1, 2, 3, 3, 0], np.uint16)}, r"_width must be in \[0, 4\], got 5"),
        ({"user_factors_width": np.zeros(6, np.uint16)}, "user_factors_values has 14 numbers, its widths need 0"),
        ({"user_factors_width": np.zeros(6, np.int64)}, "user_factors_width must be one axis of uint16, got int64"),
        ({"user_factors_width": np.zeros((6, 1), np.uint16)}, "user_factors_width must be one axis of uint16"),
        ({"user_factors_width": np.zeros(5, np.uint16)}, r"user_factors has shape \(5, 1, 4\), expected \(6, 1, 4\)"),
        ({"user_factors_width": None}, "user_factors must be one array, or user_factors_width and user_factors_values"),
        ({"user_factors": np.zeros((6, 1, 4), np.float32)}, "user_factors must be one array"),
        ({"item_factors_values": np.zeros(28, np.float64)}, "item_factors_values must be one axis of float32"),
        ({"item_factors_values": np.full(28, np.nan, np.float32)}, "item_factors holds values that are not finite"),
        ({"prior_mean": np.zeros((2, 5), np.float32)}, "user_factors_width needs a prior_mean of one sample"),
        ({"prior_mean": None}, "user_factors_width needs a prior_mean of one sample"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(saved: Path, changed: dict[str, Any], message: str) -> None:
    exchange(saved, FACTORS, **changed)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(saved)
    one_sentence(error)


def test_what_the_tables_unpack_to_is_within_the_budget(saved: Path) -> None:
    wide = 10_000  # coordinates, of which the file has none
    exchange(saved, FACTORS, prior_mean=np.zeros((1, wide + 1), np.float32), prior_precision=None)
    with pytest.raises(BundleError, match="with its tables of factors, unpacked, it takes about"):
        Bundle.load(saved, budget=Budget(memory=700_000))


def test_earlier_versions_refuse_it(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.bundle.manifest.SCHEMA_VERSION", 4)
    with pytest.raises(BundleError, match="has schema version 5; this recsys reads up to 4"):
        Bundle.load(saved)


def test_compressed_again_it_has_one_width(narrow: Bundle, tmp_path: Path) -> None:
    compressed_bundle(narrow, 2).save(tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert "widths" not in manifest
    assert manifest["schema_version"] == 3
