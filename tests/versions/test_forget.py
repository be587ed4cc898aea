from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, select

from recsys.database.jobs import Jobs
from recsys.database.tables import alias_changes, events, jobs, users
from recsys.database.tables import versions as rows_of_versions
from recsys.events import RATING, Event, EventLog
from recsys.versions import Versions
from recsys.versions.forget import WHY, forget
from recsys.versions.version import FORGET, FORGOTTEN, UPDATE
from tests.versions.conftest import Publish, killed_at, of_users, reopened, same_answers

SOMEBODY = 314_159_265_358_979  # too long to be in a hash or a time by chance


@pytest.fixture
def history(versions: Versions, publish: Publish) -> list[str]:
    """Versions from which the champion comes: one without somebody, two with, and events of theirs."""
    log = EventLog(versions.database)
    people = (str(SOMEBODY), "1", "3")
    log.append([Event(f"of {user}: {n}", user, "1", RATING, 4.0, 0) for n, user in enumerate(people)])
    with versions.database.writing() as connection:
        connection.execute(insert(users).values(user_id=str(SOMEBODY), revision=1, attributes={"a": "b"}, changed=0))
    for job_id, named in (("theirs", [str(SOMEBODY)]), ("all", None), ("of others", ["1"])):
        Jobs(versions.database).add(job_id, {"users": named, "options": {}, "format": "jsonl"})
    first = publish(1, 2)
    second = publish(1, 2, SOMEBODY, parent=first.version, cut=2, made_by=UPDATE, seed=1)
    third = publish(1, 2, SOMEBODY, 3, parent=second.version, cut=3, made_by=UPDATE, seed=2)
    for alias, version in (("champion", first), ("champion", second), ("champion", third), ("challenger", second)):
        versions.promote(alias, version.version, "ann", "better")
    return [first.version, second.version, third.version]


def traces(versions: Versions, folder: Path) -> list[str]:
    """Where somebody still is."""
    found = [one.version for one in versions.store.all() if SOMEBODY in versions.store.user_ids(one.version)]
    for path in folder.rglob("*"):
        if path.is_file() and path.name == "ids.safetensors":
            found += [str(path)] if SOMEBODY.to_bytes(8, "little") in path.read_bytes() else []
    for path in versions.database.path.parent.glob(f"{versions.database.path.name}*"):
        found += [str(path)] if f"of {SOMEBODY}: ".encode() in path.read_bytes() else []
    with versions.database.reading() as connection:
        for table in (events, users, rows_of_versions, alias_changes, jobs):
            found += [str(row) for row in connection.execute(select(table)) if str(SOMEBODY) in str(row)]
    return found


def test_nothing_of_them_is_left(versions: Versions, history: list[str], tmp_path: Path) -> None:
    before = versions.champion().bundle
    assert traces(versions, tmp_path)
    found = forget(versions, str(SOMEBODY), "ann")
    assert traces(versions, tmp_path) == []
    assert (found.events, sorted(found.withdrawn), found.aliases) == (
        1,
        sorted(history[1:]),
        ["challenger", "champion"],
    )
    version, bundle = versions.champion()
    assert (version.parent, version.cut, version.made_by) == (history[2], 3, FORGET)
    assert bundle.user_ids.tolist() == [1, 2, 3]
    assert all(same_answers(before, bundle, user) for user in (1, 2, 3))
    assert EventLog(versions.database).of_user("3")
    assert found.jobs == 2
    assert [one.job_id for one in Jobs(versions.database).states()] == ["of others"]
    for withdrawn in history[1:]:
        row = versions.registry.get(withdrawn)
        assert row is not None
        assert row.withdrawn
        assert row.reason == FORGOTTEN
    assert versions.load(versions.find(history[0])).user_ids.tolist() == [1, 2]
    versions.aliases.verify()


def test_the_ids_of_a_version_are_read_once(
    versions: Versions, history: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, original = list[str](), versions.store.user_ids

    def counted(version: str) -> list[int | str]:
        read.append(version)
        return original(version)

    monkeypatch.setattr(versions.store, "user_ids", counted)
    forget(versions, "424242", "ann")
    assert sorted(read) == sorted(history)


def test_doing_it_again_changes_nothing(versions: Versions, history: list[str]) -> None:
    forget(versions, str(SOMEBODY), "ann")
    before = versions.registry.all()
    again = forget(versions, str(SOMEBODY), "ann")
    assert (again.events, again.withdrawn, again.made, again.aliases) == (0, [], [], [])
    assert versions.registry.all() == before


def test_of_nobody_nothing_is_written(versions: Versions, history: list[str]) -> None:
    before = versions.aliases.history()
    found = forget(versions, "424242", "ann")
    assert (found.is_known, found.events, found.jobs, found.withdrawn) == (False, 0, 0, [])
    assert versions.aliases.history() == before
    assert len(Jobs(versions.database).states()) == 3  # nobody is in the results of jobs of all users, either


def test_whom_a_job_names_is_known(versions: Versions, history: list[str]) -> None:
    Jobs(versions.database).add("named", {"users": ["424242"], "options": {}, "format": "jsonl"})
    found = forget(versions, "424242", "ann")
    assert (found.is_known, found.jobs) == (True, 1)
    assert {one.reason for one in versions.aliases.history()[-2:]} == {WHY}


def test_it_is_known_as_soon_as_the_events_are_gone(
    versions: Versions, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next start, after it was killed, would know of nobody."""
    versions.promote("champion", publish(1, 2).version, "ann", "first")
    EventLog(versions.database).append([Event("1", "new", "1", RATING, 4.0, 0)])
    monkeypatch.setattr(versions.database, "purge", lambda: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception, match="killed"):
        forget(versions, "new", "ann")
    monkeypatch.undo()
    assert [one.reason for one in versions.aliases.history()] == ["first", WHY]
    assert not forget(versions, "new", "ann").is_known
    assert len(versions.aliases.history()) == 2


def test_somebody_whom_no_version_knows(versions: Versions, publish: Publish) -> None:
    version = publish(1, 2)
    versions.promote("champion", version.version, "ann", "first")
    EventLog(versions.database).append([Event("1", "new", "1", RATING, 4.0, 0)])
    found = forget(versions, "new", "ann")
    assert (found.events, found.withdrawn) == (1, [])
    last = versions.aliases.last("champion")
    assert last is not None
    assert (last.number, last.version) == (2, version.version)  # by which services empty their caches
    versions.aliases.verify()


def test_one_after_the_other(versions: Versions, history: list[str], tmp_path: Path) -> None:
    forget(versions, "3", "ann")
    forget(versions, str(SOMEBODY), "ann")
    forget(versions, "1", "ann")
    assert versions.champion().bundle.user_ids.tolist() == [2]
    assert traces(versions, tmp_path) == []


STEPS = [
    "recsys.versions.forget.delete",
    "recsys.versions.forget.without_users",
    "recsys.versions.bundle_store.BundleStore.is_whole",
    "recsys.versions.folder_store.atomic_folder",
    "recsys.versions.registry.Registry.add",
    "recsys.versions.versions.Versions.promote",
    "recsys.versions.registry.Registry.withdrawn",
    "recsys.versions.folder_store.FolderStore.remove",
    "recsys.versions.folder_store.remove_folder",
    "recsys.versions.forget.confirm",
]


@pytest.mark.long
@pytest.mark.parametrize(
    ("step", "call", "after"), [*((one, 1, False) for one in STEPS), *((one, 2, True) for one in STEPS)]
)
def test_whatever_it_is_killed_at_the_next_one_goes_on(
    versions: Versions, history: list[str], tmp_path: Path, step: str, call: int, after: bool
) -> None:
    """A process that is killed at a step leaves nothing half, and the next start does the rest."""
    killed_at(step, call, lambda: forget(reopened(versions), str(SOMEBODY), "ann"), after=after)
    for stored in versions.store.all():
        assert versions.store.is_whole(stored.version)
    versions.champion()  # is there at any moment
    forget(versions, str(SOMEBODY), "ann")
    assert traces(versions, tmp_path) == []
    assert versions.champion().bundle.user_ids.tolist() == [1, 2, 3]
    left = {stored.version for stored in versions.store.all()}
    assert left == {one.version for one in versions.registry.all() if one.withdrawn is None}
    assert not list(tmp_path.rglob(".*.partial"))
    versions.aliases.verify()


def test_an_update_meanwhile_is_made_again(
    versions: Versions, publish: Publish, history: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that is made of the champion while somebody is forgotten does not bring them back."""
    withdraw = versions.registry.withdraw

    def late(*args: object) -> list[str]:
        monkeypatch.setattr(versions.registry, "withdraw", withdraw)
        child = publish(1, 2, SOMEBODY, 3, parent=history[2], cut=3, made_by=UPDATE, seed=7)
        versions.promote("champion", child.version, "update", "updated")
        return withdraw(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(versions.registry, "withdraw", late)
    forget(versions, str(SOMEBODY), "ann")
    assert traces(versions, tmp_path) == []
    assert versions.champion().bundle.user_ids.tolist() == [1, 2, 3]


def test_what_lies_in_the_store_without_a_row_goes_too(versions: Versions, history: list[str], tmp_path: Path) -> None:
    of_users(1, SOMEBODY, seed=9).save(tmp_path / "killed")
    version = versions.store.put(tmp_path / "killed")
    forget(versions, str(SOMEBODY), "ann")
    assert version not in {stored.version for stored in versions.store.all()}


def test_a_damaged_version_goes_too(versions: Versions, history: list[str], tmp_path: Path) -> None:
    (versions.cache.folder(history[0]) / "ids.safetensors").write_bytes(b"x")
    forget(versions, str(SOMEBODY), "ann")
    row = versions.registry.get(history[0])
    assert row is not None
    assert row.reason == FORGOTTEN


def test_copies_of_a_distant_store_go_too(versions: Versions, history: list[str], tmp_path: Path) -> None:
    for version in history:
        versions.store.fetch(version, tmp_path / "cache" / version)
    forget(versions, str(SOMEBODY), "ann")
    assert versions.cache.versions() == [history[0]]
