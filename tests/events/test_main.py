"""recsys events: files become events, once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import EventLog
from recsys.events.__main__ import main
from recsys.events.merge import merge_events, ratings_of
from recsys.versions import Versions, open_versions
from tests.bundles import make_bundle, random_factors
from tests.versions.conftest import of_users

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
    accounted = "3 rows of r.csv: 3 ratings, 0 refused, 0 dropped\n"
    assert run("import", "r.csv").startswith(f"{accounted}3 new of 3 events of r.csv; 3 in sqlite:///")
    assert run("import", "r.csv").startswith(f"{accounted}0 new of 3 events of r.csv; 3 in sqlite:///")
    Path("r.csv").write_text(CSV + "3,50,2,300\n")
    assert "1 new of 4 events of r.csv; 4 in " in run("import", "r.csv")
    assert [(one.item_id, one.kind, one.rating, one.timestamp) for one in log.of_user("1")] == [
        ("50", "rating", 4.1, 100), ("172", "rating", 3.0, 200),
    ]  # fmt: skip
    assert run("count").startswith("4 events in sqlite:///")


def test_rows_without_ratings_are_choices(run: Run, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.5)
    Path("c.csv").write_text("user_id,item_id\na,x\na,y\n")
    run("import", "c.csv")
    run("import", "c.csv", "--kind", "purchase")
    assert [(one.item_id, one.kind, one.rating, one.timestamp) for one in log.of_user("a")] == [
        ("x", "choice", None, 1000), ("y", "choice", None, 1000),
        ("x", "purchase", None, 1000), ("y", "purchase", None, 1000),
    ]  # fmt: skip


def test_options_and_other_formats_are_those_of_training(run: Run, log: EventLog) -> None:
    rows = [{"who": 7, "what": 8, "stars": 2}, {"who": 7, "what": 9, "stars": 4}]
    Path("r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run("import", "r.jsonl", "data.user_column=who", "data.item_column=what", "data.rating_column=stars")
    assert [one.rating for one in log.of_user("7")] == [2, 4]


def test_without_times_events_are_of_the_import_and_count_once(
    run: Run, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("r.csv").write_text("user_id,item_id,rating\n1,50,4\n")
    monkeypatch.setattr("time.time", lambda: 1000)
    run("import", "r.csv")
    monkeypatch.setattr("time.time", lambda: 2000)
    assert "0 new of 1 events" in run("import", "r.csv")
    assert [one.timestamp for one in log.of_user("1")] == [1000]


def test_a_withdrawal_without_a_time_takes_back_what_was_said_before(run: Run, log: EventLog) -> None:
    Path("r.csv").write_text("user_id,item_id,rating,timestamp\n1,0,4,1700000000\n1,0,4,1700000000\n")
    Path("w.csv").write_text("user_id,item_id\n1,0\n")
    bundle = of_users(1, 2)
    run("import", "r.csv")
    run("import", "w.csv", "--kind", "withdrawal")
    assert merge_events(bundle, ratings_of(bundle, 0), log.of_user("1"), [0, 0]).item.tolist() == [1]


def test_a_withdrawal_takes_back_ratings_of_a_file(run: Run, log: EventLog) -> None:
    """It was ignored, so that the ratings were given once more."""
    Path("r.csv").write_text(CSV)
    Path("w.csv").write_text("user_id,item_id,rating,timestamp\n1,50,4.1,100\n1,172,9,200\n")
    bundle = of_users(1, 2)
    run("import", "r.csv")
    assert "2 new of 2" in run("import", "w.csv", "--kind", "withdrawal")
    assert [(one.kind, one.rating) for one in log.of_user("1")[2:]] == [("withdrawal", None)] * 2
    given = merge_events(bundle, ratings_of(bundle, 0), log.of_user("1")[:2], [2, 3])
    assert given.item.tolist() == [0, 1, 2, 3]
    after = merge_events(bundle, ratings_of(bundle, 0), log.of_user("1"), [2, 3, 2, 3])
    assert after.item.tolist() == [0, 1]


@pytest.mark.usefixtures("champion")
def test_a_withdrawal_needs_no_rating_on_the_scale(run: Run, log: EventLog) -> None:
    Path("w.csv").write_text("user_id,item_id,rating,timestamp\n1,5,9,880000000\n2,5,8,880000000\n")
    assert "2 new of 2" in run("import", "w.csv", "--kind", "withdrawal")


def test_events_keep_the_kinds_of_their_file(run: Run, log: EventLog) -> None:
    Path("e.csv").write_text(
        "user,item,event,when\na,x,view,1700000000\na,y,cart,1700000001\na,x,cart,1700000002\na,z,rating,1700000003\n"
    )
    kinds = "data.events={view: 1, cart: 3, rating: 3}"
    assert "3 new of 3" in run("import", "e.csv", kinds)
    assert [(one.item_id, one.kind, one.timestamp) for one in log.of_user("a")] == [
        ("y", "cart", 1_700_000_001), ("x", "cart", 1_700_000_002), ("z", "choice", 1_700_000_003),
    ]  # fmt: skip
    assert "3 new of 3" in run("import", "e.csv", kinds, "--kind", "play")
    Path("v.csv").write_text("user,item,event,when\nb,x,view,1700000000\nb,y,view,1700000001\n")
    run("import", "v.csv", "data.event_column=event", kinds)
    assert [one.kind for one in log.of_user("b")] == ["view", "view"]


def test_ratings_are_of_no_other_kind(run: Run, log: EventLog) -> None:
    Path("r.csv").write_text(CSV)
    with pytest.raises(
        SystemExit, match=r"^error: r\.csv has ratings: --kind must be rating or withdrawal, got 'play'; "
    ):
        run("import", "r.csv", "--kind", "play")
    assert "3 new of 3" in run("import", "r.csv", "--kind", "rating")
    assert "3 new of 3" in run("import", "r.csv", "data.rating_column=null", "--kind", "play")


def test_numbers_that_may_be_no_times_are_told(run: Run, log: EventLog, caplog: pytest.LogCaptureFixture) -> None:
    Path("d.csv").write_text("user_id,item_id,rating,day\n1,50,4,1\n1,172,3,2\n")
    run("import", "d.csv")
    assert "d.csv: all times are in the first years after 1970; " in caplog.text
    caplog.clear()
    run("import", "d.csv", "data.timestamp_column=null")
    assert not caplog.records


def test_rows_that_the_reader_drops_are_told(run: Run, log: EventLog) -> None:
    Path("r.csv").write_text(CSV + "3,,2,300\n1,50,5,400\n")
    assert run("import", "r.csv").startswith(
        "5 rows of r.csv: 3 ratings, 0 refused, 2 dropped (1 no item id, 1 repeats of a user and item)\n"
        "3 new of 3 events of r.csv; 3 in "
    )


def publish_champion(log: EventLog, monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setenv("RECSYS_STORE", str(log.database.path.parent / "store"))
    versions = open_versions(log.database)
    made = versions.publish(bundle, parent=None, cut=0, made_by="fit", metrics={}, configuration={})
    versions.promote("champion", made.version, "ann", "first")


@pytest.fixture
def champion(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of integer ids, and stars from 1 to 5."""
    publish_champion(log, monkeypatch, of_users(1, 2))


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize(
    ("row", "options", "said"),
    [
        ("2,50,9,300", [], "x.csv, line 5: rating must be in [1, 5], got 9"),
        ("2,50,0.5,300", [], "x.csv, line 5: rating must be in [1, 5], got 0.5"),
        ("2,50,9,300", ["data.rating_max=10", "data.missing=[]"],
         "x.csv, the row of user '2' and item '50': rating must be in [1, 5], got 9"),
        ("ann,50,3,300", [],
         "x.csv, the row of user 'ann' and item '50': user_id: ids of this data are integers, such as 50, got 'ann'"),
        ("2,tt1,3,300", [],
         "x.csv, the row of user '2' and item 'tt1': item_id: ids of this data are integers, such as 50, got 'tt1'"),
        ("2,50,3,-5", [], "x.csv, line 5: timestamp must be unix seconds in [0, 100000000000), got -5; data.time"),
        ("2,50,3,99999999999", [], "x.csv, the row of user '2' and item '50': timestamp must be unix seconds, at most "
         "a day ahead of now, got 99999999999 (5138-11-16T09:46:39Z)"),
        ("2,50,bad,300", [], "x.csv: column 'rating' has ratings such as"),
    ],
)  # fmt: skip
def test_a_file_with_a_bad_row_is_refused_as_a_whole(
    run: Run, log: EventLog, row: str, options: list[str], said: str
) -> None:
    times = "1,3,4.5,880000000\n1,4,3,880000001\n2,3,5,880000002\n"
    Path("x.csv").write_text(f"user_id,item_id,rating,timestamp\n{times}{row}\n")
    with pytest.raises(SystemExit) as ended:
        run("import", "x.csv", *options)
    assert str(ended.value.code).startswith(f"error: {said}")
    assert "\n" not in str(ended.value.code)
    assert log.count() == 0


@pytest.mark.usefixtures("champion")
def test_ids_are_those_of_the_champion(run: Run, log: EventLog) -> None:
    Path("r.csv").write_text('user_id,item_id,rating\n"01",3,4\nx1,3,4\n')
    with pytest.raises(SystemExit, match="ids of this data are integers, such as 50, got 'x1'"):
        run("import", "r.csv")
    Path("r.csv").write_text('user_id,item_id,rating\n"01",3,4\n')
    run("import", "r.csv")
    assert [one.item_id for one in log.of_user("1")] == ["3"]
    assert run("show", "--user", "01") == run("show", "--user", "1") != run("show", "--user", "2")
    with pytest.raises(SystemExit, match="ids of this data are integers, such as 50, got 'ann'"):
        run("show", "--user", "ann")


@pytest.mark.usefixtures("champion")
def test_only_the_manifest_of_the_champion_is_needed(run: Run, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its whole bundle was loaded."""
    monkeypatch.setattr(Versions, "load", lambda *_: pytest.fail("loaded"))
    Path("r.csv").write_text("user_id,item_id,rating\n1,3,4\n")
    assert "1 new of 1" in run("import", "r.csv")


@pytest.mark.usefixtures("champion")
def test_without_the_store_of_the_champion_nothing_is_imported(
    run: Run, log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECSYS_STORE")
    Path("r.csv").write_text("user_id,item_id,rating\n1,3,4\n")
    with pytest.raises(
        SystemExit,
        match=r"^error: outputs/versions has no version [0-9a-f]{12}: --store, or RECSYS_STORE, must name the store",
    ):
        run("import", "r.csv")
    assert log.count() == 0
    assert "1 new of 1" in run("import", "r.csv", "--store", str(tmp_path / "store"))


def test_a_rating_of_implicit_feedback_is_the_highest(run: Run, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [(row, item, 1.0, 0) for row in (0, 1) for item in (0, 1)]
    about: dict[str, Any] = {"task": "ranking", "rating_scale": [0.0, 1.0], "fold_in_target": 1.0}
    publish_champion(
        log, monkeypatch, make_bundle(random_factors(n_users=2, n_items=3), [1, 2], [1, 2, 3], chosen, **about)
    )
    Path("r.csv").write_text("user_id,item_id,rating\n1,3,1\n2,3,0.5\n")
    with pytest.raises(SystemExit, match=r"must be .*1, as all are in implicit feedback, got 0\.5"):
        run("import", "r.csv")


def test_the_ends_of_the_scale_are_on_it(run: Run, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six digits of them were kept."""
    publish_champion(log, monkeypatch, of_users(1, 2, rating_scale=[0.1234567, 7654321.0]))
    Path("r.csv").write_text("user_id,item_id,rating\n1,3,0.1234567\n1,4,7654321\n")
    assert "2 new of 2" in run("import", "r.csv")


@pytest.mark.usefixtures("champion")
def test_rows_without_ratings_are_of_any_scale(run: Run, log: EventLog) -> None:
    Path("c.csv").write_text("user_id,item_id\n1,3\n1,4\n")
    assert "2 new of 2 events" in run("import", "c.csv")
    with pytest.raises(SystemExit, match=r"c\.csv has no ratings: --kind must be of rows without one, such as choice"):
        run("import", "c.csv", "--kind", "rating")


def test_standard_input_is_read_once(run: Run, log: EventLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"user_id,item_id,rating\n1,3,4\n")))
    assert "1 new of 1 events of -; 1 in " in run("import", "-")


def test_a_column_that_is_no_time_may_be_left_out(run: Run, log: EventLog) -> None:
    Path("x.csv").write_text("user_id,item_id,rating,timestamp\n1,3,4,-1\n1,4,3,-1\n")
    with pytest.raises(SystemExit, match=r"such as '-1' in no known form; set .* or data\.timestamp_column=null$"):
        run("import", "x.csv")
    assert "2 new of 2" in run("import", "x.csv", "data.timestamp_column=null")


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
        (["import", "long.csv"], "item_id must be UTF-8 of 1 to 2048 characters"),
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
