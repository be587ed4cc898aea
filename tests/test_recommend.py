from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from recsys.bundle import Bundle
from recsys.cli import USER_ERRORS
from tests.bundles import make_bundle, random_factors
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


TEXT_IDS = ["1.10", "1.1", "1_000", "1e5", "true", "null", "007", "1.0", "a, b", "it's", "ü (1)"]


@pytest.fixture
def text_ids(tmp_path: Path) -> Path:
    """A run whose user ids are texts that look like something else."""
    factors = random_factors(n_users=len(TEXT_IDS), n_items=3)
    make_bundle(factors, TEXT_IDS, ["a", "b", "c"]).save(tmp_path / "run" / "bundle")
    return tmp_path / "run"


@pytest.mark.parametrize("user", TEXT_IDS)
def test_text_ids_are_taken_as_typed(text_ids: Path, tmp_path: Path, user: str) -> None:
    out = tmp_path / "top.parquet"
    typed = f"'{user}'" if "," in user else user
    call_function("recommend", f"run={text_ids}", "k=1", f"out={out}", f"users=[{typed}]")
    assert list(pd.read_parquet(out)["user_id"]) == [user]


def test_text_ids_are_taken_as_typed_by_the_command(text_ids: Path, tmp_path: Path) -> None:
    out = tmp_path / "a=1, (b).csv"
    call("recommend", f"run={text_ids}", "k=1", f"out={out}", f"users=[{','.join(TEXT_IDS[:8])}]")
    assert list(pd.read_csv(out, dtype=str, keep_default_na=False)["user_id"]) == TEXT_IDS[:8]


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    users, items = ["=1+1", "-5", "a"], ["@x", "'=y", "'til"]
    make_bundle(random_factors(n_users=3, n_items=3), users, items).save(tmp_path / "bundle")
    call_function("recommend", f"run={tmp_path}", "k=3", f"out={tmp_path / 'top.csv'}")
    found = pd.read_csv(tmp_path / "top.csv", dtype=str)
    assert set(found["user_id"]) == {"'=1+1", "'-5", "a"}
    assert set(found["item_id"]) == {"'@x", "''=y", "'til"}
    assert not found["score"].str.startswith("'").any()


def test_orders_and_rules(run: Path, tmp_path: Path) -> None:
    out, bundle = tmp_path / "top.parquet", Bundle.load(run / "bundle")
    asked = ["rank_by=gain", "min_ratings=2", "diversity=0.3", "exclude=[101,102]", "boost={103: 1.5}"]
    call_function("recommend", f"run={run}", "k=4", f"out={out}", "users=7", *asked)
    found = pd.read_parquet(out)
    wanted = bundle.recommend(7, 4, rank_by="gain", min_ratings=2, diversity=0.3, exclude=[101, 102], boost={103: 1.5})
    assert list(found["item_id"]) == [one.item_id for one in wanted]
    assert found["score"].is_monotonic_decreasing
    assert found["rating"].tolist() == pytest.approx([one.rating for one in wanted])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("rank_by=best", "rank_by must be one of stars, gain, bound, liking, got 'best'"),
        ("min_ratings=-1", "min_ratings must be an integer in [0, 2147483647], or null, got -1"),
        ("diversity=2", "diversity must be a number in [0, 1], got 2"),
        ("exclude=[x]", "exclude: the ids of ratings are integers such as 196, got 'x'"),
        ("boost={Nothing: 1}", "boost must name genres or ids of items, and 'Nothing' is neither"),
        ("users=[5,999]", "no user 999"),
        ("users=[05]", "users: the ids of ratings are integers such as 196, got '05'"),
        ("users=1_0", "users: the ids of ratings are integers such as 196, got '1_0'"),
        ("users=5.0", "users: the ids of ratings are integers such as 196, got '5.0'"),
        ("users=5,3", "users: the ids of ratings are integers such as 196, got '5,3'"),
        ("users=[]", "users must be a list of ids such as [196,22], or null for all users, got []"),
        ("k=true", "k must be an integer >= 1, got True"),
        ("exclude_seen=no", "exclude_seen must be true or false, got no"),
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
