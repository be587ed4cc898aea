from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from recsys.data.download import archives
from recsys.data.download.archives import check_sha256, extract_members
from recsys.data.errors import DataError


def zipped(folder: Path, **members: str) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for member, text in members.items():
            file.writestr(member, text)
    return folder / "a.zip"


def test_only_named_members_are_extracted_and_only_to_the_paths_given(tmp_path: Path) -> None:
    archive = zipped(tmp_path, **{"../../evil": "x", "a/ratings": "1,2,3", "a/other": "y"})
    before = set(tmp_path.parent.rglob("*"))
    extract_members(archive, {"../../evil": tmp_path / "harmless", "a/ratings": tmp_path / "r"})
    assert (tmp_path / "r").read_text() == "1,2,3"
    assert set(tmp_path.parent.rglob("*")) - before == {tmp_path / "harmless", tmp_path / "r"}


def test_a_member_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 3 << 20)
    archive = zipped(tmp_path, bomb="0" * (8 << 20))
    assert archive.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"bomb must have at most 3145728 bytes, got more"):
        extract_members(archive, {"bomb": tmp_path / "bomb"})
    assert (tmp_path / "bomb").stat().st_size <= 3 << 20


def test_a_member_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.zip must contain b, got a zip without it"):
        extract_members(zipped(tmp_path, a="1"), {"b": tmp_path / "b"})


def test_check_sha256(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    right = hashlib.sha256(b"abc").hexdigest()
    check_sha256(path, right)
    with pytest.raises(DataError, match=rf"sha256 of f must be 00, got {right}"):
        check_sha256(path, "00")
