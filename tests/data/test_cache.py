from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.data import cache as cache_module
from recsys.data.cache import parse_key
from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.inference.finding import Finding
from recsys.data.readers.format import RowCounts
from recsys.data.sources import MovieLens, RatingData

Write = Callable[..., Path]


def read(folder: Path) -> RatingData:
    return MovieLens("ml-1m", root=str(folder)).read()


def stored(cache: Path, frame: str) -> Path:
    (path,) = cache.glob(f"parsed/*-{frame}.parquet")
    return path


def test_the_key_depends_on_all_that_parsing_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    keys = [parse_key([file], {"x": 1}), parse_key([file], {"x": 2}), parse_key([file, tmp_path / "absent"], {"x": 1})]
    file.write_text("2")
    keys.append(parse_key([file], {"x": 1}))
    monkeypatch.setattr(cache_module, "PARSER_VERSION", cache_module.PARSER_VERSION + 1)
    keys.append(parse_key([file], {"x": 1}))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("frame", "damage"),
    [
        *(("ratings", damage) for damage in ("truncated", "empty", "text", "absent", "end", "page")),
        *((frame, damage) for frame in ("items", "users") for damage in ("absent", "page")),
    ],
)
def test_a_damaged_file_is_made_again(frame: str, damage: str, cache: Path, write_release: Write) -> None:
    folder = write_release("ml-1m", [(user, item, 3, 5) for user in range(40) for item in range(40)])
    first = read(folder)
    path = stored(cache, frame)
    whole = bytearray(path.read_bytes())
    flipped = bytearray(whole)
    flipped[40] ^= 0xFF
    contents = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a table",
        "end": whole[:-20] + bytes(20),
        "page": flipped,
    }
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(contents[damage])
    again = read(folder)
    assert again.sha256 == first.sha256
    assert again.ratings.equals(first.ratings)
    assert first.items is not None
    assert first.items.equals(again.items)
    assert path.read_bytes() == whole


def test_a_flipped_byte_is_noticed_and_said(
    cache: Path, write_release: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_release("ml-1m", [(user, item, 3, 5) for user in range(60) for item in range(60)])
    read(folder)
    path = stored(cache, "ratings")
    contents = bytearray(path.read_bytes())
    contents[200] ^= 0x01
    path.write_bytes(contents)
    read(folder)
    assert "corrupt cache entry" in caplog.text


def test_a_flipped_byte_anywhere_is_other_data_never(
    cache: Path, write_release: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Footers too, whose checksum Parquet does not have: five of 450 flips there were loaded as other data."""
    read(write_release("ml-1m"))
    (digests,) = cache.glob("parsed/*.sha256")
    key = digests.stem
    first = cache_module.load(key)
    assert first is not None
    files = sorted((cache / "parsed").iterdir())
    assert [file.name.removeprefix(key) for file in files] == [
        "-items.parquet", "-ratings.parquet", "-users.parquet", ".sha256"
    ]  # fmt: skip
    for file in files:
        whole = file.read_bytes()
        for place in [*range(0, len(whole), 101), *range(len(whole) - 12, len(whole))]:
            for content in (whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :], whole[:place]):
                file.write_bytes(content)
                again = cache_module.load(key)
                assert again is None, (file.name, place)
        file.write_bytes(whole)
    assert len(caplog.records) > 50
    again = cache_module.load(key)
    assert again is not None
    assert again.ratings.equals(first.ratings)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["dir", "pipe"])
@pytest.mark.parametrize("name", ["-users.parquet", "-ratings.parquet", ".sha256"])
def test_what_is_no_file_is_not_waited_for(
    cache: Path, write_release: Write, name: str, make: Callable[[Path], None]
) -> None:
    read(write_release("ml-1m"))
    (file,) = cache.glob(f"parsed/*{name}")
    file.unlink()
    make(file)
    assert cache_module.load(file.name[:32]) is None


def test_files_of_an_older_version_are_made_again(
    cache: Path, write_release: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_release("ml-1m")
    read(folder)
    (digests,) = cache.glob("parsed/*.sha256")
    whole = digests.read_bytes()
    digests.unlink()
    read(folder)
    assert digests.read_bytes() == whole
    assert not caplog.records


def test_a_cache_that_cannot_be_written(cache: Path, write_release: Write, caplog: pytest.LogCaptureFixture) -> None:
    cache.write_text("a file where the folder should be")
    assert len(read(write_release("ml-1m")).ratings) == 4
    assert f"cannot cache the parsed ratings in {cache}" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_cache_that_must_not_be_written(cache: Path, write_release: Write) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    assert len(read(write_release("ml-1m")).ratings) == 4


def test_counts_and_findings_are_kept() -> None:
    frame = pd.DataFrame({USER_ID: [1], ITEM_ID: [2], RATING: np.float32([3])})
    counts = RowCounts(5, refused=1, dropped={"not rated": 3})
    findings = (Finding("separator", ";", "splits all"), Finding("missing", [99, -1], "far"))
    more: dict[str, Any] = {"notes": ("n",), "warnings": ("w",), "settled": {"a": [1]}}
    cache_module.store("0" * 32, RatingData("x", frame, 1, 5, counts=counts, findings=findings, **more))
    again = cache_module.load("0" * 32)
    assert again is not None
    assert (again.counts, again.findings, again.notes, again.warnings) == (counts, findings, ("n",), ("w",))
    assert again.settled == {"a": [1]}
