"""Each ordinary option of Lightning, by each kind of model: what a run cannot use is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_class
from omegaconf import DictConfig, open_dict

from recsys.training.options import check_callbacks, left_out_of_refit, trainer_options
from recsys.training.trainer import check_training
from tests.commands import run_config

pytestmark = pytest.mark.long

MODELS = ("mf", "als")  # with gradients, and without
SWEPT = ("als", "ials", "bayesian_mf")


def configured(model: str = "mf", **options: Any) -> DictConfig:
    """The configuration of a run with these options of the trainer."""
    cfg = run_config(f"model={model}", "trainer.max_epochs=8", "hydra.run.dir=run")
    with open_dict(cfg):
        cfg.run_dir = "run"
        cfg.trainer = {**cfg.trainer, **options}
    return cfg


def options_of(cfg: DictConfig) -> dict[str, Any]:
    return trainer_options(cfg, get_class(cfg.model._target_))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_epochs": 0}, r"max_epochs must be an integer >= 1, or -1 \(no limit\), got 0"),
    ({"max_epochs": -2}, "max_epochs must be"),
    ({"max_epochs": 1.5}, "max_epochs must be .*, got 1.5"),
    ({"max_epochs": "ten"}, "max_epochs must be .*, got ten"),
    ({"min_epochs": 9}, "min_epochs must be <= trainer.max_epochs = 8, got 9"),
    ({"max_steps": 0}, "max_steps must be"),
    ({"max_time": "soon"}, "max_time must be DD:HH:MM:SS, got soon"),
    ({"max_time": 5}, "max_time must be DD:HH:MM:SS, got 5"),
    ({"limit_train_batches": 0}, "limit_train_batches must be an integer >= 1 or a share"),
    ({"limit_train_batches": 1.5}, "limit_train_batches must be .*, got 1.5"),
    ({"limit_val_batches": 0}, "limit_val_batches must be .* as epochs are selected by validation, got 0"),
    ({"limit_val_batches": 0.0}, "limit_val_batches must be"),
    ({"check_val_every_n_epoch": 0}, "check_val_every_n_epoch must be an integer >= 1, got 0"),
    ({"check_val_every_n_epoch": 9}, "check_val_every_n_epoch must be <= trainer.max_epochs = 8"),
    ({"val_check_interval": 0.5}, r"val_check_interval must be 1.0 .*check_val_every_n_epoch.*, got 0.5"),
    ({"val_check_interval": 1}, r"val_check_interval must be 1.0 .*, got 1"),  # Lightning: after each batch
    ({"overfit_batches": 0.1}, "overfit_batches must be 0 .*limit_train_batches"),
    ({"accumulate_grad_batches": 0}, "accumulate_grad_batches must be an integer >= 1"),
    ({"gradient_clip_val": -1}, "gradient_clip_val must be null or a number >= 0"),
    ({"gradient_clip_algorithm": "x"}, "gradient_clip_algorithm"),
    ({"num_sanity_val_steps": "x"}, "num_sanity_val_steps must be"),
    ({"fast_dev_run": -1}, "fast_dev_run must be"),
    ({"log_every_n_steps": "x"}, "log_every_n_steps must be"),
    ({"enable_checkpointing": False}, "enable_checkpointing must be true"),
    ({"barebones": True}, "barebones must be false"),
    ({"deterministic": "x"}, "deterministic must be true, false or warn, got x"),
    ({"benchmark": "x"}, "benchmark must be true or false, got x"),
    ({"detect_anomaly": "x"}, "detect_anomaly must be"),
    ({"profiler": "x"}, "profiler must be null, simple, advanced, pytorch, got x"),
    ({"profiler": "xla"}, "profiler must be"),
    ({"precision": 7}, "(?i)precision"),
    ({"logger": False}, "logger is set by logger="),
    ({"callbacks": []}, "callbacks is set by callbacks"),
    ({"accelerator": "gpus"}, "accelerator must be one of auto, cpu, gpu, .*, got gpus"),
    ({"accelerator": "hpu"}, "accelerator must be one of"),
    ({"accelerator": "tpu"}, "accelerator=tpu is not available on this machine; available: cpu"),
    ({"accelerator": None, "devices": 0}, "devices must be an integer >= 1"),
    ({"devices": 0}, "devices must be an integer >= 1, got 0"),
    ({"devices": "2"}, "devices must be an integer >= 1, got 2"),
    ({"devices": [0, 1]}, r"devices must be an integer >= 1, got \[0, 1\]"),
    ({"devices": "0,1"}, "devices must be an integer >= 1, got 0,1"),
    ({"devices": "x"}, "devices must be an integer"),
    ({"devices": -1}, "devices must be a number of processes on the CPU, got -1"),
    ({"num_nodes": 2}, "num_nodes must be 1, as a run trains on one machine, got 2"),
    *(
        ({"strategy": name}, f"strategy must be auto: trainer.devices says .*, got {name}")
        for name in ("ddp", "ddp_spawn", "ddp_fork", "ddp_notebook", "fsdp", "deepspeed", "dp", "x")
    ),
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[str(options) for options, _ in REFUSED])
def test_what_a_run_cannot_use_is_refused_in_one_sentence(
    tmp_path: Path, model: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        check_training(configured(model, **options), tmp_path)
    assert "trainer" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["gpu", "cuda"])
def test_a_missing_gpu_is_told_with_what_there_is(name: str) -> None:
    with pytest.raises(ValueError, match=rf"trainer.accelerator={name} is not available on this machine.*: cpu$"):
        options_of(configured(accelerator=name))


def test_a_ranking_model_is_not_compressed(tmp_path: Path) -> None:
    """The fit ended with a KeyError: lists are measured, and no stars."""
    cfg = configured("ials")
    cfg.compress = 2
    with pytest.raises(ValueError, match="compress must be null for a ranking model such as ials, got 2"):
        check_training(cfg, tmp_path)


@pytest.mark.parametrize("model", ["ials", "attention"])
def test_lists_are_not_evaluated_prequentially(model: str, tmp_path: Path) -> None:
    """The fit ended without a bundle: there were no stars to compare."""
    cfg = configured(model)
    cfg.evaluation = "prequential"
    with pytest.raises(ValueError, match=f"evaluation=prequential needs predicted stars, and {model} ranks items"):
        check_training(cfg, tmp_path)
    if model == "attention":
        cfg.model.task = "rating"
        check_training(cfg, tmp_path)


def test_several_devices_by_another_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.pytorch.accelerators.CPUAccelerator.auto_device_count", lambda *_: 3)
    with pytest.raises(ValueError, match=r"trainer.devices=auto is 3 devices here: set trainer.devices=3"):
        check_training(configured(devices="auto"), tmp_path)


@pytest.mark.parametrize("model", ["mf", "biases", "popularity", "attention"])
def test_models_that_one_process_fits_are_told(model: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"trainer.devices must be 1 for {model}, got 2"):
        check_training(configured(model, devices=2), tmp_path)


@pytest.mark.parametrize("model", SWEPT)
def test_processes_share_sweeps(model: str, tmp_path: Path) -> None:
    check_training(configured(model, devices=2), tmp_path)


@pytest.mark.parametrize("model", SWEPT)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient_clip_val": 0.5}, "gradient_clip_val must be null for {}, which has no gradients"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches must be 1 for {}"),
        ({"limit_train_batches": 0.5}, "limit_train_batches must be 1.0 for {}"),
        ({"precision": "16-mixed"}, "precision must be 32-true or 64-true for {}, got 16-mixed"),
        ({"precision": "bf16-true"}, "precision must be 32-true or 64-true for {}"),
    ],
    ids=str,
)
def test_sweeps_take_no_options_of_gradients(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.format(model)):
        options_of(configured(model, **options))
    assert options_of(configured("mf", **options)).items() >= options.items()


@pytest.mark.parametrize("value", [-1, None])
def test_training_without_a_limit_needs_something_that_ends_it(value: int | None) -> None:
    cfg = configured(max_epochs=value)
    assert options_of(cfg)["max_epochs"] == -1
    with open_dict(cfg):
        cfg.callbacks.early_stopping = None
    with pytest.raises(ValueError, match=r"trainer.max_epochs=-1 never ends without callbacks.early_stopping"):
        options_of(cfg)
    for limit in ({"max_steps": 100}, {"max_time": "00:01:00:00"}):
        with open_dict(cfg):
            cfg.trainer = {**cfg.trainer, **limit}
        assert options_of(cfg)["max_epochs"] == -1


def test_a_quick_run_of_lightning_is_an_epoch_of_few_batches() -> None:
    short = {"max_epochs": 1, "limit_train_batches": 3, "limit_val_batches": 3}
    found = options_of(configured(fast_dev_run=3, check_val_every_n_epoch=5))
    assert found.items() >= short.items()
    assert "fast_dev_run" not in found
    assert options_of(configured(fast_dev_run=True))["limit_train_batches"] == 1
    assert options_of(configured(fast_dev_run=False))["max_epochs"] == 8


def test_a_model_that_one_epoch_fits_has_one() -> None:
    found = options_of(configured("ease", min_epochs=4, check_val_every_n_epoch=2))
    assert (found["max_epochs"], found["min_epochs"], found["check_val_every_n_epoch"]) == (1, None, 1)
    assert options_of(configured("popularity", max_epochs=-1))["max_epochs"] == 1


CHECKPOINT = [
    ({"filename": "x"}, "filename must be best, got x"),
    ({"save_top_k": 3}, "save_top_k must be left out, got 3"),
    ({"save_last": False}, "save_last must be True, got False"),
    ({"every_n_epochs": 2}, "every_n_epochs must be left out"),
    ({"save_weights_only": True}, "save_weights_only must be left out"),
    ({"dirpath": "/elsewhere"}, "dirpath must be run/checkpoints, got /elsewhere"),
]


@pytest.mark.parametrize(("changes", "message"), CHECKPOINT, ids=str)
def test_the_checkpoint_that_a_run_exports_stays(changes: dict[str, Any], message: str) -> None:
    cfg = configured()
    check_callbacks(cfg, get_class(cfg.model._target_))
    with open_dict(cfg):
        cfg.callbacks.checkpoint = {**cfg.callbacks.checkpoint, **changes}
    with pytest.raises(ValueError, match=f"callbacks.checkpoint.{message}"):
        check_callbacks(cfg, get_class(cfg.model._target_))


@pytest.mark.parametrize(("group", "key"), [("callbacks", "checkpoint"), ("logger", "csv")])
def test_what_a_run_needs_cannot_be_left_out(group: str, key: str) -> None:
    for changes in ({group: {}}, {group: None}, {group: {key: None}}):
        cfg = configured()
        with open_dict(cfg):
            cfg[group] = changes[group]
        with pytest.raises(ValueError, match=f"{group}.{key} must stay"):
            check_callbacks(cfg, get_class(cfg.model._target_))


def test_a_sampler_selects_its_last_epoch() -> None:
    cfg = configured("bayesian_mf")
    cfg.callbacks.checkpoint.monitor = "val/mae"
    with pytest.raises(ValueError, match=r"monitor must be null for bayesian_mf, whose last epoch is selected"):
        check_callbacks(cfg, get_class(cfg.model._target_))


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
@pytest.mark.parametrize("options", [{"max_epochs": -1}, {"max_epochs": None}, {"max_steps": 100}], ids=str)
def test_a_curve_of_learning_rates_needs_a_number_of_epochs(schedule: str, options: dict[str, Any]) -> None:
    cfg = configured(**options)
    cfg.model.lr_schedule = schedule
    with pytest.raises(ValueError, match=rf"model.lr_schedule={schedule} needs trainer.max_epochs >= 1"):
        options_of(cfg)


def test_other_launchers_start_no_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {"NTASKS": "4", "JOB_NAME": "train", "JOB_ID": "7", "PROCID": "2", "LOCALID": "2", "NODEID": "0"}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("PL_TRAINER_STRATEGY", "ddp")  # Lightning's defaults
    check_training(configured(), tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="torchrun starts several processes, but a run trains in one"):
        check_training(configured(), tmp_path)


def test_callbacks_of_one_s_own_are_left_out_of_the_refit() -> None:
    cfg = configured()
    assert left_out_of_refit(cfg) == []
    with open_dict(cfg):
        cfg.callbacks.mine = {"_target_": "lightning.pytorch.callbacks.StochasticWeightAveraging", "swa_lrs": 0.01}
    assert left_out_of_refit(cfg) == ["callbacks.mine"]
