"""A pointer names a bundle in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsys.bundle import BundleError
from serve.pointer import bundle_folder, newest_run, permitted_version, read_pointer, write_pointer
from tests.serve.conftest import rich, save


def test_what_is_written_is_read(saved: Path, tmp_path: Path) -> None:
    for pointer in (tmp_path / "serving", tmp_path / "deep" / "er" / "serving"):
        write_pointer(pointer, saved)
        assert read_pointer(pointer).resolve() == saved.resolve()
        assert not Path(pointer.read_text().strip()).is_absolute()  # the folder may move as a whole
        assert [file.name for file in pointer.parent.iterdir() if file.name.startswith(".")] == []
        assert pointer.stat().st_mode & 0o777 == 0o644


def test_a_second_line_permits_one_version_of_other_data(saved: Path, tmp_path: Path) -> None:
    pointer = tmp_path / "serving"
    for version in (None, "5f0c9a1b2c3d"):
        write_pointer(pointer, saved, other_data=version)
        assert read_pointer(pointer) == saved
        assert permitted_version(pointer) == version
    for wrong in ("other data: ", "other data: a\nother data: b", "more"):
        pointer.write_text(f"bundle\n{wrong}\n")
        with pytest.raises(BundleError, match="one line"):
            read_pointer(pointer)


def test_by_way_of_a_link(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    write_pointer(tmp_path / "link" / "serving", saved)
    assert read_pointer(tmp_path / "link" / "serving").resolve() == saved.resolve()


def test_a_run_stands_for_its_bundle(saved: Path, tmp_path: Path) -> None:
    assert bundle_folder(tmp_path) == saved
    assert bundle_folder(saved) == saved
    assert bundle_folder(tmp_path / "none") == tmp_path / "none"
    (tmp_path / "serving").write_text(f"  {tmp_path}\n")
    assert read_pointer(tmp_path / "serving") == saved


@pytest.mark.parametrize(
    "content",
    [b"", b"  \n", b"a\nb\n", b"\xff\xfe\x00", b"a\x00b", b"x" * 5000, b"x" * 4096 + b"\n"],
    ids=lambda content: ascii(content[:9]),
)
def test_what_is_no_line_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "serving").write_bytes(content)
    with pytest.raises(BundleError, match=r"pointer|cannot be read"):
        read_pointer(tmp_path / "serving")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for pointer in (tmp_path, tmp_path / "none", tmp_path / "none" / "either"):
        with pytest.raises(BundleError, match="cannot be read"):
            read_pointer(pointer)


def test_the_newest_finished_run_is_found(tmp_path: Path) -> None:
    def run(name: str, age: int, *, finished: bool = True, bundle: bool = True) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        if bundle:
            save(rich(), folder / "bundle")
            os.utime(folder / "bundle" / "manifest.json", (10_000 - age, 10_000 - age))
        if finished:
            (folder / "metrics.json").write_text("{}")
        return folder

    with pytest.raises(BundleError, match="no finished run"):
        newest_run(tmp_path)
    run("2026-11-22/10-00-00-mf", 100)
    wanted = run("2026-11-23/sweep/0", 50)
    run("2026-11-23/running", 1, finished=False)
    run("2026-11-23/no-bundle", 0, bundle=False)
    assert newest_run(tmp_path) == wanted / "bundle"
    with pytest.raises(BundleError, match="no finished run"):
        newest_run(tmp_path / "none")
