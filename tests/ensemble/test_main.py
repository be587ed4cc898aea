"""The command on runs of small data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.evaluation.evaluate import compare_metrics, evaluate
from recsys.evaluation.validation_set import FILE, ValidationSet
from recsys.report.runs import read_runs
from recsys.train import train as train_configured
from tests.commands import Train, call, copy_run, run_config, train_arguments

pytestmark = pytest.mark.long

CHAIN = (
    "model=bayesian_mf",
    "model.embedding_dim=2",
    "model.thin=1",
    "model.likelihood=ordinal",
    "trainer.max_epochs=9",
)


@pytest.fixture(scope="session")
def members(trained: Train) -> list[Path]:
    return [trained(), trained("model.dropout=0.2", "model.embedding_dim=6")]


def ensemble(folder: Path, *arguments: str) -> None:
    call("ensemble.__main__", *arguments, f"hydra.run.dir={folder}")


def test_a_run_keeps_how_its_selection_predicts_validation_rows(members: list[Path]) -> None:
    metrics = json.loads((members[0] / "metrics.json").read_text())
    found = ValidationSet.load(members[0])
    assert np.sqrt(np.square(found.predicted - found.rating).mean()) == pytest.approx(metrics["val/rmse"], abs=1e-5)


def test_an_ensemble_is_a_run(members: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "both"
    ensemble(folder, f"runs=[{members[0]},{members[1]}]", "link=identity", "non_negative=false")
    metrics = json.loads((folder / "metrics.json").read_text())
    bundle = Bundle.load(folder / "bundle")
    assert not compare_metrics(evaluate(bundle), metrics).different
    rows = json.loads((folder / "members.json").read_text())["members"]
    assert [row["run"] for row in rows] == [str(member) for member in members]
    assert metrics["val/rmse"] < min(row["val/rmse"] for row in rows) + 0.01
    assert metrics["test/rmse"] == pytest.approx(metrics["test/rmse_uncompressed"], abs=1e-4)  # 10 coordinates are all
    parts = [Bundle.load(member / "bundle") for member in members]
    user, item = np.divmod(np.arange(60 * 40), 40)
    linear = sum(row["weight"] * part.mean_linear_part(user, item) for row, part in zip(rows, parts, strict=True))
    apart = bundle.mean_linear_part(user, item) - linear
    np.testing.assert_allclose(apart, apart.mean(), atol=1e-4)  # the intercept
    assert len(bundle.recommend(bundle.fold_in({101: 5}), 3)) == 3
    shown = capsys.readouterr().out
    assert "without it" in shown
    assert "RMSE" in shown
    [run] = read_runs([folder])
    assert (run.state, run.message, run.metrics["model"]) == ("finished", None, "ensemble")


def test_behind_an_ordinal_link(
    members: list[Path], small_ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
    posterior = tmp_path / "run"
    data = [text for text in train_arguments(small_ratings, posterior) if text.startswith("data")]
    train_configured(run_config(*data, *CHAIN), posterior)
    folder = tmp_path / "ordinal"
    ensemble(folder, f"runs=[{members[0]},{posterior}]", "compress=3")
    bundle = Bundle.load(folder / "bundle")
    assert bundle.manifest["link"] == "ordinal"
    assert bundle.factors.item_factors.shape[1:] == (1, 3)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test/rmse"] == pytest.approx(metrics["test/rmse_uncompressed"], abs=0.05)
    assert 0.35 < metrics["test/inside_50"] < 0.65
    with pytest.raises(SystemExit):
        ensemble(tmp_path / "no", f"runs=[{members[0]},{posterior}]", "link=identity")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("runs=[{a}]", "runs must be two or more folders"),
        ("runs={a}", "runs must be a list of folders"),
        ("runs=[{a},{a}/../{name}]", "one is given twice"),
        ("runs=[{a},{other}]", "runs must hold out the same rows"),
        ("runs=[{a},{none}]", "runs must have the same refit"),
        ("runs=[{a},{old}]", f"has no {FILE}, which runs of older versions lack"),
        ("runs=[{a},{old}/bundle]", "is not a finished run"),
        ("runs=[{a},{people}]", "of split held_out_users, no user of a validation row is fitted"),
        ("runs=[{a},{whole}]", "is an ensemble and cannot be a member; give its members instead"),
        ("runs=[{a},{b}] link=probit", "link must be one of identity, ordinal or null, got 'probit'"),
        ("runs=[{a},{b}] by_activity=maybe", "by_activity must be true, false or null, got maybe"),
        ("runs=[{a},{b}] compress=0", "compress must be"),
    ],
)
def test_what_cannot_be_stacked_is_one_sentence(
    members: list[Path],
    trained: Train,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    sentence: str,
) -> None:
    old = copy_run(members[0], tmp_path / "old")
    (old / FILE).unlink()
    short = ("trainer.max_epochs=1",)
    folders = {"a": members[0], "b": members[1], "name": members[0].name, "old": old}
    if "{other}" in arguments:
        folders["other"] = trained("data.split=random", *short)
        folders["a"] = trained("data.split=random", "data.split_seed=1", *short)
    if "{people}" in arguments:
        folders["people"] = trained("data.split=held_out_users", *short)
    if "{whole}" in arguments:
        folders["whole"] = tmp_path / "whole"
        ensemble(folders["whole"], f"runs=[{members[0]},{members[1]}]")
    if "{none}" in arguments:
        folders["none"] = trained("refit=none", *short)
    with pytest.raises(SystemExit):
        ensemble(tmp_path / "no", *arguments.format(**folders).split())
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "no" / "config.yaml").exists()
