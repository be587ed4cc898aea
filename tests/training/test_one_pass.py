"""Runs of models that one epoch fits, on feedback without ratings, with times and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.bundle import TEST, Bundle
from recsys.train import train
from tests.commands import run_config

pytestmark = pytest.mark.long

PERSONAL = ("ease", "slit", "item_knn")
TIMED = ("recent_popularity", "decayed_popularity")
OVERRIDES = ("data=tabular", "data.rating_column=null", "trainer.max_epochs=7")
BY_TIME = ("data.timestamp_column=timestamp", "data.split=leave_one_out")
TIMELESS = ("data.timestamp_column=null", "data.split=random")


def run(model: str, small_ratings: Path, folder: Path, *overrides: str) -> dict[str, Any]:
    """The metrics of a run in `folder`, which goes on if it was begun."""
    cfg = run_config(
        *OVERRIDES, f"model={model}", f"data.root={small_ratings}", *overrides, f"hydra.run.dir={folder}"
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
        train(cfg, folder)
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


@pytest.mark.parametrize("model", [*PERSONAL, "popularity", *TIMED])
def test_it_is_fitted_once_and_again_on_all_rows_and_serves_whoever_comes(
    model: str, small_ratings: Path, tmp_path: Path
) -> None:
    found = run(model, small_ratings, tmp_path / "run", *BY_TIME)
    assert found["epochs"] == 1
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    selected, refitted = (
        torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
        for name in ("best", "refit_train_val")
    )
    assert not torch.equal(*(next(iter(state.values())) for state in (selected, refitted)))
    history = dict.fromkeys(bundle.item_ids[:3].tolist(), 1.0)
    listed = bundle.recommend(bundle.fold_in(history), 5)
    assert len(listed) == 5
    assert not history.keys() & {entry.item_id for entry in listed}
    reasons = bundle.explain(bundle.fold_in(history), listed[0].item_id)
    assert (model in PERSONAL) == (sum(abs(reason.contribution) for reason in reasons.reasons) > 1e-3)
    assert len(bundle.recommend(bundle.user_ids[0], 5)) == 5


@pytest.mark.parametrize("model", [*PERSONAL, "popularity"])
def test_without_times_rows_count_in_the_order_of_the_file(model: str, small_ratings: Path, tmp_path: Path) -> None:
    run(model, small_ratings, tmp_path / "run", *TIMELESS)
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    if bundle.factors.item_weights is None:
        return
    fitted, user = bundle.ratings.part != TEST, 3
    rows = bundle.ratings.slice_of(user)
    items = bundle.ratings.item[rows][fitted[rows]]
    weights = 0.5 ** (np.arange(len(items))[::-1] / 3) @ bundle.factors.item_weights[items]
    level = bundle.factors.mu + bundle.factors.item_bias[:, 0]
    np.testing.assert_allclose(bundle.scores_of(np.array([user]), fitted)[0], level + weights, atol=1e-5)


@pytest.mark.parametrize("model", TIMED)
def test_days_need_times(model: str, small_ratings: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"model={model} counts days, and the ratings have no times; model=popularity"):
        run(model, small_ratings, tmp_path / "run", *TIMELESS)


def test_a_run_that_was_interrupted_before_its_refit_ends_alike(small_ratings: Path, tmp_path: Path) -> None:
    whole = run("slit", small_ratings, tmp_path / "run", *BY_TIME)
    folder = tmp_path / "run"
    for path in (folder / "metrics.json", folder / "checkpoints" / "refit_train_val.ckpt"):
        path.unlink()
    (folder / "checkpoints" / "selection.json").unlink()
    again = run("slit", small_ratings, folder, *BY_TIME)
    figures = {name: value for name, value in whole.items() if name.startswith(("val/", "test/"))}
    assert figures.items() <= again.items()
    kept = run("slit", small_ratings, tmp_path / "kept", *BY_TIME, "refit=none")
    assert kept["val/ndcg@10"] == whole["val/ndcg@10"]
