from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from recsys.experiments.run_folder import (
    OtherRunError,
    difference,
    has_ended,
    needs_trust,
    one_line,
    resumed,
    track_status,
    write_config,
)
from recsys.files import WriteError
from recsys.training.errors import PrunedError
from recsys.training.inferred import record


@pytest.fixture
def cfg() -> DictConfig:
    return OmegaConf.create(
        {"run_dir": "", "seed": 0, "model": {"seed": "${seed}"}, "resume": None, "overrides": ["a"]}
    )


def test_the_configuration_is_resolved_and_written(cfg: DictConfig, tmp_path: Path) -> None:
    made = write_config(cfg, tmp_path / "run", {"seed": 3})
    assert made.model.seed == 3
    assert OmegaConf.load(tmp_path / "run" / "config.yaml") == made
    assert made.run_dir == str(tmp_path / "run")
    assert cfg.seed == 0


def test_the_same_configuration_goes_on_and_another_is_refused(cfg: DictConfig, tmp_path: Path) -> None:
    write_config(cfg, tmp_path)
    cfg.overrides, cfg.resume = ["b"], str(tmp_path)
    write_config(cfg, tmp_path)
    with pytest.raises(ValueError, match=r"contains another run \(seed was 0, is 1\)"):
        write_config(cfg, tmp_path, {"seed": 1})


def test_what_the_data_decided_is_not_another_run(cfg: DictConfig, tmp_path: Path) -> None:
    cfg.data = {"separator": "auto", "split": "auto", "missing": None}
    saved = write_config(cfg, tmp_path)
    record(saved, {"separator": ";", "split": "random"}, tmp_path)
    again = write_config(cfg, tmp_path)
    assert again.data == {"separator": ";", "split": "random", "missing": None}
    assert again.inferred == ["data.separator", "data.split"]
    assert resumed(tmp_path, [])["."].data == again.data
    cfg.data.separator = ","
    with pytest.raises(ValueError, match=r"another run \(data.separator was ;, is ,\)"):
        write_config(cfg, tmp_path)


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (None, "finished", None),
        (PrunedError("too little"), "pruned", "too little"),
        (ValueError("dropout must be\nless"), "failed", "dropout must be less"),
        (RuntimeError("sizes"), "failed", "RuntimeError: sizes"),
        (KeyboardInterrupt(), "interrupted", "stopped by Ctrl-C or SIGTERM; continue with resume="),
    ],
)
def test_how_a_run_ended_is_recorded(
    tmp_path: Path, error: BaseException | None, state: str, message: str | None
) -> None:
    def run() -> None:
        with track_status(tmp_path):
            assert json.loads((tmp_path / "status.json").read_text())["state"] == "running"
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    found = json.loads((tmp_path / "status.json").read_text())
    assert (found["state"], found["message"]) == (state, message)
    assert found["seconds"] >= 0
    assert found["started"].endswith("+00:00")


def test_a_finished_run_stays_finished(tmp_path: Path) -> None:
    with track_status(tmp_path):
        pass
    before = (tmp_path / "status.json").read_text()
    with pytest.raises(ValueError, match="x"), track_status(tmp_path):
        raise ValueError("x")
    assert (tmp_path / "status.json").read_text() == before


def test_a_full_disk_is_told_by_the_file_that_did_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> None:
        raise WriteError(path, OSError(errno.ENOSPC, "No space left on device"))

    def run() -> None:
        with track_status(tmp_path):
            monkeypatch.setattr("recsys.experiments.run_folder.write_json", full)
            full(tmp_path / "config.yaml")

    with pytest.raises(WriteError, match=r"config\.yaml"):
        run()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"state": 3}', "\0" * 30])
def test_a_run_whose_status_is_damaged_goes_on(tmp_path: Path, damage: str) -> None:
    (tmp_path / "status.json").write_text(damage)
    assert not has_ended(tmp_path)
    with track_status(tmp_path):
        pass
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("damage", ["", "a: {", "[1]", "run_dir: 3"])
def test_a_damaged_configuration_is_named_with_the_way_out(cfg: DictConfig, tmp_path: Path, damage: str) -> None:
    (tmp_path / "config.yaml").write_text(damage)
    message = rf"{tmp_path / 'config.yaml'} is damaged \(.+\): remove its folder, and begin that run again"
    with pytest.raises(ValueError, match=message):
        resumed(tmp_path, [])
    with pytest.raises(ValueError, match=message):
        write_config(cfg, tmp_path)


@pytest.mark.parametrize("damage", ["", "{", '{"runs": []}', '{"runs": ["../elsewhere"]}', '{"runs": 3}'])
def test_repeats_whose_list_is_damaged_are_found(cfg: DictConfig, tmp_path: Path, damage: str) -> None:
    names = ["seed=2,fold=1", "seed=10,fold=0"]
    for name in names:
        write_config(cfg, tmp_path / name)
    (tmp_path / "repeats.json").write_text(damage)
    assert list(resumed(tmp_path, [])) == names


def test_repeats_of_which_nothing_is_left_are_named(tmp_path: Path) -> None:
    (tmp_path / "repeats.json").write_text("{")
    with pytest.raises(ValueError, match=rf"resume: {tmp_path / 'repeats.json'} is damaged"):
        resumed(tmp_path, [])


@pytest.mark.parametrize("before", ['{"state": "interrupted"}\n', None])
def test_the_record_of_another_run_stays_as_it_was(tmp_path: Path, before: str | None) -> None:
    if before:
        (tmp_path / "status.json").write_text(before)
    with pytest.raises(OtherRunError), track_status(tmp_path):
        raise OtherRunError
    assert (tmp_path / "status.json").exists() == (before is not None)
    assert before is None or json.loads((tmp_path / "status.json").read_text()) == json.loads(before)


def test_the_first_difference_in_words() -> None:
    before, now = {"a": 1, "b": {"c": [1], "d": None}}, {"a": 1, "b": {"c": [1], "d": 2, "e": 3}}
    assert difference(before, now) == "b.d was None, is 2"
    assert difference(now, now) is None
    assert difference({}, {"a": 1}) == "a was None, is 1"


def test_one_line_names_the_kind_of_error_unless_it_is_a_mistake() -> None:
    assert one_line(ValueError("a  b\nc")) == "a b c"
    assert one_line(KeyError("x")) == "KeyError: 'x'"
    assert one_line(ValueError()) == "ValueError: "


def test_a_run_goes_on_with_another_number_of_processes(cfg: DictConfig, tmp_path: Path) -> None:
    cfg.trainer = {"devices": 2, "precision": 32}
    write_config(cfg, tmp_path)
    assert write_config(cfg, tmp_path, {"trainer.devices": 1}).trainer.devices == 1
    assert resumed(tmp_path, [f"resume={tmp_path}", "trainer.devices=3"])["."].trainer.devices == 3
    with pytest.raises(ValueError, match=r"remove trainer.precision=64"):
        resumed(tmp_path, [f"resume={tmp_path}", "trainer.precision=64"])
    with pytest.raises(OtherRunError, match=r"trainer.precision was 32, is 64"):
        write_config(cfg, tmp_path, {"trainer.precision": 64})


def test_resume_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run in"):
        resumed(tmp_path, [])
    with pytest.raises(ValueError, match="remove seed=1"):
        resumed(tmp_path, ["resume=x", "seed=1"])


def test_no_password_is_written(cfg: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_STUDY_DATABASE", "postgresql://me:secret@db/studies")
    cfg.callbacks = {"pruning": {"storage": "${oc.env:RECSYS_STUDY_DATABASE}"}}
    cfg.data = {"separator": "auto"}
    saved = write_config(cfg, tmp_path)
    assert saved.callbacks.pruning.storage == "postgresql://me:secret@db/studies"
    record(saved, {"separator": ";"}, tmp_path)
    assert write_config(cfg, tmp_path).callbacks == saved.callbacks
    assert resumed(tmp_path, [])["."].callbacks == saved.callbacks
    with pytest.raises(ValueError, match="no route"), track_status(tmp_path):
        raise ValueError("no route to postgresql://me:secret@db/studies")
    for file in tmp_path.iterdir():
        assert "secret" not in file.read_text()
    monkeypatch.delenv("RECSYS_STUDY_DATABASE")
    with pytest.raises(ValueError, match=r"callbacks\.pruning\.storage is postgresql://me:\*\*\*@db/studies"):
        resumed(tmp_path, [])
    trusted = resumed(tmp_path, ["trust=true"], trusted=True)
    assert trusted["."].callbacks.pruning.storage == "postgresql://me:***@db/studies"


def test_a_password_is_filled_in_nowhere_else(cfg: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", "postgresql://me:secret@db/shop")
    cfg.data = {"name": "postgresql://me:***@db/shop"}
    write_config(cfg, tmp_path)
    assert resumed(tmp_path, [])["."].data.name == "postgresql://me:***@db/shop"


def test_a_class_of_ones_own_is_known_to_the_same_command(cfg: DictConfig, tmp_path: Path) -> None:
    cfg.model = {"_target_": "mine.Model"}
    write_config(cfg, tmp_path)
    assert write_config(cfg, tmp_path).model._target_ == "mine.Model"
    assert needs_trust(tmp_path)
    with pytest.raises(ValueError, match=r"the class of model is mine\.Model, .*; .* resume with trust=true"):
        resumed(tmp_path, [])
    assert resumed(tmp_path, ["resume=x", "trust=true"], trusted=True)["."].model._target_ == "mine.Model"


@pytest.mark.parametrize("value", [{"_target_": "os.system"}, [{"_target_": "os.system"}], "${oc.env:HOME}"])
def test_nothing_but_values_was_inferred(cfg: DictConfig, tmp_path: Path, value: Any) -> None:
    """The command that is typed takes what was inferred from the folder, where someone else may have written it."""
    cfg.data = {"separator": "auto"}
    saved = write_config(cfg, tmp_path)
    record(saved, {"separator": ";"}, tmp_path)
    content = yaml.safe_load((tmp_path / "config.yaml").read_text())
    content["data"]["separator"] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=r"data\.separator"):
        write_config(cfg, tmp_path)
