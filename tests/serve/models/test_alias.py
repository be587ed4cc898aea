"""A service follows an alias: what it names is fetched once a host, checked, and swapped in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from pydantic import ValidationError

from recsys.bundle import BundleError
from recsys.database import DatabaseError
from recsys.events import Event, EventLog
from recsys.versions import Aliases, Versions, open_versions
from recsys.versions.forget import forget
from serve.models import alias as module
from serve.models.model_manager import ModelManager
from serve.settings import Settings
from tests.bundle.test_signature import write_keys
from tests.serve.conftest import ITEMS, USERS, client_of, rich

STORES = ["folder", "objects"]


@pytest.fixture(params=STORES)
def versions(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Versions]:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    store = str(tmp_path / "store") if request.param == "folder" else "memory://shop/versions"
    yield open_versions(f"sqlite:///{tmp_path}/live.db", store)
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def settings(versions: Versions, tmp_path: Path) -> Settings:
    return Settings(alias="champion", database=f"sqlite:///{tmp_path}/live.db", store=str(versions.store))


def name(versions: Versions, *, other_data: bool = False, **changes: object) -> str:
    """Publish a bundle and let the champion name it."""
    version = versions.publish(rich(**changes), parent=None, cut=0, made_by="fit", metrics={}, configuration={})  # type: ignore[arg-type]
    versions.promote("champion", version.version, "ann", "better", other_data=other_data)
    return version.short


def test_what_the_alias_names_is_served(versions: Versions, settings: Settings) -> None:
    first = name(versions)
    models = ModelManager.from_settings(settings)
    assert models.current is not None
    assert models.current.version == first
    assert models.poll() is None
    second = name(versions, seed=1)
    assert models.poll() is not None
    assert models.current.version == second
    versions.promote("champion", versions.find(first).version, "ann", "rollback")
    assert models.poll() is not None
    assert models.current.version == first
    assert (models.failed_loads, models.last_error) == (0, None)


def test_a_service_waits_for_its_first_version(versions: Versions, settings: Settings) -> None:
    models = ModelManager.from_settings(settings)
    assert models.current is None
    assert models.last_error == ("alias champion names no version; `recsys versions add RUN --alias champion` sets it")
    assert "waiting for one" in str(models)
    first = name(versions)
    models._next_try = 0.0
    assert models.poll() is not None
    assert models.current.version == first


def test_other_data_is_served_only_if_that_was_told(versions: Versions, settings: Settings) -> None:
    first = name(versions)
    models = ModelManager.from_settings(settings)
    assert models.current is not None
    other = name(versions, users=[user - 10**6 for user in USERS], items=[item - 10**6 for item in ITEMS])
    assert models.poll() is None
    assert models.current.version == first
    assert "other" in str(models.last_error)
    versions.promote("champion", versions.find(first).version, "ann", "back")
    versions.promote("champion", versions.find(other).version, "ann", "meant", other_data=True)
    models.poll()
    assert models.current.version == other


def test_only_signed_versions_are_served_if_that_is_asked(
    versions: Versions, settings: Settings, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path)
    models = ModelManager.from_settings(settings.model_copy(update={"verify_key": public}))
    unsigned = name(versions)
    models._next_try = 0.0
    models.poll()
    assert models.current is None
    assert "is not signed" in str(models.last_error)
    Versions(versions.database, versions.store, sign_with=private).sign(versions.find(unsigned))
    models._next_try = 0.0
    models.poll()
    assert models.current is not None
    assert models.current.version == unsigned


def test_somebody_who_is_forgotten_is_gone_from_service_and_copies(
    versions: Versions, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name(versions)
    models = ModelManager.from_settings(settings)
    assert models.current is not None
    before, copies = models.current, versions.cache.versions()
    monkeypatch.setattr(versions.cache, "root", tmp_path / "another host")
    forget(versions, str(USERS[0]), "ann")
    assert models.poll() is not None
    assert models.current is not before
    assert USERS[0] not in models.current.bundle.user_row
    monkeypatch.setattr(module, "CLEAN_SECONDS", 0.0)
    models.poll()
    monkeypatch.undo()
    assert not set(copies) & set(versions.cache.versions())


def test_forgetting_somebody_of_no_version_makes_a_new_model(versions: Versions, settings: Settings) -> None:
    """Caches hold answers by the model's object: with a new one they begin empty."""
    name(versions)
    models = ModelManager.from_settings(settings)
    before = models.current
    EventLog(versions.database).append([Event("e", "7000", "50", "rating", 4.0, 9000)])
    forget(versions, "7000", "ann")
    assert models.poll() is models.current is not before


def test_a_version_that_is_not_in_the_store(versions: Versions, settings: Settings) -> None:
    first = name(versions)
    models = ModelManager.from_settings(settings)
    second = name(versions, seed=1)
    versions.store.remove(versions.find(second).version)
    assert models.poll() is None
    assert models.failed_loads == 1
    assert models.current is not None
    assert models.current.version == first


def test_a_database_that_does_not_answer_leaves_the_model(
    versions: Versions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise DatabaseError("it is gone")

    first = name(versions)
    models = ModelManager.from_settings(settings)
    age = models.pointer_age
    monkeypatch.setattr(Aliases, "last", gone)
    models.poll()
    assert models.current is not None
    assert models.current.version == first
    assert "cannot be read" in str(models.last_error)
    assert models.pointer_age is not None
    assert age is not None
    assert models.pointer_age > age


def test_workers_of_a_host_fetch_a_version_once(
    versions: Versions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name(versions)
    fetched: list[str] = []
    fetch = type(versions.store).fetch
    monkeypatch.setattr(type(versions.store), "fetch", lambda *of: (fetched.append(of[1]), fetch(*of)))
    starts = [threading.Thread(target=ModelManager.from_settings, args=[settings]) for _ in range(3)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len(fetched) == (0 if versions.store.root is not None else 1)


def test_answers_name_the_version(versions: Versions, settings: Settings) -> None:
    first = name(versions)
    with client_of(ModelManager.from_settings(settings)) as client:
        assert client.get("/model").json()["model_version"] == first
        assert client.get("/health/ready").json()["pointer_age_seconds"] is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [({"alias": "champion"}, "alias needs database"),
     ({"alias": "champion", "database": "sqlite:///x.db", "pointer": "p"}, "either pointer or alias, not both"),
     ({"alias": "champion", "database": "sqlite:///x.db", "bundle": "b"}, "either bundle or alias, not both")],
)  # fmt: skip
def test_settings_that_do_not_fit(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**given)


def test_a_store_that_is_none(tmp_path: Path) -> None:
    settings = Settings(alias="champion", database=f"sqlite:///{tmp_path}/live.db", store="zz://x")
    with pytest.raises(BundleError, match="zz"):
        ModelManager.from_settings(settings)
