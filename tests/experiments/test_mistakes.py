"""A mistyped argument ends in one sentence that names what was meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from recsys.cli import USER_ERRORS
from recsys.experiments.configuration import config_dir, group_options, known_keys, named_classes
from recsys.experiments.mistakes import check_arguments, explain
from tests.commands import call, call_function

pytestmark = pytest.mark.long

MISTAKES = [
    ("model.embeding_dim=3", "there is no model.embeding_dim; did you mean model.embedding_dim?"),
    ("data.ratingsfile=x", "there is no data.ratingsfile; did you mean data.ratings_file?"),
    ("trainer.max_epoch=1", "there is no trainer.max_epoch; did you mean trainer.max_epochs?"),
    (
        "trainer.sync_batch=true",
        "there is no trainer.sync_batch; did you mean +trainer.sync_batchnorm?",
    ),
    ("trainer.gradient_clip_algorithm=value", "write +trainer.gradient_clip_algorithm=… to add one"),
    ("embedding_dim=3", "there is no embedding_dim; did you mean model.embedding_dim?"),
    ("modl=als", "there is no modl; did you mean model?"),
    ("data.user_column=x", "data.user_column needs data=sql or data=tabular"),
    ("hydra.sweeper.n_trials=3", "hydra.sweeper.n_trials needs hydra/sweeper=optuna"),
    ("model=svdp", "model must be one of als, .*, svdpp, got 'svdp'; did you mean svdpp?"),
    ("data=ml1m", "data must be one of .*, got 'ml1m'; did you mean ml_1m?"),
    ("experiment=", "experiment must be one of .*, got ''"),
    ("hydra/launcher=paralel", "hydra/launcher must be one of .*, got 'paralel'; did you mean parallel?"),
    ("data.split", "arguments are key=value such as data.split=…, got 'data.split'"),
    ("mf", "arguments are key=value such as model=mf, got 'mf'"),
    ("--model", "arguments are key=value without dashes such as model=…, got '--model'"),
    ("cart: 3}", "arguments are key=value, in quotes where they contain spaces, got 'cart: 3}'"),
    ("=3", "arguments are key=value, .* got '=3'"),
    ("model.embedding_dim=a(b", "model.embedding_dim: cannot read 'a(b'; .*"),
    ("model.embedding_dim=]", "model.embedding_dim: cannot read ']'; .*"),
    ("model.dropout=0,0.2", r"model.dropout has several values, 0,0.2: add -m for one run with each, .*"),
    ("model.ünits=1", "there is no model.ünits.*"),
    ("+model.dropout=0", "model.dropout is in the configuration already: remove the + before it"),
    ("~model.foo", "Could not delete from config. 'model.foo' does not exist."),
    ("data.events=view:1", "data.events must be a mapping .*"),
    ("hydra.launcher.n_jobs=two", ".*n_jobs.*"),
    ("data.name=a ${b", "data.name='a ${b': .*"),
    ("model.seed=${seed", "model.seed: cannot read '${seed'.*"),
    ("+data.url=postgresql://me:secret@db/x", "data.url must have no password, .* variable RECSYS_DATABASE to .*"),
]


@pytest.mark.parametrize(("argument", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence(
    argument: str, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        call("train", argument)
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert re.fullmatch(f"error: .*{'.*'.join(map(re.escape, sentence.split('.*')))}\n", said)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["recommend", "evaluate"])
def test_a_missing_argument_is_named(command: str) -> None:
    with pytest.raises(USER_ERRORS) as raised:
        call_function(command)
    assert explain(raised.value, command) == "run must be set, as in run=…"


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("usrs=[1]", "there is no usrs; did you mean users?"),
        ("model.x=1", "there is no model.x; see --help"),
        ("model=mf", "there is no model; see --help"),
    ],
)
def test_the_other_commands_know_their_own_keys(argument: str, sentence: str) -> None:
    with pytest.raises(USER_ERRORS) as raised, initialize_config_dir(str(config_dir()), version_base="1.3"):
        compose("recommend", [argument])
    assert explain(raised.value, "recommend") == sentence


def test_the_traceback_is_there_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="Could not find 'model/svdp'"):
        call("train", "model=svdp")


@pytest.mark.parametrize(
    "arguments",
    [["-m", "model=als"], ["--cfg", "job"], ["--multirun", "seed=1"], ["--config-dir", "x", "--config-name=y"], ["~x"],
     ["-sc", "install=bash"], ["a=b c"], ["x="], ["--info"], ["--help"], []],
)  # fmt: skip
def test_flags_of_hydra_are_no_mistakes(arguments: list[str]) -> None:
    check_arguments(arguments)


def test_the_configuration_is_read_from_its_files() -> None:
    assert {"als", "mf"} <= set(group_options()["model"])
    keys = known_keys("train")
    assert keys["data.split"] == keys["seed"] == []
    assert keys["data.user_column"] == ["data=sql", "data=tabular"]
    assert {"model=mf", "model=als"} <= set(keys["model.embedding_dim"])
    assert "model._target_" not in keys
    options = {"run", "evaluation", "items", "ranking", "rank_by", "rank_with", "rank_mix", "targets"}
    assert {key for key in known_keys("evaluate") if not key.startswith("hydra.")} == options
    classes = named_classes()
    assert "recsys.models.als.ALS" in classes["model"]
    assert "recsys.training.pruning.Pruning" in classes["callbacks"]
    assert config_dir().is_dir()


def test_a_package_that_is_not_there_is_one_line() -> None:
    assert explain(ImportError("there is no tensorboard.\nHINT: install it"), "train") == "there is no tensorboard."
