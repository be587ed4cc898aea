"""Every YAML key exists in the signature that it configures, and every experiment composes."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from recsys.data.datamodule import RatingDataModule
from recsys.experiments.configuration import config_dir
from tests.commands import call, composed

pytestmark = pytest.mark.long

CONF = config_dir()
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
DATA_MODULE = set(inspect.signature(RatingDataModule).parameters) - {"source"}


@pytest.mark.parametrize("file", [file for file in FILES if len(file.parts) == 2], ids=str)
def test_keys_are_arguments(file: Path) -> None:
    nodes = [OmegaConf.load(CONF / file)]
    while nodes:
        node = nodes.pop()
        nodes += [value for _, value in node.items_ex(resolve=False) if isinstance(value, DictConfig)]
        if "_target_" not in node:
            continue
        allowed = set(inspect.signature(get_class(node._target_)).parameters)
        allowed |= DATA_MODULE if file.parts[0] == "data" else set()
        unknown = {str(key) for key in node} - allowed - {"_target_", "_partial_", "defaults"}
        assert not unknown


@pytest.mark.parametrize("file", sorted((CONF / "model").glob("*.yaml")), ids=lambda file: file.stem)
def test_model_yaml_gives_every_argument(file: Path) -> None:
    given = OmegaConf.load(file)
    data_says = {"n_users", "n_items", "rating_min", "rating_max"}
    assert set(inspect.signature(get_class(given._target_)).parameters) - data_says == set(given) - {"_target_"}


@pytest.mark.parametrize("file", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_experiments_compose(file: Path) -> None:
    cfg = composed("train", f"experiment={file.stem}")
    assert cfg.model._target_
    assert cfg.data._target_


def test_names_on_the_command_line() -> None:
    cfg = composed(
        "train", "model.embedding_dim=7", "data.split=kfold", "data.root=/x", "trainer.accelerator=gpu", "seed=3"
    )
    assert cfg.model.embedding_dim == 7
    assert cfg.model.seed == cfg.data.seed == 3
    assert cfg.data.split_seed == 0


def test_help_of_training_is_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):  # with 0
        call("train", "model=svdpp", "data=tabular", "--help")
    text = capsys.readouterr().out
    groups = dict(re.findall(r"^  (\w+) {2,}(\w+(?: \w+)*(?:\n {18}\w+(?: \w+)*)*)$", text, re.M))
    for group in ("data", "model", "experiment", "logger", "hparams_search"):
        assert {file.stem for file in (CONF / group).glob("*.yaml")} - set(groups[group].split()) <= {"wandb"}, group
    assert "wandb" in groups["logger"]
    keys = re.findall(r"^  ((?:\w+\.)?\w+) {2,}\S+(?: {2,}|$)", text.partition("Keys")[2], re.M)
    assert {"seed", "resume", "model.implicit_lr_factor", "data.ratings_file", "data.split", "trainer.max_epochs"} <= {
        *keys
    }
    assert {"model_name", "run_dir", "model._target_", "model.batch_norm"}.isdisjoint(keys)
    cfg = composed("train", "model=svdpp", "data=tabular")
    parents = {key: OmegaConf.select(cfg, key.rpartition(".")[0]) if "." in key else cfg for key in keys}
    assert [key for key, parent in parents.items() if key.rpartition(".")[2] not in list(parent.keys())] == []


@pytest.mark.parametrize("command", ["evaluate", "ensemble", "recommend"])
def test_help_of_a_command_lists_its_own_keys_and_no_groups(command: str) -> None:
    text = composed(command).hydra.help.template
    keys = [str(key) for key in OmegaConf.load(CONF / f"{command}.yaml") if key not in ("defaults", "hydra")]
    assert all(re.search(rf"^  {key} ", text, re.M) for key in keys)
    assert "experiment" not in text


@pytest.mark.parametrize("name", ["grid", "optuna"])
def test_searches_compose_and_search_keys_that_exist(name: str) -> None:
    cfg = composed("train", f"hparams_search={name}")
    assert cfg.hydra.mode.name == "MULTIRUN"
    assert len(cfg.hydra.sweeper.params) >= 3
    assert all(OmegaConf.select(cfg, key) is not None for key in cfg.hydra.sweeper.params)
