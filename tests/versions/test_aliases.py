from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from recsys.database.tables import alias_changes
from recsys.versions import VersionConflictError, VersionError, Versions
from recsys.versions.aliases import ChainError, confirm
from tests.versions.conftest import Publish


@pytest.fixture
def named(versions: Versions, publish: Publish) -> list[str]:
    """Three versions, which `champion` has named one after the other."""
    made = [publish(1, 2, seed=seed).version for seed in range(3)]
    for version in made:
        versions.promote("champion", version, "ann", "better")
    return made


def test_an_alias_names_the_last_version(versions: Versions, named: list[str]) -> None:
    versions.promote("challenger", named[0], "ann", "to compare")
    assert versions.aliases.all() == {"champion": named[2], "challenger": named[0]}
    assert versions.aliases.current("champion") == named[2]
    assert versions.aliases.current("nobody") is None
    assert [change.number for change in versions.aliases.history("champion")] == [1, 2, 3]


def test_what_it_named_at_a_time(versions: Versions, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    for now, seed in ((100, 0), (200, 1), (150, 2)):  # the clock is set back
        version = publish(1, 2, seed=seed)
        monkeypatch.setattr("recsys.versions.aliases.time.time", lambda now=now: now + 0.9)
        versions.promote("champion", version.version, "ann", "better")
    first, second, third = versions.aliases.history()
    assert [change.changed for change in (first, second, third)] == [100, 200, 200]
    found = {seconds: versions.aliases.at("champion", seconds) for seconds in (99, 100, 199, 200, 999)}
    assert found == {99: None, 100: first, 199: first, 200: third, 999: third}


def test_naming_the_same_again_changes_nothing(versions: Versions, named: list[str]) -> None:
    before = versions.aliases.history()
    assert versions.promote("champion", named[2], "ann", "again") == before[-1]
    assert versions.aliases.history() == before
    with versions.database.writing() as connection:
        confirm(connection, ["champion"], "ann", "load it anew")
    last = versions.aliases.last("champion")
    assert last is not None
    assert (last.version, last.reason) == (named[2], "load it anew")
    assert len(versions.aliases.history()) == len(before) + 1


def test_an_alias_that_was_changed_meanwhile_is_left(versions: Versions, named: list[str]) -> None:
    with pytest.raises(VersionConflictError, match="changed meanwhile"):
        versions.promote("champion", named[0], "ann", "update", expected=named[1])
    with pytest.raises(VersionConflictError, match="must be new"):
        versions.promote("champion", named[0], "ann", "update", expected=None)
    versions.promote("champion", named[0], "ann", "update", expected=named[2])
    versions.promote("new", named[0], "ann", "update", expected=None)


@pytest.mark.parametrize("alias", ["", "1st", "a b", "cafe", "x" * 65, "a/b", "ä"])
def test_names_that_are_none(versions: Versions, named: list[str], alias: str) -> None:
    with pytest.raises(VersionError, match="alias must be"):
        versions.promote(alias, named[0], "ann", "x")


def test_only_versions_that_are_there_are_named(versions: Versions, named: list[str]) -> None:
    with pytest.raises(VersionError, match="there is no version"):
        versions.promote("champion", "0" * 64, "ann", "x")
    versions.registry.withdraw([named[0]], "retention")
    with pytest.raises(VersionError, match="is withdrawn"):
        versions.promote("champion", named[0], "ann", "x")


def test_the_chain_verifies(versions: Versions, named: list[str]) -> None:
    last = versions.aliases.verify()
    assert last is not None
    assert last.number == 3
    assert versions.aliases.verify(last.hash) == last
    with pytest.raises(ChainError, match="is missing"):
        versions.aliases.verify("f" * 64)


@pytest.mark.parametrize(
    ("column", "value"),
    [("version", "0" * 64), ("changed", 1), ("changed_by", "eve"), ("reason", "none"), ("alias", "other"),
     ("other_data", True), ("previous_hash", "0" * 64), ("hash", "0" * 64)],
)  # fmt: skip
def test_an_altered_row_is_found(versions: Versions, named: list[str], column: str, value: object) -> None:
    with versions.database.writing() as connection:
        connection.execute(update(alias_changes).where(alias_changes.c.number == 2).values(**{column: value}))
    with pytest.raises(ChainError, match="row 2 was altered"):
        versions.aliases.verify()


@pytest.mark.parametrize(("number", "message"), [(1, "row 1 is missing"), (2, "row 2 is missing")])
def test_a_missing_row_is_found(versions: Versions, named: list[str], number: int, message: str) -> None:
    with versions.database.writing() as connection:
        connection.execute(delete(alias_changes).where(alias_changes.c.number == number))
    with pytest.raises(ChainError, match=message):
        versions.aliases.verify()


def test_a_history_that_was_cut_off_is_found_by_its_head(versions: Versions, named: list[str]) -> None:
    last = versions.aliases.verify()
    assert last is not None
    with versions.database.writing() as connection:
        connection.execute(delete(alias_changes).where(alias_changes.c.number == last.number))
    versions.aliases.verify()
    with pytest.raises(ChainError, match="is missing"):
        versions.aliases.verify(last.hash)
