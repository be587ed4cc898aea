from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from recsys.experiments.multirun import run_job
from recsys.models.als import ALS
from recsys.models.base import RatingModel
from recsys.models.bayesian.model import BayesianMF
from recsys.models.biases import BiasModel
from recsys.models.ials import ImplicitALS
from recsys.models.mf import MatrixFactorization
from recsys.training.divergence import StopDivergence
from recsys.training.errors import DivergedError
from recsys.training.trainer import fit
from tests.commands import Train
from tests.small_data import build, checkerboard, small_data

pytestmark = pytest.mark.long

MODELS: dict[type[RatingModel], str] = {
    MatrixFactorization: "lower model.learning_rate (now 0.01)",
    BiasModel: "lower model.learning_rate (now 0.01)",
    ALS: "raise model.reg_lambda (now 0.15), or set trainer.precision=64-true (now 32-true)",
    ImplicitALS: "raise model.reg_lambda (now",
    BayesianMF: "lower model.embedding_dim (now 32), or set trainer.precision=64-true (now 32-true)",
}


def train(model: RatingModel, folder: Path, **arguments: Any) -> None:
    import lightning

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    given = {"max_epochs": 4, "accelerator": "cpu", "num_sanity_val_steps": 0} | quiet | arguments
    trainer = lightning.Trainer(callbacks=[StopDivergence()], **given)
    fit(trainer, model, DATA, folder / "last.ckpt")


DATA = small_data(checkerboard())


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("validated", [True, False], ids=["selection", "refit"])
def test_a_model_that_is_not_finite_ends_training_in_that_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[RatingModel], validated: bool
) -> None:
    step = kind.training_step

    def spoil(self: RatingModel, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch == 2:
            with torch.no_grad():
                next(iter(self.parameters())).fill_(math.nan)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(kind, "training_step", spoil)
    refit = "" if validated else " of the refit"
    message = rf"^training diverged in epoch 3{refit} \(.*\): {re.escape(MODELS[kind])}"
    with pytest.raises(DivergedError, match=message) as raised:
        train(build(kind, DATA), tmp_path, limit_val_batches=1.0 if validated else 0)
    assert "\n" not in str(raised.value)


def test_half_precision_is_named(tmp_path: Path) -> None:
    model = build(MatrixFactorization, DATA, learning_rate=1e30)
    message = r"lower model.learning_rate \(now 1e\+30\), or set trainer.precision=32-true \(now bf16-mixed\)$"
    with pytest.raises(DivergedError, match=message):
        train(model, tmp_path, precision="bf16-mixed")


def test_a_penalty_that_overflows_is_to_be_lowered(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"model.learning_rate .*, or lower model.reg_lambda \(now 1e\+38\)$"):
        train(build(MatrixFactorization, DATA, reg_lambda=1e38), tmp_path)


def test_a_figure_of_validation_that_is_not_finite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ALS, "predicted", lambda self, batch, _: self(batch.user, batch.item) * math.nan)
    with pytest.raises(DivergedError, match=r"diverged in epoch 1 \(val/rmse is nan\)"):
        train(build(ALS, DATA), tmp_path)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("cumsum does not have a deterministic implementation,\n", r"^trainer.deterministic .* as cumsum cannot be$"),
        ("CUDA out of memory: cannot allocate memory", r"^out of memory: lower model.embedding_dim or data.batch_size"),
        ("This callback is not supported for\n  manual", r"^callbacks: This callback is not supported for"),
    ],
)  # fmt: skip
def test_what_lightning_and_torch_refuse_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, said: str
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(ALS, "sweep", fail)
    with pytest.raises(ValueError, match=said):
        train(build(ALS, DATA), tmp_path)


def test_other_errors_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(ALS, "sweep", fail)
    with pytest.raises(RuntimeError, match=r"^out of luck$"):
        train(build(ALS, DATA), tmp_path)


def test_a_run_that_diverges_keeps_its_finite_checkpoints(quick_train: Train, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"diverged in epoch 1 .*model.learning_rate \(now 1e\+30\)"):
        quick_train("model.learning_rate=1e30")
    assert not list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "failed"
    assert status["message"].startswith("training diverged in epoch 1")


def test_a_job_that_diverges_ends_no_other(
    quick_train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def job() -> dict[str, Any]:
        quick_train("model.learning_rate=1e30", name="0")
        return {}

    assert run_job(job, tmp_path / "0") is None
    assert "FAILED: training diverged in epoch 1" in capsys.readouterr().out
