"""Files in the shapes that public data and exports have: the printed command reads what is read alone."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.data.columns import TIMESTAMP
from recsys.data.inspection.attempts import read_somehow
from recsys.data.inspection.command import training_command
from recsys.data.sources import TabularRatings
from tests.data.inspection.test_command import read_by_train

ROWS = [(n // 6, n * 7 % 11, n * 5 % 9 % 5 + 1, 1128816302 + 86399 * n) for n in range(120)]
Row = tuple[int, int, int, int]


def at(row: Row, form: str) -> str:
    return datetime.fromtimestamp(row[3], UTC).strftime(form)


def text(line: Callable[[Row], str], header: str = "") -> str:
    return (header and header + "\n") + "".join(line(row) + "\n" for row in ROWS)


def jsonl(row: Row) -> str:
    return f'{{"user": {{"id": "u{row[0]}"}}, "sku": {row[1]}, "stars": {row[2]}, "at": {row[3]}}}'


def blocks() -> str:
    parts = [f"{item}:\n" + "".join(f"{u},{r},{at((u, i, r, t), '%Y-%m-%d')}\n" for u, i, r, t in ROWS if i == item)
             for item in range(11)]  # fmt: skip
    return "".join(parts)


def matrix() -> str:
    cells = [
        ["99" if (user + item) % 3 else f"{(user * item) % 41 / 2 - 10}" for item in range(30)] for user in range(20)
    ]
    return "".join("\t".join([str(sum(cell != "99" for cell in row)), *row]) + "\n" for row in cells)


SHAPES = {
    "item first, no header": text(lambda r: f"B{r[1]:09},A{r[0]:013},{r[2]}.0,{r[3]}"),
    "spaces, half stars": text(lambda r: f"{r[0]} {r[1]} {r[2] / 2}"),
    "double colon, padded": text(lambda r: f"{r[0]}::{r[1]:07}::{r[2]}::{r[3]}"),
    "quoted, zero means not rated": text(lambda r: f'"{r[0]}";"{r[1]:010}";"{r[2] * 2 * (r[1] % 3 == 0)}"',
                                         '"User-ID";"ISBN";"Book-Rating"'),
    "decimal comma, German": text(lambda r: f"k{r[0]};a{r[1]};{r[2] / 2};".replace(".", ",") + at(r, "%d.%m.%Y %H:%M"),
                                  "Kunde;Artikel;Bewertung;Datum"),
    "American dates": text(lambda r: f"{r[0]},{r[1]},{r[2]},{at(r, '%m/%d/%Y')}", "user_id,item_id,rating,date"),
    "milliseconds": text(lambda r: f"{r[0]},{r[1]},{r[2]},{r[3]}123", "user_id,item_id,rating,timestamp"),
    "floats": text(lambda r: f"{r[0]}.0,{r[1]}.0,{r[2]}.0,{r[3]}.0", "user_id,item_id,rating,timestamp"),
    "counts": text(lambda r: f"{r[0]}\t{r[1]}\t{r[2] ** 5 + r[1]}", "userID\tartistID\tweight"),
    "purchases and hours": text(lambda r: f'{r[0] + 100},"Game {r[1]}, The",{("buy", "play")[r[2] % 2]},{r[2]}.5,0'),
    "events with some stars": text(lambda r: f"c{r[0]},s{r[1]},{'review' if r[2] > 3 else 'view'},"
                                   f"{r[2] if r[2] > 3 else ''},{at(r, '%Y-%m-%dT%H:%M:%S+02:00')}",
                                   "customer,product,event,stars,when"),
    "events alone": text(lambda r: f"{r[3]}000,{r[0]},{('view', 'addtocart', 'transaction')[r[2] % 3]},{r[1]},",
                         "timestamp,visitorid,event,itemid,transactionid"),
    "blank first line": "\n" + text(lambda r: ",".join(map(str, r)), "user_id,item_id,rating,timestamp"),
    "index of pandas": text(lambda r: f"{ROWS.index(r)},{r[0]},{r[1]},{r[2]}", ",userId,movieId,rating"),
    "minus one": text(lambda r: f"{r[0]},{r[1]},{r[2] * 2 if r[1] % 3 else -1}", "user_id,anime_id,rating"),
    "pairs": text(lambda r: f"{r[0]}|{r[1]}", "member|book"),
    "nested JSON": text(jsonl),
    "blocks": blocks(),
    "matrix": matrix(),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_command_reads_what_is_read_alone(tmp_path: Path, shape: str) -> None:
    file = tmp_path / "my file (1).txt"
    file.write_text(SHAPES[shape])
    found = read_somehow(file.name, str(tmp_path), {})
    assert found.warnings == []
    line = training_command(file.name, str(tmp_path), found.data.findings, found.settings,
                            implicit=found.data.implicit, timed=TIMESTAMP in found.data.ratings)  # fmt: skip
    words = read_by_train(line)
    told = {key.removeprefix("data."): value for key, value in words.items() if key.startswith("data.")}
    told.pop("split", None)
    assert TabularRatings(**told).read().sha256 == found.data.sha256
    assert shlex.split(line)[-1] == "model=ials" if found.data.implicit else "model" not in words


@pytest.mark.parametrize(
    ("shape", "users", "items", "scale", "implicit"),
    [
        ("item first, no header", 20, 11, (1, 5), False),
        ("quoted, zero means not rated", 20, 4, (2, 10), False),
        ("minus one", 20, 7, (2, 10), False),
        ("decimal comma, German", 20, 11, (0.5, 2.5), False),
        ("events with some stars", 13, 11, (4, 5), False),
        ("matrix", 20, 30, (-10, 10), False),
        ("counts", 20, 11, (0, 1), True),
        ("purchases and hours", 20, 11, (0, 1), True),
    ],
)
def test_what_is_read(
    tmp_path: Path, shape: str, users: int, items: int, scale: tuple[float, float], implicit: bool
) -> None:
    (tmp_path / "r.txt").write_text(SHAPES[shape])
    data = read_somehow("r.txt", str(tmp_path), {}).data
    assert (data.ratings["user_id"].nunique(), data.ratings["item_id"].nunique()) == (users, items)
    assert (data.scale, data.implicit) == (scale, implicit)
