"""What the code of commit be4393d left behind still loads, answers the same and goes on (see make_fixtures.py)."""

from __future__ import annotations

import json
import math
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from recsys.bundle import Bundle
from recsys.bundle.manifest import sha256_of
from recsys.experiments.legacy import FIT_PROGRESS
from recsys.experiments.run_folder import write_config
from recsys.train import train
from recsys.versions import open_versions
from recsys.versions.forget import forget
from recsys.versions.runs import add_run
from tests.commands import call, call_function, run_config
from tests.legacy.make_fixtures import CUT, HERE, MODEL_OF, ROOT, RUNS, answers, checkpoint_answers

pytestmark = pytest.mark.long

CONF = HERE.parents[1] / "conf"
UNSORTED = ("bayesian_mf", "ordinal")  # be4393d ranked by the linear part, and showed predictions that then increased
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))


def replaced(value: Any, old: str, new: str) -> Any:
    """The same, with `new` for `old` in all texts."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, dict):
        return {replaced(key, old, new): replaced(content, old, new) for key, content in value.items()}
    return [replaced(content, old, new) for content in value] if type(value) is list else value


def relocate(folder: Path, old: Path) -> None:
    """Let the runs in a folder say that they were made in it, and not in `old`."""
    for file in folder.rglob("*.yaml"):
        file.write_text(file.read_text(encoding="utf-8").replace(str(old), str(folder)), encoding="utf-8")
    for file in folder.rglob("*.ckpt"):
        torch.save(replaced(torch.load(file, weights_only=True), str(old), str(folder)), file)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the old runs, which say that they were made in it: to be read, or copied, only."""
    folder = tmp_path_factory.mktemp("legacy")
    with tarfile.open(HERE / "runs.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    relocate(folder, ROOT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_CACHE", str(folder / "cache"))
        yield folder / "runs"


def check_lists(ids: list[Any], scores: list[float], expected: dict[str, list[Any]]) -> None:
    """Lists of four are sorted by what they show, hold nothing worse than they did, and show the same of an item."""
    for start in range(0, len(ids), 4):
        four = slice(start, start + 4)
        old = dict(zip(expected["recommended_ids"][four], expected["recommended_scores"][four], strict=True))
        new = dict(zip(ids[four], scores[four], strict=True))
        assert list(new.values()) == sorted(new.values(), reverse=True)
        assert min(new.values()) >= min(old.values()) - 1e-5
        both = [item for item in new if item in old]
        assert len(both) >= 3
        np.testing.assert_allclose([new[item] for item in both], [old[item] for item in both], rtol=1e-5)


@pytest.mark.parametrize("name", EXPECTED["bundles"])
def test_an_old_bundle_answers_as_it_did(runs: Path, name: str) -> None:
    asked, expected = EXPECTED["bundles"][name].values()
    found = answers(Bundle.load(runs / name / "bundle"), asked)
    assert found.keys() == expected.keys()
    if name in UNSORTED:
        check_lists(found.pop("recommended_ids"), found.pop("recommended_scores"), expected)
    for key, values in ((key, expected[key]) for key in found):
        if key.endswith("_ids"):
            assert found[key] == values, key
        else:
            np.testing.assert_allclose(found[key], values, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_is_evaluated(runs: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures equal those recorded; on another kind of processor, but for the last digits, which the command names."""
    more = {"als": ["evaluation=prequential"], "mf": ["ranking=true"]}.get(name, [])
    try:
        call_function("evaluate", f"run={runs / name}", *more)
    except ValueError as error:
        heading, *differing = str(error).splitlines()
        assert "metrics differ from" in heading
        for line in differing:
            match = re.fullmatch(r"\S+: computed (\S+), recorded (\S+)", line)
            assert match, line
            assert math.isclose(*map(float, match.groups()), rel_tol=1e-5), line
    else:
        out = capsys.readouterr().out
        assert re.search(r"all \d+ metrics equal", out)
        assert ("not recorded there: " in out and " ranking/ndcg@10," in out) == (name == "mf")


def test_old_runs_are_reported(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("report.__main__", str(runs / "sweep"), "--format", "json")
    found = json.loads(capsys.readouterr().out)["runs"]
    assert {(run["path"], run["state"], run["values"]["model.embedding_dim"]) for run in found} == {
        ("0", "finished", 2),
        ("1", "finished", 3),
    }
    for run in found:
        recorded = json.loads((runs / "sweep" / run["path"] / "metrics.json").read_text())
        assert run["metrics"]["test/rmse"] == pytest.approx(recorded["test/rmse"], abs=1e-5)
        assert run["commit"].startswith("be4393d")
        assert f"model.embedding_dim={run['values']['model.embedding_dim']}" in run["command"]
    call("report.__main__", str(runs), "--format", "json")
    states = {run["path"]: run["state"] for run in json.loads(capsys.readouterr().out)["runs"]}
    finished = dict.fromkeys([*RUNS, "sweep/0", "sweep/1"], "finished")
    assert states == finished | dict.fromkeys(CUT, "interrupted")


# A chain branches on what it draws: on another kind of processor it soon goes another way.
@pytest.mark.parametrize(("name", "tolerance"), [("cut", 1e-6), ("cut_ordinal", 0.02)])
def test_an_old_run_that_was_interrupted_goes_on(runs: Path, tmp_path: Path, name: str, tolerance: float) -> None:
    folder, expected = shutil.copytree(runs / name, tmp_path / "run"), EXPECTED["resumed"][name]
    relocate(folder, runs / name)
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    epochs = (folder / "metrics.csv").read_text()
    train(run_config(f"resume={folder}"), folder)
    ended = json.loads((folder / "metrics.json").read_text())
    assert {key: ended[key] for key in expected} == pytest.approx(expected, abs=tolerance, rel=0)
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert (folder / "metrics.csv").read_text().startswith(epochs)  # with more behind
    assert Bundle.load(folder / "bundle").manifest["metrics"] == ended


@pytest.mark.parametrize("name", RUNS)
def test_an_old_checkpoint_is_loaded(runs: Path, name: str) -> None:
    file = runs / name / "checkpoints" / "best.ckpt"
    found = checkpoint_answers(file, MODEL_OF.get(name, name), CONF)
    np.testing.assert_allclose(found, EXPECTED["checkpoints"][name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*RUNS, *CUT])
def test_the_command_of_an_old_run_is_still_that_run(runs: Path, name: str) -> None:
    """Composed anew it has the same settings, so that its folder is not refused."""
    folder = runs / name
    before = (folder / "config.yaml").read_text()
    cfg = write_config(run_config(*OmegaConf.load(folder / "config.yaml").overrides), folder)
    assert "RichProgressBar" in before
    assert cfg.callbacks.progress == FIT_PROGRESS
    assert (folder / "config.yaml").read_text() == before


def test_an_old_sweep_is_gone_on_with(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its finished jobs stay as they are."""
    sweep = shutil.copytree(runs / "sweep", tmp_path / "sweep")
    relocate(sweep, runs / "sweep")
    before = (sweep / "1" / "metrics.json").stat().st_mtime_ns
    call("train", f"resume={sweep}")
    assert "(2 done)" in capsys.readouterr().out
    assert (sweep / "1" / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("store", ["store", "memory://old/versions"])
@pytest.mark.parametrize("name", RUNS)
def test_a_run_becomes_a_version_and_people_of_it_are_forgotten(
    runs: Path, tmp_path: Path, name: str, store: str
) -> None:
    url = store if "://" in store else tmp_path / store
    versions = open_versions(f"sqlite:///{tmp_path}/live.db", url, cache=tmp_path / "cache")
    version = add_run(versions, runs / name)
    before = versions.load(version)
    assert before.sha256 == version.version == sha256_of((runs / name / "bundle" / "manifest.json").read_bytes())
    versions.promote("champion", version.version, "ann", "the first")
    somebody, other = before.user_ids[:2].tolist()
    forget(versions, str(somebody), "ann")
    after = versions.champion().bundle
    assert somebody not in after.user_row
    assert after.recommend(other, 5) == before.recommend(other, 5)
