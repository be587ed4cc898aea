from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from recsys.data.errors import DataError
from recsys.data.readers import Format, SourceFile, expand, open_bytes, sample_rows

TEXT = b"user_id,item_id\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(3000))
PACKED = {
    "gz": gzip.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "lzma": lzma.compress(TEXT, lzma.FORMAT_ALONE),
    "zst": pa.compress(TEXT, "zstd", asbytes=True),
}


def names(files: list[SourceFile]) -> list[str]:
    return [file.path.name if file.member is None else f"{file.path.name}/{file.member}" for file in files]


def test_a_path_a_glob_and_a_list(tmp_path: Path) -> None:
    folder = tmp_path / "parts [of 2]"
    folder.mkdir()
    for name in ("b.csv", "a.csv", "C.csv", "x.txt"):
        (folder / name).write_text("1")
    (folder / "sub.csv").mkdir()
    assert names(expand(folder, "a.csv")) == ["a.csv"]
    assert names(expand(folder, str(folder / "a.csv"))) == ["a.csv"]
    assert names(expand(folder, "*.csv")) == ["C.csv", "a.csv", "b.csv"]
    assert names(expand(folder, ["b.csv", "[ac].csv"])) == ["b.csv", "a.csv"]
    assert names(expand(tmp_path, "parts [of 2]/a.csv")) == ["a.csv"]


def test_a_table_of_spark(tmp_path: Path) -> None:
    folder = tmp_path / "ratings.parquet"
    folder.mkdir()
    for name in ("part-00001.parquet", "part-00000.parquet", "_SUCCESS", ".part-00000.parquet.crc"):
        (folder / name).write_text("1")
    assert names(expand(tmp_path, "ratings.parquet")) == ["part-00000.parquet", "part-00001.parquet"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rating.csv", r"rating.csv: no such file; did you mean ratings.csv\?"),
        ("zzzzzz", r"zzzzzz: no such file; the files in .* are films.csv, ratings.csv"),
        ("*.parquet", r"no file matches .*\*.parquet; the files in"),
        ("nowhere/ratings.csv", r"no such file: .*nowhere is no folder"),
        (".", r"is a folder, not a file; it has films.csv, ratings.csv; '\./\*\.csv' means all of one kind"),
        ([], "a list of files must not be empty"),
    ],
)
def test_what_is_missing_is_named(text: str | list[str], message: str, tmp_path: Path) -> None:
    for name in ("ratings.csv", "films.csv"):
        (tmp_path / name).write_text("1")
    with pytest.raises(DataError, match=message):
        expand(tmp_path, text)


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return path


def test_archives(tmp_path: Path) -> None:
    zipped(tmp_path / "one.zip", README_md=b"about", data__r_csv=TEXT)
    zipped(tmp_path / "two.zip", a_csv=TEXT, b_csv=b"1")
    assert names(expand(tmp_path, "one.zip")) == ["one.zip/data/r.csv"]
    assert names(expand(tmp_path, "two.zip/a.csv")) == ["two.zip/a.csv"]
    assert names(expand(tmp_path, "two.zip/*.csv")) == ["two.zip/a.csv", "two.zip/b.csv"]
    with open_bytes(expand(tmp_path, "two.zip/a.csv")[0]) as stream:
        assert stream.read() == TEXT
    with pytest.raises(DataError, match=r"two.zip: an archive with 2 files; name one, such as two.zip/a.csv: it has a"):
        expand(tmp_path, "two.zip")
    with pytest.raises(DataError, match=r"two.zip has no member 'c.csv'; did you mean"):
        expand(tmp_path, "two.zip/c.csv")
    with pytest.raises(DataError, match=r"two.zip has no member 'c.csv'"):
        open_bytes(SourceFile(tmp_path / "two.zip", "c.csv"))


@pytest.mark.parametrize("kind", PACKED)
def test_compression_is_told_by_the_content(kind: str, tmp_path: Path) -> None:
    for name in (f"r.csv.{kind}", "r.csv"):
        (tmp_path / name).write_bytes(PACKED[kind])
        with open_bytes(SourceFile(tmp_path / name)) as stream:
            assert stream.read() == TEXT
    zipped(tmp_path / "r.zip", r_csv=PACKED[kind])
    assert sample_rows(expand(tmp_path, "r.zip")[0], Format(), 2).rows == [["0", "0"], ["1", "1"]]


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_damaged_archives(kind: str, damage: str, tmp_path: Path) -> None:
    whole = PACKED[kind]
    middle = len(whole) // 2
    if damage == "changed" and kind in ("zst", "lzma"):
        pytest.skip("written without a checksum")
    broken = whole[:middle] if damage == "truncated" else whole[:middle] + bytes(40) + whole[middle + 40 :]
    (tmp_path / "r.csv").write_bytes(broken)
    with (
        pytest.raises(DataError, match=r"r.csv: cannot be read or decompressed"),
        open_bytes(SourceFile(tmp_path / "r.csv")) as stream,
    ):
        stream.read()


def test_a_damaged_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "r.zip", r_csv=TEXT)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"r.zip: cannot be read or decompressed"):
        expand(tmp_path, "r.zip")
    path.write_bytes(whole[:2000] + bytes(100) + whole[2100:])
    with (
        pytest.raises(DataError, match=r"r.zip/r.csv: cannot be read or decompressed"),
        open_bytes(expand(tmp_path, "r.zip")[0]) as stream,
    ):
        stream.read()


def test_standard_input_is_kept_under_its_sha256(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    for content, suffix in ((TEXT, ".txt"), (PACKED["gz"], ".gz")):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        (file,) = expand(None, "-")
        assert file.path.parent == cache / "stdin"
        assert (len(file.path.stem), file.path.suffix) == (64, suffix)
        with open_bytes(file) as stream:
            assert stream.read() == TEXT
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
    with pytest.raises(DataError, match="standard input is empty"):
        expand(None, "-")
    assert len(list((cache / "stdin").iterdir())) == 2
