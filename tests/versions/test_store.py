"""Both kinds of stores: a folder, and objects at a URL of fsspec, here in memory; `test_s3` has a real server."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from recsys.bundle import Budget, Bundle, BundleError
from recsys.bundle.manifest import DIGEST, MANIFEST
from recsys.bundle.signature import SIGNATURE
from recsys.versions import BundleStore, HostCache, VersionError, open_store
from recsys.versions.store import DEFAULT_URL
from tests.bundles import rewritten
from tests.versions.conftest import of_users


@pytest.fixture(params=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BundleStore]:
    if request.param == "folder":
        yield open_store(tmp_path / "store")
        return
    yield open_store("memory://shop/versions")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    of_users(1, 2).save(tmp_path / "bundle")
    return tmp_path / "bundle"


def damage(store: BundleStore, version: str, name: str, content: bytes | None) -> None:
    """Put another content in the place of a file, or remove it."""
    if (folder := store.folder(version)) is not None:
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        return
    files, path = fsspec.filesystem("memory"), f"/shop/versions/{version}/{name}"
    files.rm_file(path) if content is None else files.pipe_file(path, content)


def test_what_is_put_is_fetched(store: BundleStore, bundle: Path, tmp_path: Path) -> None:
    before = time.time()
    version = store.put(bundle)
    assert version == hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    (stored,) = store.all()
    assert (stored.version, stored.is_whole) == (version, True)
    assert before - 2 <= stored.modified <= time.time() + 2
    store.fetch(version, tmp_path / "fetched")
    assert {file.name: file.read_bytes() for file in (tmp_path / "fetched").iterdir()} == {
        file.name: file.read_bytes() for file in bundle.iterdir()
    }
    assert store.put(bundle) == version
    assert store.user_ids(version) == [1, 2]
    assert Bundle.load(HostCache(store, tmp_path / "cache").folder(version), sha256=version).user_ids.tolist() == [1, 2]


def test_what_is_removed_is_gone(store: BundleStore, bundle: Path, tmp_path: Path) -> None:
    version = store.put(bundle)
    store.remove(version)
    store.remove(version)
    assert store.all() == []
    assert not store.is_whole(version)
    with pytest.raises(VersionError, match="has no version"):
        store.fetch(version, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("name", ["factors.safetensors", "items.json", MANIFEST, DIGEST])
def test_half_of_a_version_is_none(store: BundleStore, bundle: Path, tmp_path: Path, name: str) -> None:
    version = store.put(bundle)
    damage(store, version, name, None)
    assert not store.is_whole(version)
    with pytest.raises((VersionError, BundleError)):
        store.fetch(version, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    assert store.put(bundle) == version
    store.fetch(version, tmp_path / "fetched")


@pytest.mark.parametrize("name", ["factors.safetensors", "ids.safetensors", "items.json", MANIFEST, DIGEST])
def test_what_was_altered_is_not_fetched(store: BundleStore, bundle: Path, tmp_path: Path, name: str) -> None:
    version = store.put(bundle)
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    damage(store, version, name, bytes(content))
    with pytest.raises((VersionError, BundleError)):
        store.fetch(version, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_another_manifest_is_not_the_version(store: BundleStore, bundle: Path, tmp_path: Path) -> None:
    version = store.put(bundle)
    rewritten(bundle, data="other")
    for name in (MANIFEST, DIGEST):
        damage(store, version, name, (bundle / name).read_bytes())
    with pytest.raises(BundleError, match="not the one wanted"):
        store.fetch(version, tmp_path / "fetched")


def test_more_than_the_budget_is_not_fetched(store: BundleStore, bundle: Path, tmp_path: Path) -> None:
    version = store.put(bundle)
    store.budget = Budget(bytes=100)
    with pytest.raises(BundleError, match="RECSYS_MAX_BUNDLE_BYTES"):
        store.fetch(version, tmp_path / "fetched")


def test_a_signature_that_comes_later_reaches_the_cache(store: BundleStore, bundle: Path, tmp_path: Path) -> None:
    version = store.put(bundle)
    cache = HostCache(store, tmp_path / "cache")
    assert not (cache.folder(version) / SIGNATURE).exists()
    store.sign(version, b"x" * 88 + b"\n")
    assert (cache.folder(version) / SIGNATURE).read_bytes() == b"x" * 88 + b"\n"
    (bundle / SIGNATURE).write_bytes(b"y")
    store.put(bundle)
    assert (cache.folder(version) / SIGNATURE).read_bytes() == b"x" * 88 + b"\n"
    store.remove(version)
    store.put(bundle)
    store.fetch(version, tmp_path / "fetched")
    assert (tmp_path / "fetched" / SIGNATURE).read_bytes() == b"y"


def test_a_version_is_fetched_once(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store("memory://shop/versions")
    version = store.put(bundle)
    cache, fetch, fetched = HostCache(store, tmp_path / "cache"), store.fetch, []
    monkeypatch.setattr(store, "fetch", lambda *of: (fetched.append(of), fetch(*of)))
    assert cache.folder(version) == cache.folder(version) == tmp_path / "cache" / version
    assert len(fetched) == 1
    cache.remove([version, "0" * 64])
    assert cache.versions() == []
    cache.folder(version)
    assert len(fetched) == 2
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("version", ["", "..", "../x", "0" * 63, "G" * 64, "0" * 64 + "\n"])
def test_only_digests_are_versions(store: BundleStore, tmp_path: Path, version: str) -> None:
    for work in (store.remove, store.sizes, store.user_ids, lambda one: store.fetch(one, tmp_path / "x")):
        with pytest.raises(VersionError, match="64 digits"):
            work(version)


def test_no_bundle_is_not_put(store: BundleStore, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        store.put(tmp_path)
    assert store.all() == []


def test_other_files_in_the_folder_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder").mkdir()
    assert open_store(tmp_path).all() == []
    assert open_store(tmp_path / "absent").all() == []


@pytest.mark.parametrize(
    ("url", "message"), [("zz://shop", "zz"), ("gs://shop/versions", "needs a package"), ("memory://", None)]
)
def test_urls(url: str, message: str | None) -> None:
    if message is None:
        open_store(url)
        return
    with pytest.raises(VersionError, match=message):
        open_store(url)


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_STORE", raising=False)
    assert str(open_store()) == DEFAULT_URL
    monkeypatch.setenv("RECSYS_STORE", f"file://{tmp_path}/a%20b")
    assert str(open_store()) == f"{tmp_path}/a b"
    assert str(open_store(tmp_path)) == str(tmp_path)
    assert "s3cret" not in str(open_store("memory://me:s3cret@host/x"))
