"""A pointer is only moved to what would be served, and whole."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from recsys.bundle import BundleError
from serve import promote as module
from serve.pointer import read_pointer
from serve.promote import promote
from tests.serve.conftest import ITEM_NAMES, USER_NAMES, rich, save


def test_a_good_run_is_promoted(saved: Path, tmp_path: Path) -> None:
    pointer = tmp_path / "serving"
    promote(tmp_path, pointer)
    assert read_pointer(pointer).folder.resolve() == saved.resolve()
    assert read_pointer(pointer).sha256 == hashlib.sha256((saved / "manifest.json").read_bytes()).hexdigest()
    other = save(rich(seed=1), tmp_path / "other")
    assert promote(other, pointer).bundle.manifest["seed"] == 1
    assert read_pointer(pointer).folder.resolve() == other.resolve()


@pytest.mark.parametrize("wrong", ["none", "cut", "strings"])
def test_a_bad_one_leaves_the_pointer_as_it_was(saved: Path, tmp_path: Path, wrong: str) -> None:
    pointer = tmp_path / "serving"
    promote(saved, pointer)
    before = pointer.read_bytes()
    other = tmp_path / "other"
    if wrong != "none":
        save(rich(USER_NAMES, ITEM_NAMES) if wrong == "strings" else rich(seed=1), other)
    if wrong == "cut":
        (other / "items.json").write_text("[")
    with pytest.raises(BundleError):
        promote(other, pointer)
    assert pointer.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"gone"])
def test_a_broken_pointer_is_mended(saved: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "serving").write_bytes(content)
    promote(saved, tmp_path / "serving")
    assert read_pointer(tmp_path / "serving").folder.resolve() == saved.resolve()


def test_whoever_reads_meanwhile_reads_a_whole_one(saved: Path, tmp_path: Path) -> None:
    pointer, other = tmp_path / "serving", save(rich(seed=1), tmp_path / "another-name")
    promote(saved, pointer)
    done = threading.Event()
    read: set[str] = set()

    def reader() -> None:
        while not done.is_set():
            read.add(read_pointer(pointer).folder.resolve().name)

    thread = threading.Thread(target=reader)
    thread.start()
    for turn in range(30):
        promote((saved, other)[turn % 2], pointer)
    done.set()
    thread.join()
    assert read == {"bundle", "another-name"}


def test_the_command(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> None:
        monkeypatch.setattr("sys.argv", ["promote", *arguments])
        module.main()

    run(str(saved), "--pointer", str(tmp_path / "serving"))
    assert "mf on small, version" in capsys.readouterr().out
    for pointer in (tmp_path, saved / "items.json" / "below"):  # a folder; below a file
        with pytest.raises(SystemExit, match=r"^error: [^\n]+$"):
            run(str(saved), "--pointer", str(pointer))
    with pytest.raises(SystemExit, match=r"^error: .*no manifest"):
        run(str(tmp_path / "none"))
