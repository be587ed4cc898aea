"""Another model takes the place of the one in service, or does not."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import BundleError
from serve.models import model_manager as module
from serve.models.model_manager import LOOK_SECONDS, ModelManager
from serve.models.pointer import Pointed, write_pointer
from serve.promote import promote
from serve.settings import Settings
from tests.bundle.test_signature import write_keys
from tests.bundles import rewritten
from tests.serve.conftest import ITEM_NAMES, USER_NAMES, client_of, rich, save, until
from tests.serve.test_metrics import value

pytestmark = pytest.mark.long


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass at once."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


@pytest.fixture
def pointer(tmp_path: Path) -> Path:
    write_pointer(tmp_path / "serving", save(rich(), tmp_path / "first"))
    return tmp_path / "serving"


@pytest.fixture
def models(pointer: Path, clock: Callable[[float], None]) -> ModelManager:
    return ModelManager.from_settings(Settings(pointer=pointer))


def test_nothing_new_is_nothing_done(models: ModelManager) -> None:
    first = models.current
    assert models.poll() is None
    assert models.current is first
    assert (models.failed_loads, models.last_error) == (0, None)


def test_a_rewritten_pointer_swaps(models: ModelManager, pointer: Path, tmp_path: Path) -> None:
    first = models.current
    write_pointer(pointer, save(rich(seed=1), tmp_path / "second"))
    assert models.poll() is models.current is not first
    assert models.current.bundle.manifest["seed"] == 1
    assert models.poll() is None


def test_a_bundle_replaced_in_place_swaps(models: ModelManager, tmp_path: Path) -> None:
    save(rich(seed=1), tmp_path / "first")
    assert models.poll() is not None
    assert models.current.bundle.manifest["seed"] == 1


def spoil(kind: str, pointer: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    if kind in ("pointer gone", "pointer a folder"):
        pointer.unlink()
    match kind:
        case "pointer a folder":
            pointer.mkdir()
        case "pointer empty":
            pointer.write_text("")
        case "pointer binary":
            pointer.write_bytes(b"\xff\x00\xfe")
        case "no such bundle":
            pointer.write_text("second\n")
        case "cut" | "strings" | "outside":
            save(rich(USER_NAMES, ITEM_NAMES) if kind == "strings" else rich(seed=1), second)
            write_pointer(pointer, second)
            if kind == "cut":
                file = second / "factors.safetensors"
                file.write_bytes(file.read_bytes()[:-1])
            if kind == "outside":
                files = json.loads((second / "manifest.json").read_text())["files"]
                rewritten(second, files=files | {"../first/items.json": files["items.json"]})
        case "half replaced":
            save(rich(seed=1), second)
            shutil.copy(second / "manifest.json", tmp_path / "first" / "manifest.json")


BAD = ["pointer gone", "pointer a folder", "pointer empty", "pointer binary", "no such bundle", "cut", "strings",
       "outside", "half replaced"]  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_bundle_leaves_the_old_one(
    models: ModelManager, pointer: Path, tmp_path: Path, kind: str, clock: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    first = models.current
    spoil(kind, pointer, tmp_path)
    with caplog.at_level(logging.ERROR, "serve"):
        for _ in range(5):
            assert models.poll() is None
        assert models.failed_loads == 1  # not tried again at once
        clock(1.1)
        models.poll()
    assert models.current is first
    assert models.failed_loads == 2
    assert models.last_error
    assert "\n" not in models.last_error
    assert len(caplog.records) == 1  # a line once, however often it is tried
    write_pointer(pointer, save(rich(seed=2), tmp_path / "third")) if not pointer.is_dir() else None
    if not pointer.is_dir():
        assert models.poll() is not None  # at once, since it is another one
        assert models.last_error is None
        assert models.current.bundle.manifest["seed"] == 2


def test_tries_grow_rarer(models: ModelManager, pointer: Path, clock: Callable[[float], None]) -> None:
    pointer.write_text("nowhere\n")
    for _ in range(1200):
        models.poll()
        clock(1)
    assert 22 < models.failed_loads < 28


def test_back_to_the_one_in_service_clears_the_error(models: ModelManager, pointer: Path, tmp_path: Path) -> None:
    first = models.current
    pointer.write_text("nowhere\n")
    models.poll()
    assert models.last_error
    write_pointer(pointer, tmp_path / "first")
    assert models.poll() is None
    assert models.last_error is None
    assert models.current is first


def test_a_slow_copy_is_taken_once_it_is_complete(
    models: ModelManager, tmp_path: Path, clock: Callable[[float], None]
) -> None:
    second = save(rich(seed=1), tmp_path / "second")
    for file in ("manifest.json", "manifest.sha256", "factors.safetensors", "items.json"):
        shutil.copy(second / file, tmp_path / "first" / file)
        assert models.poll() is None
    for file in second.iterdir():
        shutil.copy(file, tmp_path / "first")
    clock(61)
    assert models.poll() is not None
    assert models.current.bundle.manifest["seed"] == 1


def test_only_bundles_signed_for_the_key_are_taken_in(
    tmp_path: Path, pointer: Path, clock: Callable[[float], None]
) -> None:
    private, public = write_keys(tmp_path)
    settings = Settings(pointer=pointer, verify_key=public)
    assert ModelManager.from_settings(settings).current is None
    with pytest.raises(BundleError, match="is not signed"):
        ModelManager.from_settings(Settings(bundle=tmp_path / "first", verify_key=public))
    promote(tmp_path / "first", pointer, sign_with=private)
    models = ModelManager.from_settings(settings)
    assert models.current is not None
    write_pointer(pointer, save(rich(seed=1), tmp_path / "second"))
    assert models.poll() is None
    assert "second is not signed: it has no manifest.sig" in str(models.last_error)
    promote(tmp_path / "second", pointer, sign_with=private)
    assert models.poll() is not None


def test_budgets_are_those_of_the_settings(tmp_path: Path) -> None:
    folder = save(rich(), tmp_path / "first")
    for limits in ({"max_bundle_bytes": 1000}, {"max_bundle_work": 5}):
        with pytest.raises(BundleError, match=f"RECSYS_{next(iter(limits)).upper()}"):
            ModelManager.from_settings(Settings(bundle=folder, **limits))


def test_answers_get_more_turns_while_a_bundle_is_loaded(
    models: ModelManager, pointer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []

    def fail(*_: object, **__: object) -> None:
        turns.append(sys.getswitchinterval())
        raise BundleError("spoilt")

    monkeypatch.setattr(module.ServedModel, "load", fail)
    monkeypatch.setattr("serve.candidate.in_child", lambda *_, **__: None)
    write_pointer(pointer, save(rich(seed=1), tmp_path / "second"))
    before = sys.getswitchinterval()
    assert models.poll() is None
    assert turns[0] < before == sys.getswitchinterval()


def test_without_a_pointer_nothing_is_looked_at(tmp_path: Path) -> None:
    models = ModelManager.from_settings(Settings(bundle=save(rich(), tmp_path / "first")))
    save(rich(seed=1), tmp_path / "first")
    assert models.poll() is None


@pytest.mark.parametrize("kind", BAD)
def test_without_something_to_start_with_it_waits(
    pointer: Path, tmp_path: Path, kind: str, clock: Callable[[float], None]
) -> None:
    spoil(kind, pointer, tmp_path)
    models = ModelManager.from_settings(Settings(pointer=pointer))
    if kind == "strings":
        assert models.current is not None
        assert not models.current.integer_ids
        return
    assert (models.current, models.failed_loads) == (None, 1)
    assert models.last_error
    assert str(models) == f"no bundle yet, waiting for one: {models.last_error}"
    assert str(ModelManager.from_settings(Settings(pointer=pointer), load=False)) == str(models)
    if not pointer.is_dir():
        write_pointer(pointer, save(rich(seed=2), tmp_path / "third"))
        clock(1.1)
        assert models.poll() is models.current is not None
        assert models.last_error is None


def test_without_a_pointer_there_must_be_a_bundle(tmp_path: Path) -> None:
    for settings in (Settings(bundle=tmp_path / "none"), Settings(runs=tmp_path)):
        for load in (True, False):
            with pytest.raises(BundleError):
                ModelManager.from_settings(settings, load=load)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listening:  # its name must be short
        listening.bind(path.name)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_device, Path.mkdir])
@pytest.mark.parametrize("name", ["serving", "manifest.json", "factors.safetensors", "items.json"])
def test_what_is_no_file_is_never_waited_for(
    models: ModelManager, pointer: Path, tmp_path: Path, make: Callable[[Path], None], name: str,
    clock: Callable[[float], None],
) -> None:  # fmt: skip
    second = save(rich(seed=1), tmp_path / "second")
    write_pointer(pointer, second)
    file = pointer if name == "serving" else second / name
    file.rename(tmp_path / "aside")
    make(file)
    start = time.perf_counter()
    assert models.poll() is None
    assert models.last_error is not None
    assert models.pointer_age == 0
    assert time.perf_counter() - start < LOOK_SECONDS
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink()
    (tmp_path / "aside").rename(file)
    clock(61)
    assert models.poll() is not None
    assert models.last_error is None


def test_a_pointer_on_a_file_system_that_hangs_is_left_and_looked_at_again(
    models: ModelManager, pointer: Path, tmp_path: Path, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, back = models.current, threading.Event()
    real = module.read_pointer

    def hanging(path: Path) -> Pointed:
        back.wait()
        return real(path)

    monkeypatch.setattr(module, "read_pointer", hanging)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    threads = threading.active_count()
    for _ in range(20):
        clock(61)
        assert models.poll() is None
    assert models.current is first
    assert models.last_error == f"{pointer} could not be read within 0.01 s"
    assert models.pointer_age == 20 * 61
    assert threading.active_count() <= threads + 4
    write_pointer(pointer, save(rich(seed=1), tmp_path / "second"))
    back.set()
    monkeypatch.setattr(module, "LOOK_SECONDS", 10)
    until(lambda: threading.active_count() == threads)
    assert models.poll() is models.current is not first
    assert (models.last_error, models.pointer_age) == (None, 0)


def test_a_bundle_that_hangs_is_left(
    models: ModelManager, pointer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = threading.Event()
    monkeypatch.setattr(models.settings, "candidate_seconds", 0.01)
    monkeypatch.setattr(module.ServedModel, "load", lambda *_, **__: back.wait())
    write_pointer(pointer, save(rich(seed=1), tmp_path / "second"))
    assert models.poll() is None
    assert "second could not be checked and loaded within 0.02 s, twice candidate_seconds" in str(models.last_error)
    back.set()


def test_a_service_shows_what_became_of_the_pointer(pointer: Path, tmp_path: Path) -> None:
    settings = Settings(pointer=pointer, poll_seconds=0.02)
    with client_of(ModelManager.from_settings(settings), pointer=pointer, poll_seconds=0.02) as client:
        first = client.get("/health/ready").json()
        pointer.write_text("nowhere\n")
        ready = until(lambda: (now := client.get("/health/ready").json())["last_error"] and now)
        assert ready["model_version"] == first["model_version"]
        assert ready["failed_loads"] >= 1
        assert client.get("/users/1/recommendations").json()["model_version"] == first["model_version"]
        until(lambda: (value(client.get("/metrics").text, "recsys_failed_loads_total") or 0) >= 1)
        write_pointer(pointer, save(rich(seed=1), tmp_path / "second"))
        until(lambda: client.get("/health/ready").json()["model_version"] != first["model_version"])
        ready = client.get("/health/ready").json()
        assert ready["last_error"] is None
        assert client.get("/model").json()["seed"] == 1
        text = until(lambda: value(text := client.get("/metrics").text, "recsys_swaps_total") and text)
        labels = {"model": "mf", "data": "small"}
        assert value(text, "recsys_model_workers", version=ready["model_version"], **labels) == 1
        assert value(text, "recsys_model_workers", version=first["model_version"], **labels) in (0, None)


def test_swaps_under_load_mix_no_two_models_in_an_answer(pointer: Path, tmp_path: Path) -> None:
    """Each answer must be, to the letter, what one of the two models says, whose answers are checked at first."""
    folders = [tmp_path / "first", save(rich(seed=1), tmp_path / "second")]
    ratings = [{"item_id": "50", "rating": 5.0}, {"item_id": "7", "rating": 1.0}]
    asks: list[tuple[str, str, Any]] = [
        ("GET", "/users/1/recommendations?k=12&explain=true&distribution=true", None),
        ("GET", "/users/405/recommendations?exclude_seen=false", None),
        ("POST", "/recommendations/", {"ratings": ratings, "explain": True}),
        ("POST", "/predict/rating/", {"user_id": "2", "item_id": "318"}),
        ("POST", "/predict/ratings/", {"pairs": [{"user_id": u, "item_id": "318"} for u in ("1", "2", "30")]}),
        ("GET", "/items/50/similar", None),
        ("GET", "/model", None),
    ]
    settings = Settings(pointer=pointer, poll_seconds=0.001)
    answers: list[dict[str, str]] = [{}, {}]
    for turn in (0, 1):
        write_pointer(pointer, folders[turn])
        with client_of(ModelManager.from_settings(settings)) as client:
            answers[turn] = {path: client.request(method, path, json=body).text for method, path, body in asks}
    with client_of(ModelManager.from_settings(settings), pointer=pointer, poll_seconds=0.001) as client:
        done = threading.Event()
        got: list[tuple[str, str]] = []

        def load(number: int) -> None:
            while not done.is_set():
                method, path, body = asks[number % len(asks)]
                got.append((path, client.unchecked(method, path, json=body).text))
                number += 1

        with ThreadPoolExecutor(3) as pool:
            loads = [pool.submit(load, number) for number in range(3)]
            for turn in range(40):
                before = client.app.state.service.models.current  # type: ignore[attr-defined]
                write_pointer(pointer, folders[turn % 2])
                until(lambda b=before: client.app.state.service.models.current is not b, 20)  # type: ignore
                until(lambda n=3 * turn: len(got) > n, 20)  # type: ignore[misc]
            done.set()
        for future in loads:
            future.result()
    assert {path for path, _ in got} == {path for _, path, _ in asks}
    assert all(any(text in answer.values() for _, text in got) for answer in answers)
    for path, text in got:
        assert text in (answers[0][path], answers[1][path]), path
