"""The header of a file of arrays is checked before the arrays are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import Budget, BundleError
from recsys.bundle.array_file import load_arrays, read_header
from recsys.bundle.budget import Spending


def written(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def one(kind: Any = "F32", shape: Any = (1,), ends: Any = (0, 4)) -> dict[str, Any]:
    return {"mu": {"dtype": kind, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": ends}}


@pytest.mark.parametrize(
    ("header", "data", "length", "message"),
    [
        (b"{}", b"", 2**64 - 1, "its header is longer than the file"),
        (b"{}", b"", 3, "its header is longer than the file"),
        (b"{" + b" " * 70_000 + b"}", b"", None, "has a header of 70,002 bytes, the limit is 65,536"),
        (b"{", b"", None, "cannot be parsed"),
        (b"[]", b"", None, "its header is no object"),
        ({"mu": 5}, b"", None, "of a type that a bundle cannot hold: 'mu' is None"),
        (one("BF16"), bytes(4), None, "of a type that a bundle cannot hold: 'mu' is 'BF16'"),
        (one(["F32"]), bytes(4), None, "of a type that a bundle cannot hold"),
        (one(shape=(-1,)), bytes(4), None, "an array of no shape"),
        (one(shape=(1.0,)), bytes(4), None, "an array of no shape"),
        (one(shape="1"), bytes(4), None, "an array of no shape"),
        (one(shape=(True,)), bytes(4), None, "an array of no shape"),
        (one(shape=(1,) * 9), bytes(4), None, "an array of no shape"),
        (one(shape=(2**40,)), bytes(4), None, "its header does not describe the 4 bytes after it"),
        (one(shape=(2**32, 2**32)), b"", None, "its header does not describe the 0 bytes after it"),
        ({f"a{n}": one()["mu"] for n in range(65)}, bytes(4), None, "has 65 arrays, the limit is 64"),
    ],
)
def test_what_is_no_header_is_refused(
    tmp_path: Path, header: Any, data: bytes, length: int | None, message: str
) -> None:
    file = written(tmp_path / "x.safetensors", header, data, length)
    with file.open("rb") as stream, pytest.raises(BundleError, match=message):
        read_header(file, stream, Spending(tmp_path, Budget()))


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\0" * 8])
def test_a_file_too_short_for_a_header_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with file.open("rb") as stream, pytest.raises(BundleError, match=r"x\.safetensors"):
        read_header(file, stream, Spending(tmp_path, Budget()))


@pytest.mark.parametrize("ends", [[0, 8], [4, 8], [4, 0], [-4, 0], "04", None, [0, 2**64]])
def test_what_the_library_refuses_is_refused_in_words(tmp_path: Path, ends: Any) -> None:
    file = written(tmp_path / "x.safetensors", one(ends=ends), bytes(4))
    with file.open("rb") as stream, pytest.raises(BundleError, match=r"x\.safetensors"):
        load_arrays(file, file.read_bytes(), read_header(file, stream, Spending(tmp_path, Budget())))


def test_a_file_that_is_altered_after_its_header_was_read_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "x.safetensors", one(), bytes(4))
    with file.open("rb") as stream:
        header = read_header(file, stream, Spending(tmp_path, Budget()))
    assert load_arrays(file, file.read_bytes(), header)["mu"].tolist() == [0]
    written(file, one("I32"), bytes(4))
    with pytest.raises(BundleError, match="was altered while it was read"):
        load_arrays(file, file.read_bytes(), header)
