from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

import recsys.training.run
from recsys.cli import load_run, resumed_sweep
from recsys.training.threads import PASSIVE_WAITING
from tests.commands import Train, call

pytestmark = pytest.mark.long

TOLD = PASSIVE_WAITING | {"OPENBLAS_NUM_THREADS": "1"}  # of the environment, where the user set nothing


def test_a_run_may_be_in_any_folder(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("trainer.max_epochs=1", "refit=none", name="it's lr=0.1, dim=[4]")
    trained = (folder / "bundle" / "manifest.json").stat().st_mtime_ns
    call("train", f"resume={folder}")
    call("evaluate", f"run={folder}")
    assert "metrics equal" in capsys.readouterr().out
    assert (folder / "bundle" / "manifest.json").stat().st_mtime_ns == trained


@pytest.mark.parametrize("name", ["config.yaml", "repeats.json"])
def test_resume_of_a_run_stays_as_it_was_typed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for typed in (
        [f"resume='{tmp_path}'", "seed=1"],
        [f"resume={tmp_path}", "seed=1"],
        ["resume=null", "seed=1"],
    ):  # the run itself refuses the seed
        assert resumed_sweep(typed) == typed


def test_a_run_is_loaded_once_and_collected_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recsys.training, "run", recsys.training.run)  # the second import replaces it
    monkeypatch.delitem(sys.modules, "recsys.training.run")
    gc.unfreeze()
    loaded = load_run()
    assert (loaded.__name__, gc.isenabled()) == ("recsys.training.run", True)
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
    assert load_run() is loaded
    assert gc.get_freeze_count() == 0


def test_a_run_that_cannot_be_loaded_leaves_the_collector_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "recsys.training.run")
    monkeypatch.setitem(sys.modules, "recsys.evaluation.error_analysis", None)
    with pytest.raises(ImportError):
        load_run()
    assert gc.isenabled()


def test_a_command_waits_for_nothing_heavy_before_a_run_begins(tmp_path: Path) -> None:
    """And libraries find in the environment how to compute, since it is set before they are loaded."""
    code = (
        "import os, sys\n"
        "def say():\n"
        "    print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
        "import recsys.train\n"
        "assert 'numpy' not in sys.modules\n"
        "import recsys.recommend\n"
        "try:\n"
        "    recsys.train.main()\n"
        "except SystemExit:\n"
        f"    print(*map(os.environ.get, {list(TOLD)}), file=sys.stderr)\n"
        "    say()\n"
        "import hydra_plugins.recsys_launcher, hydra_plugins.recsys_sweeper, recsys.experiments.study\n"
        "say()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in (*TOLD, "OMP_NUM_THREADS")}
    command = [sys.executable, "-c", code, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert "hparams_search" in done.stdout
    told, command, study = map(str.split, done.stderr.splitlines())
    assert told == list(TOLD.values())
    assert {"torch", "lightning", "pandas", "wandb", "matplotlib", "optuna"}.isdisjoint(command)
    assert {"torch", "lightning"}.isdisjoint(study)
    assert "optuna" in study
    assert list(tmp_path.iterdir()) == []


def test_the_flag_of_a_sweep_may_stand_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.train.run_job", lambda _, folder: folder.name)
    folder = f"hydra.sweep.dir={tmp_path / 'sweep'}"
    with pytest.raises(SystemExit):  # the jobs leave nothing
        call("train", "model=als", "-m", "seed=0,1", folder)
    assert {"0", "1"} <= {path.name for path in (tmp_path / "sweep").iterdir()}
