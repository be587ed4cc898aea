"""A bundle's folder: all comes back, and whatever else it may hold is refused in one sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError

from recsys.bundle import Bundle, BundleError, array_file
from recsys.bundle import manifest as manifest_module
from recsys.bundle import storage as module
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.factors import Factors
from recsys.bundle.ids import packed_ids
from recsys.bundle.manifest import WITHOUT_ITEM_WEIGHTS, listed
from recsys.bundle.signature import read_private_key, sign
from recsys.bundle.storage import FILES
from recsys.files import WriteError
from tests.bundle.test_signature import write_keys
from tests.bundles import (
    ITEMS,
    NAMES,
    RATED,
    USERS,
    exchange,
    make_bundle,
    one_sentence,
    random_factors,
    reseal,
    rewritten,
    seal,
)


@pytest.mark.parametrize("optional", [False, True], ids=["without", "with"])
@pytest.mark.parametrize(("users", "items"), [(USERS, ITEMS), NAMES], ids=["int", "str"])
def test_everything_comes_back(tmp_path: Path, users: list, items: list, optional: bool) -> None:
    factors = random_factors(n_users=2, n_items=3, samples=2, exponents=(0.5, 1), implicit=optional)
    times = [2**40, 0, 7, 7] if optional else None
    metrics = {"test/rmse": 0.9, "title": "Amélie"}
    before = make_bundle(factors, users, items, RATED, times, metrics=metrics)
    before.save(tmp_path / "deep" / "bundle")
    after = Bundle.load(str(tmp_path / "deep" / "bundle"))
    assert after.user_ids.tolist() == users
    assert after.item_ids.tolist() == items
    assert [type(i) for i in after.item_ids.tolist()] == [type(i) for i in items]
    assert before.manifest.items() <= after.manifest.items()
    assert after.manifest["schema_version"] == WITHOUT_ITEM_WEIGHTS
    assert after.items == before.items
    for name in Factors.__dataclass_fields__:
        if getattr(before.factors, name) is None:
            assert getattr(after.factors, name) is None
            continue
        np.testing.assert_array_equal(getattr(after.factors, name), getattr(before.factors, name))
        assert getattr(after.factors, name).dtype == np.float32
    for was, now in zip(before.ratings, after.ratings, strict=True):
        if was is None:
            assert now is None
            continue
        np.testing.assert_array_equal(was, now)
        assert was.dtype == now.dtype
    np.testing.assert_array_equal(after.ratings.user_index(), [0, 0, 1, 2])
    assert after.recommend(users[1], k=2) == before.recommend(users[1], k=2)


LEVELS = (1.0, 2.5, 4.0, 5.0)
KNOWN = RowAttributes(np.array([0, 2, 2, 3]), np.array([0, 2, 1], np.int32))  # of three users
OF_ITEMS = RowAttributes(np.array([0, 1, 3, 3, 4]), np.array([0, 0, 1, 1], np.int32))  # of four items


OF_HISTORIES = ("item_weights", "history_half_life")  # of bundles that have few of the others: test_history.py


def full() -> Bundle:
    """A bundle that has every array but those of histories.

    The third user was not fitted, nor were the third and the fourth item.
    """
    factors = random_factors(
        n_users=2,
        n_items=3,
        samples=2,
        implicit=True,
        noisy=True,
        levels=LEVELS,
        attributes=3,
        drift=True,
        exponents=(0, 1),
        items=True,
        item_attributes=2,
    )
    factors = replace(factors, prior_offset=np.array([0, 7], np.float32), unit=np.array([1.25], np.float32))
    names = {"attributes": ["gender=F", "gender=M", "age=25"], "link": "ordinal", "counts": {"items": 2}}
    names["item_attributes"] = ["genre=Drama", "year=1990s"]
    bundle = make_bundle(factors, USERS, ITEMS, RATED, **names)
    return replace(bundle, user_attributes=KNOWN, item_attributes=OF_ITEMS)


@pytest.fixture(scope="module")
def full_saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full") / "bundle"
    full().save(folder)
    return folder


@pytest.fixture
def full_saved(full_saved_once: Path, tmp_path: Path) -> Path:
    """The folder of `full()`."""
    return shutil.copytree(full_saved_once, tmp_path / "bundle")


def test_noise_levels_and_attributes_come_back(full_saved: Path) -> None:
    before, after = full(), Bundle.load(full_saved)
    for name in Factors.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(after.factors, name), getattr(before.factors, name))
    assert after.user_attributes is not None
    assert after.item_attributes is not None
    for was, now in zip((*KNOWN, *OF_ITEMS), (*after.user_attributes, *after.item_attributes), strict=True):
        np.testing.assert_array_equal(was, now)
        assert was.dtype == now.dtype
    assert after.fitted_items == 2
    assert after.predict([30, 10], [5, 7]).tolist() == before.predict([30, 10], [5, 7]).tolist()


FEW = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("factors", {"precision": np.array([1, 0], np.float32)}, "precision must be > 0"),
        ("factors", {"user_precision": -FEW}, "user_precision must be > 0"),
        ("factors", {"item_precision": np.zeros((3, 2), np.float32)}, "item_precision must be > 0"),
        ("factors", {"drift": np.array([0, 1], np.float32)}, "drift must be a number > 0"),
        ("factors", {"drift": np.ones(3, np.float32)}, r"drift has shape \(3,\), expected \(2,\)"),
        ("factors", {"precision": None}, "user_precision needs precision"),
        ("factors", {"precision": None, "user_precision": None}, "item_precision needs precision"),
        ("factors", {"precision": np.ones(3, np.float32)}, r"precision has shape \(3,\), expected \(2,\)"),
        ("factors", {"item_precision": FEW}, r"item_precision has shape \(2, 2\), expected \(3, 2\)"),
        ("factors", {"levels": np.array([1, 2, 5, 4], np.float32)}, "levels must ascend"),
        ("factors", {"levels": np.array([1, 2, 3, 6], np.float32)}, r"levels must be two or more in \[1, 5\]"),
        ("factors", {"levels": np.array([1, 5], np.float32)}, r"thresholds has shape \(2, 3\), expected \(2, 1\)"),
        ("factors", {"levels": np.array([3], np.float32), "thresholds": np.zeros((2, 0), np.float32)}, "two or more"),
        ("factors", {"thresholds": np.array([[1, 2, 3], [1, 3, 3]], np.float32)}, "thresholds must ascend"),
        ("factors", {"thresholds": None}, "levels and thresholds belong to link ordinal"),
        ("factors", {"thresholds": None, "levels": None}, "levels and thresholds belong to link ordinal"),
        ("factors", {"attribute_effects": None}, "attribute_effects must be those of the manifest's 3 attributes"),
        ("factors", {"attribute_effects": np.zeros((2, 2, 4), np.float32)}, "cold_start_effects has shape"),
        ("factors", {"attribute_effects": np.zeros((3, 2, 3), np.float32)}, "attribute_effects has shape"),
        ("ratings", {"attribute": np.array([0, 3, 1], np.int32)}, "an attribute of a user is not in the manifest's"),
        ("ratings", {"attribute": np.array([0, -1, 1], np.int32)}, "an attribute of a user is not in the manifest's"),
        ("ratings", {"attribute": np.zeros(4, np.int32)}, "attribute_indptr does not cut the 4 attributes"),
        ("ratings", {"attribute_indptr": np.array([0, 2, 1, 3])}, "attribute_indptr does not cut"),
        ("ratings", {"attribute_indptr": np.array([0, 3])}, r"attribute_indptr has shape \(2,\), expected \(4,\)"),
        ("ratings", {"attribute_indptr": None}, "there is no array 'attribute_indptr'"),
        ("ratings", {"item_attribute": np.array([0, 0, 1, 2], np.int32)}, "an attribute of an item is not in the mani"),
        ("ratings", {"item_attribute_indptr": np.array([0, 4])}, r"item_attribute_indptr has shape \(2,\), expected"),
        ("ratings", {"item_attribute_indptr": np.array([0, 1, 3, 2, 4])}, "cut the 4 item_attributes into items"),
        ("factors", {"item_prior_mean": None}, "the prior of items lacks item_prior_mean"),
        (
            "factors",
            {"item_prior_offset": np.zeros(2, np.float32)},
            "item_prior_offset has shape",
        ),
        ("factors", {"item_attribute_effects": None}, "item_attribute_effects must be those of the manifest's 2"),
        ("factors", {"item_prior_precision": -np.ones((3, 2, 4, 4), np.float32)}, "item_prior_precision has negative"),
        (
            "factors",
            {"item_prior_mean": None, "item_prior_precision": None, "item_prior_exponent": None},
            "item_prior_offset needs item_prior_mean",
        ),
    ],
)
def test_noise_levels_and_attributes_that_cannot_be_are_refused(
    full_saved: Path, file: str, change: dict, message: str
) -> None:
    exchange(full_saved, f"{file}.safetensors", **change)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(full_saved)
    one_sentence(error)


@pytest.mark.parametrize("items", [0, -1, 4])
def test_counts_of_fitted_items_that_cannot_be_are_refused(full_saved: Path, items: int) -> None:
    rewritten(full_saved, counts={"items": items})
    with pytest.raises(BundleError, match=rf"counts.items must be in \[1, 3\], got {items}"):
        Bundle.load(full_saved)


def test_the_manifest_names_every_file_and_nothing_is_a_pickle(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    own = ("manifest.json", "manifest.sha256")
    files = {file.name: file.stat().st_size for file in saved.iterdir() if file.name not in own}
    assert {name: listed["size"] for name, listed in manifest["files"].items()} == files
    assert set(files) == {"factors.safetensors", "ids.safetensors", "ratings.safetensors", "items.json"}


def test_arrays_that_are_views_are_saved_as_they_look(two_by_three: Factors, tmp_path: Path) -> None:
    turned = np.asfortranarray(two_by_three.item_factors)
    small = make_bundle(replace(two_by_three, item_factors=turned), USERS, ITEMS, RATED)
    small.save(tmp_path / "bundle")
    np.testing.assert_array_equal(Bundle.load(tmp_path / "bundle").factors.item_factors, two_by_three.item_factors)


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["factors.safetensors", "ids.safetensors", "ratings.safetensors", "items.json"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (alter, "was altered: its SHA-256 is not the manifest's"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"has \d+ bytes, the manifest says \d+"),
        (Path.unlink, "is missing"),
    ],
    ids=["altered", "truncated", "missing"],
)
def test_a_damaged_file_is_refused(saved: Path, name: str, damage: Callable[[Path], None], message: str) -> None:
    damage(saved / name)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(saved)
    assert name in one_sentence(error)


def test_a_file_that_the_manifest_does_not_name_is_not_read(saved: Path) -> None:
    (saved / "notes.txt").write_text("mine")
    assert Bundle.load(saved).n_users == 2
    assert (saved / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["manifest.json", "factors.safetensors"])
def test_a_symlink_to_the_very_content_is_read(saved: Path, name: str) -> None:
    """As a cache of downloads lays files out; it is the content that is trusted."""
    (saved / name).rename(saved.parent / "blob")
    (saved / name).symlink_to("../blob")
    assert Bundle.load(saved).n_users == 2
    (saved.parent / "blob").unlink()
    with pytest.raises(BundleError, match=name) as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("name", ["manifest.json", "items.json"])
@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)], ids=["dir", "pipe", "loop"]
)
def test_what_is_no_file_is_refused_and_not_waited_for(saved: Path, name: str, make: Callable[[Path], None]) -> None:
    files = json.loads((saved / "manifest.json").read_text())["files"]
    files["items.json"] = listed(b"")
    rewritten(saved, files=files)
    (saved / name).unlink()
    make(saved / name)
    with pytest.raises(BundleError, match=name) as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("path", ["\0", "x" * 5000], ids=["zero byte", "too long"])
def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    with pytest.raises(BundleError):
        Bundle.load(path)


def test_a_bundle_exchanged_while_it_is_read_is_refused(
    small: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is of one bundle, the files are of the next."""
    read = module.read_manifest

    def read_and_exchange(path: Path, *more: Any) -> tuple[dict[str, Any], str]:
        found = read(path, *more)
        replace(small, factors=replace(small.factors, mu=np.array([2.0], np.float32))).save(path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_manifest", read_and_exchange)
        with pytest.raises(BundleError, match=r"factors\.safetensors was altered") as error:
            Bundle.load(saved)
    one_sentence(error)
    assert Bundle.load(saved).factors.mu.tolist() == [2.0]


@pytest.mark.parametrize("name", [name for name in Factors.__dataclass_fields__ if name not in OF_HISTORIES])
def test_numbers_that_are_not_finite_are_refused_on_both_ways(full_saved: Path, tmp_path: Path, name: str) -> None:
    good = full()
    for value in (np.nan, np.inf, -np.inf):
        array = getattr(good.factors, name).copy()
        array.flat[0] = value
        exchange(full_saved, "factors.safetensors", **{name: array})
        with pytest.raises(BundleError, match=f"{name} holds values that are not finite") as error:
            Bundle.load(full_saved)
        one_sentence(error)
        diverged = replace(good, factors=replace(good.factors, **{name: array}))
        with pytest.raises(BundleError, match=f"{name} holds values that are not finite"):
            diverged.save(tmp_path / "new")
        assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


FACTORS, RATINGS, IDS = "factors.safetensors", "ratings.safetensors", "ids.safetensors"
floats = lambda *shape: np.zeros(shape, np.float32)  # noqa: E731


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (FACTORS, {"mu": floats(2)}, r"mu has shape \(2,\), expected \(1,\)"),
        (FACTORS, {"item_bias": floats(9, 1)}, r"item_factors has shape \(3, 1, 2\), expected \(9, 1, 2\)"),
        (FACTORS, {"prior_mean": floats(3)}, "prior_mean has shape"),
        (FACTORS, {"prior_precision": floats(2, 1, 3, 3)}, r"expected \(1, 1, 3, 3\)"),
        (FACTORS, {"prior_precision": floats(1, 3, 3)}, "expected 4 dimensions"),
        (FACTORS, {"prior_precision": -np.eye(3, dtype=np.float32)[None, None]}, "negative numbers on its diagonal"),
        (FACTORS, {"mu": np.array([-1e16], np.float32)}, r"mu must be in \[-1e\+15, 1e\+15\]"),
        (FACTORS, {"item_factors": np.full((3, 1, 2), 1e15, np.float32)}, r"the factors may predict 2e\+15"),
        (FACTORS, {"prior_exponent": np.array([1e30], np.float32)}, r"prior_exponent must be in \[0, 1\]"),
        (FACTORS, {"prior_exponent": np.array([-0.5], np.float32)}, r"prior_exponent must be in \[0, 1\]"),
        (FACTORS, {"prior_offset": np.array([-1], np.float32)}, "prior_offset must be >= 0"),
        (FACTORS, {"prior_exponent": None}, "there is no array 'prior_exponent'"),
        (FACTORS, {"item_implicit": floats(3, 1, 2)}, r"item_implicit has shape .*, expected \(3, 1, 3\)"),
        (FACTORS, {"user_factors": floats(2, 1, 2).astype(np.float64)}, "user_factors holds float64, expected float32"),
        (FACTORS, {"user_factors": np.ones((2, 1, 2), np.int32)}, "user_factors holds int32, expected float32"),
        (FACTORS, {"mu": np.array([True])}, "mu holds bool, expected float32"),
        (FACTORS, {"mu": None}, "there is no array 'mu'"),
        *((FACTORS, {n: floats()}, rf"{n} has shape \(\), expected") for n in ("mu", "user_bias", "prior_exponent")),
        *((RATINGS, {n: np.zeros((), np.int32)}, f"{n} has shape") for n in ("indptr", "item", "rating", "part")),
        (RATINGS, {"item": np.array([0, 3, 1, 4], np.int32)}, "item row of the ratings is outside"),
        (RATINGS, {"item": np.array([0, 3, 1, -1], np.int32)}, "item row of the ratings is outside"),
        (RATINGS, {"item": np.zeros(4, np.float32)}, "item holds float32, expected int32"),
        (RATINGS, {"item": np.zeros((4, 1), np.int32)}, "item has shape"),
        (RATINGS, {"item": np.zeros(3, np.int32)}, r"rating has shape \(4,\), expected \(3,\)"),
        (RATINGS, {"part": np.zeros(3, np.uint8)}, r"part has shape \(3,\), expected \(4,\)"),
        (RATINGS, {"part": np.full(4, 4, np.uint8)}, r"part must be in \[0, 3\]"),
        (RATINGS, {"timestamp": np.zeros(3, np.int64)}, r"timestamp has shape \(3,\), expected \(4,\)"),
        (RATINGS, {"timestamp": np.zeros(4)}, "timestamp holds float64, expected int64"),
        (RATINGS, {"rating": np.full(4, np.nan, np.float32)}, "rating holds values"),
        (RATINGS, {"rating": np.ones(4, np.int32)}, "rating holds int32, expected float32"),
        (RATINGS, {"indptr": np.array([0, 3, 2, 4])}, "indptr does not cut the 4 ratings"),
        (RATINGS, {"indptr": np.array([0, 3, 2, 4], np.uint64)}, "indptr holds uint64, expected int64"),
        (RATINGS, {"indptr": np.array([0, 2, 3, 9])}, "indptr does not cut the 4 ratings"),
        (RATINGS, {"indptr": np.array([1, 2, 3, 4])}, "indptr does not cut the 4 ratings"),
        (RATINGS, {"indptr": np.array([0, 4])}, r"indptr has shape \(2,\), expected \(4,\)"),
        (RATINGS, {"indptr": np.zeros((4, 2), np.int64)}, "indptr has shape"),
        (IDS, {"user_ids": np.array([1, 2])}, r"indptr has shape \(4,\), expected \(3,\)"),
        (IDS, {"user_ids": np.array([10, 20, 20])}, "an id occurs twice"),
        (IDS, {"item_ids": np.array([7, 3, 7, 99])}, "an id occurs twice"),
        (IDS, {"item_ids": np.array([7, 3, 5])}, "item row of the ratings is outside"),
        (IDS, {"item_ids": np.array([7, 3])}, "more factors than ids"),
        (IDS, {"item_ids": np.array([7.0, 3, 5, 99])}, "item_ids must be one row of integers, got float64"),
        (IDS, {"item_ids": np.array(7)}, r"item_ids must be one row of integers, got int64 of shape \(\)"),
        (IDS, {"item_ids": np.array([[7, 3, 5, 99]])}, "item_ids must be one row of integers"),
        (IDS, {"item_ids": None}, "there is no array 'item_ids_utf8'"),
        (IDS, {"item_ids": None} | packed_ids("item", np.array(list("abcd"))), "not of the manifest's id_kind"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(saved: Path, file: str, change: dict, message: str) -> None:
    exchange(saved, file, **change)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("empty", ["samples", "users", "items"])
def test_factors_of_nothing_are_refused(tmp_path: Path, empty: str) -> None:
    sizes = {"samples": 1, "n_users": 2, "n_items": 3} | {empty if empty == "samples" else f"n_{empty}": 0}
    nothing = make_bundle(random_factors(**sizes), USERS, ITEMS)
    with pytest.raises(BundleError, match="no sample, no user or no item"):
        nothing.save(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("text", "offsets", "message"),
    [
        (b"a\xffb", [0, 1, 2, 3], "'utf-8' codec can't decode byte 0xff"),
        ("aé".encode(), [0, 1, 2, 3], "'utf-8' codec can't decode byte 0xc3"),
        (b"abc", [0, 2, 1, 3], "user_ids_offsets does not cut"),
        (b"abc", [0, 1, 2, 9], "user_ids_offsets does not cut"),
        (b"abc", [-3, 1, 2, 3], "user_ids_offsets does not cut"),
        (b"abc", [0.0, 1.0, 2.0, 3.0], "user_ids_offsets does not cut"),
        (b"abc", [[0], [1]], "user_ids_offsets does not cut"),
        (b"abc", np.zeros(0, np.int64), "user_ids_offsets does not cut"),
        (b"aab", [0, 1, 2, 3], "an id occurs twice"),
    ],
)
def test_names_that_cannot_be_cut_or_read_are_refused(
    two_by_three: Factors, tmp_path: Path, text: bytes, offsets: Any, message: str
) -> None:
    make_bundle(two_by_three, *NAMES, RATED).save(tmp_path / "bundle")
    arrays = {"user_ids_utf8": np.frombuffer(text, np.uint8), "user_ids_offsets": np.array(offsets)}
    exchange(tmp_path / "bundle", IDS, **arrays)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(tmp_path / "bundle")
    one_sentence(error)


def test_arrays_of_a_type_that_numpy_has_not_are_refused(saved: Path) -> None:
    header = json.dumps({"mu": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    (saved / FACTORS).write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    reseal(saved, FACTORS)
    with pytest.raises(BundleError, match="factors") as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 64, b"{}"])
def test_a_file_that_is_no_safetensors_is_refused(saved: Path, content: bytes) -> None:
    (saved / IDS).write_bytes(content)
    reseal(saved, IDS)
    with pytest.raises(BundleError, match="ids") as error:
        Bundle.load(saved)
    one_sentence(error)


GOOD_ITEM: dict[str, Any] = {"title": "x", "year": None, "genres": []}


@pytest.mark.parametrize(
    "item",
    [
        *({**GOOD_ITEM, "title": title} for title in (None, 5, ["x"], "half \ud800")),
        *({**GOOD_ITEM, "year": year} for year in ("1999", 1999.0, True, [], 1e400, 10**400)),
        *({**GOOD_ITEM, "genres": genres} for genres in (None, "Drama", ["Drama", None], [1], {"Drama": 1})),
        *({name: GOOD_ITEM[name] for name in GOOD_ITEM if name != missing} for missing in GOOD_ITEM),
        None, [], "title year genres", {"title": "x" * 10_000},
    ],
    ids=lambda item: str(item)[:40],
)  # fmt: skip
def test_an_item_described_otherwise_is_refused(saved: Path, item: Any) -> None:
    (saved / "items.json").write_text(json.dumps([GOOD_ITEM, GOOD_ITEM, item, GOOD_ITEM]))
    reseal(saved, "items.json")
    with pytest.raises(BundleError, match=r"items\.json") as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "4", "[]", json.dumps([GOOD_ITEM] * 5), json.dumps(dict.fromkeys("abcd", GOOD_ITEM)),
     "[" * 100_000],
    ids=lambda text: text[:10],
)  # fmt: skip
def test_items_that_are_no_list_of_all_are_refused(saved: Path, text: str) -> None:
    (saved / "items.json").write_text(text)
    reseal(saved, "items.json")
    with pytest.raises(BundleError, match=r"items\.json") as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("rating_scale", scale) for scale in ([5, 1], [1, 1], ["1", "5"], "15", [1], [1, 3, 5], None,
                                                {"1": 0, "5": 0}, [False, True], [0, 10**19 * 10.0**12], 5, [1, [5]])),
        *(("task", task) for task in (None, "stars", ["rating"], {})),
        *(("id_kind", kind) for kind in (None, "float", ["int"])),
        ("data", None), ("data", 5), ("model", None), ("model", ["mf"]),
        *(("link", link) for link in (None, "probit", ["ordinal"])),
        *(("attributes", names) for names in (None, "gender=F", ["gender"], ["a=b", "a=b"], [1], {"gender": "F"})),
        *(("fold_in", how) for how in (None, "sgd", True)),
        *(("noise", noise) for noise in (-0.1, "0.9", True, [0.9], 1e30)),
        *(("fold_in_target", target) for target in (0, "1", True, [1.1], 1e30)),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_a_manifest_that_says_what_is_not_understood_is_refused(saved: Path, key: str, value: Any) -> None:
    rewritten(saved, **{key: value})
    with pytest.raises(BundleError, match=f"the manifest's {key} is not valid: ") as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("kind", ["int", "str"])
def test_ids_that_contradict_the_manifest_are_refused(two_by_three: Factors, tmp_path: Path, kind: str) -> None:
    names = (USERS, ITEMS) if kind == "str" else NAMES
    wrong = make_bundle(two_by_three, *names, id_kind=kind)
    with pytest.raises(BundleError, match="the ids are not of the manifest's id_kind"):
        wrong.save(tmp_path / "bundle")


def test_a_bundle_of_schema_1_is_read_and_predicts_and_folds_in_as_it_did(tmp_path: Path) -> None:
    """It had one term of the prior, a penalty on every rating, and no axis of terms."""
    now = make_bundle(random_factors(n_users=2, n_items=3, samples=2), USERS, ITEMS, RATED)
    folder = tmp_path / "bundle"
    now.save(folder)
    exchange(folder, FACTORS, prior_precision=now.factors.prior_precision[0], prior_exponent=None)
    rewritten(folder, schema_version=1)
    then = Bundle.load(folder)
    pairs = [10, 20, 30, 4], [7, 3, 5, 99]
    np.testing.assert_array_equal(then.predict(*pairs), now.predict(*pairs))
    ratings = {7: 5.0, 3: 1.0}
    np.testing.assert_array_equal(then.fold_in(ratings).vector.factors, now.fold_in(ratings).vector.factors)
    assert then.recommend(10) == now.recommend(10)
    then.save(folder)
    assert Bundle.load(folder).manifest["schema_version"] == WITHOUT_ITEM_WEIGHTS
    assert Bundle.load(folder).recommend(10) == now.recommend(10)


def test_schema_1_must_have_its_own_shapes(saved: Path) -> None:
    rewritten(saved, schema_version=1)
    with pytest.raises(
        BundleError, match=r"prior_precision has shape \(1, 1, 1, 3, 3\), expected 4 dimensions"
    ) as error:
        Bundle.load(saved)
    one_sentence(error)


def test_a_manifest_without_what_answers_need_is_refused(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    del manifest["rating_scale"]
    (saved / "manifest.json").write_text(json.dumps(manifest))
    seal(saved)
    with pytest.raises(BundleError, match="the manifest lacks rating_scale"):
        Bundle.load(saved)


def test_saving_over_a_bundle_replaces_it_and_leaves_nothing_else(small: Bundle, saved: Path) -> None:
    (saved / "stale.txt").write_text("from an older version")
    other = replace(small, factors=replace(small.factors, mu=np.array([2.0], np.float32)))
    other.save(saved)
    assert Bundle.load(saved).factors.mu.tolist() == [2.0]
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]
    assert not (saved / "stale.txt").exists()
    assert saved.stat().st_mode & 0o777 == 0o755


def test_a_loaded_bundle_saved_again_has_the_current_schema(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Bundle.load(saved)
    monkeypatch.setattr(manifest_module, "WITHOUT_ITEM_WEIGHTS", 4)
    loaded.save(saved)
    assert Bundle.load(saved).manifest["schema_version"] == 4


def test_an_interrupted_save_leaves_the_old_bundle(small: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path, *_: Any) -> None:
        (folder / "factors.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write", interrupted)
    other = replace(small, factors=replace(small.factors, mu=np.array([2.0], np.float32)))
    with pytest.raises(KeyboardInterrupt):
        other.save(saved)
    assert Bundle.load(saved).factors.mu.tolist() == [3.0]
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


def test_a_failed_rename_puts_the_old_bundle_back(small: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.startswith(".") and not self.name.endswith(".former"):
            raise OSError("disk gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk gone"):
        small.save(saved)
    assert Bundle.load(saved).factors.mu.tolist() == [3.0]
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("what", ["folder", "file"])
def test_saving_over_what_is_no_bundle_leaves_it(small: Bundle, tmp_path: Path, what: str) -> None:
    path = tmp_path / "precious"
    kept = path / "thesis.tex" if what == "folder" else path
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("years of work")
    with pytest.raises(BundleError, match="precious is no bundle; it is left as it is"):
        small.save(path)
    assert kept.read_text() == "years of work"
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]


def test_saving_into_an_empty_folder_is_fine(small: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    small.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").n_users == 2


def test_saving_over_a_link_to_a_bundle_replaces_the_link(small: Bundle, saved: Path) -> None:
    link = saved.with_name("current")
    link.symlink_to(saved.name)
    replace(small, factors=replace(small.factors, mu=np.array([2.0], np.float32))).save(link)
    assert Bundle.load(link).factors.mu.tolist() == [2.0]
    assert Bundle.load(saved).factors.mu.tolist() == [3.0]
    assert sorted(path.name for path in saved.parent.iterdir()) == ["bundle", "current"]


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o027, 0o077])
def test_all_of_a_bundle_has_the_mode_that_the_umask_gives(small: Bundle, tmp_path: Path, mask: int) -> None:
    private, _ = write_keys(tmp_path)
    before = os.umask(mask)
    try:
        for _ in range(2):  # the second replaces the first
            small.save(tmp_path / "deep" / "bundle")
        sign(tmp_path / "deep" / "bundle", b"", read_private_key(private))
    finally:
        os.umask(before)
    for folder in (tmp_path / "deep", tmp_path / "deep" / "bundle"):
        assert folder.stat().st_mode & 0o777 == 0o777 & ~mask
    files = sorted((tmp_path / "deep" / "bundle").iterdir())
    assert [file.name for file in files] == sorted([*FILES, "manifest.json", "manifest.sha256", "manifest.sig"])
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o666 & ~mask, file.name


def test_a_full_disk_is_one_sentence_and_leaves_the_old_bundle(
    small: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(array_file, "save_file", full)
    with pytest.raises(WriteError, match=f"cannot write {saved}: No space left on device; free some space"):
        small.save(saved)
    assert Bundle.load(saved).n_users == small.n_users
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]
