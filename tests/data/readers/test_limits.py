"""Files that ask for more than their size tells; limits are lowered, so that small ones do."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from recsys.data.errors import DataError
from recsys.data.readers import Format, SourceFile, expand, files, jsonl, limits, lines, open_bytes, records, streams
from recsys.data.readers.archives import LARGEST_DIRECTORY
from recsys.data.sources import TabularRatings
from tests.data.readers.reading import HEADER, IDS, read, write

ROWS = b"1,2,3\n" * 20_000
ORDINARY = b"".join(b"%d,%d,%d\n" % (n * 7919 % 10_007, n * 104_729 % 5003, n % 5 + 1) for n in range(20_000))
PACK: dict[str, Any] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda text: pa.compress(text, "zstd", asbytes=True),
}


@pytest.fixture(autouse=True)
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE", 100_000)
    monkeypatch.setattr(streams, "CHUNK", 10_000)


def all_of(file: SourceFile) -> bytes:
    with open_bytes(file) as stream:
        return stream.read()


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("before", [b"", ORDINARY], ids=["alone", "after ordinary rows"])
def test_equal_rows_without_end(kind: str, before: bytes, tmp_path: Path) -> None:
    packed = (PACK[kind](before) if before else b"") + PACK[kind](ROWS) * 150
    with pytest.raises(
        DataError, match=r"r.csv: unpacks to more than (97.66|48.83) KiB beyond 100 times its size: .* bytes came"
    ):
        all_of(write(tmp_path, packed))


@pytest.mark.parametrize("kind", PACK)
def test_ordinary_rows_and_a_few_equal_ones(kind: str, tmp_path: Path) -> None:
    text = ORDINARY + ROWS[:30_000] + ORDINARY + ROWS[:30_000]
    assert all_of(write(tmp_path, PACK[kind](text))) == text


def test_the_size_that_a_file_may_have(tmp_path: Path) -> None:
    packed = gzip.compress(ROWS * 20)
    file = write(tmp_path, packed)
    assert len(all_of(SourceFile(file.path, max_bytes=len(ROWS) * 20))) == len(ROWS) * 20
    with pytest.raises(DataError, match=r"r.csv: holds more than data.max_bytes=1,000 bytes"):
        all_of(SourceFile(file.path, max_bytes=1000))


def test_files_that_are_read_together_share_what_is_free(tmp_path: Path) -> None:
    for name in "abcd":
        write(tmp_path, gzip.compress(ROWS[:60_000]), f"{name}.csv")
    assert len(all_of(expand(tmp_path, "a.csv")[0])) == 60_000
    with pytest.raises(DataError, match=r"a.csv: unpacks to more than 24.41 KiB"):
        all_of(expand(tmp_path, "*.csv")[0])


def test_what_comes_before_is_read(tmp_path: Path) -> None:
    packed = gzip.compress(ORDINARY) + gzip.compress(ROWS) * 300
    with open_bytes(write(tmp_path, packed)) as stream:
        assert stream.read(len(ORDINARY)) == ORDINARY
        with pytest.raises(DataError, match=r"unpacks to more"):
            stream.read()


def test_zeros_after_gzip(tmp_path: Path) -> None:
    assert all_of(write(tmp_path, gzip.compress(ORDINARY) + bytes(10_000))) == ORDINARY
    with pytest.raises(DataError, match=r"more than .* zeros follow the data"):
        all_of(write(tmp_path, gzip.compress(ORDINARY) + bytes(streams.PADDING + 20_000)))


# -- archives


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("content", [ROWS * 20, gzip.compress(ROWS * 20)], ids=["deflated", "gzip in zip"])
def test_a_member_without_end(content: bytes, tmp_path: Path) -> None:
    zipped(tmp_path / "r.zip", {"r.csv": content})
    with pytest.raises(DataError, match=r"r.zip/r.csv: unpacks to more than"):
        all_of(expand(tmp_path, "r.zip")[0])


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "r.zip", {"0.csv": ORDINARY})
    content = path.read_bytes()
    place = content.rindex(b"PK\1\2")
    end = content.rindex(b"PK\5\6")
    entries = content[place:end] * 3
    last = content[end : end + 8] + struct.pack("<HHII", 3, 3, len(entries), place) + content[end + 20 :]
    path.write_bytes(content[:place] + entries + last)
    with pytest.raises(DataError, match=r"its members claim .* bytes of"):
        expand(tmp_path, "r.zip/*.csv")


def test_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zipped(tmp_path / "r.zip", {f"{n}.csv": b"1" for n in range(5)})
    monkeypatch.setattr("recsys.data.readers.archives.MOST_READ_MEMBERS", 4)
    with pytest.raises(DataError, match=r"at most 4 members are read, got 5"):
        expand(tmp_path, "r.zip/*.csv")
    monkeypatch.setattr("recsys.data.readers.archives.MOST_MEMBERS", 4)
    with pytest.raises(DataError, match=r"it has 5 members, more than 4"):
        expand(tmp_path, "r.zip")


@pytest.mark.parametrize("claimed", [LARGEST_DIRECTORY + 1, 1 << 40])
def test_a_large_directory(claimed: int, tmp_path: Path) -> None:
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 9, 9, claimed, 4)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 4, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    write(tmp_path, b"PK\3\4" + record + locator + end, "r.zip")
    with pytest.raises(DataError, match=r"bytes of names, more than"):
        expand(tmp_path, "r.zip")


# -- which files


def test_pipes_holes_and_files_of_the_system(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"pipe is a pipe, not a file; to read a stream"):
        expand(tmp_path, "pipe")
    with pytest.raises(DataError, match=r"it is not a regular file"):
        open_bytes(SourceFile(tmp_path / "pipe"))
    with pytest.raises(DataError, match=r"a file of the operating system"):
        open_bytes(SourceFile(Path("/proc/self/maps")))
    file = write(tmp_path, HEADER + "1,2,3\n")
    os.truncate(file.path, 1 << 30)
    if file.path.stat().st_blocks * 512 < 1 << 20:
        with pytest.raises(DataError, match=r"r.csv: mostly a hole: 1,073,741,824 bytes"):
            TabularRatings(str(tmp_path), "r.csv").read()


def test_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 3)
    for n in range(4):
        write(tmp_path, HEADER, f"{n}.csv")
    for text in ("*.csv", "**/*.csv"):
        with pytest.raises(DataError, match=r"at most 3 files are read together, and more match"):
            expand(tmp_path, text)
    with pytest.raises(DataError, match=r"at most 3 files are read together, got 4"):
        expand(tmp_path, ["0.csv", "1.csv", "2.csv", "3.csv"])


def test_links_to_folders_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    write(inner, HEADER)
    for name in ("x", "y"):
        (inner / name).symlink_to(tmp_path)
    assert [file.path.name for file in expand(tmp_path, "**/*.csv")] == ["r.csv"]
    assert [file.path.name for file in expand(tmp_path, "**/r.csv")] == ["r.csv"]
    monkeypatch.setattr(files, "MOST_SEEN", 2)
    with pytest.raises(DataError, match=r"more than 2 names are below"):
        expand(tmp_path, "**/*.csv")


# -- texts


def test_a_quoted_value_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_LINE", 1000)
    splitter = records.Splitter(Format(quoting=True), 3)
    given = ['1,2,"' + "x" * 600, "y" * 600, 'z"', "4,5,6"]
    problems = [record.problem or "" for record in splitter.records(given, 1)]
    assert "does not close within 1000 bytes" in problems[0]
    assert problems[-1] == ""


def test_values_over_several_lines() -> None:
    given = ['1,"x ""y""', "", '""z"" ,', 'w" v,3', "4,5,6"]
    found = list(records.Splitter(Format(quoting=True), 3).records(given, 1))
    assert [list(record.texts) for record in found] == [["1", 'x "y"\n\n"z" ,\nw v', "3"], ["4", "5", "6"]]
    assert [record.continued for record in found] == [3, 0]


def test_many_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ",".join(f"c{n}" for n in range(limits.MOST_COLUMNS + 1)) + "\n")
    with pytest.raises(DataError, match=r"r.csv: must have at most 65,536 columns, got 65,537"):
        TabularRatings(str(tmp_path), "r.csv").read()
    write(tmp_path, ",".join(f"c{n}" for n in range(5000)) + "\n" + "1," * 4999 + "1\n")
    with pytest.raises(DataError, match=r"r.csv: must have at most 4,096 columns, got 5,000"):
        TabularRatings(str(tmp_path), "r.csv", layout="long").read()


def test_rows_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 1000)
    monkeypatch.setattr("recsys.data.readers.rows.FIRST_ROWS", 100)
    with pytest.raises(DataError, match=r"of the first [0-9]+ rows cannot be read; it is no table"):
        read(tmp_path, HEADER + "1,2,3\n" * 5 + "junk\n" * 5000, bad_rows="drop")


# -- JSON


ROW = {"user_id": 1, "item_id": 2, "rating": 3}


def test_lists_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 7)
    monkeypatch.setattr(jsonl, "LISTED_ROWS", 2)
    rows = [ROW | {"user_id": n, "x": "ü, ] [" * n} for n in range(5)]
    for text in (json.dumps(rows), json.dumps(rows, indent=2, ensure_ascii=False), json.dumps(rows) + "\n\n"):
        assert read(tmp_path, text, kind="jsonl").values["user_id"].tolist() == [0, 1, 2, 3, 4]
    for text, reason in (
        (json.dumps(rows)[:-1], "it ends in object 6"),
        (json.dumps(rows)[:-3], "it ends in object 5"),
        ('[{"user_id": 1} {"user_id": 2}]', "expected a comma or ]"),
        ("[" + '{"a":' * 100_000, "object 1 is nested too deeply"),
    ):
        with pytest.raises(DataError, match=rf"not a JSON list: {reason}"):
            read(tmp_path, text, kind="jsonl")


def test_a_long_object_of_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 500)
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 1000)
    with pytest.raises(DataError, match=r"object 2 is none, or has more than 1000 bytes"):
        read(tmp_path, json.dumps([ROW, ROW | {"x": "x" * 5000}]), kind="jsonl")


def test_nested_objects(tmp_path: Path) -> None:
    inner: Any = 1
    for _ in range(60):
        inner = {"a": inner}
    text = "".join(json.dumps(row) + "\n" for row in (ROW | {"z": {"y": 1}}, ROW | {"x": inner}))
    with pytest.raises(DataError, match=r"line 2: must be a JSON object with at most 50 levels"):
        read(tmp_path, text, {"user_id": IDS["user_id"], "z.y": IDS["item_id"]}, kind="jsonl")


def test_many_keys(tmp_path: Path) -> None:
    write(tmp_path, json.dumps(ROW | {f"k{n}": n for n in range(5000)}), "r.jsonl")
    with pytest.raises(DataError, match=r"r.jsonl: must have at most 4,096 columns, got 5,003"):
        TabularRatings(str(tmp_path), "r.jsonl").read()


def test_objects_without_values(tmp_path: Path) -> None:
    write(tmp_path, "[{},{},{}]", "r.json")
    with pytest.raises(DataError, match=r"r.json: the JSON objects have no texts and numbers"):
        TabularRatings(str(tmp_path), "r.json").read()


# -- typed files


def constant(rows: int) -> pa.Table:
    column = pa.array(bytes(rows), pa.int8())
    return pa.table({"user_id": column, "item_id": column, "rating": column})


def write_table(folder: Path, table: pa.Table, kind: str, **options: Any) -> None:
    if kind == "parquet":
        parquet.write_table(table, folder / "r.parquet", **options)
        return
    make = ipc.new_file if kind == "arrow" else ipc.new_stream
    with make(folder / "r.arrow", table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)


KINDS = [("parquet", "r.parquet"), ("arrow", "r.arrow"), ("stream", "r.arrow")]


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_rows_of_nothing(kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_ROWS", 1000)
    nothing = pa.nulls(100_000)
    write_table(tmp_path, pa.table({"user_id": nothing, "item_id": nothing, "rating": nothing}), kind)
    with pytest.raises(DataError, match=f"{name}: claims 100,000 rows in .* bytes, which may have"):
        TabularRatings(str(tmp_path), name).read()
    write_table(tmp_path, constant(1000), kind)
    with pytest.raises(DataError, match=r"8 bytes are more than data.max_bytes=10|rows of .* data.max_bytes=10"):
        TabularRatings(str(tmp_path), name, max_bytes=10).read()


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_text_that_a_dictionary_repeats(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.data.readers.stored.FREE", 100_000)
    text = pa.DictionaryArray.from_arrays(pa.array(bytes(5000), pa.int8()), pa.array(["u" * 1000]))
    write_table(tmp_path, constant(5000).set_column(0, "user_id", text), kind)
    with pytest.raises(DataError, match=f"{name}: column user_id takes .* bytes when unpacked, more than the"):
        TabularRatings(str(tmp_path), name).read()
    assert len(TabularRatings(str(tmp_path), name, max_bytes=10_000_000).read().ratings) == 1


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_buffer_that_unpacks_without_end(kind: str, name: str, tmp_path: Path) -> None:
    options = {"compression": "zstd"} | ({"use_dictionary": False} if kind == "parquet" else {})
    column = pa.array([0] * 500_000, pa.int64())
    write_table(tmp_path, pa.table({"user_id": column, "item_id": column, "rating": column}), kind, **options)
    with pytest.raises(DataError, match=f"{name}: (column user_id|its buffers) takes? .* bytes when unpacked"):
        TabularRatings(str(tmp_path), name).read()


def test_views_of_one_text(tmp_path: Path) -> None:
    views = pa.py_buffer(struct.pack("<i4sii", 1000, b"uuuu", 0, 0) * 5000)
    text = pa.Array.from_buffers(pa.string_view(), 5000, [None, views, pa.py_buffer(b"u" * 1000)])
    number = pa.array(bytes(5000), pa.int8())
    write_table(tmp_path, pa.table({"user_id": text, "item_id": number, "rating": number}), "arrow", compression="zstd")
    with pytest.raises(DataError, match=r"column user_id takes 5,000,000 bytes when unpacked"):
        TabularRatings(str(tmp_path), "r.arrow").read()


def test_columns_nested_too_deeply(tmp_path: Path) -> None:
    kind = pa.int8()
    for _ in range(60):
        kind = pa.struct([("a", kind)])
    table = constant(3).append_column("x", pa.nulls(3, kind))
    write_table(tmp_path, table, "parquet")
    with pytest.raises(DataError, match=r"not a readable Parquet file: its columns are nested in more than 50"):
        TabularRatings(str(tmp_path), "r.parquet").read()


def test_a_footer_that_claims_the_file(tmp_path: Path) -> None:
    for length, reason in ((1 << 20, "it does not end as one"), (4, "not a readable Parquet file")):
        write(tmp_path, b"PAR1" + bytes(100) + struct.pack("<I", length) + b"PAR1", "r.parquet")
        with pytest.raises(DataError, match=reason):
            TabularRatings(str(tmp_path), "r.parquet").read()


def test_nested_columns_are_not_read_to_look_at_the_first_rows(tmp_path: Path) -> None:
    lists = pa.ListArray.from_arrays([0, 200_000, 200_000, 200_000], pa.array([7] * 200_000))
    table = pa.table({"user_id": [1, 2, 3], "item_id": [1, 2, 3], "rating": [1, 2, 3], "x": lists})
    write_table(tmp_path, table, "parquet")
    assert len(TabularRatings(str(tmp_path), "r.parquet").read().ratings) == 3


def test_max_bytes_must_be_a_size() -> None:
    for value in (0, -1, True, "1", 1.5):
        with pytest.raises(ValueError, match=r"max_bytes must be null or a number of bytes >= 1"):
            TabularRatings(max_bytes=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["items.csv", "items.csv.gz", "items.parquet"])
def test_a_table_of_items_with_too_many_values(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each becomes an object: 190 KB of equal rows took a minute and gigabytes."""
    monkeypatch.setattr(limits, "FREE_TEXTS", 1000)
    write(tmp_path, HEADER + "".join(f"{n % 50},{n % 7},{n % 5}\n" for n in range(200)))
    rows = 6000
    if name.endswith("parquet"):
        parquet.write_table(pa.table({"item_id": [*range(rows)], "title": ["a"] * rows}), tmp_path / name)
    else:
        text = b"item_id,title\n" + b"".join(b"%d,\n" % n for n in range(rows))
        write(tmp_path, gzip.compress(text) if name.endswith("gz") else text, name)
    with pytest.raises(DataError, match=r"holds more than [\d,]+ values of users or items.*data\.max_bytes"):
        TabularRatings(str(tmp_path), ratings_file="r.csv", items_file=name).read()
    found = TabularRatings(str(tmp_path), ratings_file="r.csv", items_file=name, max_bytes=10**6).read().items
    assert found is not None
    assert len(found) > 7
