"""Versions on S3: published, fetched once a host, signed, forgotten and removed, on a real server."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from recsys.bundle import BundleError
from recsys.versions import VersionError, Versions, open_store, open_versions
from recsys.versions.forget import forget
from recsys.versions.version import FORGOTTEN
from serve.models.model_manager import ModelManager
from serve.settings import Settings
from tests.s3 import BUCKET
from tests.versions.conftest import of_users, reopened

pytestmark = pytest.mark.long


@pytest.fixture
def versions(s3: str, tmp_path: Path) -> Versions:
    return open_versions(f"sqlite:///{tmp_path}/live.db", s3, cache=tmp_path / "cache")


def champion(versions: Versions, *users: int, seed: int = 0) -> str:
    version = versions.publish(
        of_users(*users, seed=seed), parent=None, cut=0, made_by="fit", metrics={}, configuration={}
    )
    versions.promote("champion", version.version, "ann", "better")
    return version.version


def objects() -> list[str]:
    return [one["Key"] for one in boto3.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_a_version_is_six_objects_of_which_the_digest_is_the_last(versions: Versions) -> None:
    version = champion(versions, 1, 2)
    names = ("factors.safetensors", "ids.safetensors", "items.json", "manifest.json", "manifest.sha256",
             "ratings.safetensors")  # fmt: skip
    assert objects() == [f"versions/{version}/{name}" for name in names]
    assert versions.champion().bundle.user_ids.tolist() == [1, 2]
    assert versions.cache.versions() == [version]
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=f"versions/{version}/items.json")
    assert not versions.store.is_whole(version)
    champion(versions, 1, 2)
    assert versions.store.is_whole(version)


def test_what_was_altered_on_the_server_is_not_served(versions: Versions) -> None:
    version = champion(versions, 1, 2)
    client, key = boto3.client("s3"), f"versions/{version}/items.json"
    content = client.get_object(Bucket=BUCKET, Key=key)["Body"].read().replace(b"Film", b"Filn")
    client.put_object(Bucket=BUCKET, Key=key, Body=content)
    with pytest.raises(BundleError, match="was altered"):
        versions.champion()
    assert versions.cache.versions() == []


def test_a_service_follows(versions: Versions, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "host"))
    first = champion(versions, 1, 2)
    settings = Settings(alias="champion", database=f"sqlite:///{tmp_path}/live.db", store=s3)
    models = ModelManager.from_settings(settings)
    assert models.current is not None
    assert models.current.bundle.sha256 == first
    second = champion(versions, 1, 2, seed=1)
    assert models.poll() is not None
    assert models.current.bundle.sha256 == second


def test_nothing_of_a_forgotten_person_is_left(versions: Versions, tmp_path: Path) -> None:
    held = champion(versions, 1, 2, 3)
    versions.champion()
    forget(versions, "3", "ann")
    row = versions.registry.get(held)
    assert row is not None
    assert row.reason == FORGOTTEN
    assert not [name for name in objects() if held in name]
    assert held not in versions.cache.versions()
    assert versions.champion().bundle.user_ids.tolist() == [1, 2]


def test_half_of_an_upload_is_no_version_and_is_finished_by_the_next(versions: Versions) -> None:
    store = versions.store
    pipe = store.files.pipe_file  # type: ignore[attr-defined]
    written: list[str] = []

    def failing(path: str, content: bytes) -> None:
        if len(written) == 3:
            raise OSError("the connection broke")
        written.append(path)
        pipe(path, content)

    store.files.pipe_file = failing  # type: ignore[attr-defined]
    with pytest.raises(VersionError, match="the connection broke"):
        champion(versions, 1, 2)
    assert len(objects()) == 3
    assert [stored.is_whole for stored in store.all()] == [False]
    assert versions.registry.all() == []
    store.files.pipe_file = pipe  # type: ignore[attr-defined]
    assert store.is_whole(champion(reopened(versions), 1, 2))


def test_a_bucket_that_is_not_there(s3: str, tmp_path: Path) -> None:
    of_users(1, 2).save(tmp_path / "bundle")
    with pytest.raises(VersionError, match="store s3://absent/versions: The specified bucket does not exist"):
        open_store("s3://absent/versions").put(tmp_path / "bundle")
