"""Prequential figures: equal to the naive loop over time, and by hand."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from recsys.bundle import TEST, TRAIN, VAL, Bundle
from recsys.bundle import running_fold_ins as module
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.factors import UserVector
from recsys.bundle.item_fold_in import fold_in_item
from recsys.bundle.sides import append_items, append_users, stack_vectors
from recsys.evaluation.prequential import predict_prequential, prequential
from recsys.evaluation.prequential_items import predict_new_items
from recsys.evaluation.tables import print_metrics
from tests.bundles import make_bundle, random_factors
from tests.commands import Train, call, call_function, copy_run

pytestmark = pytest.mark.long

FITTED_USERS, FITTED_ITEMS = 5, 12  # of 8 and 15 in `drawn`


def drawn(times: int = 12, twice: bool = False, **arguments: Any) -> Bundle:
    """Random factors, and ratings in few distinct times: ties within and between the parts of the split.

    The last users are not fitted and have test ratings only; one rated unfitted items first. `twice` lets users rate an
    item again.
    """
    rng = np.random.default_rng(4)
    rated, when = [], []
    for user in range(8):
        item = rng.choice(15, 14, replace=twice)
        time = np.sort(rng.integers(0, times, 14)) + 2**33
        part = np.where(np.arange(14) < (0 if user >= FITTED_USERS else 7), TRAIN, TEST)
        if user < FITTED_USERS:
            part[6] = VAL
            item[:7] %= FITTED_ITEMS
        elif user == FITTED_USERS:
            item[:3] = FITTED_ITEMS + np.arange(3)
        for row in rng.permutation(14):  # in the file, time has no order
            rated.append((user, int(item[row]), float(rng.integers(1, 6)), int(part[row])))
            when.append(int(time[row]))
    factors = random_factors(n_users=FITTED_USERS, n_items=FITTED_ITEMS, **arguments)
    said = {"split": "global_time", "fit_on": "train_val", "link": "ordinal" if "levels" in arguments else "identity"}
    if "attributes" not in arguments:
        return make_bundle(factors, [*range(8)], [*range(15)], rated, when, **said)
    bundle = make_bundle(factors, [*range(8)], [*range(15)], rated, when, attributes=["a=0", "a=1", "b=0"], **said)
    known = RowAttributes(np.array([0, 1, 3, 3, 4, 5, 7, 8, 8]), np.array([0, 1, 2, 0, 1, 0, 2, 1], np.int32))
    return replace(bundle, user_attributes=known)


@functools.cache
def expected_of(name: str) -> np.ndarray:
    """What `naive` predicts with one of the `MODELS`."""
    return naive(drawn(**MODELS[name]))


def naive(bundle: Bundle) -> np.ndarray:
    """One fold-in a test rating, of all that came strictly before it; NaN for the other rows."""
    rated = bundle.ratings
    predicted = np.full(len(rated.part), np.nan)
    for row in np.flatnonzero(rated.part == TEST):
        entries = np.arange(len(rated.part))[rated.slice_of(rated.user_index()[row])]
        past = entries[rated.timestamp[entries] < rated.timestamp[row]]
        past = past[rated.item[past] < bundle.n_items]
        past = past[np.argsort(rated.timestamp[past], kind="stable")]
        known = bundle.user_attributes and bundle.user_attributes.of(int(rated.user_index()[row]))
        folded = bundle.fold_in_rows(rated.item[past], rated.rating[past], known)
        predicted[row] = bundle.predict(folded, [int(bundle.item_ids[rated.item[row]])])[0]
    return predicted


MODELS: dict[str, dict[str, Any]] = {
    "one sample": {},
    "samples": {"samples": 3},
    "exponents": {"samples": 2, "exponents": (0.0, 0.6, 1.0)},
    "implicit": {"implicit": True, "exponents": (0.0, 0.5)},
    "implicit samples": {"implicit": True, "samples": 3, "dim": 6},
    "rated twice": {"implicit": True, "twice": True},
    "noise": {"noisy": True, "samples": 3},
    "drift": {"drift": True, "samples": 2},
    "attributes": {"attributes": 3, "samples": 2},
    "a posterior": {"noisy": True, "drift": True, "attributes": 3, "implicit": True, "exponents": (0.0,), "samples": 3},
    "ordinal": {"noisy": True, "drift": True, "attributes": 3, "levels": (1.0, 2.0, 3.0, 4.0, 5.0), "samples": 2},
}


@pytest.mark.parametrize("at_once", [1, 200, 2**20])
@pytest.mark.parametrize("name", MODELS)
def test_a_prediction_is_that_of_the_fold_in_of_what_came_before(
    monkeypatch: pytest.MonkeyPatch, name: str, at_once: int
) -> None:
    expected = expected_of(name)
    assert np.nanstd(expected) > 0.3
    monkeypatch.setattr(module, "SUMS", at_once)
    np.testing.assert_allclose(predict_prequential(drawn(**MODELS[name])), expected, atol=1e-4)


def test_without_a_penalty_it_is_as_close_as_float32_allows() -> None:
    """Few ratings then leave a nearly singular system, which the fold-in rounds and the running sums do not."""
    bundle = drawn()
    bundle = replace(bundle, factors=replace(bundle.factors, prior_precision=0 * bundle.factors.prior_precision))
    np.testing.assert_allclose(predict_prequential(bundle), naive(bundle), atol=0.02)


def test_a_prior_whose_rounding_left_no_square_root_is_solved_all_the_same() -> None:
    bundle = drawn()
    precision = bundle.factors.prior_precision.copy()
    precision[..., -1, -1] = -0.3
    bundle = replace(bundle, factors=replace(bundle.factors, prior_precision=precision))
    np.testing.assert_allclose(predict_prequential(bundle), naive(bundle), atol=1e-3)


@pytest.mark.parametrize("times", [1, 2, 1000])
def test_ties_are_no_past(times: int) -> None:
    bundle = drawn(times=times)
    ahead = predict_prequential(bundle)
    np.testing.assert_allclose(ahead, naive(bundle), atol=1e-4)
    if times == 1:  # nobody has a past
        test = bundle.ratings.part == TEST
        average = bundle.predict_rows(np.full(test.sum(), -1), bundle.ratings.item[test])
        np.testing.assert_allclose(ahead[test], average, atol=1e-5)


def vector_before(bundle: Bundle, row: int) -> UserVector:
    """The user of a rating as the fold-in of their strictly earlier ratings of items with factors."""
    rated, user = bundle.ratings, int(bundle.ratings.user_index()[row])
    entries = np.arange(len(rated.part))[rated.slice_of(user)]
    past = entries[(rated.timestamp[entries] < rated.timestamp[row]) & (rated.item[entries] < bundle.n_items)]
    past = past[np.argsort(rated.timestamp[past], kind="stable")]
    known = bundle.user_attributes and bundle.user_attributes.of(user)
    return bundle.fold_in_rows(rated.item[past], rated.rating[past], known).vector


def naive_items(bundle: Bundle) -> np.ndarray:
    """One fold-in of the item a test rating of those that were not fitted; NaN for the other rows."""
    rated, user, f = bundle.ratings, bundle.ratings.user_index(), bundle.factors
    predicted = np.full(len(rated.part), np.nan)
    for row in np.flatnonzero((rated.part == TEST) & (rated.item >= FITTED_ITEMS)):
        past = np.flatnonzero((rated.item == rated.item[row]) & (rated.timestamp < rated.timestamp[row]))
        if not len(past):
            continue
        raters = [vector_before(bundle, int(entry)) for entry in past]
        fitted = user[past] < FITTED_USERS
        if f.user_precision is not None:
            ones = np.ones(f.samples, np.float32)
            own = [f.user_precision[user[entry]] if seen else ones for entry, seen in zip(past, fitted, strict=True)]
            raters = [vector._replace(precision=noise) for vector, noise in zip(raters, own, strict=True)]
        extended = append_users(f, stack_vectors(raters))
        if f.user_implicit is not None:
            assert extended.user_implicit is not None
            extended.user_implicit[len(f.user_bias) :][fitted] = f.user_implicit[user[past[fitted]]]
        known = None if bundle.item_attributes is None else bundle.item_attributes.of(int(rated.item[row]))
        folded = fold_in_item(extended, len(f.user_bias) + np.arange(len(past)), rated.rating[past], known)
        one = append_items(f, stack_vectors([folded.vector]))
        linear = one.predict_rows_for(vector_before(bundle, int(row)), np.array([len(f.item_bias)]))
        predicted[row] = linear.clip(1, 5).mean()
    return predicted


@pytest.mark.parametrize("name", ["one sample", "samples", "noise", "a posterior"])
def test_an_item_that_was_not_fitted_is_the_fold_in_of_its_earlier_ratings(name: str) -> None:
    known = {"item_attributes": 2} if "posterior" in name else {}
    bundle = drawn(**MODELS[name], items=True, **known)
    if known:
        table = RowAttributes(np.append(np.arange(15), 16), np.arange(16, dtype=np.int32) % 2)
        said = bundle.manifest | {"item_attributes": ["genre=A", "genre=B"]}
        bundle = replace(bundle, item_attributes=table, manifest=said)
    expected = naive_items(bundle)
    assert np.isfinite(expected).sum() > 10
    np.testing.assert_allclose(predict_new_items(bundle), expected, atol=2e-3)
    found, test = prequential(bundle, items="fold_in"), bundle.ratings.part == TEST
    assert {name: found[name] for name in FIGURES} == prequential(bundle)
    unseen = bundle.ratings.item[test] >= FITTED_ITEMS
    before = predict_prequential(bundle)[test]
    error = np.where(np.isnan(expected[test]), before, expected[test]) - bundle.ratings.rating[test]
    assert found["prequential/rmse_unseen_items_fold_in"] == pytest.approx((error[unseen] ** 2).mean() ** 0.5, abs=1e-3)
    assert found["prequential/rmse_items_fold_in"] == pytest.approx((error**2).mean() ** 0.5, abs=1e-3)
    error = (before - bundle.ratings.rating[test])[unseen]
    assert found["prequential/rmse_unseen_items"] == pytest.approx((error**2).mean() ** 0.5, abs=1e-4)
    assert found["prequential/share_unseen_items"] == pytest.approx(unseen.mean())


def test_items_behind_an_ordinal_link_are_folded_in_too() -> None:
    bundle = drawn(**MODELS["ordinal"], items=True)
    stars = predict_new_items(bundle)
    rows = np.isfinite(stars)
    np.testing.assert_array_equal(rows, np.isfinite(naive_items(bundle)))
    assert ((stars[rows] >= 1) & (stars[rows] <= 5)).all()
    assert np.abs(stars - predict_prequential(bundle))[rows].max() > 0.1


def test_items_are_not_folded_in_without_a_prior_of_them() -> None:
    with pytest.raises(ValueError, match="items=fold_in needs a bundle with a prior of items"):
        prequential(drawn(), items="fold_in")


def test_figures_are_those_of_the_predictions() -> None:
    bundle = drawn()
    found, rated = prequential(bundle), bundle.ratings
    test = rated.part == TEST
    error, unseen = (naive(bundle) - rated.rating)[test], rated.user_index()[test] >= FITTED_USERS
    assert found["prequential/rmse"] == pytest.approx((error**2).mean() ** 0.5, abs=1e-4)
    assert found["prequential/rmse_unseen"] == pytest.approx((error[unseen] ** 2).mean() ** 0.5, abs=1e-4)
    assert found["prequential/mae"] == pytest.approx(np.abs(error).mean(), abs=1e-4)
    assert found["prequential/share_unseen"] == pytest.approx(unseen.mean())


def newcomer(**manifest: Any) -> Bundle:
    """Users 0 and 1 rated item 0 with 2 and 4 stars; then user 2, not fitted, twice at one time and once later.

    Their last two ratings are of item 1, which was not fitted.
    """
    rated = [(0, 0, 2.0, TRAIN), (1, 0, 4.0, TRAIN), (2, 0, 4.0, TEST), (2, 1, 5.0, TEST), (2, 1, 1.0, TEST)]
    factors = random_factors(n_users=2, n_items=1)
    said = {"split": "global_time", "fit_on": "train_val"} | manifest
    return make_bundle(factors, [0, 1, 2], [0, 1], rated, [1, 2, 5, 5, 6], **said)


def test_the_baseline_by_hand() -> None:
    """The mean is 3 and item 0 has no bias; at time 5 nothing is known of user 2, at 6 surprises of 1 and 2 stars."""
    bias = (1 + 2) / (15 + 2)
    expected = ((1**2 + 2**2 + (3 + bias - 1) ** 2) / 3) ** 0.5
    found = prequential(newcomer())
    assert found["baseline/running_biases"] == pytest.approx(expected)
    assert found["baseline/running_biases_unseen"] == found["baseline/running_biases"]


def test_figures_of_no_unseen_user_are_none() -> None:
    rated = [(0, 0, 2.0, TRAIN), (0, 0, 3.0, TEST)]
    factors = random_factors(n_users=1, n_items=1)
    found = prequential(make_bundle(factors, [0], [0], rated, [1, 2], split="user_time", fit_on="train_val"))
    assert found["prequential/share_unseen"] == 0
    assert {found["prequential/rmse_unseen"], found["baseline/running_biases_unseen"]} == {None}
    assert found["prequential/rmse"] is not None


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"task": "ranking"}, "this model ranks items"),
        ({"fold_in": "none", "model": "Fixed"}, "a Fixed cannot"),
        ({"split": "random"}, r"needs a split in time \(user_time, .*, held_out_users\), got random"),
        ({"fit_on": "all"}, "fitted on the test rows"),
    ],
)
def test_what_cannot_be_measured_is_refused(manifest: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prequential(newcomer(**manifest))


def test_a_bundle_that_says_too_little_is_refused() -> None:
    bundle = newcomer()
    del bundle.manifest["split"]
    with pytest.raises(ValueError, match="lacks the name of its split"):
        prequential(bundle)
    bundle = newcomer()
    with pytest.raises(ValueError, match="lacks timestamps"):
        prequential(replace(bundle, ratings=bundle.ratings._replace(timestamp=None)))
    none = bundle.ratings._replace(part=np.zeros_like(bundle.ratings.part))
    with pytest.raises(ValueError, match="no test rows"):
        prequential(replace(bundle, ratings=none))


FIGURES = set(prequential(newcomer()))


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


SPLIT = ("data.split=global_time", "data.test_fraction=0.2", "trainer.max_epochs=4", "evaluation=prequential")


def test_a_run_records_and_prints_what_evaluate_finds_again(
    train: Train, trained: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train(*SPLIT)
    printed = capsys.readouterr().out
    found = metrics(folder)
    for name in ("prequential/rmse", "baseline/running_biases"):
        assert f"{found[name]:.4f}" in printed
    assert found["prequential/rmse"] < found["test/rmse"]
    assert prequential(Bundle.load(folder / "bundle")) == {name: found[name] for name in FIGURES}
    call("evaluate", f"run={folder}", "evaluation=prequential")
    printed = capsys.readouterr().out
    assert f"{found['prequential/rmse']:.4f}" in printed
    measured = [name for name in found if name.startswith(("test/", "baseline/", "prequential/"))]
    assert f"all {len(measured)} metrics equal" in printed
    call("evaluate", f"run={folder}", "evaluation=prequential", "items=fold_in")
    printed = capsys.readouterr().out
    assert "model, items folded in" in printed
    assert "not recorded there: prequential/rmse_unseen_items, " in printed
    (folder / "metrics.json").write_text(json.dumps(found | {"prequential/rmse": found["prequential/rmse"] + 0.001}))
    with pytest.raises(ValueError, match=r"metrics.json:\nprequential/rmse:"):
        call_function("evaluate", f"run={folder}", "evaluation=prequential")
    deployed = metrics(trained(*SPLIT, "refit=all"))
    assert {name: deployed[name] for name in FIGURES} == {name: found[name] for name in FIGURES}


def test_a_run_without_them_gets_them_later(trained: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = trained("trainer.max_epochs=1")
    recorded = metrics(folder)
    assert recorded.keys().isdisjoint(FIGURES)
    print_metrics(recorded, "mf on small")
    assert "prequential" not in capsys.readouterr().out
    call_function("evaluate", f"run={folder}", "evaluation=prequential")
    printed = capsys.readouterr().out
    assert "prequential test RMSE" in printed
    assert re.search(r"all \d+ metrics equal", printed)
    assert "not recorded there: prequential/rmse, " in printed


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluation=online"], "evaluation must be one of standard, prequential, got 'online'"),
        (["evaluation=prequential", "data.split=random"], "needs a split in time (user_time, "),
        (["items=thawed"], "items must be one of frozen, fold_in, got 'thawed'"),
        (["items=fold_in"], "items=fold_in needs evaluation=prequential, got standard"),
    ],
)
def test_a_run_that_could_not_be_measured_is_not_begun(
    quick_train: Train, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        quick_train(*overrides)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_evaluate_names_the_evaluations(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of standard, prequential, got 'online'"):
        call_function("evaluate", f"run={tmp_path}", "evaluation=online")


def test_a_run_from_before_there_was_a_choice_goes_on(trained: Train, quick_train: Train, tmp_path: Path) -> None:
    folder = copy_run(trained("trainer.max_epochs=1"), tmp_path / "run")
    before = metrics(folder)
    (folder / "metrics.json").unlink()
    cfg = OmegaConf.load(folder / "config.yaml")
    del cfg["evaluation"]
    OmegaConf.save(cfg, folder / "config.yaml")
    quick_train(f"resume={folder}")
    assert metrics(folder)["test/rmse"] == before["test/rmse"]
