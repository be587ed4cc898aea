"""Small releases, written in the layouts of the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.sources import RatingData, TabularRatings

GENRES = [
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
]
ROWS: list[tuple[Any, ...]] = [(1, 10, 5, 100), (1, 30, 3, 90), (4, 10, 1, 250), (4, 77, 4, 250)]
HEADER = "user_id,item_id,rating\n"

Frames = Callable[..., pd.DataFrame]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RECSYS_CACHE", str(folder))
    return folder


@pytest.fixture
def random_ratings() -> Frames:
    """Frames in the form of `RatingData.ratings`, with many equal times."""

    def make(seed: int = 0, rows: int = 500, users: int = 40, *, times: bool = True) -> pd.DataFrame:
        generator = np.random.default_rng(seed)
        frame = pd.DataFrame(
            {
                USER_ID: generator.integers(0, users, rows) * 3,
                ITEM_ID: np.arange(rows),
                RATING: generator.integers(1, 6, rows).astype(np.float32),
            }
        )
        return frame.assign(**{TIMESTAMP: generator.integers(0, 30, rows)}) if times else frame

    return make


@pytest.fixture
def write_release(tmp_path: Path) -> Callable[..., Path]:
    """Writes a release with four ratings, or those given, and returns its folder."""

    def write(name: str, rows: list[tuple[Any, ...]] | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        rows = ROWS if rows is None else rows
        if name == "ml-100k":
            _write_hundred_thousand(folder, rows)
        elif name in ("ml-1m", "ml-10m"):
            _write_double_colon(folder, name, rows)
        else:
            _write_with_header(folder, rows)
        return folder

    return write


def _write_hundred_thousand(folder: Path, rows: list[tuple[Any, ...]]) -> None:
    (folder / "u.data").write_text(_joined(rows, "\t"))
    (folder / "u.genre").write_text("".join(f"{name}|{n}\n" for n, name in enumerate(GENRES)) + "\n")
    (folder / "u.user").write_text("1|24|M|technician|85711\n4|53|F|other|T8H1N\n")
    titles = {10: ("Léon (1994) ", {1, 8}), 30: ("unknown", {0}), 77: ("Babylon 5 (1995) (V)", {15})}
    with (folder / "u.item").open("w", encoding="latin-1") as file:
        for item, (title, genres) in titles.items():
            flags = "|".join(str(int(n in genres)) for n in range(len(GENRES)))
            file.write(f"{item}|{title}|01-Jan-1994||http://us.imdb.com/x|{flags}\n")


def _write_double_colon(folder: Path, name: str, rows: list[tuple[Any, ...]]) -> None:
    encoding = "latin-1" if name == "ml-1m" else "utf-8"
    (folder / "ratings.dat").write_text(_joined(rows, "::"))
    (folder / "movies.dat").write_text(
        "10::Léon: The Professional (1994)::Action|Drama\n30::unknown::(no genres listed)\n77::Babylon 5::Sci-Fi\n",
        encoding=encoding,
    )
    if name == "ml-1m":
        (folder / "users.dat").write_text("1::F::1::10::48067\n4::M::56::16::70072-1234\n")


def _write_with_header(folder: Path, rows: list[tuple[Any, ...]]) -> None:
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + _joined(rows, ","))
    (folder / "movies.csv").write_text(
        'movieId,title,genres\n10,"Professional, The (Léon) (1994)",Action|Drama\n'
        '30,"The ""X"" Files",(no genres listed)\n77,"Mosaic (2006\u20132007)",Sci-Fi\n',
        encoding="utf-8",
    )


def _joined(rows: list[tuple[Any, ...]], separator: str) -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


STATED: dict[str, Any] = {
    "user_column": "user_id", "item_column": "item_id", "rating_column": "rating", "timestamp_column": None,
    "event_column": None, "weight_column": None, "missing": None, "header": True, "layout": "long",
    "encoding": "utf-8", "decimal": ".", "quoting": True,
}  # fmt: skip


def read_csv(folder: Path, text: str | bytes, **arguments: Any) -> RatingData:
    """Read the text with its format and columns stated, but for those given."""
    (folder / "r.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return TabularRatings(str(folder), "r.csv", **({**STATED, "separator": ","} | arguments)).read()


def read_parquet(folder: Path, columns: dict[str, Any], **arguments: Any) -> RatingData:
    pd.DataFrame(columns).to_parquet(folder / "r.parquet")
    return TabularRatings(str(folder), "r.parquet", **(STATED | arguments)).read()
