from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recsys.bundle import Bundle, BundleError
from recsys.bundle.signature import SIGNATURE
from recsys.events import RATING, Event, EventLog
from recsys.versions import Version, VersionConflictError, VersionError, Versions, open_versions
from recsys.versions.version import FIT, UPDATE
from tests.bundle.test_signature import write_keys
from tests.versions.conftest import Publish, killed_at, of_users, reopened


def rate(versions: Versions, *users: int) -> None:
    events = [Event(f"{user}", f"{user}", "1", RATING, 4.0, 0) for user in users]
    EventLog(versions.database).append(events)


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, Path]:
    """Files of a private key and its public one."""
    return write_keys(tmp_path)


def test_what_is_published_is_found(versions: Versions, publish: Publish) -> None:
    first = publish(1, 2)
    versions.promote("champion", first.version, "ann", "first")
    version, bundle = versions.champion()
    assert version == first == versions.find("champion") == versions.find(first.short)
    assert bundle.sha256 == first.version
    assert (version.parent, version.cut, version.made_by, version.metrics) == (None, 0, FIT, {"test/rmse": 0.9})
    assert [stored.version for stored in versions.store.all()] == [first.version]
    assert not list((versions.store.root or Path()).glob(".*partial"))


def test_the_manifest_says_what_it_was_made_of(versions: Versions, publish: Publish) -> None:
    rate(versions, 3)
    first = publish(1, 2)
    second = publish(1, 2, 3, parent=first.version, cut=1, made_by=UPDATE)
    manifest = versions.load(second).manifest
    assert (manifest["parent"], manifest["cut"], manifest["made_by"]) == (first.version, 1, UPDATE)
    assert (second.parent, second.cut, second.made_by) == (first.version, 1, UPDATE)


def test_the_same_bundle_is_the_same_version(versions: Versions, publish: Publish) -> None:
    assert publish(1, 2) == publish(1, 2)
    assert len(versions.registry.all()) == 1


def test_names_of_no_version(versions: Versions, publish: Publish) -> None:
    publish(1, 2)
    for name in ("", "champion", "zz", "0" * 64):
        with pytest.raises(VersionError):
            versions.find(name)
    with pytest.raises(VersionError, match="names no version"):
        versions.champion()


def test_digits_of_several_versions_name_none(versions: Versions, publish: Publish) -> None:
    made = [publish(1, 2, seed=seed).version for seed in range(17)]
    twice = next(version[0] for version in made if [one[0] for one in made].count(version[0]) > 1)
    with pytest.raises(VersionError, match="more than one"):
        versions.registry.find(twice)


def test_a_user_of_events_that_were_forgotten_meanwhile(versions: Versions, publish: Publish) -> None:
    first = publish(1, 2)
    with pytest.raises(VersionConflictError, match="was forgotten meanwhile"):
        publish(1, 2, 3, parent=first.version, cut=1, made_by=UPDATE)
    with pytest.raises(VersionConflictError, match="was forgotten meanwhile"):
        publish(3, 4, cut=1)
    assert [one.version for one in versions.store.all()] == [first.version]


def test_a_parent_that_was_forgotten_meanwhile(versions: Versions, publish: Publish) -> None:
    first = publish(1, 2)
    versions.registry.withdraw([first.version], "forgotten")
    with pytest.raises(VersionConflictError, match="parent"):
        publish(1, 2, parent=first.version, cut=1, made_by=UPDATE, seed=1)
    with pytest.raises(VersionError, match="withdrawn for ever"):
        publish(1, 2)
    assert versions.store.all() == []


def test_what_retention_has_removed_may_come_again(versions: Versions, publish: Publish) -> None:
    first = publish(1, 2)
    versions.registry.withdraw([first.version], "retention")
    versions.store.remove(first.version)
    with pytest.raises(VersionError, match="is withdrawn"):
        versions.load(versions.find(first.version))
    assert publish(1, 2) == first
    versions.load(first)


def test_a_run_of_the_past(versions: Versions, legacy_or_saved: Path) -> None:
    version = versions.add(legacy_or_saved, {}, {})
    assert versions.load(version).sha256 == version.version


@pytest.fixture
def legacy_or_saved(tmp_path: Path) -> Path:
    of_users(1, 2).save(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_signature_is_kept(versions: Versions, tmp_path: Path, key: tuple[Path, Path]) -> None:
    private, public = key
    signing = open_versions(versions.database, versions.store, sign_with=private)
    bundle = of_users(1, 2)
    version = signing.publish(bundle, parent=None, cut=0, made_by=FIT, metrics={}, configuration={})
    folder = versions.cache.folder(version.version)
    Bundle.load(folder, verify_key=public)
    again = open_versions(versions.database, tmp_path / "other")
    again.add(folder, {}, {})
    Bundle.load(again.cache.folder(version.version), verify_key=public)


def test_a_version_is_signed_later(versions: Versions, publish: Publish, key: tuple[Path, Path]) -> None:
    version = publish(1, 2)
    with pytest.raises(BundleError, match="no key"):
        versions.sign(version)
    open_versions(versions.database, versions.store, sign_with=key[0]).sign(version)
    Bundle.load(versions.cache.folder(version.version), verify_key=key[1])
    (versions.cache.folder(version.version) / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="is not signed"):
        Bundle.load(versions.cache.folder(version.version), verify_key=key[1])


def test_what_is_altered_is_no_version(versions: Versions, publish: Publish) -> None:
    version = publish(1, 2)
    file = versions.cache.folder(version.version) / "items.json"
    file.write_text(file.read_text().replace("Film", "Filn"))
    with pytest.raises(BundleError, match="was altered"):
        versions.load(version)


def test_a_version_whose_files_are_gone(versions: Versions, publish: Publish) -> None:
    version = publish(1, 2)
    shutil.rmtree(versions.cache.folder(version.version))
    with pytest.raises((BundleError, VersionError)):
        versions.load(version)
    assert publish(1, 2) == version  # and is there again
    versions.load(version)


STEPS = [
    "recsys.versions.versions.Versions._add",
    "recsys.versions.folder_store.verified_files",
    "recsys.versions.folder_store.atomic_folder",
    "recsys.versions.registry.Registry.add",
    "recsys.versions.bundle_store.BundleStore.is_whole",
    "recsys.versions.aliases._append",
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_it_is_killed_at_the_next_one_goes_on(
    versions: Versions, publish: Publish, step: str, after: bool
) -> None:
    first = publish(1, 2)
    versions.promote("champion", first.version, "ann", "first")

    def work(versions: Versions) -> Version:
        new = versions.publish(
            of_users(1, 2, seed=5), parent=first.version, cut=0, made_by=UPDATE, metrics={}, configuration={}
        )
        versions.promote("champion", new.version, "update", "better", expected=first.version)
        return new

    killed_at(step, 1, lambda: work(reopened(versions)), after=after)
    assert all(versions.store.is_whole(stored.version) for stored in versions.store.all())
    if versions.aliases.current("champion") == first.version:
        work(versions)
    assert versions.champion().version.made_by == UPDATE
    root = versions.store.root
    assert root is not None
    stored = {one.version for one in versions.registry.all()}
    assert {path.name for path in root.iterdir()} == stored | {".lock"}
    versions.aliases.verify()
