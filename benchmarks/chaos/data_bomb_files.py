"""Files of ratings that take far more memory or time than their size tells, each made in well under a second or two.

Every maker writes into an empty folder and returns the arguments of `python -m recsys.inspect`.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

MIB = 1 << 20
HEADER = b"user_id,item_id,rating\n"
ROWS = b"1,2,3\n" * (16 * MIB // 6)  # 16 MiB
ORDINARY = HEADER + b"".join(b"%d,%d,%d\n" % (n * 7919 % 10_007, n * 104_729 % 5003, n % 5 + 1) for n in range(50_000))

Make = Callable[[Path], list[str]]
DATA_BOMBS: dict[str, Make] = {}


def bomb(name: str) -> Callable[[Make], Make]:
    def register(make: Make) -> Make:
        DATA_BOMBS[name] = make
        return make

    return register


def _file(folder: Path, name: str, parts: Iterator[bytes] | list[bytes]) -> list[str]:
    with (folder / name).open("wb") as file:
        for part in parts:
            file.write(part)
    return [str(folder / name)]


# -- compressed text


@bomb("gzip: 1.6 MB, 1.6 GB of rows")
def _gzip(folder: Path) -> list[str]:
    return _file(folder, "r.csv.gz", [gzip.compress(HEADER), *[gzip.compress(ROWS, 6)] * 100])


@bomb("gzip: ordinary rows, then 1.6 GB of equal ones")
def _late_gzip(folder: Path) -> list[str]:
    return _file(folder, "r.csv.gz", [*[gzip.compress(ORDINARY)] + [gzip.compress(ROWS, 6)] * 100])


@bomb("gzip: 4 GB of NUL in one line")
def _nul_gzip(folder: Path) -> list[str]:
    return _file(folder, "r.csv.gz", [gzip.compress(HEADER), *[gzip.compress(bytes(16 * MIB))] * 256])


@bomb("gzip: 1 GB of quotes that never close")
def _quote_gzip(folder: Path) -> list[str]:
    lines = b'7,"x,5\n' * (8 * MIB // 7)
    return _file(folder, "r.csv.gz", [gzip.compress(HEADER), *[gzip.compress(lines)] * 128])


@bomb("bzip2: 10 GB of rows")
def _bzip2(folder: Path) -> list[str]:
    return _file(folder, "r.csv.bz2", [bz2.compress(HEADER), *[bz2.compress(ROWS)] * 640])


@bomb("xz: 10 GB of rows")
def _xz(folder: Path) -> list[str]:
    return _file(folder, "r.csv.xz", [lzma.compress(HEADER), *[lzma.compress(ROWS, preset=0)] * 640])


@bomb("xz: claims a dictionary of 4 GiB")
def _xz_dictionary(folder: Path) -> list[str]:
    alone = bytearray(lzma.compress(HEADER + ROWS, format=lzma.FORMAT_ALONE))
    alone[1:5] = b"\xff\xff\xff\xff"
    return _file(folder, "r.csv.lzma", [bytes(alone[:40]), os.urandom(4096)])


@bomb("zstd: 100 GB of rows in 1 MB")
def _zstd(folder: Path) -> list[str]:
    codec = pa.Codec("zstd")
    return _file(
        folder,
        "r.csv.zst",
        [codec.compress(HEADER, asbytes=True), *[codec.compress(ROWS, asbytes=True)] * 6400],
    )


# -- archives


def _zip_of(folder: Path, members: dict[str, bytes], name: str = "r.zip", repeat: int = 1) -> list[str]:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            with archive.open(member, "w", force_zip64=True) as file:
                for _ in range(repeat):
                    file.write(content)
    return [str(folder / name)]


@bomb("zip: one member of 1 GB")
def _zip(folder: Path) -> list[str]:
    return _zip_of(folder, {"r.csv": HEADER + ROWS}, repeat=64)


@bomb("zip: gzip in zip, 1.6 GB")
def _gzip_in_zip(folder: Path) -> list[str]:
    return _zip_of(folder, {"r.csv.gz": b"".join([gzip.compress(HEADER), *[gzip.compress(ROWS, 6)] * 100])})


@bomb("zip: zip in zip in zip")
def _zip_in_zip(folder: Path) -> list[str]:
    _zip_of(folder, {"r.csv": HEADER + ROWS}, "a.csv", 8)
    for name in "bcdef":
        before = sorted(folder.iterdir())[-1]
        _zip_of(folder, {f"{n}.csv": before.read_bytes() for n in range(16)}, f"{name}.csv")
    return [f"{folder}/f.csv/*"]


def _overlapping(folder: Path, members: int) -> list[str]:
    """Central directory entries that all name one local entry, as a zip bomb without nesting has them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(HEADER + ROWS) + packer.flush()
    size, check = len(HEADER + ROWS), zlib.crc32(HEADER + ROWS)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, check, len(data), size, 5, 0) + b"0.csv"
    entries = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, check, len(data), size, len(name), 0, 0, 0, 0, 0, 0)
        + name
        for name in (b"%d.csv" % n for n in range(members))
    )
    place = len(local) + len(data)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, members & 0xFFFF, members & 0xFFFF, len(entries), place, 0)
    return _file(folder, "r.zip", [local, data, entries, end])


@bomb("zip: 20,000 members that are one, 320 GB")
def _quine(folder: Path) -> list[str]:
    _overlapping(folder, 20_000)
    return [f"{folder}/r.zip/*.csv"]


@bomb("zip: 10^6 members")
def _members(folder: Path) -> list[str]:
    entries = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0) + b"%07d" % n
        for n in range(1_000_000)
    )
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 7, 0) + b"0000000"
    place = len(local) + len(entries)
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1_000_000, 1_000_000, len(entries), len(local))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, place, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return _file(folder, "r.zip", [local, entries, end64, locator, end])


@bomb("zip: a directory of 20 GB, sparse")
def _directory(folder: Path) -> list[str]:
    size = 20 << 30
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1000, 1000, size, 4)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 4 + size, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    with (folder / "r.zip").open("wb") as file:
        file.write(b"PK\3\4")
        file.seek(4 + size)
        file.write(end64 + locator + end)
    return [str(folder / "r.zip")]


@bomb("zip: names with .., and absolute ones")
def _names(folder: Path) -> list[str]:
    return _zip_of(folder, {"../../../r.csv": HEADER, "/etc/passwd.csv": HEADER, "C:\\r.csv": HEADER})


# -- text


@bomb("CSV: a line of 500 MB")
def _line(folder: Path) -> list[str]:
    return _file(folder, "r.csv", [HEADER, b"1,2,", *[b"3" * MIB] * 500, b"\n"])


@bomb("CSV: 10^6 columns")
def _columns(folder: Path) -> list[str]:
    names = b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n"
    return _file(folder, "r.csv", [names, *[b"1," * 999_999 + b"1\n"] * 20])


@bomb("CSV: 100,000 columns, a matrix")
def _matrix(folder: Path) -> list[str]:
    names = b",".join(b"%d" % n for n in range(100_000)) + b"\n"
    return [*_file(folder, "r.csv", [names, *[b"," * 99_999 + b"\n"] * 2000]), "data.layout=matrix"]


@bomb("CSV: 10^6 columns of blanks")
def _blanks(folder: Path) -> list[str]:
    return _file(folder, "r.txt", [*[b"1 " * 1_000_000 + b"\n"] * 20])


@bomb("CSV: a quote that never closes over 1 GB")
def _quote(folder: Path) -> list[str]:
    return _file(folder, "r.csv", [HEADER + b"1,2,3\n" * 1000 + b'1,"', *[b"1;2;3\n" * (MIB // 6)] * 1024])


@bomb("CSV: quotes that close after 1,000 long lines")
def _long_quotes(folder: Path) -> list[str]:
    body = b"x" * 20_000 + b"\n"
    return _file(folder, "r.csv", [b"user_id,item_id,rating,text\n", *[b'1,2,3,"' + body * 999] * 25])


@bomb("CSV: 2 GB of NUL, sparse")
def _sparse(folder: Path) -> list[str]:
    with (folder / "r.csv").open("wb") as file:
        file.write(HEADER + b"1,2,3\n")
        file.truncate(2 << 30)
    return [str(folder / "r.csv")]


@bomb("CSV: 20 GB of NUL alone, sparse")
def _hole(folder: Path) -> list[str]:
    with (folder / "r.csv").open("wb") as file:
        file.truncate(20 << 30)
    return [str(folder / "r.csv")]


@bomb("blocks: 500 MB of one heading")
def _heading(folder: Path) -> list[str]:
    return [*_file(folder, "r.txt", [b"1:\n2,3\n", *[b"7" * MIB] * 500, b":\n2,3\n"]), "data.layout=blocks"]


@bomb("CSV: ids of 60 MB")
def _ids(folder: Path) -> list[str]:
    return _file(folder, "r.csv", [HEADER, *[b"u" * MIB * 60 + b",2,3\n"] * 8])


# -- JSON


@bomb("JSON: nested 10^6 deep")
def _deep(folder: Path) -> list[str]:
    row = b'{"user_id":1,"item_id":2,"rating":3}\n'
    return _file(folder, "r.jsonl", [row, b'{"user_id":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}\n", row])


@bomb("JSON: nested 10^6 deep in the first row")
def _deep_first(folder: Path) -> list[str]:
    return _file(folder, "r.jsonl", [b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000 + b"\n"])


@bomb("JSON: nested 900 deep, in wide objects")
def _deep_wide(folder: Path) -> list[str]:
    keys = b",".join(b'"k%d":1' % n for n in range(200))
    row = b'{"user_id":1,"item_id":2,"rating":3,' + (b"%s," % keys).join([b'"a":{'] * 900) + keys + b"}" * 901
    return _file(folder, "r.jsonl", [row + b"\n", row + b"\n"])


@bomb("JSON: a list whose second object has 300 MB")
def _list(folder: Path) -> list[str]:
    row = b'{"user_id":1,"item_id":2,"rating":3'
    return _file(folder, "r.json", [b"[" + row + b"}," + row + b',"x":"', *[b"x" * MIB] * 300, b'"}]'])


@bomb("JSON: a list nested 10^6 deep")
def _deep_list(folder: Path) -> list[str]:
    return _file(folder, "r.json", [b'[{"user_id":1,"item_id":2,"rating":3},{"a":' + b"[" * 1_000_000 + b"\n"])


@bomb("JSON: a list of 20 million empty objects")
def _empty_objects(folder: Path) -> list[str]:
    return _file(folder, "r.json", [b"[{}", *[b",{}" * (1 << 18)] * 75, b"]"])


@bomb("JSON: 10^6 keys in a row")
def _keys(folder: Path) -> list[str]:
    row = json.dumps({"user_id": 1, "item_id": 2, "rating": 3} | {f"k{n}": n for n in range(1_000_000)}).encode()
    return _file(folder, "r.jsonl", [row + b"\n"] * 20)


@bomb("JSON: 10^6 keys, others in each row")
def _new_keys(folder: Path) -> list[str]:
    rows = (
        json.dumps({"user_id": 1, "item_id": 2, "rating": 3} | {f"k{row}_{n}": n for n in range(1000)}).encode() + b"\n"
        for row in range(1000)
    )
    return _file(folder, "r.jsonl", rows)


@bomb("JSON: an integer of 10 million digits")
def _integer(folder: Path) -> list[str]:
    return _file(folder, "r.jsonl", [b'{"user_id":1,"item_id":2,"rating":' + b"9" * 10_000_000 + b"}\n"] * 10)


@bomb("JSON: texts of 60 MB")
def _texts(folder: Path) -> list[str]:
    return _file(folder, "r.jsonl", [b'{"user_id":"' + b"u" * MIB * 60 + b'","item_id":2,"rating":3}\n'] * 10)


# -- typed files


def _constant(rows: int) -> pa.Table:
    column = pa.array(np.full(rows, 7))
    return pa.table({"user_id": column, "item_id": column, "rating": column})


def _doubled(file: Path, times: int) -> list[str]:
    """The file with a footer that names its row groups twice as often, so many times over."""
    metadata = parquet.read_metadata(file)
    for _ in range(times):
        metadata.append_row_groups(metadata)
    scratch = file.with_suffix(".footer")
    metadata.write_metadata_file(str(scratch))
    footer = scratch.read_bytes()
    scratch.unlink()
    content = file.read_bytes()
    length = struct.unpack("<I", content[-8:-4])[0]
    file.write_bytes(content[: -8 - length] + footer[4:])
    return [str(file)]


@bomb("Parquet: 10^9 rows in a few KB")
def _parquet_rows(folder: Path) -> list[str]:
    parquet.write_table(_constant(8_000_000), folder / "r.parquet", row_group_size=8_000_000)
    return _doubled(folder / "r.parquet", 7)


@bomb("Parquet: 10^6 row groups")
def _parquet_groups(folder: Path) -> list[str]:
    parquet.write_table(_constant(1), folder / "r.parquet")
    return _doubled(folder / "r.parquet", 17)


@bomb("Parquet: a text of 1 MB in 8 million rows, by dictionary")
def _parquet_text(folder: Path) -> list[str]:
    rows = 1_000_000
    text = pa.DictionaryArray.from_arrays(pa.array(bytes(rows), pa.int8()), pa.array(["u" * MIB]))
    table = _constant(rows).set_column(0, "user_id", text)
    parquet.write_table(table, folder / "r.parquet", row_group_size=rows, compression="zstd")
    return _doubled(folder / "r.parquet", 3)


@bomb("Parquet: a page of 1.5 GB")
def _parquet_page(folder: Path) -> list[str]:
    table = pa.table({"user_id": ["u" * (300 * MIB)], "item_id": [1], "rating": [1]})
    options = {"use_dictionary": False, "write_statistics": False, "compression": "zstd"}
    table = pa.concat_tables([table] * 5)
    parquet.write_table(table, folder / "r.parquet", data_page_size=2 << 30, **options)
    return [str(folder / "r.parquet")]


@bomb("Parquet: 100,000 columns")
def _parquet_columns(folder: Path) -> list[str]:
    table = pa.table({f"c{n}": pa.array([1], pa.int8()) for n in range(100_000)})
    parquet.write_table(table, folder / "r.parquet", use_dictionary=False, write_statistics=False)
    return [str(folder / "r.parquet")]


@bomb("Parquet: a list of 50 million numbers in a row")
def _parquet_list(folder: Path) -> list[str]:
    values = pa.ListArray.from_arrays([0, 50_000_000], pa.array(bytes(50_000_000), pa.int8()))
    table = pa.table({"user_id": [1], "item_id": [2], "rating": [3], "list": values})
    parquet.write_table(table, folder / "r.parquet")
    return [str(folder / "r.parquet")]


@bomb("Parquet: a schema nested 20,000 deep")
def _parquet_nested(folder: Path) -> list[str]:
    depth = 20_000
    names = b"".join(b"\x35\x02\x18\x01a\x15\x02\x00" for _ in range(depth))  # optional group, one child
    leaf = b"\x15\x02\x25\x02\x18\x01a\x00"  # optional int32
    root = b"\x48\x01r\x15\x02\x00"
    count = depth + 2
    varint = bytes([count & 0x7F | 0x80, count >> 7 & 0x7F | 0x80, count >> 14])
    footer = b"\x15\x02\x19\xfc" + varint + root + names + leaf + b"\x16\x00\x19\x0c\x00"
    return _file(folder, "r.parquet", [b"PAR1", footer, struct.pack("<I", len(footer)), b"PAR1"])


@bomb("Parquet: a footer of 1 GB, sparse")
def _parquet_footer(folder: Path) -> list[str]:
    with (folder / "r.parquet").open("wb") as file:
        file.write(b"PAR1")
        file.seek(1 << 30)
        file.write(struct.pack("<I", (1 << 30) - 8) + b"PAR1")
    return [str(folder / "r.parquet")]


def _write_arrow(folder: Path, batch: pa.RecordBatch, copies: int = 1, codec: str | None = None) -> list[str]:
    with ipc.new_file(str(folder / "r.arrow"), batch.schema, options=ipc.IpcWriteOptions(compression=codec)) as writer:
        for _ in range(copies):
            writer.write_batch(batch)
    return [str(folder / "r.arrow")]


@bomb("Arrow: 2 GB of zeros, compressed")
def _arrow_zeros(folder: Path) -> list[str]:
    column = pa.array(memoryview(bytes(128 * MIB)).cast("q"), pa.int64())
    batch = pa.record_batch({"user_id": column, "item_id": column, "rating": column})
    return _write_arrow(folder, batch, 6, "zstd")


@bomb("Arrow: 10^9 rows of nothing")
def _arrow_nothing(folder: Path) -> list[str]:
    column = pa.nulls(10**9)
    return _write_arrow(folder, pa.record_batch({"user_id": column, "item_id": column, "rating": column}))


@bomb("Arrow: a buffer that claims 2^40 bytes")
def _arrow_claim(folder: Path) -> list[str]:
    column = pa.array(range(100_000), pa.int64())
    batch = pa.record_batch({"user_id": column, "item_id": column, "rating": column})
    arguments = _write_arrow(folder, batch, 1, "lz4")
    content = (folder / "r.arrow").read_bytes()
    claimed = content.replace(struct.pack("<q", 800_000), struct.pack("<q", 1 << 40))
    (folder / "r.arrow").write_bytes(claimed)
    return arguments


@bomb("Arrow: a text of 1 MB in a million rows, by dictionary")
def _arrow_text(folder: Path) -> list[str]:
    rows = 1_000_000
    text = pa.DictionaryArray.from_arrays(pa.array(bytes(rows), pa.int8()), pa.array(["u" * MIB]))
    number = pa.array(bytes(rows), pa.int8())
    return _write_arrow(folder, pa.record_batch({"user_id": text, "item_id": number, "rating": number}), 1, "zstd")


@bomb("Arrow: a text of 1 MB in a million rows, by views")
def _arrow_views(folder: Path) -> list[str]:
    rows = 1_000_000
    views = pa.py_buffer(struct.pack("<i4sii", MIB, b"uuuu", 0, 0) * rows)
    text = pa.Array.from_buffers(pa.string_view(), rows, [None, views, pa.py_buffer(b"u" * MIB)])
    number = pa.array(bytes(rows), pa.int8())
    return _write_arrow(folder, pa.record_batch({"user_id": text, "item_id": number, "rating": number}), 1, "zstd")


@bomb("Arrow: a run of 10^9 rows")
def _arrow_runs(folder: Path) -> list[str]:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([10**9], pa.int32()), pa.array([7], pa.int64()))
    return _write_arrow(folder, pa.record_batch({"user_id": runs, "item_id": runs, "rating": runs}))
