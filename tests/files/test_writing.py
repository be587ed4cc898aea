from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from recsys.files import (
    WriteError,
    atomic_folder,
    atomic_write,
    folder_lock,
    remove_abandoned,
    write_json,
)
from recsys.files.writing import MACHINE


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


def write_file(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text)


def write_folder(path: Path, text: str) -> None:
    with atomic_folder(path) as partial:
        (partial / "file").write_text(text)


WRITERS = pytest.mark.parametrize("write", [write_file, write_folder])


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@WRITERS
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_the_mode_is_the_umask_s(tmp_path: Path, write: Callable[[Path, str], None], mask: int) -> None:
    with umask(mask):
        write(tmp_path / "new" / "x", "whole")
    for path in (tmp_path / "new").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask


@WRITERS
def test_all_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, str], None]
) -> None:
    synced = []

    def note(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((path == tmp_path, (tmp_path / "x").exists()))

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path / "x", "whole")
    assert synced[-1] == (True, True), "the folder, after the renaming"
    assert synced[:-1] == [(False, False)] * (1 if write is write_file else 2)


@WRITERS
def test_a_folder_or_file_is_replaced_as_a_whole(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    write(tmp_path / "x", "before")
    write(tmp_path / "x", "after")
    file = tmp_path / "x" if write is write_file else tmp_path / "x" / "file"
    assert file.read_text() == "after"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    write_file(tmp_path / "link", "whole")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_text() == "whole"


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system", ".x")


@pytest.mark.parametrize("kind", [atomic_write, atomic_folder])
@pytest.mark.parametrize("where", ["content", "fsync", "open", "replace"])
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Path], AbstractContextManager[Path]], where: str
) -> None:
    path = tmp_path / "x"
    (write_file if kind is atomic_write else write_folder)(path, "before")
    before = {file: file.is_file() and file.read_text() for file in tmp_path.rglob("*")}
    if where == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    elif where == "open":
        monkeypatch.setattr(*((os, "open") if kind is atomic_write else (Path, "mkdir")), refuse)
    elif where == "replace":
        monkeypatch.setattr(Path, "replace" if kind is atomic_write else "rename", full)
    reason = "Read-only file system" if where == "open" else "No space left on device; free some space"
    content = full if where == "content" else lambda: None
    with pytest.raises(WriteError) as caught, kind(path):
        content()
    assert str(caught.value) == f"cannot write {path}: {reason}"
    assert {file: file.is_file() and file.read_text() for file in tmp_path.rglob("*")} == before


def test_an_error_of_something_else_that_is_read_is_not_the_file_s(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), atomic_write(tmp_path / "x"):
        (tmp_path / "absent").read_text()


def test_a_write_error_survives_the_way_between_processes(tmp_path: Path) -> None:
    error = WriteError(tmp_path, OSError(errno.ENOSPC, "full"))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


KILLED = """
import os, signal, sys
from pathlib import Path
from recsys.files import atomic_folder, atomic_write, scratch_folder
folder = Path(sys.argv[1])
with atomic_write(folder / "file"), atomic_folder(folder / "sub" / "x") as partial, scratch_folder(folder / "y"):
    (partial / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_who_holds_a_folder_removes_what_killed_processes_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    left = list(tmp_path.rglob("*.partial"))
    assert len(left) == 3
    other = left[0].with_name(left[0].name.replace(MACHINE, "0" * 8))  # whose processes we do not know
    foreign = [tmp_path / name for name in (".file.partial", "file.partial", ".file.xyz-12-abc.partial")]
    for path in (other, *foreign):
        path.touch()
    with atomic_write(tmp_path / "mine") as mine, folder_lock(tmp_path, "trains"):
        assert mine.exists()
        assert sorted(tmp_path.rglob("*.partial")) == sorted([mine, other, *foreign])
        os.utime(other, (0, 0))
        remove_abandoned(tmp_path)
    assert sorted(tmp_path.rglob("*.partial")) == sorted(foreign)


def test_who_writes_the_same_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    write_file(tmp_path / "file", "whole")
    write_folder(tmp_path / "sub" / "x", "whole")
    assert {path.name for path in (tmp_path / "sub").iterdir()} == {"x"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".file")] == []
    assert len(list(tmp_path.glob(".y.*"))) == 1, "written by nobody again, until the folder is locked"


def test_a_partial_file_of_a_live_process_is_kept(tmp_path: Path) -> None:
    path = tmp_path / f".x.{MACHINE}-{os.getppid()}-00000000.partial"
    path.touch()
    remove_abandoned(tmp_path)
    assert path.exists()


def test_a_folder_left_between_its_two_names_gets_its_own_back(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "before")
    subprocess.run([sys.executable, "-c", EXCHANGING, str(tmp_path / "x")], check=False)
    assert not (tmp_path / "x").exists()
    with folder_lock(tmp_path, "trains"):
        assert (tmp_path / "x" / "file").read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"x", ".lock"}


EXCHANGING = """
import os, signal, sys
from pathlib import Path
from recsys.files import atomic_folder
rename = Path.rename
def killed(self, target):
    if self.name.endswith(".partial"):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = killed
with atomic_folder(Path(sys.argv[1])) as partial:
    (partial / "file").write_text("after")
"""
