"""A run's own configuration, fitted again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from recsys.database import Database
from recsys.events import Event, EventLog
from recsys.experiments.run_folder import saved_config
from recsys.files import write_json
from recsys.update import refit
from recsys.update.refit import RefitError, refit_configuration, refitted
from recsys.update.update import Policy, cut_of, update
from recsys.versions import open_versions
from tests.commands import call
from tests.small_data import random_ratings
from tests.update.small import both_sides, bundle_of

RUN: dict[str, Any] = {
    "model": {"_target_": "recsys.models.als.ALS", "embedding_dim": 2, "warm_start": None},
    "data": {"_target_": "recsys.data.sources.MovieLens", "root": "/data", "split": "official", "fold": 2, "seed": 3},
    "logger": {
        "csv": {"_target_": "recsys.training.csv_logger.EpochCSVLogger", "save_dir": "/runs/one"},
        "wandb": {"_target_": "recsys.training.wandb.WandbTracker"},
    },
    "callbacks": {"checkpoint": {"dirpath": "/runs/one/checkpoints"}},
    "run_dir": "/runs/one",
    "seeds": [1, 2],
    "overrides": ["data.root=/data"],
    "refit": "train_val",
}


def test_the_configuration_is_the_runs_own_on_live_ratings() -> None:
    found = refit_configuration(RUN, Path("/runs/two"), Path("/versions/ab"), 9)
    assert found["model"] == {"_target_": "recsys.models.als.ALS", "embedding_dim": 2, "warm_start": "/versions/ab"}
    assert found["data"] == {
        "_target_": "recsys.data.sources.LiveRatings", "bundle": "/versions/ab", "cut": 9, "name": None,
        "split": "auto", "seed": 3,
    }  # fmt: skip
    assert [*found["logger"]] == ["csv"]
    assert found["logger"]["csv"]["save_dir"] == found["run_dir"] == "/runs/two"
    assert found["callbacks"]["checkpoint"]["dirpath"] == "/runs/two/checkpoints"
    assert (found["refit"], found["seeds"], found["overrides"]) == ("all", None, [])
    assert refit_configuration(found, Path("/runs/two"), Path("/versions/ab"), 9) == found
    without = {**RUN, "model": {"_target_": "recsys.models.mf.MatrixFactorization"}}
    assert "warm_start" not in refit_configuration(without, Path("/runs/two"), Path("/b"), 9)["model"]


@pytest.mark.parametrize("configuration", [{}, {"model": {}}, {**RUN, "data": None}], ids=str)
def test_without_a_configuration_there_is_no_refit(configuration: dict[str, Any]) -> None:
    with pytest.raises(RefitError, match="no configuration of a run"):
        refit_configuration(configuration, Path("/runs/two"), Path("/b"), 9)


def test_what_stands_on_another_bundle_is_not_fitted_again_alone() -> None:
    on_another = {**RUN, "model": {"_target_": "recsys.models.attention.model.Attention", "base": "runs/posterior"}}
    with pytest.raises(RefitError, match=r"model\.base=runs/posterior: fit both again by hand"):
        refit_configuration(on_another, Path("/runs/two"), Path("/b"), 9)


def test_a_failed_run_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'recsys.db'}")
    failed = subprocess.CompletedProcess([], 1, "", "loading\nerror: postgresql://me:secret@db has no ratings\n")
    monkeypatch.setattr(refit.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RefitError, match=r"status 1: loading \| error: postgresql://me:\*\*\*@db has no ratings"):
        refitted(RUN, tmp_path / "run", database)


def test_what_was_begun_with_other_events_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database, folder = Database.open(f"sqlite:///{tmp_path / 'recsys.db'}"), tmp_path / "whole"
    fits: list[int] = []

    def fit(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        assert not (folder / "bundle").exists()
        bundle_of(both_sides()).save(folder / "bundle")
        write_json(folder / "status.json", {"state": "finished"})
        fits.append(json.loads((folder / "config.yaml").read_text())["data"]["cut"])
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(refit.subprocess, "run", fit)
    for cut in (30, 30, 60):
        refitted(refit_configuration(RUN, folder, Path("/versions/ab"), cut), folder, database)
    assert fits == [30, 60]


@pytest.mark.long
def test_a_trained_run_is_fitted_again_with_events(tmp_path: Path) -> None:
    ratings = random_ratings(300, 20, 15)
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    run = tmp_path / "run"
    call(
        "train", "data=tabular", f"data.ratings_file={tmp_path / 'ratings.csv'}", "model=als", "model.embedding_dim=2",
        "trainer.max_epochs=2", f"hydra.run.dir={run}",
    )  # fmt: skip
    database = Database.open(f"sqlite:///{tmp_path / 'recsys.db'}")
    versions = open_versions(database, tmp_path / "versions")
    configuration = json.loads(json.dumps(_plain(run)))
    version = versions.add(run / "bundle", {}, configuration)
    versions.promote("champion", version.version, "test", "start")
    EventLog(database).append([
        Event(f"e{k}", str(k % 23 + 100), str(k % 17 + 1000), "rating", 1.0 + k % 5, 2_000_000_000 + k)
        for k in range(40)
    ])  # fmt: skip
    new = update(versions, Policy(refit_seconds=0.0, runs=tmp_path / "runs"))
    assert new is not None
    assert (new.made_by, new.cut) == ("fit", 40)
    bundle = versions.champion().bundle
    assert (bundle.n_users, bundle.n_items, cut_of(bundle)) == (23, 17, 40)
    assert new.configuration["model"]["embedding_dim"] == 2


def _plain(run: Path) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(saved_config(run / "config.yaml"))
