"""Find the files of ratings, users and items in a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.data.errors import DataError, listed
from recsys.data.inference import infer_columns, infer_format
from recsys.data.inference.vocabulary import ITEM, USER, likeness, words
from recsys.data.readers import expand, sample_rows
from recsys.data.readers.format import Sample
from recsys.data.sources.movielens import RELEASES

PROSE = re.compile(
    r"(readme|licen[cs]e|changelog|notice)|\.(md|rst|pdf|html?|json|ya?ml|py|ipynb|log|sha256|md5)$", re.I
)
MOST_FILES = 200  # looked at
SAMPLE = 2000  # rows by which files are told apart
SIDE_ROWS = 200_000  # of a file of users or items that are compared with the ratings
MATCHED = 0.3  # share of a sample's ids that a file of items or users has at least
LIKELY_NAMES = re.compile(r"rating|review|interaction|event|transaction|purchase|play|listen|click|behavio|log", re.I)
SAID = 3  # score of a file that says something of a user and an item, not only when
WEIGHTS = {"rating_column": 4, "event_column": 3, "weight_column": 3, "timestamp_column": 1}  # for being the ratings


@dataclass(frozen=True)
class Entry:
    """A file of a folder.

    Attributes:
        name: Relative to the folder.
        size: Bytes.
        what: What it looks like, in a few words.
        score: How likely it holds the ratings; 0 if it does not.
        sample: Its first rows, if they can be read.
        columns: The options of columns of a file with ratings.
    """

    name: str
    size: int
    what: str
    score: float
    sample: Sample | None
    columns: dict[str, Any]


def released(folder: Path) -> str | None:
    """The name of the MovieLens release that a folder holds, such as `ml-1m`."""
    for name, release in RELEASES.items():
        if not all((folder / file).is_file() for file in release.files):
            continue
        if release.ratings.name != "ratings.csv":
            return name if release.users is not None or not (folder / "users.dat").is_file() else "ml-1m"
        readme = folder / "README.txt"
        found = re.search(r"\((ml-[\w-]+)\)", readme.read_text(errors="replace")) if readme.is_file() else None
        if found and found[1] in RELEASES:
            return found[1]
    return None


def survey(folder: Path) -> list[Entry]:
    """What the files of a folder and of the folders in it are, the likeliest for ratings first."""
    names = [path.relative_to(folder) for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file()]
    names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    entries = [_entry(folder, name.as_posix()) for name in sorted(names)[:MOST_FILES]]
    return sorted(entries, key=lambda entry: -entry.score)


def _entry(folder: Path, name: str) -> Entry:
    path = folder / name
    size = path.stat().st_size
    try:
        if PROSE.search(path.name) and not path.name.lower().endswith((".json", ".log")):
            return Entry(name, size, "text", 0, None, {})
        file = expand(folder, name)
        form, _ = infer_format(file, {})
        sample = sample_rows(file[0], form, SAMPLE)
        if not sample.rows:
            raise DataError("no rows")
    except DataError as error:
        return Entry(name, size, f"not read: {_short(error, path)}", 0, None, {})
    try:
        options, findings = infer_columns(sample, {})
    except DataError:
        return Entry(name, size, f"columns {listed(sample.columns, 8)}", 0, sample, {})
    score = sum(float(weight) for option, weight in WEIGHTS.items() if options.get(option) is not None)
    if not score and any(_distinct(sample, options[f"{side}_column"]) for side in ("user", "item")):
        return Entry(name, size, f"columns {listed(sample.columns, 8)}", 0, sample, {})
    if form.layout == "matrix":
        score += 2
    named = sum(finding.why == "its name" for finding in findings)
    score += 0.1 * named + bool(LIKELY_NAMES.search(name)) - 2 * ("tag" in path.name.lower())
    what = "ratings" if options.get("rating_column") is not None else "users and items"
    return Entry(name, size, f"{what}: {listed(sample.columns, 8)}", max(score, 0.5), sample, options)


def _distinct(sample: Sample, column: str) -> bool:
    """Whether each value occurs once, as in a table of users or items."""
    place = sample.columns.index(column)
    return len({row[place] for row in sample.rows}) == len(sample.rows)


def _short(error: DataError, path: Path) -> str:
    text = str(error).removeprefix(f"{path}: ").removeprefix(f"{path}, ")
    return text if len(text) < 80 else text[:77] + "…"


def ratings_of(entries: Sequence[Entry]) -> str | None:
    """The file with the ratings, or a glob for its parts; None if it cannot be told."""
    likely = [entry for entry in entries if entry.score > 0]
    rivals = [entry for entry in likely[1:] if entry.score > min(SAID, likely[0].score - 0.5)]
    if not rivals:
        return likely[0].name if likely else None
    shapes = {re.sub(r"\d+", "*", entry.name) for entry in likely[: len(rivals) + 1]}
    columns = {tuple(entry.columns.items()) for entry in likely[: len(rivals) + 1]}
    return shapes.pop() if len(shapes) == len(columns) == 1 else None


def side_files(folder: Path, entries: Sequence[Entry]) -> dict[str, str]:
    """Files of `items` and `users` whose ids are those of the ratings, by side."""
    best = next(entry for entry in entries if entry.score > 0)
    if best.sample is None:
        return {}
    result: dict[str, str] = {}
    for side in ("item", "user"):
        place = best.sample.columns.index(best.columns[f"{side}_column"])
        wanted = {_plain(row[place]) for row in best.sample.rows}
        others = [
            one
            for one in entries
            if one.score < SAID and one is not best and one.sample and one.name not in result.values()
        ]
        shares = [(_matched(folder, one, wanted), _has_title(one), one.name) for one in others if _may_be(one, side)]
        if shares and max(shares)[0] >= MATCHED:
            result[f"{side}s"] = max(shares)[-1]
    return result


def _may_be(entry: Entry, side: str) -> bool:
    """Whether names allow a table of users or items; small integers are ids of both."""
    names = [*(entry.sample.columns if entry.sample else ()), Path(entry.name).stem]
    users, items = (max(likeness(name, role) for name in names) for role in (USER, ITEM))
    return users > items if side == USER else items >= users or _has_title(entry)


def _has_title(entry: Entry) -> bool:
    return entry.sample is not None and any({"title", "name"} & set(words(name)) for name in entry.sample.columns)


def _matched(folder: Path, entry: Entry, wanted: set[str]) -> float:
    """The share of ids that a column with distinct values has."""
    file = expand(folder, entry.name)
    sample = sample_rows(file[0], infer_format(file, {})[0], SIDE_ROWS)
    best = 0.0
    for texts in list(zip(*sample.rows, strict=True))[:3]:
        known = {_plain(text) for text in texts}
        if len(known) == len(texts):
            best = max(best, len(known & wanted) / len(wanted))
    return best


def _plain(text: str) -> str:
    """An id without what ids of side files may lack: leading zeros, ".0", blanks, case."""
    text = text.strip().casefold()
    number = re.fullmatch(r"0*(\d+)(\.0+)?", text)
    return number[1] if number else text
