from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from recsys.experiments.legacy import (
    FIT_PROGRESS,
    FORMER_DEFAULTS,
    PROGRESS_BAR,
    RENAMED_TARGETS,
    upgrade_config,
    upgrade_settings,
    with_former_defaults,
)
from recsys.experiments.run_folder import difference, write_config
from recsys.experiments.study import Study
from recsys.training.run import build_data
from tests.commands import Train, copy_run, run_config

pytestmark = pytest.mark.long


@pytest.mark.parametrize("path", sorted(set(RENAMED_TARGETS.values())))
def test_present_paths_exist(path: str) -> None:
    assert get_class(path)


def test_only_targets_are_renamed() -> None:
    old = "recsys.loggers.EpochCSVLogger"
    new = RENAMED_TARGETS[old]
    settings = {"logger": {"csv": {"_target_": old, "note": old}}, "list": [{"_target_": old}, 1], "x": None}
    renamed = {"logger": {"csv": {"_target_": new, "note": old}}, "list": [{"_target_": new}, 1], "x": None}
    assert upgrade_settings(settings) == renamed


def test_a_progress_bar_by_default_is_the_present_one() -> None:
    other = PROGRESS_BAR | {"refresh_rate": 1}
    assert upgrade_settings({"callbacks": {"progress": PROGRESS_BAR}}) == {"callbacks": {"progress": FIT_PROGRESS}}
    assert upgrade_settings({"callbacks": {"progress": other}}) == {"callbacks": {"progress": other}}


def test_a_key_that_is_new_and_null_is_no_difference() -> None:
    before = {"data": {"seed": 0}, "model": {"seed": 0}}
    assert difference(before, {"data": {"seed": 0, "new": None}, "model": {"seed": 0}, "threads": None}) is None
    found = difference(before, {"data": {"seed": 0, "new": None}, "model": {"seed": 1}})
    assert found == "model.seed was 0, is 1"


def test_the_command_of_an_older_run_finds_it_finished(trained: Train, quick_train: Train, tmp_path: Path) -> None:
    """Its `config.yaml` names the paths of its time; the same command is the same run."""
    file = copy_run(trained("trainer.max_epochs=1"), tmp_path / "run") / "config.yaml"
    old = {new: old for old, new in RENAMED_TARGETS.items()}
    text = file.read_text()
    for new in ("recsys.training.csv_logger.EpochCSVLogger", "recsys.models.mf.MatrixFactorization"):
        assert new in text
        text = text.replace(new, old[new])
    file.write_text(text)
    trained_at = (file.parent / "metrics.json").stat().st_mtime_ns
    quick_train("trainer.max_epochs=1")
    assert (file.parent / "metrics.json").stat().st_mtime_ns == trained_at
    assert OmegaConf.load(file).model._target_ == old["recsys.models.mf.MatrixFactorization"]


def test_the_command_of_an_older_run_on_one_s_own_file_is_the_same_run(tmp_path: Path) -> None:
    """Version 0.2 assumed what is inferred now."""
    command = ("data=tabular", f"data.root={tmp_path}", "data.timestamp_column=when")
    old = OmegaConf.to_container(write_config(run_config(*command), tmp_path / "run"))
    assert isinstance(old, dict)
    known = ("_target_", "root", "ratings_file", "timestamp_column", "test_fraction", "folds", "fold", "split_seed")
    old["data"] = {key: old["data"][key] for key in (*known, "batch_size", "seed")}
    old["data"] |= {"separator": ",", "user_column": "user_id", "rating_min": None, "split": "user_time"}
    del old["inferred"]
    OmegaConf.save(old, tmp_path / "run" / "config.yaml")
    now = run_config(*command)
    again = write_config(now, tmp_path / "run")
    assert (again.data.header, again.data.missing, again.data.items_separator) == (True, None, ",")
    assert build_data(again).split_name == "user_time"
    now.data.separator = ";"
    with pytest.raises(ValueError, match=r"data.separator was ,, is ;"):
        write_config(now, tmp_path / "run")


def test_a_study_of_an_older_version_goes_on(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    progress = {"progress": FIT_PROGRESS}
    now = {"model": {"_target_": "recsys.models.mf.MatrixFactorization"}, "callbacks": progress, "threads": None}
    study = Study("s", storage, tmp_path, {}, now)
    before = {
        "model": {"_target_": "recsys.models.matrix_factorization.MatrixFactorization"},
        "callbacks": {"progress": PROGRESS_BAR},
    }
    study.study.set_user_attr("settings", json.dumps(before, sort_keys=True))
    Study("s", storage, tmp_path, {}, now)
    with pytest.raises(ValueError, match=r"model\._target_ was .*mf.* is .*als"):
        Study("s", storage, tmp_path, {}, now | {"model": {"_target_": "recsys.models.als.ALS"}})


def test_a_model_of_before_keeps_the_defaults_of_its_time() -> None:
    """An older configuration lacks arguments that are new, and its command is the same run although defaults differ."""
    for model in ("mf", "svdpp", "als", "biases"):
        now = run_config("data=ml_100k", f"model={model}", "run_dir=x")
        before = now.copy()
        for name, (former, present) in FORMER_DEFAULTS[now.model._target_].items():
            assert now.model[name] == present
            before.model[name] = former
        del before.model.bias_shrinkage
        saved = upgrade_config(before)
        assert saved.model.bias_shrinkage == 0.0
        assert with_former_defaults(now, saved).model == saved.model
        now.overrides = ["model.bias_shrinkage=5.0"]  # what a person sets stays
        assert with_former_defaults(now, saved).model.bias_shrinkage == 5.0
        now.model.bias_shrinkage, now.overrides = 3.0, None
        assert with_former_defaults(now, saved).model.bias_shrinkage == 3.0
