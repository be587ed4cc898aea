"""A pointer names a bundle in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsys.bundle import BundleError
from serve.models.pointer import bundle_folder, newest_run, read_pointer, write_pointer
from tests.serve.conftest import rich, save


def test_what_is_written_is_read(saved: Path, tmp_path: Path) -> None:
    for pointer in (tmp_path / "serving", tmp_path / "deep" / "er" / "serving"):
        write_pointer(pointer, saved)
        assert read_pointer(pointer).folder.resolve() == saved.resolve()
        assert not Path(pointer.read_text().strip()).is_absolute()  # the folder may move as a whole
        assert [file.name for file in pointer.parent.iterdir() if file.name.startswith(".")] == []
        assert pointer.stat().st_mode & 0o777 == 0o644


SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize("version", [None, "5f0c9a1b2c3d"])
@pytest.mark.parametrize("sha256", [None, SHA256])
def test_lines_name_the_digest_and_permit_one_version_of_other_data(
    saved: Path, tmp_path: Path, sha256: str | None, version: str | None
) -> None:
    pointer = tmp_path / "serving"
    write_pointer(pointer, saved, sha256=sha256, other_data=version)
    assert read_pointer(pointer) == (saved, sha256, version)


@pytest.mark.parametrize(
    "lines",
    [
        "bundle\nother data: ",
        "bundle\nother data: 5f0c9a1b2c3\n",
        "bundle\nother data: 5f0c9a1b2c3d\nother data: 5f0c9a1b2c3d",
        "bundle\nmore",
        f"bundle\nsha256: {SHA256}",  # after the folder
        f"sha256: {SHA256}",
        f"sha256: {SHA256}\n\nbundle",
        f"sha256: {SHA256}\nbundle\nmore",
        f"sha256: {SHA256}\nother data: 5f0c9a1b2c3d\nbundle",
        f"sha256: {SHA256[1:]}\nbundle",
        f"sha256: {SHA256.upper()}\nbundle",
        f"sha257: {SHA256}\nbundle",
        f"SHA256: {SHA256}\nbundle",
        f"sha256:{SHA256}\nbundle",
        f"sha256: {SHA256}\nsha256: {SHA256}\nbundle",
    ],
)
def test_lines_of_other_names_forms_or_order_are_refused(tmp_path: Path, lines: str) -> None:
    (tmp_path / "serving").write_text(lines)
    with pytest.raises(BundleError, match="one line"):
        read_pointer(tmp_path / "serving")


@pytest.mark.parametrize("name", ["x\nother data: 0123456789ab", "a\nb", "trailing ", "sha256: " + 64 * "0"])
def test_a_folder_that_would_be_read_as_something_else_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="cannot stand in a pointer"):
        write_pointer(tmp_path / "serving", tmp_path / name)
    assert not (tmp_path / "serving").exists()


def test_a_pointer_cut_short_names_no_other_bundle(saved: Path, tmp_path: Path) -> None:
    pointer = tmp_path / "serving"
    write_pointer(pointer, saved, sha256=SHA256, other_data="5f0c9a1b2c3d")
    whole = pointer.read_bytes()
    for length in range(len(whole)):
        pointer.write_bytes(whole[:length])
        try:
            pointed = read_pointer(pointer)
        except BundleError:
            continue
        assert pointed.sha256 == SHA256 or "sha256: ".startswith(pointed.folder.name)


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_its_mode_is_what_the_umask_gives(saved: Path, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        for _ in range(2):
            write_pointer(tmp_path / "deep" / "serving", saved)
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "serving").stat().st_mode & 0o777 == 0o666 & ~mask


def test_by_way_of_a_link(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    write_pointer(tmp_path / "link" / "serving", saved)
    assert read_pointer(tmp_path / "link" / "serving").folder.resolve() == saved.resolve()


def test_a_run_stands_for_its_bundle(saved: Path, tmp_path: Path) -> None:
    assert bundle_folder(tmp_path) == saved
    assert bundle_folder(saved) == saved
    assert bundle_folder(tmp_path / "none") == tmp_path / "none"
    (tmp_path / "serving").write_text(f"  {tmp_path}\n")
    assert read_pointer(tmp_path / "serving").folder == saved


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
