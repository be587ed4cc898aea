from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from recsys.bundle import Bundle
from recsys.cli import USER_ERRORS
from tests.commands import Train, call, call_function

pytestmark = pytest.mark.long


@pytest.fixture
def run(trained: Train) -> Path:
    return trained("trainer.max_epochs=1")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_top_n_for_everybody(run: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"top.{suffix}"
    call_function("recommend", f"run={run}", "k=3", f"out={out}")
    found = pd.read_parquet(out) if suffix == "parquet" else pd.read_csv(out)
    bundle = Bundle.load(run / "bundle")
    assert list(found["user_id"].unique()) == bundle.user_ids.tolist()
    assert (found.groupby("user_id").size() == 3).all()
    first = found[found["user_id"] == 7]
    expected = bundle.recommend(7, k=3)
    assert list(first["item_id"]) == [r.item_id for r in expected]
    assert list(first["rank"]) == [1, 2, 3]
    row = bundle.user_row[7]
    seen = set(bundle.item_ids[bundle.ratings.item[bundle.ratings.slice_of(row)]].tolist())
    assert not seen & set(first["item_id"])
    assert list(tmp_path.glob(".top*")) == []


def test_some_users(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "top.csv"
    call("recommend", f"run={run}", "k=2", f"out={out}", "users=[5,3]", "exclude_seen=false")
    assert list(pd.read_csv(out)["user_id"]) == [5, 5, 3, 3]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("users=[5,999]", "no user 999"),
        ("k=0", "k must be an integer >= 1, got 0"),
        ("out=top.txt", "out must end in .parquet or .csv"),
        ("out=/no/such/folder/top.csv", "there is no folder /no/such/folder"),
    ],
)
def test_mistakes(run: Path, tmp_path: Path, argument: str, message: str) -> None:
    out = [] if argument.startswith("out=") else [f"out={tmp_path / 'top.csv'}"]
    with pytest.raises(USER_ERRORS, match=re.escape(message)):
        call_function("recommend", f"run={run}", argument, *out)
    assert not (tmp_path / "top.csv").exists()


def test_a_folder_without_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("recommend", f"run={tmp_path}", f"out={tmp_path / 'top.csv'}")
    assert "is not a bundle" in capsys.readouterr().err
