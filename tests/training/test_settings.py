"""Wrong names, types and ranges are said in one sentence before any data is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf, open_dict

from recsys.experiments.configuration import group_options
from recsys.models.mf import MatrixFactorization
from recsys.training.run import run
from recsys.training.settings import check_settings, described, matches
from tests.commands import run_config

WRONG = [
    ("model.embedding_dim", "abc", "model.embedding_dim must be an integer, got 'abc'"),
    ("model.embedding_dim", 1.5, "model.embedding_dim must be an integer, got 1.5"),
    ("model.embedding_dim", True, "model.embedding_dim must be an integer, got True"),
    ("model.embedding_dim", -1, "model.embedding_dim must be >= 1, got -1"),
    ("model.dropout", None, "model.dropout must be a number, got null"),
    ("model.dropout", 1.0, "model.dropout must be in [0.0, 1.0), got 1.0"),
    ("model.bias", "yes", "model.bias must be true or false, got 'yes'"),
    ("model.bias_init", "meen", "model.bias_init must be one of zero, mean, got 'meen'; did you mean mean?"),
    ("model.embeding_dim", 3, "there is no model.embeding_dim, an argument of "),
    ("seed", "x", "seed must be an integer >= 0, got 'x'"),
    ("seed", -1, "seed must be an integer >= 0, got -1"),
    ("refit", "trainval", "refit must be one of none, train_val, all, got 'trainval'; did you mean train_val?"),
    ("evaluation", "preq", "standard, prequential, got 'preq'; did you mean prequential?"),
    ("ranking", "no", "ranking must be true or false, got 'no'"),
    ("threads", 0, "threads must be null or an integer >= 1, got 0"),
    ("compress", "x", "compress must be null, auto or an integer >= 1, got 'x'"),
    ("data.split", "usertime", "got 'usertime'; did you mean user_time?"),
    ("data.batch_size", 0, "data.batch_size must be >= 1, got 0"),
    ("data.test_fraction", "half", "data.test_fraction must be a number, got 'half'"),
    ("data.ratings", "x", "there is no data.ratings, an argument of "),
    ("trainer.max_epochs", "ten", "trainer.max_epochs must be an integer or null, got 'ten'"),
    ("trainer.max_epochs", 1e2, "trainer.max_epochs must be an integer or null, got 100.0"),
    ("trainer.max_epoch", 3, "trainer.max_epoch, an argument of lightning.Trainer; did you mean max_epochs?"),
    ("trainer.precision", "16-mixd", "trainer.precision must be one of 64, 32, 16, transformer-engine"),
    ("callbacks.early_stopping.patience", "many", "callbacks.early_stopping.patience must be an integer, got 'many'"),
    ("callbacks.checkpoint.save_topk", 2, "there is no callbacks.checkpoint.save_topk, an argument of "),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_wrong_setting_is_refused_before_any_data_is_read(key: str, value: Any, message: str, tmp_path: Path) -> None:
    cfg = run_config("data=tabular", f"data.root={tmp_path / 'absent'}")
    with open_dict(cfg):
        cfg.run_dir = str(tmp_path)
        OmegaConf.update(cfg, key, value, force_add=True)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        run(cfg, tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("model", group_options()["model"])
def test_the_defaults_are_right_and_leave_the_generator_alone(model: str) -> None:
    import torch

    cfg = run_config("data=tabular", "data.root=x", f"model={model}", "logger=wandb")
    cfg.run_dir = "x"
    before = torch.random.get_rng_state()
    check_settings(cfg)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_must_be_set() -> None:
    cfg = run_config("data=tabular")
    cfg.run_dir = "x"
    OmegaConf.update(cfg, "data.root", "???")
    with pytest.raises(ValueError, match=r"^data\.root must be set, as in data\.root=…$"):
        check_settings(cfg)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("precision", 16), ("precision", "bf16-mixed"), ("devices", [0]), ("devices", "auto"), ("min_epochs", None),
        ("max_time", {"hours": 1}), ("limit_train_batches", 0.5), ("deterministic", "warn"), ("profiler", "simple"),
        ("profiler", {"_target_": "lightning.pytorch.profilers.SimpleProfiler"}), ("max_time", "00:01:00:00"),
    ],
)  # fmt: skip
def test_ordinary_options_of_lightning_are_right(key: str, value: Any) -> None:
    cfg = run_config()
    cfg.run_dir = "x"
    with open_dict(cfg):
        OmegaConf.update(cfg, f"trainer.{key}", value, force_add=True)
    check_settings(cfg)


@pytest.mark.parametrize(
    ("hint", "right", "wrong", "words"),
    [
        (int | None, [1, None], ["1", 1.0, True, [1]], "an integer or null"),
        (float, [1, 1.5], ["1", None, True], "a number"),
        (list[str] | str, ["a", ["a", "b"]], [{"a": 1}, [["a"]]], "a list such as [a,b] or text"),
        (dict[str, float] | None, [{"a": 1}, None], [[1], 3], "a mapping such as {a: 1} or null"),
        (Path | str, ["a"], [["a"]], "text"),
        (MatrixFactorization, [1, "a"], [], ""),
        (Any, [1, [2]], [], ""),
    ],
)
def test_types(hint: Any, right: list[Any], wrong: list[Any], words: str) -> None:
    assert all(matches(value, hint) for value in right)
    if hint != Path | str:
        assert not any(matches(value, hint) for value in wrong)
    assert described(hint) == words


@pytest.mark.parametrize("group", ["trainer", "callbacks", "logger", "model", "data"])
def test_a_group_that_is_left_out_is_named(group: str) -> None:
    cfg = run_config()
    with open_dict(cfg):
        del cfg[group]
    with pytest.raises(ValueError, match=f"^{group} is missing: a run needs data, model, trainer, callbacks, logger$"):
        check_settings(cfg)
