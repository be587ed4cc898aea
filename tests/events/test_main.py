"""recsys events: files become events, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.database import Database
from recsys.events import EventLog
from recsys.events.__main__ import main

CSV = "user_id,item_id,rating,timestamp\n1,50,4.1,100\n1,172,3,200\n2,50,5,150\n"

Run = Callable[..., str]


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(Database.open(f"sqlite:///{tmp_path}/live.db"))


@pytest.fixture
def run(tmp_path: Path, log: EventLog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECSYS_DATABASE", f"sqlite:///{tmp_path}/live.db")

    def call(*arguments: str) -> str:
        main(arguments)
        return capsys.readouterr().out

    return call


def test_importing_twice_counts_once(run: Run, log: EventLog) -> None:
    Path("r.csv").write_text(CSV)
    assert run("import", "r.csv").startswith("3 events of r.csv; 3 in sqlite:///")
    assert run("import", "r.csv").startswith("3 events of r.csv; 3 in sqlite:///")
    Path("r.csv").write_text(CSV + "3,50,2,300\n")
    assert run("import", "r.csv").startswith("4 events of r.csv; 4 in ")
    assert [(one.item_id, one.kind, one.rating, one.timestamp) for one in log.of_user("1")] == [
        ("50", "rating", 4.1, 100), ("172", "rating", 3.0, 200),
    ]  # fmt: skip
    assert run("count").startswith("4 events in sqlite:///")


def test_rows_without_ratings_are_choices(run: Run, log: EventLog) -> None:
    Path("c.csv").write_text("user_id,item_id\na,x\na,y\n")
    run("import", "c.csv")
    run("import", "c.csv", "--kind", "purchase")
    assert [(one.item_id, one.kind, one.rating, one.timestamp) for one in log.of_user("a")] == [
        ("x", "choice", None, 0), ("y", "choice", None, 0), ("x", "purchase", None, 0), ("y", "purchase", None, 0),
    ]  # fmt: skip


def test_options_and_other_formats_are_those_of_training(run: Run, log: EventLog) -> None:
    rows = [{"who": 7, "what": 8, "stars": 2}, {"who": 7, "what": 9, "stars": 4}]
    Path("r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run("import", "r.jsonl", "data.user_column=who", "data.item_column=what", "data.rating_column=stars")
    assert [one.rating for one in log.of_user("7")] == [2, 4]


def test_show_prints_the_latest_as_csv(run: Run) -> None:
    Path("r.csv").write_text(CSV)
    run("import", "r.csv")
    header, *lines = run("show", "--last", "2").splitlines()
    assert header == "seq,received,timestamp,user_id,item_id,kind,rating,event_id"
    assert [line.split(",")[0] for line in lines] == ["2", "3"]
    assert lines[1].split(",")[2:7] == ["1970-01-01T00:02:30Z", "2", "50", "rating", "5"]
    assert len(run("show", "--user", "1").splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "absent.csv"], "absent.csv"),
        (["import", "r.csv", "data.colour=red"], "no option 'data.colour'"),
        (["count", "--database", "nonsense"], "--database must be an SQLAlchemy URL"),
        (["import", "long.csv"], "row 0: item_id must be UTF-8 of 1 to 2048 characters"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, arguments: list[str], said: str) -> None:
    Path("r.csv").write_text(CSV)
    Path("long.csv").write_text(f"user_id,item_id,rating\na,{'李' * 900},3\na,b,4\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^error: ") as ended:
        run(*arguments)
    assert said in str(ended.value.code)
    assert "\n" not in str(ended.value.code)


@pytest.mark.parametrize("last", ["-1", "0", "x", "1.5"])
def test_last_is_a_number_of_events(run: Run, capsys: pytest.CaptureFixture[str], last: str) -> None:
    with pytest.raises(SystemExit):
        run("show", f"--last={last}")
    assert f"argument --last: must be a whole number >= 1, got '{last}'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "count"])
def test_only_import_makes_a_database(run: Run, tmp_path: Path, command: str) -> None:
    with pytest.raises(SystemExit, match=r"there is no database at sqlite:///"):
        run(command, "--database", f"sqlite:///{tmp_path}/mistyped/x.db")
    assert not (tmp_path / "mistyped").exists()


def test_a_password_is_refused_on_the_command_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("count", "--database", "postgresql://u:s3cret@db/shop")
    said = capsys.readouterr().err
    assert "must have no password: set RECSYS_DATABASE" in said
    assert "s3cret" not in said
