from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import recsys.files.folders
from recsys.files import (
    WriteError,
    cache_folder,
    folder_lock,
    foreign_names,
    is_locked,
    new_folder,
)


def hold(folder: Path, *, killed: bool) -> None:
    """Hold the folder until another process waits for it, or for good."""
    with folder_lock(folder, "trains"):
        (folder / "held").touch()
        while killed or not (folder / "waited for").exists():
            time.sleep(0.01)
        (folder / "done").touch()


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_process_waits_and_a_killed_one_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    assert not is_locked(tmp_path)
    monkeypatch.setattr(recsys.files.folders.log, "warning", lambda *_: (tmp_path / "waited for").touch())
    first = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path,), kwargs={"killed": killed})
    first.start()
    while not (tmp_path / "held").exists():
        assert first.is_alive()
        time.sleep(0.01)
    assert is_locked(tmp_path)
    if killed:
        first.kill()
    with folder_lock(tmp_path, "trains"):
        assert (tmp_path / "done").exists() == (not killed)
    first.join()


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=f"cannot write {tmp_path / 'file'}"), folder_lock(tmp_path / "file", "trains"):
        pass


def test_a_name_that_is_taken_gets_a_number_and_nobody_shares_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_folder(tmp_path / "day" / "run"), range(8)))
    assert sorted(made) == sorted(tmp_path / "day" / name for name in ["run", *(f"run-{n}" for n in range(2, 9))])
    assert all(folder.is_dir() for folder in made)


def test_a_new_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for parent in ("file", "dangling"):
        with pytest.raises(WriteError, match=f"cannot write {tmp_path / parent / 'run'}"):
            new_folder(tmp_path / parent / "run")


def test_names_that_stand_for_what_is_elsewhere(tmp_path: Path) -> None:
    """By which what is written to the folder would get there."""
    folder, outside = tmp_path / "run", tmp_path / "outside"
    (folder / "deep").mkdir(parents=True)
    outside.write_text("x")
    (folder / "a").write_text("a")
    os.link(folder / "a", folder / "deep" / "former")  # a second name within
    (folder / "latest").symlink_to("deep")
    (tmp_path / "link").symlink_to(folder)
    assert list(foreign_names(folder)) == list(foreign_names(tmp_path / "link")) == []
    (folder / "deep" / "up").symlink_to("../../outside")
    (folder / "dangling").symlink_to("/nowhere")
    os.link(outside, folder / "b")
    os.mkfifo(folder / "c")
    assert sorted(foreign_names(folder)) == [
        f"{folder}/b is another name of a file elsewhere",
        f"{folder}/c is no file",
        f"{folder}/dangling is a link to /nowhere",
        f"{folder}/deep/up is a link to {outside}",
    ]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("RECSYS_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "recsys"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "recsys"
