from __future__ import annotations

from pathlib import Path

from recsys.report.parameters import differing, hyper_parameters
from tests.report.run_folders import config


def test_hyper_parameters_by_their_names_on_the_command_line() -> None:
    assert hyper_parameters(config(Path("/runs/0"))) == {
        "model_name": "mf", "model.embedding_dim": 64, "model.dropout": 0.0,
        "model.reg_lambda": 0.12, "data.batch_size": 2048, "data.name": "ml-100k", "trainer.max_epochs": 100,
        "trainer.accelerator": "cpu", "callbacks.early_stopping.patience": 8,
    }  # fmt: skip


def test_what_prunes_and_what_is_no_plain_value() -> None:
    content = config(Path("/runs/0"))
    content["callbacks"]["pruning"] = {"monitor": "val/rmse", "trial": 3}
    content["model"] |= {"layers": [8, 16], "nan": float("nan"), "text": "a\nb", "none": None, "huge": 10**400}
    found = hyper_parameters(content)
    assert not [name for name in found if "pruning" in name]
    assert [found[f"model.{name}"] for name in ("layers", "nan", "text", "none")] == ["[8, 16]", "nan", "a b", None]
    assert isinstance(found["model.huge"], str)


def test_only_what_differs_within_a_task_is_a_parameter() -> None:
    given = [{"a": 1, "b": 1, "c": 3}, {"a": 2, "b": 1, "c": 3}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 4}]
    assert [p.name for p in differing(given, [0, 0, 1, 1])] == ["a"]


def test_kinds_and_their_values() -> None:
    given = [
        {"rate": 0.1, "dim": 8, "on": True, "name": "x10", "none": None},
        {"rate": 0.001, "dim": 64, "on": False, "name": "x9", "none": 2},
    ]
    found = {p.name: (p.kind, p.logarithmic, p.values) for p in differing(given, [0, 0])}
    assert found == {
        "rate": ("number", True, [0.001, 0.1]),
        "dim": ("number", False, [8, 64]),
        "on": ("category", False, [False, True]),
        "name": ("category", False, ["x9", "x10"]),
        "none": ("number", False, [2]),
    }
