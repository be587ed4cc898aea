"""A pointer is only moved to what would be served, and whole."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from recsys.bundle import Bundle, BundleError
from recsys.files import WriteError
from serve import promote as module
from serve.models.pointer import read_pointer
from serve.promote import promote
from tests.bundle.test_signature import write_keys
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


def test_a_bundle_is_signed_and_then_named(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (private, public), pointer = write_keys(tmp_path), tmp_path / "serving"
    promote(saved, pointer, sign_with=private)
    assert Bundle.load(saved, sha256=read_pointer(pointer).sha256, verify_key=public).n_users
    other = save(rich(seed=1), tmp_path / "other")
    before = pointer.read_bytes()
    monkeypatch.setenv("RECSYS_VERIFY_KEY", str(public))  # what the service will ask for
    with pytest.raises(BundleError, match=r"is not signed: it has no manifest\.sig"):
        promote(other, pointer)
    with pytest.raises(BundleError, match="is not signed with the private key to"):
        promote(other, pointer, sign_with=write_keys(tmp_path, "stranger")[0])
    assert pointer.read_bytes() == before
    promote(other, pointer, sign_with=private)
    assert read_pointer(pointer).folder.resolve() == other.resolve()


def test_a_key_that_cannot_be_used_signs_nothing(saved: Path, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    private.chmod(0o644)
    for key in (private, public, tmp_path / "none"):
        with pytest.raises(BundleError, match=str(key)):
            promote(saved, tmp_path / "serving", sign_with=key)
    assert not (saved / "manifest.sig").exists()
    assert not (tmp_path / "serving").exists()


def test_a_bundle_that_cannot_be_written_to_is_not_signed(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: object, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT and "manifest.sig" in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *mode)  # type: ignore[call-overload,no-any-return]

    opened = os.open
    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(WriteError, match=r"cannot write .*manifest\.sig: Read-only file system"):
        promote(saved, tmp_path / "serving", sign_with=write_keys(tmp_path)[0])
    assert not (tmp_path / "serving").exists()


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
