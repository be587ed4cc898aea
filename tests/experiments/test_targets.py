"""Settings that someone else may have written call no class but the known ones, and read nothing of ours."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from recsys.cli import resumed_sweep
from recsys.experiments.configuration import config_dir, named_classes
from recsys.experiments.run_folder import resumed
from recsys.experiments.sweep_folder import sweep_needs_trust
from recsys.experiments.targets import CALLBACKS, PROFILERS, check_config, check_overrides
from recsys.files import write_json
from tests.commands import call, run_config

EVIL = "os.system"
CHECKPOINT, PROFILER = "lightning.pytorch.callbacks.ModelCheckpoint", "lightning.pytorch.profilers.SimpleProfiler"
PRUNING = "recsys.training.pruning.Pruning"


@pytest.fixture(scope="module")
def honest() -> dict[str, Any]:
    """The configuration of a run in /run, as it is saved."""
    cfg = run_config("data=tabular", "data.root=/data")
    cfg.run_dir = "/run"
    OmegaConf.resolve(cfg)
    content = OmegaConf.to_container(cfg)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def changed(honest: dict[str, Any], **changes: Any) -> Any:
    """The configuration with values by dotted key, with `__` for dots."""
    cfg = OmegaConf.create(copy.deepcopy(honest))
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    return cfg


def test_an_honest_run_is_read(honest: dict[str, Any]) -> None:
    check_config(changed(honest), Path("config.yaml"))
    more = {
        "callbacks__timer": {"_target_": "lightning.pytorch.callbacks.Timer", "duration": "00:01:00:00"},
        "callbacks__pruning": {"_target_": "recsys.training.pruning.Pruning", "storage": "sqlite:////study.db"},
        "callbacks__mine": {"_target_": CHECKPOINT, "monitor": "val/rmse", "filename": "epochs/{epoch}"},
        "trainer__profiler": {"_target_": "lightning.pytorch.profilers.SimpleProfiler"},
        "trainer__gradient_clip_val": 0.5,
        "overrides": ["data.root=${oc.env:HOME}/x"],  # as typed; never resolved
        "model__warm_start": "/elsewhere/bundle",
    }
    check_config(changed(honest, **more), Path("config.yaml"))


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("model___target_", EVIL, "model is os.system"),
        ("model___target_", "pandas.read_pickle", "model is pandas.read_pickle"),
        ("model___target_", "recsys.models.mf.torch.load", "model is recsys.models.mf.torch.load"),
        ("model___target_", "recsys.training.pruning.Pruning", "model is recsys.training.pruning.Pruning"),
        ("model___target_", ["builtins.exec"], "model._target_"),
        ("data___target_", "torch.load", "data is torch.load"),
        ("data__root", {"_target_": EVIL}, "data.root is os.system"),
        ("data__missing", [[{"_target_": EVIL}]], "data.missing.0.0 is os.system"),
        ("trainer___target_", "subprocess.run", "trainer is subprocess.run"),
        ("trainer__plugins", [{"_target_": "lightning.pytorch.plugins.AsyncCheckpointIO"}], "trainer.plugins.0 is"),
        ("trainer__strategy", {"_target_": EVIL}, "trainer.strategy is os.system"),
        ("trainer__profiler", {"_target_": EVIL}, "trainer.profiler is os.system"),
        ("callbacks__x", {"_target_": EVIL}, "callbacks.x is os.system"),
        ("callbacks__x", {"_target_": "lightning.pytorch.callbacks.LambdaCallback"}, "callbacks.x is"),
        ("callbacks__x", {"_target_": "recsys.models.mf.MatrixFactorization"}, "callbacks.x is"),
        ("callbacks__checkpoint__monitor", {"_target_": EVIL}, "callbacks.checkpoint.monitor is os.system"),
        ("logger__x", {"_target_": EVIL}, "logger.x is os.system"),
        ("seed", {"_target_": EVIL}, "seed is os.system"),
        ("model___args_", [1], "model._args_"),
        ("model___partial_", True, "model._partial_"),
        ("callbacks__checkpoint___recursive_", False, "_recursive_"),
        ("data__name", "${oc.env:AWS_SECRET_ACCESS_KEY}", "data.name is ${oc.env:"),
        ("model__seed", "${seed}", "model.seed is ${seed}"),
        ("model_name", "${help_keys:train}", "model_name"),
        ("callbacks__checkpoint__dirpath", "/home/me", "callbacks.checkpoint.dirpath is /home/me"),
        ("callbacks__checkpoint__dirpath", "/run/../home", "callbacks.checkpoint.dirpath is"),
        ("logger__csv__save_dir", "/", "logger.csv.save_dir is /"),
        ("callbacks__x", {"_target_": CHECKPOINT, "filename": "../../home/me/x"}, "callbacks.x.filename is ../../home"),
        ("callbacks__x", {"_target_": CHECKPOINT, "filename": "/home/me/x"}, "callbacks.x.filename is /home/me/x"),
        ("callbacks__x", {"_target_": CHECKPOINT, "filename": "s3://bucket/x"}, "callbacks.x.filename is s3:"),
        ("callbacks__x", {"_target_": CHECKPOINT, "filename": "..\\x"}, "callbacks.x.filename is ..\\x"),
        ("callbacks__x", {"_target_": "lightning.pytorch.callbacks.SpikeDetection"}, "callbacks.x is"),
        ("trainer__profiler", {"_target_": PROFILER, "filename": "../x"}, "trainer.profiler.filename is ../x"),
        ("trainer__model_registry", "evil/model", "trainer.model_registry is evil/model, which may reach"),
        (
            "callbacks__pruning",
            {"_target_": PRUNING, "storage": "sqlite:////home/me/mail.db"},
            "callbacks.pruning.storage",
        ),
        ("callbacks__pruning", {"_target_": PRUNING, "storage": "postgresql://evil/x"}, "callbacks.pruning.storage"),
        (
            "logger__wandb",
            {"_target_": "recsys.training.wandb.WandbTracker"},
            "which sends results to a server; if you",
        ),
        ("data", {"_target_": "recsys.data.sources.SqlRatings", "query": "x"}, "which asks a database; if you trust"),
        ("data__query", "drop table ratings", "data.query is drop table ratings, which may reach a database"),
    ],
)
def test_a_strangers_run_is_refused(honest: dict[str, Any], key: str, value: Any, named: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    cfg = changed(honest, **{key: value})
    cfg.run_dir = str(tmp_path)
    for place in ("callbacks.checkpoint.dirpath", "logger.csv.save_dir"):
        if OmegaConf.select(cfg, place).startswith("/run") and ".." not in OmegaConf.select(cfg, place):
            OmegaConf.update(cfg, place, str(tmp_path))
    OmegaConf.save(cfg, file)
    with pytest.raises(ValueError, match=r"config\.yaml") as raised:
        resumed(tmp_path, [])
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_class_of_ones_own_configuration_is_known(tmp_path: Path, honest: dict[str, Any]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("_target_: mine.Model\n")
    assert "mine.Model" in named_classes([tmp_path])["model"]
    assert named_classes()["model"] == {yaml.safe_load(f.read_text())["_target_"] for f in config_dir().glob("model/*")}


def test_lightnings_classes_exist() -> None:
    from hydra.utils import get_class

    assert all(get_class(name) for name in CALLBACKS | PROFILERS)


def test_values_of_types_that_only_tags_make(tmp_path: Path) -> None:
    """Such as a path, which is no text to look at."""
    for tagged in ("!!python/object/apply:pathlib.PosixPath ['/home/me']", "!!binary L2hvbWU="):
        (tmp_path / "config.yaml").write_text(f"run_dir: {tmp_path}\ncallbacks: {{x: {{dirpath: {tagged}}}}}\n")
        with pytest.raises(ValueError, match=r"callbacks\.x\.dirpath is of type \w+, which no configuration has"):
            resumed(tmp_path, [])


@pytest.mark.parametrize(
    "text",
    ["model=als", "model=als,mf", "seed=1", "model.dropout=0,0.2", "data.root='/x (1)'", "data.separator=';','|'",
     "model.reg_lambda=tag(log,interval(0.01,1))", "hydra/launcher=parallel", "hydra.launcher.n_jobs=2", "~logger",
     "hydra.sweeper.n_trials=3", "hydra.sweeper.params.model.dropout=choice(0,1)", "hparams_search=optuna",
     "+trainer.gradient_clip_val=0.5", "model.seed=${seed}", "data.events=${mapping:'é',1}", "experiment=own/mine",
     "model._target_=recsys.models.als.ALS", "hydra.mode=MULTIRUN", "hydra.job.chdir=true", "logger=csv",
     "hydra.sweep.subdir=job-${hydra.job.num}", "hydra.run.dir=outputs/x", "callbacks.checkpoint.monitor=val/loss",
     "data.events={query: 1, url: 2}", "trainer.max_time=00:01:00:00", "~callbacks.progress"],
)  # fmt: skip
def test_ordinary_arguments_of_a_sweep_are_allowed(text: str) -> None:
    check_overrides([text], "multirun.yaml")


@pytest.mark.parametrize(
    "text",
    ["model._target_=os.system", "+callbacks.x._target_=os.system", "+callbacks.x={_target_: os.system}",
     "+callbacks.x={a: [{_target_: os.system}]}", "model._target_=os.system,torch.load", "+model._args_=[ls]",
     "+callbacks.x={_target_: a},{_target_: b}", "hydra.searchpath=[file:///evil]", "hydra.job.env_set.PATH=/evil",
     "hydra.job_logging.x=1", "hydra/callbacks=x", "+hydra.callbacks.x={_target_: os.system}", "--config-dir=/evil",
     "-cd=/evil", "experiment=../../evil", "experiment=/evil/x", "experiment=a,../b", "model@data=mf",
     "data.root=${oc.env:HOME}", "logger.wandb.project=${oc.env:SECRET}", "data.name=${hydra:runtime.cwd}",
     "data.events=${mapping:${oc.env:SECRET},1}", "hydra.launcher._target_=os.system", "hydra.launcher.setup=[ls]",
     "hydra.sweeper.params={model._target_: os.system}", "hydra.sweeper._target_=x", "a(b",
     "callbacks.x.dirpath=/home/me", "+callbacks.x.dirpath=x", "callbacks.x.filename=../../x",
     "callbacks.x.filename=a,../x",
     "+callbacks.x.filename='../x'", "callbacks.x={a: {filename: /x}}", "callbacks.x.filename=${data.name}",
     "trainer.default_root_dir=/home/me", "trainer.profiler={dirpath: x}", "logger.csv.save_dir=/home/me",
     "hydra.sweep.subdir=../x", "hydra.sweep.subdir=/x", "hydra.sweep.subdir=${data.name}",
     "hydra.output_subdir=../../x",
     "hydra.run.dir=/home/me", "++hydra.run.dir=/home/me", "run_dir=/home/me", "resume=/home/me", "trust=true",
     "overrides=[x]", "inferred=[x]", "data.query='drop table x'", "data.query=a,b", "data={query: x}", "data.url=x",
     "data.url_env=HOME", "logger.wandb.upload_bundle=true", "+trainer.model_registry=x",
     "hydra.sweeper.storage=sqlite:////home/me/x.db", "hydra.sweeper.storage=postgresql://evil/x"],
)  # fmt: skip
def test_a_strangers_arguments_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^multirun\.yaml: ") as raised:
        check_overrides(["seed=1", text], "multirun.yaml")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["logger=wandb", "logger=csv,wandb", "+logger.x._target_=recsys.training.wandb.WandbTracker",
     "data._target_=recsys.data.sources.SqlRatings"],
)  # fmt: skip
def test_a_folder_asks_no_server_but_an_agent_has_its_own(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"; if you trust who wrote it, resume with trust=true$"):
        check_overrides([text], "sweep.json", tmp_path)
    check_overrides([text], "W&B sweep")


def test_the_database_of_a_study_is_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(url: str) -> None:
        check_overrides([f"hydra.sweeper.storage='{url}'"], "sweep.json", tmp_path)

    check(f"sqlite:///{tmp_path}/study.db")
    monkeypatch.setenv("RECSYS_STUDY_DATABASE", "postgresql://me:secret@db/studies")
    check("postgresql://me:***@db/studies")
    (tmp_path / "link.db").symlink_to("/etc/x.db")
    for url in (f"sqlite:///{tmp_path}/link.db", f"sqlite:///{tmp_path}/../x.db", f"sqlite:///file:{tmp_path}/x?uri=true",
                f"sqlite+pysqlcipher:///{tmp_path}/x.db", "sqlite://", "postgresql://me:***@evil/x"):  # fmt: skip
        with pytest.raises(ValueError, match="may run, read or write more than a run"):
            check(url)


def test_a_sweep_is_trusted_by_consent(tmp_path: Path) -> None:
    typed = {"task": ["model._target_=mine.Model"], "hydra": ["hydra.sweep.dir=/old", "++hydra.mode=RUN"]}
    write_json(tmp_path / "sweep.json", {"overrides": typed})
    assert sweep_needs_trust(tmp_path)
    expected = ["--multirun", "model._target_=mine.Model", f"hydra.sweep.dir={tmp_path}"]
    assert resumed_sweep([f"resume={tmp_path}", "trust=true"]) == expected
    for trust in ("trust=false", "trust=null"):
        with pytest.raises(ValueError, match=r"the class of model is mine\.Model"):
            resumed_sweep([f"resume={tmp_path}", trust])


def test_a_sweep_is_resumed_only_with_ordinary_arguments(tmp_path: Path) -> None:
    overrides = {"task": ["+callbacks.x._target_=os.system"], "hydra": []}
    OmegaConf.save({"hydra": {"overrides": overrides}}, tmp_path / "multirun.yaml")
    with pytest.raises(ValueError, match=r"the class of callbacks\.x is os\.system"):
        resumed_sweep([f"resume={tmp_path}"])


def test_arguments_of_a_wandb_sweep(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    with pytest.raises(SystemExit):
        call("train", "+callbacks.x._target_=os.system")
    assert capsys.readouterr().err.startswith("error: W&B sweep abc: the class of callbacks.x is os.system")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{n}: &{n} [{','.join(['*' + p] * 10)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "line 2 has an alias, [*]a"),
        ("run_dir: " + "[" * 40_000, "nested in more than 50 levels"),
        ("run_dir: [" + "1," * 60_000 + "1]", "more than 50,000 values"),
        ("run_dir: " + "x" * (1 << 21), "more than 1 MiB"),
        ("a: {", "damaged"),
        ("hydra: [1]", "damaged"),
        ("hydra: {overrides: {task: [[x]], hydra: []}}", "damaged"),
        ("hydra: {overrides: {task: x, hydra: []}}", "damaged"),
        ("!!python/object/apply:os.system [ls]", "damaged"),
    ],
)
def test_settings_that_would_fill_the_memory(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    (tmp_path / "multirun.yaml").write_text(content)
    before = time.process_time()
    for read in (lambda: resumed(tmp_path, []), lambda: resumed_sweep([f"resume={tmp_path}"])):
        with pytest.raises(ValueError, match=reason) as raised:
            read()
        assert len(str(raised.value)) < 1000
        assert "\n" not in str(raised.value)
    assert time.process_time() - before < 5
