"""The command `recsys versions`, and `recsys forget`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys import forget as forget_command
from recsys.events import RATING, Event, EventLog
from recsys.versions import Versions, open_versions
from recsys.versions.__main__ import main
from recsys.versions.moments import moment, shown_moment
from tests.versions.conftest import of_users

Say = Callable[..., str]


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Versions:
    monkeypatch.setenv("RECSYS_DATABASE", f"sqlite:///{tmp_path}/live.db")
    monkeypatch.setenv("RECSYS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    return open_versions()


@pytest.fixture
def say(versions: Versions, capsys: pytest.CaptureFixture[str]) -> Say:
    """What the command prints."""

    def run(*argv: str) -> str:
        main(argv)
        return capsys.readouterr().out

    return run


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """The folder of a run."""

    def finished(name: str, *users: int, seed: int = 0, **manifest: str) -> str:
        folder = tmp_path / name
        of_users(*users, seed=seed, **manifest).save(folder / "bundle")
        (folder / "metrics.json").write_text(json.dumps({"test/rmse": 0.9 + seed, "model": "mf"}))
        (folder / "config.yaml").write_text(f"seed: {seed}\ndata:\n  url: postgresql://me:s3cret@db/shop\n")
        return str(folder)

    return finished


def test_a_run_becomes_the_champion(say: Say, run: Callable[..., str], versions: Versions) -> None:
    text = say("add", run("first", 1, 2), "--alias", "champion", "--by", "ann", "--why", "the first")
    version, _ = versions.champion()
    assert f"version {version.short} in" in text
    assert f"champion names {version.short} since" in text
    about = json.loads(say("show", "champion"))
    assert about["version"] == version.version
    assert about["metrics"]["test/rmse"] == 0.9
    assert about["configuration"] == {"seed": 0, "data": {"url": "postgresql://me:***@db/shop"}}
    assert about["aliases"] == ["champion"]
    last = versions.aliases.last("champion")
    assert last is not None
    assert (last.changed_by, last.reason) == ("ann", "the first")


def test_promote_and_rollback(say: Say, run: Callable[..., str], versions: Versions) -> None:
    say("add", run("first", 1, 2), "--alias", "champion")
    first = versions.champion().version
    say("add", run("second", 1, 2, seed=1))
    second = next(one for one in versions.registry.all() if one != first)
    assert versions.champion().version == first
    say("promote", second.short, "--why", "better")
    assert versions.champion().version == second
    listed = say("list")
    assert f"{second.short} " in listed
    assert "champion" in listed
    say("rollback", "--why", "worse")
    assert versions.champion().version == first
    assert [change.reason for change in versions.aliases.history()] == ["add first", "better", "rollback: worse"]
    with pytest.raises(SystemExit, match="could go back from"):
        main(["rollback"])


def test_other_data_is_refused_unless_told(say: Say, run: Callable[..., str], versions: Versions) -> None:
    say("add", run("first", 1, 2), "--alias", "champion")
    with pytest.raises(SystemExit, match="other"):
        main(["add", run("second", 11, 12, data="other"), "--alias", "champion"])
    assert len(versions.aliases.history()) == 1
    say("add", run("third", 11, 12, data="other"), "--alias", "champion", "--other-data")
    last = versions.aliases.last("champion")
    assert last is not None
    assert last.other_data


def test_what_an_alias_named_at_a_time(
    say: Say, run: Callable[..., str], versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: moment("2026-11-24 08:00"))
    say("add", run("first", 1, 2), "--alias", "champion", "--by", "ann")
    version = versions.champion().version.version
    monkeypatch.setattr("time.time", lambda: moment("2026-11-24 10:00"))
    assert say("at", "2026-11-24 09:00") == f"{version} (since 2026-11-24 08:00:00, by ann: add first)\n"
    with pytest.raises(SystemExit, match="named nothing at"):
        main(["at", "2026-11-24 07:59:59"])
    with pytest.raises(SystemExit, match="a time must be like"):
        main(["at", "yesterday"])
    for argv in (["at", "2026-11-24 10:01"], ["served", "--user", "1", "--at", "2026-11-24 10:01"]):
        with pytest.raises(SystemExit, match=r"must be in the past, now is 2026-11-24 10:00:00 in UTC, got"):
            main(argv)


def test_what_somebody_got(say: Say, run: Callable[..., str], versions: Versions) -> None:
    say("add", run("first", 1, 2), "--alias", "champion")
    now = shown_moment(int(time.time()))
    found = json.loads(say("served", "--user", "1", "--at", now, "-k", "2"))
    assert (found["user_id"], found["at"], found["status"]) == ("1", now, "served")
    best = versions.champion().bundle.recommend(1, 2)
    assert [one["item_id"] for one in found["recommendations"]] == [str(one.item_id) for one in best]
    (predicted,) = versions.champion().bundle.predict([1], [5])
    found = json.loads(say("served", "--user", "1", "--at", now, "--item", "5"))
    assert found["rating"] == pytest.approx(float(predicted), abs=1e-6)
    for argv, message in ((("-k", "0"), "k must be >= 1"), (("--item", "99"), "predicts no rating of item '99'")):
        with pytest.raises(SystemExit, match=message):
            main(["served", "--user", "1", "--at", now, *argv])


def test_diff(say: Say, run: Callable[..., str], versions: Versions) -> None:
    say("add", run("first", 1, 2), "--alias", "champion")
    say("add", run("second", 1, 2, 3, seed=1), "--alias", "challenger")
    lines = say("diff", "champion", "challenger").splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["users", "ratings", "fitted", "test/rmse", "seed"]
    assert lines[-1].startswith("RMS difference of 10,000 predictions: ")
    assert say("diff", "champion", "champion").endswith("predictions: 0.0000 stars\n")


def test_gc_and_verify(say: Say, run: Callable[..., str], versions: Versions) -> None:
    say("add", run("first", 1, 2), "--alias", "champion")
    assert say("gc", "--dry-run").startswith("0 versions would be removed")
    said = say("verify", "--files")
    head = said.splitlines()[0].rpartition(" ")[2]
    assert said.startswith("1 changes of aliases, head ")
    assert "1 versions" in said
    say("verify", "--head", head)
    with pytest.raises(SystemExit, match="is missing"):
        main(["verify", "--head", "0" * 64])
    with pytest.raises(SystemExit, match="days must be >= 0"):
        main(["gc", "--days", "-1"])


@pytest.mark.parametrize("argv", [["--user", "01"], ["--user", "1", "--item", "05"]])
def test_numbers_are_ids_as_the_service_takes_them(
    say: Say, run: Callable[..., str], versions: Versions, argv: list[str]
) -> None:
    say("add", run("first", 1, 2), "--alias", "champion")
    now = shown_moment(int(time.time()))
    plain = [one.removeprefix("0") for one in argv]
    assert say("served", *argv, "--at", now) == say("served", *plain, "--at", now)
    with pytest.raises(SystemExit, match="ids of this data are integers, such as 50, got 'ann'"):
        main(["served", *argv[:-1], "ann", "--at", now])


def test_an_account_without_a_name_has_a_number(
    say: Say, run: Callable[..., str], versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)  # as in a container
    say("add", run("first", 1, 2), "--alias", "champion")
    assert "by uid 4000000: add first" in say("at", shown_moment(int(time.time())))


@pytest.mark.parametrize(
    ("argv", "message"),
    [(["show", "champion"], "version's first digits or an alias, got 'champion'"),
     (["show", "abc"], "there is no version abc"),
     (["add", "nowhere"], "is no finished run"), (["promote", "abc"], "there is no version"),
     (["add", "nowhere", "--alias", "1"], "alias must be")],
)  # fmt: skip
def test_mistakes_are_told(versions: Versions, argv: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(argv)


@pytest.mark.parametrize(
    "argv",
    [["list"], ["show", "champion"], ["at", "2020-01-01"], ["served", "--user", "1", "--at", "2020-01-01"],
     ["diff", "a", "b"], ["verify"], ["gc"], ["promote", "a"], ["rollback"]],
)  # fmt: skip
def test_only_add_makes_a_database(tmp_path: Path, argv: list[str]) -> None:
    file = tmp_path / "mistyped" / "x.db"
    with pytest.raises(SystemExit, match=r"there is no database at sqlite:///.*x\.db: `recsys events import`"):
        main([*argv, "--database", f"sqlite:///{file}"])
    with pytest.raises(SystemExit, match=r"there is no database at"):
        forget_command.main(["1", "--database", f"sqlite:///{file}"])
    assert not file.parent.exists()


def test_an_alias_that_names_nothing_is_told_with_its_database(versions: Versions) -> None:
    with pytest.raises(ValueError, match=r"alias champion names no version in sqlite:///.*live\.db: "):
        versions.champion()


def test_forget(
    say: Say, run: Callable[..., str], versions: Versions, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    say("add", run("first", 1, 2), "--alias", "champion")
    refit = tmp_path / "updates" / f"{versions.champion().version.short}-3"
    refit.mkdir(parents=True)
    forget_command.main(["2", "--by", "ann", "--runs", str(refit.parent)])
    assert not refit.exists()
    said = capsys.readouterr().out
    assert said.startswith("0 events and 0 jobs deleted, 1 versions withdrawn; champion moved to a version without ")
    assert versions.champion().bundle.user_ids.tolist() == [1]
    assert "(forgotten)" in say("list", "--all")
    assert "(forgotten)" not in say("list")


def test_forgetting_somebody_unknown_says_so(
    say: Say, run: Callable[..., str], versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    say("add", run("first", 1, 2), "--alias", "champion")
    EventLog(versions.database).append([Event("1", "ann", "1", RATING, 4.0, 0)])  # of data before
    for user, said in (
        ("424242", "no such person: nothing is known of 424242"),
        ("bob", "error: ids of this data are integers, such as 50, got 'bob'"),
    ):
        with pytest.raises(SystemExit) as ended:
            forget_command.main([user])
        assert ended.value.code == said
    assert [one.reason for one in versions.aliases.history()] == ["add first"]
    forget_command.main(["ann"])
    assert capsys.readouterr().out.startswith("1 events and 0 jobs deleted")
    forget_command.main(["02"])
    assert versions.champion().bundle.user_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-02", 86400), ("1970-01-01 00:01", 60), ("1970-01-01T01:00:30+01:00", 30), ("1970-01-01T00:00:05Z", 5)],
)
def test_moments(text: str, seconds: int) -> None:
    assert moment(text) == seconds
    assert moment(shown_moment(seconds)) == seconds
