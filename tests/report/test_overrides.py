from __future__ import annotations

import shlex

import pytest

from recsys.report.overrides import DOUBT, run_command, setting_command


def test_a_runs_command_names_its_seed_and_fold() -> None:
    overrides = ["experiment=ml_100k_mf", "data.split=kfold", "seed=4", "data.fold=7"]
    expected = "python -m recsys.train experiment=ml_100k_mf data.split=kfold seed=4 data.fold=7"
    assert run_command(overrides, 4, 7) == expected
    assert run_command([], 0, None) == "python -m recsys.train seed=0"


@pytest.mark.parametrize(
    "override",
    ["hparams_search=mf", "hparams_search.n_trials=3", "hydra.sweep.dir=x", "hydra/launcher=joblib", "trial=3",
     "logger=wandb", "logger.wandb.project=x", "+logger@other=wandb", "resume=a", "seeds=[0,1]", "folds=[1]", "seed=9",
     "data.fold=9", "++seed=9", "~logger", "run_dir=x"],
)  # fmt: skip
def test_where_a_run_was_made_is_left_out(override: str) -> None:
    assert run_command(["model.dropout=0.1", override], 1, None) == "python -m recsys.train model.dropout=0.1 seed=1"


@pytest.mark.parametrize("override", ["model.seed_factor=2", "~callbacks.progress", "+trainer.x=1", "data.folds=5"])
def test_all_else_stays(override: str) -> None:
    assert override in shlex.split(run_command([override], 0, None))


def test_quoting_survives_a_shell() -> None:
    overrides = ["data.root=/my data/$HOME", "model.x='a b'", "model.layers=[8,16]", "data.user_column=it's;rm"]
    assert shlex.split(run_command(overrides, 2, None)) == ["python", "-m", "recsys.train", *overrides, "seed=2"]


def test_a_settings_command_has_all_its_repeats() -> None:
    overrides = ["model.dropout=0.1", "seed=2", "data.fold=3"]
    command = setting_command(overrides, [2, 0, 2, 1], [3, 3, 4, 4])
    assert command == "python -m recsys.train model.dropout=0.1 'seeds=[0,1,2]' 'folds=[3,4]'"


def test_a_seed_or_fold_that_all_share_is_named_where_it_was_chosen() -> None:
    assert setting_command(["seed=3", "data.fold=1"], [3], [1]) == "python -m recsys.train seed=3 data.fold=1"
    assert setting_command([], [0], [None]) == "python -m recsys.train"
    assert setting_command(["data.fold=1"], [0, 1], [1, 1]) == "python -m recsys.train 'seeds=[0,1]' data.fold=1"


@pytest.mark.parametrize(
    "override",
    ["model._target_=os.system", "+callbacks.x={_target_: os.system}", "--config-dir=/evil", "-cd=/evil",
     "model=/evil/x",
     "experiment=../../evil", "experiment=a,../b", "data.name=${oc.env:SECRET}", "data.x=${mapping:${oc.env:SECRET},1}",
     "data.query=drop table x",
     "data={query: x}", "data.url=x",
     "callbacks.x.dirpath=/home/me", "+callbacks.x={filename: ../x}", "trainer.default_root_dir=/", "model._args_=[1]"],
)  # fmt: skip
def test_a_command_that_may_do_more_than_train_is_a_comment(override: str) -> None:
    """What is copied from a report of a stranger's runs runs nothing of theirs."""
    assert run_command(["model.dropout=0.1", override], 0, None).startswith(f"{DOUBT} python -m recsys.train ")


@pytest.mark.parametrize(
    "override",
    ["data.root=/my/data", "data.root=../data", "experiment=ml_1m_mf", "data.name=my_target_set", "model=mf",
     "data.ratings_file=[a/b.csv,c.csv]", "data.events={query: 1}", "~callbacks.progress",
     "model.x=${model.y}", "model.x=a..b"],
)  # fmt: skip
def test_an_ordinary_command_is_none(override: str) -> None:
    assert run_command([override], 0, None).startswith("python -m recsys.train ")
