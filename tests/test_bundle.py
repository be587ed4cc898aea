import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from recsys import bundle_files as module
from recsys.bundle import Bundle, BundleError
from recsys.factors import Factors, centred_factors
from tests.conftest import make_bundle

USERS, ITEMS = [10, 20, 30], [7, 3, 5, 99]  # user 30 and item 99 are in the data but were not fitted
RATED = [(0, 0, 4.0, 0), (0, 3, 2.0, 2), (1, 1, 1.0, 1), (2, 2, 5.0, 2)]
NAMES = ["Zoë", "李", "a|b"], ["ā", "", "x\ny", "🎬"]


@pytest.fixture
def small(two_by_three: Factors) -> Bundle:
    return make_bundle(two_by_three, USERS, ITEMS, RATED, metrics={"test/rmse": 0.9, "test/rmse_cold": None})


@pytest.fixture
def saved(small: Bundle, tmp_path: Path) -> Path:
    small.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def one_sentence(error: pytest.ExceptionInfo[BundleError]) -> str:
    """The message, which says all in one line and carries no array or traceback."""
    text = str(error.value)
    assert "\n" not in text
    assert 10 < len(text) < 300
    return text


@pytest.mark.parametrize(("users", "items"), [(USERS, ITEMS), NAMES], ids=["int", "str"])
def test_everything_comes_back(two_by_three: Factors, tmp_path: Path, users: list, items: list) -> None:
    before = make_bundle(two_by_three, users, items, RATED, metrics={"test/rmse": 0.9, "title": "Amélie"})
    before.save(tmp_path / "deep" / "bundle")
    after = Bundle.load(str(tmp_path / "deep" / "bundle"))
    assert after.user_ids.tolist() == users
    assert after.item_ids.tolist() == items
    assert [type(i) for i in after.item_ids.tolist()] == [type(i) for i in items]
    assert before.manifest.items() <= after.manifest.items()
    assert after.manifest["schema_version"] == 1
    assert after.items == before.items
    for name in Factors.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(after.factors, name), getattr(before.factors, name))
        assert getattr(after.factors, name).dtype == np.float32
    for was, now in zip(before.ratings, after.ratings, strict=True):
        np.testing.assert_array_equal(was, now)
        assert was.dtype == now.dtype
    np.testing.assert_array_equal(after.ratings.users(), [0, 0, 1, 2])
    assert after.recommend(users[1], k=2) == before.recommend(users[1], k=2)


def test_the_manifest_names_every_file_and_nothing_is_a_pickle(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    files = {file.name: file.stat().st_size for file in saved.iterdir() if file.name != "manifest.json"}
    assert {name: listed["size"] for name, listed in manifest["files"].items()} == files
    assert set(files) == {"factors.safetensors", "ids.safetensors", "ratings.safetensors", "items.json"}


def test_arrays_that_are_views_are_saved_as_they_look(two_by_three: Factors, tmp_path: Path) -> None:
    turned = np.asfortranarray(two_by_three.item_factors)
    small = make_bundle(replace(two_by_three, item_factors=turned), USERS, ITEMS, RATED)
    small.save(tmp_path / "bundle")
    np.testing.assert_array_equal(Bundle.load(tmp_path / "bundle").factors.item_factors, two_by_three.item_factors)


def test_predictions_by_hand_clipped_and_with_averages_for_the_unknown(small: Bundle) -> None:
    cases = {
        (10, 7): 3 + 0.5 + 0.25 + 0.5,
        (20, 7): 3 - 0.5 + 0.25 - 0.5,
        (10, 3): 5.0,  # 3 + 0.5 + 0 + 4 = 7.5, clipped
        (10, 5): 1.0,  # 3 + 0.5 - 0.25 - 4.5 = -1.25
        (20, 3): 1.0,  # -1.5
        (4711, 7): 3.25,
        (10, 4711): 3.5,
        (4711, 4711): 3.0,
        (30, 7): 3.25,  # in the data, not fitted
        (10, 99): 3.5,
        (30, 99): 3.0,
    }
    predicted = small.predict(*zip(*cases, strict=True))
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, list(cases.values()))
    users, items = (np.array(ids) for ids in zip(*cases, strict=True))
    np.testing.assert_array_equal(small.predict(users, items), predicted)
    assert small.predict([], []).shape == (0,)


def test_samples_are_clipped_before_their_mean_and_ranked_by_the_linear_mean(two_by_three: Factors) -> None:
    f = two_by_three
    twice = lambda array, other: np.concatenate([array, other], 1)  # noqa: E731
    two = Factors(
        mu=np.array([3, 4], np.float32),
        user_bias=twice(f.user_bias, f.user_bias * 2),
        item_bias=twice(f.item_bias, f.item_bias),
        user_factors=twice(f.user_factors, f.user_factors),
        item_factors=twice(f.item_factors, f.item_factors * 0),
        prior_mean=np.zeros((2, 3), np.float32),
        prior_precision=np.zeros((2, 3, 3), np.float32),
    )
    small = make_bundle(two, USERS, ITEMS)
    # User 10: item 7 is 4.25 and 5.25; item 3 is 7.5 and 5; item 5 is -1.25 and 4.75.
    wanted = [(4.25 + 5) / 2, (5 + 5) / 2, (1 + 4.75) / 2]
    np.testing.assert_allclose(small.predict([10] * 3, [7, 3, 5]), wanted)
    np.testing.assert_allclose(small.predict([0, 10], [7, 0]), [(3.25 + 4.25) / 2, (3.5 + 5) / 2])
    top = small.recommend(10, 3)
    assert [entry.item_id for entry in top] == [3, 7, 5]
    np.testing.assert_allclose([entry.score for entry in top], [5, 4.75, 1.75])  # of 6.25, 4.75, 1.75
    ranking = make_bundle(two, USERS, ITEMS, task="ranking")
    np.testing.assert_allclose(ranking.predict([10], [3]), 6.25)
    np.testing.assert_allclose(ranking.recommend(10, 1)[0].score, 6.25)


def test_recommend_is_sorted_without_the_seen_and_within_the_catalogue(small: Bundle) -> None:
    everything = small.recommend(10, 100, exclude_seen=False)
    assert [entry.item_id for entry in everything] == [3, 7, 5]
    np.testing.assert_allclose([entry.score for entry in everything], [5, 4.25, 1])
    assert everything[0] == (3, 5.0, "Film 1", 1991, ["Drama"])
    assert type(everything[0].item_id) is int
    assert [entry.item_id for entry in small.recommend(10, 100)] == [3, 5]  # 7 was rated
    assert [entry.item_id for entry in small.recommend(20, 1)] == [5]  # best: 3 - 0.5 - 0.25 + 4.5
    assert [entry.item_id for entry in small.recommend(20, 100)] == [5, 7]
    assert [entry.item_id for entry in small.recommend(np.int64(20), 1)] == [5]
    average = [7, 3, 5]  # by item bias
    assert [entry.item_id for entry in small.recommend(4711)] == average
    assert [entry.item_id for entry in small.recommend(30)] == [7, 3]  # not fitted, but has rated item 5
    with pytest.raises(ValueError, match=r"k must be >= 1, got 0"):
        small.recommend(10, 0)


def test_a_user_who_has_seen_all_gets_nothing(two_by_three: Factors) -> None:
    seen = [(0, item, 3.0, 0) for item in range(3)]
    assert make_bundle(two_by_three, USERS, ITEMS, seen).recommend(10) == []


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 9, 20])
def test_ties_go_by_row_also_where_k_cuts_them(k: int) -> None:
    item_bias = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0], np.float32)[:, None]
    factors = Factors(
        np.array([3], np.float32), np.zeros((1, 1), np.float32), item_bias, np.zeros((1, 1, 1), np.float32),
        np.zeros((9, 1, 1), np.float32), np.zeros((1, 2), np.float32), np.zeros((1, 2, 2), np.float32),
    )  # fmt: skip
    [(items, _)] = make_bundle(factors, [1], list(range(9))).top_items(np.array([0]), k)
    assert items.tolist() == [1, 3, 5, 7, 0, 2, 4, 6, 8][:k]


@pytest.mark.parametrize("k", [1, 7, 49, 50])
def test_the_top_is_that_of_a_full_sort(k: int) -> None:
    rng = np.random.default_rng(1)
    draw = lambda *shape: rng.normal(0, 0.3, shape).astype(np.float32)  # noqa: E731
    factors = Factors(
        np.array([3.0, 3.1, 2.9], np.float32), draw(4, 3), draw(50, 3), draw(4, 3, 5), draw(50, 3, 5),
        draw(3, 6), draw(3, 6, 6),
    )  # fmt: skip
    bundle = make_bundle(factors, [1, 2, 3, 4], list(range(50)))
    for user, (items, scores) in enumerate(bundle.top_items(np.arange(4), k)):
        linear = factors.predict(np.full(50, user), np.arange(50)).mean(1)
        assert items.tolist() == np.argsort(-linear, kind="stable")[:k].tolist()
        np.testing.assert_allclose(scores, linear[items].clip(1, 5), rtol=1e-5)


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        (["10"], [7], "user_ids must be integers, got '10'"),
        ([10], ["7"], "item_ids must be integers, got '7'"),
        ([10, "10"], [7, 7], "user_ids must be integers, got '10'"),
        ([10.0], [7], "user_ids must be integers, got 10.0"),
        ([True], [7], "user_ids must be integers, got True"),
        ([None], [7], "user_ids must be integers, got None"),
        ("10", [7, 7], "user_ids must be a list of integers, got '10'"),
    ],
)
def test_an_id_of_the_wrong_kind_is_a_type_error(small: Bundle, users: list, items: list, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        small.predict(users, items)


def test_string_ids_take_strings_only_and_no_bare_string(two_by_three: Factors) -> None:
    named = make_bundle(two_by_three, *NAMES)
    np.testing.assert_allclose(named.predict(["Zoë", "nobody"], ["ā", "ā"]), [4.25, 3.25])
    for users in ([1], ["Zoë", 1], "Zoë"):
        with pytest.raises(TypeError, match="user_ids must be"):
            named.predict(users, ["ā"] * len(users))
    with pytest.raises(TypeError, match="user_id must be strings, got 1"):
        named.recommend(1)
    assert named.recommend("Zoë", 1)[0].item_id == ""


def test_lists_of_unequal_length_are_refused(small: Bundle) -> None:
    with pytest.raises(ValueError, match="user_ids and item_ids must be equally long, got 2 and 1"):
        small.predict([10, 20], [7])


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


def rewritten(path: Path, **changes: object) -> None:
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema version 2; this recsys reads up to 1"),
        ({"schema_version": 2, "files": None}, "schema version 2; this recsys reads up to 1"),
        ({"schema_version": "new"}, "is not a bundle's manifest"),
        ({"files": {}}, r"is not a bundle's manifest: KeyError\('factors.safetensors'\)"),
        ({"files": [1]}, "is not a bundle's manifest"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(saved: Path, changes: dict, message: str) -> None:
    rewritten(saved, **changes)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(saved)
    assert "manifest.json" in one_sentence(error)


@pytest.mark.parametrize("text", ["{", "[]", "null", ""])
def test_a_manifest_that_is_no_object_is_refused(saved: Path, text: str) -> None:
    (saved / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match="is not a bundle's manifest") as error:
        Bundle.load(saved)
    one_sentence(error)


def test_a_missing_manifest_or_folder_is_refused(saved: Path) -> None:
    (saved / "manifest.json").unlink()
    for path in (saved, saved / "nowhere"):
        with pytest.raises(BundleError, match=r"is not a bundle: it has no manifest\.json") as error:
            Bundle.load(path)
        assert str(path) in one_sentence(error)


def reseal(folder: Path, name: str) -> None:
    """Let the manifest agree with a file that was exchanged."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    files[name] = {"size": (folder / name).stat().st_size, "sha256": module._sha256(folder / name)}
    rewritten(folder, files=files)


@pytest.mark.parametrize("name", list(Factors.__dataclass_fields__))
def test_numbers_that_are_not_finite_are_refused_on_both_ways(small: Bundle, saved: Path, name: str) -> None:
    arrays = load_file(saved / "factors.safetensors")
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] = np.nan
    save_file(arrays, saved / "factors.safetensors")
    reseal(saved, "factors.safetensors")
    with pytest.raises(BundleError, match=f"{name} holds values that are not finite") as error:
        Bundle.load(saved)
    one_sentence(error)
    diverged = replace(small, factors=replace(small.factors, **{name: arrays[name]}))
    with pytest.raises(BundleError, match=f"{name} holds values that are not finite"):
        diverged.save(saved.with_name("new"))
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("factors.safetensors", {"mu": np.zeros(2, np.float32)}, r"mu has shape \(2,\), expected \(1,\)"),
        ("factors.safetensors", {"item_bias": np.zeros((9, 1), np.float32)}, "item_factors has shape"),
        ("factors.safetensors", {"prior_mean": np.zeros(3, np.float32)}, "prior_mean has shape"),
        ("factors.safetensors", {"mu": None}, "is not a usable bundle: 'mu'"),
        (
            "ratings.safetensors",
            {"item": np.array([0, 3, 1, 4], np.int32)},
            "item row of the ratings is outside",
        ),
        (
            "ratings.safetensors",
            {"item": np.array([0, 3, 1, -1], np.int32)},
            "item row of the ratings is outside",
        ),
        ("ratings.safetensors", {"item": np.zeros(3, np.int32)}, "do not fit together"),
        ("ratings.safetensors", {"part": np.zeros(3, np.uint8)}, "do not fit together"),
        ("ratings.safetensors", {"rating": np.full(4, np.nan, np.float32)}, "rating holds values"),
        ("ids.safetensors", {"user_ids": np.array([1, 2])}, "do not fit together"),
    ],
)
def test_parts_that_do_not_fit_are_refused(saved: Path, file: str, change: dict, message: str) -> None:
    arrays = {name: array for name, array in (load_file(saved / file) | change).items() if array is not None}
    save_file(arrays, saved / file)
    reseal(saved, file)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(saved)
    one_sentence(error)


def test_a_manifest_without_what_answers_need_is_refused(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    del manifest["rating_scale"]
    (saved / "manifest.json").write_text(json.dumps(manifest))
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
    monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
    loaded.save(saved)
    assert Bundle.load(saved).manifest["schema_version"] == 2


def test_an_interrupted_save_leaves_the_old_bundle(small: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Bundle, folder: Path) -> None:
        (folder / "factors.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Bundle, "_write", interrupted)
    other = replace(small, factors=replace(small.factors, mu=np.array([2.0], np.float32)))
    with pytest.raises(KeyboardInterrupt):
        other.save(saved)
    assert Bundle.load(saved).factors.mu.tolist() == [3.0]
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


def test_a_failed_rename_puts_the_old_bundle_back(small: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.startswith(".") and not self.name.endswith("-old"):
            raise OSError("disk gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk gone"):
        small.save(saved)
    assert Bundle.load(saved).factors.mu.tolist() == [3.0]
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


def test_a_bundle_needs_numpy_and_safetensors_only() -> None:
    heavy = {"torch", "lightning", "hydra", "omegaconf", "pandas", "pyarrow", "torchmetrics"}
    code = f"import sys, recsys.bundle; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture
def centring() -> tuple[dict[str, np.ndarray], Factors]:
    rng = np.random.default_rng(2)
    before = {
        "user_bias": rng.normal(1, 1, 6),
        "item_bias": rng.normal(-2, 1, 5),
        "user_factors": rng.normal(0.7, 1, (6, 3)),
        "item_factors": rng.normal(-0.4, 1, (5, 3)),
        "prior_mean": rng.normal(size=4),
        "prior_precision": rng.uniform(0.5, 2, 4),
    }
    return before, centred_factors(mu=3.3, **before)


def test_centring_keeps_predictions_and_centres_both_sides(centring: tuple) -> None:
    before, after = centring
    user, item = np.divmod(np.arange(30), 5)
    wanted = 3.3 + before["user_bias"][user] + before["item_bias"][item]
    wanted += (before["user_factors"][user] * before["item_factors"][item]).sum(1)
    np.testing.assert_allclose(after.predict(user, item)[:, 0], wanted, atol=1e-5)
    for name in ("user_bias", "item_bias", "user_factors", "item_factors"):
        np.testing.assert_allclose(getattr(after, name).mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(after.mu, wanted.mean(), atol=1e-5)
    assert after.user_factors.shape == (6, 1, 3)


def test_centring_carries_the_prior_along(centring: tuple) -> None:
    """The penalty of a user's `[p, b]` is the same number in the old and in the new coordinates."""
    before, after = centring
    old = np.hstack([before["user_factors"], before["user_bias"][:, None]])
    new = np.hstack([after.user_factors[:, 0], after.user_bias])
    far_old, far_new = old - before["prior_mean"], new - after.prior_mean[0]
    wanted = (far_old**2 * before["prior_precision"]).sum(1)
    np.testing.assert_allclose(np.einsum("nd,de,ne->n", far_new, after.prior_precision[0], far_new), wanted, rtol=1e-4)
