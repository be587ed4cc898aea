"""MovieLens 100K from a Python package, for machines that can reach a package index but not GroupLens.

The recbole wheel contains the ratings as released, the users with a header line, and the items with separate title,
year and genres. It is downloaded with pip, so that the user's index, proxy and offline settings apply, and only read as
a zip: never installed or imported.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recsys.data.download.archives import check_sha256, extract_members
from recsys.data.errors import DataError

REQUIREMENT = "recbole==1.2.1"
SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
RATINGS_SHA256 = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"  # of u.data as released
FOLDER = "recbole/dataset_example/ml-100k"
TIMEOUT = 120.0  # seconds for pip
GENRES = (
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
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)  # in the order of u.genre, which is not in the wheel


def extract(folder: Path) -> None:
    """Write `u.data`, `u.user`, `u.item` and `u.genre` in the layout of the release.

    Items lack the dates and URLs of the release, which are not used.

    Raises:
        DataError: pip could not download the wheel, or its checksum differs.
    """
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = _fetched(Path(temporary))
        check_sha256(path, SHA256)
        parts = {part: Path(temporary) / part for part in ("inter", "item", "user")}
        extract_members(path, {f"{FOLDER}/ml-100k.{part}": target for part, target in parts.items()})
        (folder / "u.data").write_bytes(parts["inter"].read_bytes().partition(b"\n")[2])
        check_sha256(folder / "u.data", RATINGS_SHA256)
        (folder / "u.user").write_text("".join("|".join(row) + "\n" for row in _rows(parts["user"])))
        (folder / "u.item").write_text("".join(_item_line(*row) for row in _rows(parts["item"])), encoding="latin-1")
    (folder / "u.genre").write_text("".join(f"{name}|{number}\n" for number, name in enumerate(GENRES)))


def _fetched(folder: Path) -> Path:
    """Download the wheel with pip; wheels only, since building a source package would run its code."""
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--retries",
        "1",
        "--timeout",
        "10",
        "--dest",
        str(folder),
    ]
    try:
        done = subprocess.run(
            [*pip, *options, REQUIREMENT], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"pip took longer than {TIMEOUT:g} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = done.stderr.strip().splitlines() or ["no wheel"]
        raise DataError(f"pip download failed: {reason[-1]}")
    return wheels[0]


def _rows(path: Path) -> Iterator[list[str]]:
    """Fields of each line after the header."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return (line.split("\t") for line in lines[1:])


def _item_line(item_id: str, title: str, year: str, genres: str) -> str:
    """A line of `u.item`, with the year appended to the title, which also fixes "... (1995) (V)"."""
    if title == "unkonwn":  # the wheel's spelling of item 267, also in its year
        title, year = "unknown", ""
    flags = "|".join(str(int(name in genres.split(" "))) for name in GENRES)
    return f"{item_id}|{title} ({year})||||{flags}\n" if year else f"{item_id}|{title}||||{flags}\n"
