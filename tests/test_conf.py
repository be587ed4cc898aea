"""Every YAML key exists in the signature that it configures, and every experiment composes."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from recsys.cli import CONF
from recsys.data.datamodule import RatingDataModule

FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
DATA_MODULE = set(inspect.signature(RatingDataModule).parameters) - {"source"}


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


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
    cfg = composed(f"experiment={file.stem}")
    assert cfg.model._target_
    assert cfg.data._target_


def test_names_on_the_command_line() -> None:
    cfg = composed("model.embedding_dim=7", "data.split=kfold", "data.root=/x", "trainer.accelerator=gpu", "seed=3")
    assert cfg.model.embedding_dim == 7
    assert cfg.model.seed == cfg.data.seed == 3
    assert cfg.data.split_seed == 0
