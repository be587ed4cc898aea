from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

import recsys.files
from recsys.files import atomic_write, folder_lock, is_locked, write_json


def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"

    def interrupted() -> None:
        with atomic_write(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list(path.parent.iterdir()) == []
    with atomic_write(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert [file.name for file in path.parent.iterdir()] == ["file"]
    assert path.read_text() == "whole"
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": None})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": null\n}\n'


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
    monkeypatch.setattr(recsys.files.log, "warning", lambda *_: (tmp_path / "waited for").touch())
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
