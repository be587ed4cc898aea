"""The manifest and its digest: whatever else they may hold is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.bundle import Bundle, BundleError
from recsys.bundle.manifest import DIGEST, MANIFEST, listed, read_manifest
from recsys.bundle.storage import FILES
from tests.bundles import one_sentence, rewritten, seal


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 7}, "schema version 7; this recsys reads up to 6"),
        ({"schema_version": 7, "files": None}, "schema version 7; this recsys reads up to 6"),
        *(({"schema_version": v}, "it names no schema_version") for v in ("new", None, 0, -1, 1.5, True, "2", [2])),
        ({"files": {}}, r"is not a bundle's manifest: it has no size and sha256 of factors.safetensors"),
        ({"files": [1]}, "is not a bundle's manifest"),
        ({"files": "factors.safetensors"}, "is not a bundle's manifest"),
        ({"schema_version": float("inf")}, "manifest.json cannot be parsed: Infinity is not a number"),
        ({"metrics": {"test/rmse": float("nan")}}, "manifest.json cannot be parsed: NaN is not a number"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(saved: Path, changes: dict, message: str) -> None:
    rewritten(saved, **changes)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(saved)
    assert "manifest.json" in one_sentence(error)


@pytest.mark.parametrize(
    ("old", "new"),
    [("MatrixFactorization", "mf"), ("SVDPlusPlus", "svdpp"), ("ALS", "als"), ("ImplicitALS", "ials"), ("Own", "Own")],
)
def test_a_manifest_of_version_0_1_is_read_under_the_names_of_today(saved: Path, old: str, new: str) -> None:
    rewritten(saved, model=old, taken=1.5)
    manifest = Bundle.load(saved).manifest
    assert (manifest["model"], manifest["fold_in_target"]) == (new, 1.5)
    assert "taken" not in manifest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot be parsed"),
        (b"[]", "is not a bundle's manifest"),
        (b"null", "is not a bundle's manifest"),
        (b'"schema_version"', "is not a bundle's manifest"),
        (b"", "cannot be parsed"),
        (b'{"data": "' + b"\xff" * 1000 + b'"}', "cannot be parsed: 'utf-8' codec can't decode byte 0xff"),
        (
            b"[" * 100_000,
            r"is nested in 100,000 levels, the limit is 32 \(depth of recsys.bundle.Budget\)",
        ),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "cannot be parsed"),
    ],
    ids=["open", "list", "null", "text", "empty", "not UTF-8", "deep", "huge number"],
)
def test_a_manifest_that_is_no_object_is_refused(saved: Path, content: bytes, message: str) -> None:
    (saved / "manifest.json").write_bytes(content)
    seal(saved)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(saved)
    assert "manifest.json" in one_sentence(error)


@pytest.mark.parametrize("name", ["factors.safetensors", "items.json"])
@pytest.mark.parametrize(
    "entry", [None, [], "8", {}, {"size": "8", "sha256": ""}, {"size": True, "sha256": ""}, {"size": 8}]
)
def test_a_file_listed_otherwise_than_by_size_and_sha256_is_refused(saved: Path, name: str, entry: object) -> None:
    files = json.loads((saved / "manifest.json").read_text())["files"]
    rewritten(saved, files=files | {name: entry})
    with pytest.raises(BundleError, match=f"it has no size and sha256 of {name}") as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("size", [-1, 0, 10**19])
def test_a_size_that_no_file_has_is_refused(saved: Path, size: int) -> None:
    files = json.loads((saved / "manifest.json").read_text())["files"]
    files["items.json"]["size"] = size
    rewritten(saved, files=files)
    with pytest.raises(BundleError, match=rf"items.json has \d+ bytes, the manifest says {size}") as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("other", ["../secret", "/etc/passwd", "extra.safetensors", "manifest.json", "", "x" * 10_000])
def test_a_manifest_that_names_other_files_is_refused(saved: Path, other: str) -> None:
    (saved.parent / "secret").write_bytes(b"")
    files = json.loads((saved / "manifest.json").read_text())["files"]
    rewritten(saved, files=files | {other: listed(b"")})
    with pytest.raises(BundleError, match="which is no file of a bundle") as error:
        Bundle.load(saved)
    assert other[:50] in one_sentence(error)


def test_a_missing_manifest_or_folder_is_refused(saved: Path) -> None:
    (saved / "manifest.json").unlink()
    for path in (saved, saved / "nowhere"):
        with pytest.raises(BundleError, match=r"is not a bundle: it has no manifest\.json") as error:
            Bundle.load(path)
        assert str(path) in one_sentence(error)
        assert ("no such folder" in str(error.value)) is not path.exists()


@pytest.mark.parametrize(("key", "value"), [("data", '"\\ud800"'), ("metrics", '{"val/rmse": 1e999}')])
def test_a_manifest_that_no_answer_can_carry_is_refused(saved: Path, key: str, value: str) -> None:
    manifest = json.loads((saved / "manifest.json").read_text()) | {key: "here"}
    (saved / "manifest.json").write_text(json.dumps(manifest).replace('"here"', value))
    seal(saved)
    with pytest.raises(BundleError, match=r"manifest\.json") as error:
        Bundle.load(saved)
    one_sentence(error)


def without_digest(folder: Path, version: int = 2) -> None:
    rewritten(folder, schema_version=version)
    (folder / DIGEST).unlink()


def test_sha256sum_reads_the_digest(saved: Path) -> None:
    digest = hashlib.sha256((saved / MANIFEST).read_bytes()).hexdigest()
    assert (saved / DIGEST).read_text() == f"{digest}  manifest.json\n"


def test_every_bit_of_the_manifest_and_of_its_digest_counts(saved: Path) -> None:
    """One flipped bit turned a scale of 5 into one of 4, and a 3 into a 2."""
    for name in (MANIFEST, DIGEST):
        whole = (saved / name).read_bytes()
        for bit in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            (saved / name).write_bytes(flipped)
            with pytest.raises(BundleError, match=name):
                read_manifest(saved, FILES)
        (saved / name).write_bytes(whole)
    assert Bundle.load(saved).scale == (1, 5)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_digest_that_is_there_counts_whatever_the_version(saved: Path, version: int) -> None:
    manifest = json.loads((saved / MANIFEST).read_text()) | {"schema_version": version}
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"manifest\.json was altered: its SHA-256 is not that of manifest\.sha256"):
        Bundle.load(saved)


def test_only_bundles_of_former_versions_may_have_none(saved: Path) -> None:
    without_digest(saved)
    assert Bundle.load(saved).n_users == 2
    rewritten(saved, schema_version=3)
    (saved / DIGEST).unlink()
    with pytest.raises(BundleError, match=r"manifest\.sha256 is missing"):
        Bundle.load(saved)


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"0" * 64, b"0" * 64 + b"  other.json\n", b"0" * 63 + b"  manifest.json\n", b"0" * 10_000,
     2 * (b"0" * 64 + b"  manifest.json\n"), b"\xff" * 80],
    ids=lambda content: ascii(content[:9]),
)  # fmt: skip
def test_a_digest_in_another_form_is_refused(saved: Path, content: bytes) -> None:
    (saved / DIGEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.sha256 must have one line") as error:
        Bundle.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["dir", "pipe"])
def test_a_digest_that_is_no_file_is_refused(saved: Path, make: Callable[[Path], None]) -> None:
    (saved / DIGEST).unlink()
    make(saved / DIGEST)
    with pytest.raises(BundleError, match=r"manifest\.sha256 cannot be read: it is not a regular file") as error:
        Bundle.load(saved)
    one_sentence(error)


def test_another_manifest_than_the_one_wanted_is_refused(saved: Path) -> None:
    sha256 = Bundle.load(saved).sha256
    assert Bundle.load(saved, sha256=sha256).sha256 == sha256
    with pytest.raises(BundleError, match=r"manifest\.json is not the one wanted: its SHA-256 is"):
        Bundle.load(saved, sha256="0" * 64)
