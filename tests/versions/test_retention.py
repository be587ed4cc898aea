from __future__ import annotations

from pathlib import Path

import pytest

from recsys.versions import VersionError, Versions
from recsys.versions.aliases import confirm
from recsys.versions.forget import forget
from recsys.versions.retention import DAY, collect
from recsys.versions.rollback import before_current
from recsys.versions.version import RETENTION, UPDATE
from tests.versions.conftest import Publish, of_users

NOW = 1_900_000_000


@pytest.fixture
def chain(versions: Versions, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Eight versions, each made of the one before and promoted ten days after it, the last one now."""
    made: list[str] = []
    for step in range(8):
        now = NOW - (7 - step) * 10 * DAY
        monkeypatch.setattr("time.time", lambda now=now: now)
        parent = made[-1] if made else None
        version = publish(1, 2, seed=step, parent=parent, made_by=UPDATE).version
        versions.promote("champion", version, "update", "better")
        made.append(version)
    return made


def test_what_an_alias_or_a_parent_needs_is_kept(versions: Versions, chain: list[str]) -> None:
    versions.promote("challenger", chain[0], "ann", "to compare")
    would = collect(versions, 25, dry_run=True)
    assert len(versions.store.all()) == 8
    # The champion of the last 25 days was one of 4 to 7, and 3 is the parent of 4.
    assert sorted(collect(versions, 25)) == sorted(would) == sorted([chain[1], chain[2]])
    assert {stored.version for stored in versions.store.all()} == {chain[0], *chain[3:]}
    assert collect(versions, 25) == []
    row = versions.registry.get(chain[1])
    assert row is not None
    assert (row.reason, row.withdrawn) == (RETENTION, NOW)
    with pytest.raises(VersionError, match="is withdrawn"):
        versions.load(row)
    versions.aliases.verify()


def test_without_days_what_rollback_needs_is_kept(versions: Versions, chain: list[str]) -> None:
    collect(versions, 0)
    assert {stored.version for stored in versions.store.all()} == {chain[7], chain[6], chain[5]}  # and 6's parent


def test_a_young_version_is_kept(versions: Versions, chain: list[str], publish: Publish) -> None:
    young = publish(1, 2, 3)
    assert young.version not in collect(versions, 0)


def test_what_killed_processes_left_is_removed_after_a_day(
    versions: Versions, chain: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    of_users(5, 6).save(tmp_path / "bundle")
    left = versions.store.put(tmp_path / "bundle")
    assert left not in collect(versions, 1e6)
    now = versions.store.all()[0].modified + 2 * DAY
    monkeypatch.setattr("time.time", lambda: now)
    assert collect(versions, 1e6) == [left]


def test_what_was_marked_by_a_killed_process_is_removed(versions: Versions, chain: list[str]) -> None:
    versions.registry.withdraw([chain[1]], RETENTION)
    collect(versions, 1e6)
    assert chain[1] not in {stored.version for stored in versions.store.all()}


def test_what_stands_in_for_forgotten_versions_is_kept(versions: Versions, chain: list[str]) -> None:
    forget(versions, "2", "ann")
    before = {stored.version for stored in versions.store.all()}
    assert len(before) == 8
    collect(versions, 1e6)
    assert {stored.version for stored in versions.store.all()} == before


def test_rollback_goes_back_step_by_step(versions: Versions, chain: list[str]) -> None:
    def before() -> str | None:
        rows = {one.version: one for one in versions.registry.all()}
        return before_current(versions.aliases.history("champion"), rows)

    assert before() == chain[6]
    versions.promote("champion", chain[6], "ann", "rollback")
    assert before() == chain[5]
    versions.promote("champion", chain[5], "ann", "rollback: worse")
    assert before() == chain[4]
    versions.promote("champion", chain[7], "ann", "after all")
    assert before() == chain[5]
    versions.registry.withdraw([chain[5]], RETENTION)
    assert before() == chain[4]
    forget(versions, "2", "ann")
    found = before()
    assert found is not None
    assert versions.load(versions.find(found)).manifest["parent"] == chain[4]


def test_an_alias_of_one_version_cannot_go_back(versions: Versions, publish: Publish) -> None:
    version = publish(1)
    versions.promote("champion", version.version, "ann", "first")
    with versions.database.writing() as connection:
        confirm(connection, ["champion"], "ann", "again")
    assert before_current(versions.aliases.history(), {version.version: version}) is None
    assert before_current([], {}) is None
