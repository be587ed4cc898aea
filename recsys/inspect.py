"""Look at ratings before training: `python -m recsys.inspect PATH [option=value …]`.

PATH is a file, a glob, a folder, or - for standard input. Options are those of data=tabular, such as
data.separator=semicolon; all others are inferred. The last line is the command that trains on the data.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from recsys.data.columns import RATING, TIMESTAMP
from recsys.data.errors import DataError
from recsys.data.inference import infer_format
from recsys.data.inference.columns import SURE
from recsys.data.inference.vocabulary import likeness
from recsys.data.inspection.attempts import Attempt, read_somehow
from recsys.data.inspection.command import training_command
from recsys.data.inspection.folder import Entry, ratings_of, released, side_files, survey
from recsys.data.inspection.page import doubts_of_times, print_data, print_entries, screen
from recsys.data.rating_data import RatingData
from recsys.data.readers import expand, sample_rows
from recsys.data.readers.files import STANDARD_INPUT
from recsys.data.readers.format import Format
from recsys.data.sources.base import RatingsSource
from recsys.data.sources.movielens import MovieLens
from recsys.data.sources.tabular import TabularRatings
from recsys.experiments.overrides import quote_override
from recsys.progress import tolerate_closed_output

logger = logging.getLogger(__name__)

OPTIONS = tuple(inspect.signature(TabularRatings).parameters)


def main(argv: Sequence[str] | None = None) -> None:
    """Print what a file or folder holds, and the command that trains on it."""
    tolerate_closed_output()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if words else 2)
    package = logging.getLogger("recsys")
    level = package.level
    package.setLevel(logging.ERROR)  # what is logged is printed
    try:
        _inspect(words[0], dict(map(_option, words[1:])))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    finally:
        package.setLevel(level)


def _inspect(path: str, typed: dict[str, Any]) -> None:
    if path == STANDARD_INPUT:
        path = str(expand(None, path)[0].path)  # kept in the cache, since it can be read once
    root = typed.pop("root", None)
    folder = Path(root or ".").expanduser() / Path(path).expanduser()
    if not folder.is_dir():
        if "ratings_file" in typed:
            raise ValueError(f"data.ratings_file is {path} already, got {typed['ratings_file']!r} too")
        _inspect_file(path, root, typed)
        return
    path = path if root is None else str(folder)
    if "ratings_file" in typed:
        _inspect_file(str(typed.pop("ratings_file")), path, typed)
    elif (name := released(folder)) is not None:
        data = MovieLens(name, str(folder)).read()
        command = f"python -m recsys.train data={name.replace('-', '_')} data.root={shlex.quote(path)}"
        print_data(screen(), path, Attempt(data, {}), None, command)
    else:
        _inspect_folder(folder, path, typed)


def read_ratings(path: str, words: Sequence[str] = ()) -> RatingData:
    """The ratings of what may be inspected: a file, a glob, a folder, or - for standard input; warnings are logged.

    Args:
        path: Of it.
        words: Options typed as `data.name=value`.

    Raises:
        DataError: It cannot be read, or not without an option; the message names it.
        ValueError: A word is no option.
    """
    data = _source(path, dict(map(_option, words))).read()
    for text in doubts_of_times(data):
        logger.warning("%s: %s", path, text)
    return data


def _source(path: str, typed: dict[str, Any]) -> RatingsSource:
    root = typed.pop("root", None)
    folder = Path(root or ".").expanduser() / Path(path).expanduser()
    if not folder.is_dir():
        return TabularRatings(root, path, **typed)
    file = typed.pop("ratings_file", None)
    if file is None and (name := released(folder)) is not None:
        return MovieLens(name, str(folder))
    file = ratings_of(survey(folder)) if file is None else file
    if file is None:
        raise DataError(f"{path}: cannot tell which file holds the ratings; name one")
    return TabularRatings(str(folder), file, **typed)


def check_unread_columns(path: str, words: Sequence[str], data: RatingData) -> None:
    """Check that ratings or times are not left out because values of their column are none.

    Args:
        path: As of `read_ratings`.
        words: So, too.
        data: What it has returned.

    Raises:
        DataError: The first value that is none, of a column with the name of ratings or times; names file and line.
    """
    typed = dict(map(_option, words))
    root = typed.pop("root", None)
    unread = [(RATING, data.implicit), (TIMESTAMP, TIMESTAMP not in data.ratings)]
    asked = [role for role, is_unread in unread if is_unread and f"{role}_column" not in typed]
    if not asked or (Path(root or ".").expanduser() / Path(path).expanduser()).is_dir():
        return
    if path == STANDARD_INPUT:  # which can be read once
        path = next(str(one.value) for one in data.findings if one.option == "ratings_file")
    source = TabularRatings(root, path, **typed)
    files = expand(source.root, path, typed.get("max_bytes"))
    columns = sample_rows(files[0], infer_format(files, source.format.given())[0], 1).columns
    used = {str(one.value) for one in data.findings} | {str(value) for value in {**data.settled, **typed}.values()}
    for role in asked:
        for column in columns:
            if column in used or likeness(column, role) < SURE:
                continue
            try:
                TabularRatings(root, path, **typed | {f"{role}_column": column}).read()
            except DataError as error:
                option = f"data.{role}_column=null"
                hint = "" if option in str(error) else f"; {option} leaves the column out"
                raise DataError(f"{error}{hint}") from error


def _inspect_folder(folder: Path, path: str, typed: dict[str, Any]) -> None:
    entries = survey(folder)
    ratings = ratings_of(entries)
    if not entries:
        sys.exit(f"error: {path}: the folder has no files")
    if ratings is None:
        print_entries(screen(), path, entries)
        sys.exit(
            f"error: {path}: cannot tell which file holds the ratings; inspect one, such as {_example(path, entries)}"
        )
    sides = {f"{side}_file": name for side, name in side_files(folder, entries).items()}
    _inspect_file(ratings, path, sides | typed)


def _example(path: str, entries: Sequence[Entry]) -> str:
    name = next((entry.name for entry in entries if entry.score), entries[0].name)
    return shlex.join(["python", "-m", "recsys.inspect", str(Path(path) / name)])


def _inspect_file(file: str, root: str | None, typed: dict[str, Any]) -> None:
    found = read_somehow(file, root, typed)
    command = training_command(
        file,
        root,
        found.data.findings,
        found.settings,
        implicit=found.data.implicit,
        timed=TIMESTAMP in found.data.ratings,
    )
    print_data(
        screen(), file if root is None else str(Path(root) / file), found, _format(file, root, found.settings), command
    )


def _format(file: str, root: str | None, settings: dict[str, Any]) -> Format:
    source = TabularRatings(root, file, **settings)
    return infer_format(expand(source.root, file, settings.get("max_bytes")), source.format.given())[0]


def _option(text: str) -> tuple[str, Any]:
    """Name and value of an option typed as `data.name=value`, as `recsys.train` reads it."""
    key, equals, value = text.partition("=")
    name = key.removeprefix("data.")
    if not equals or name not in OPTIONS:
        near = difflib.get_close_matches(name, OPTIONS, n=1)
        hint = (
            f"did you mean data.{near[0]}=…?"
            if near
            else "options are those of data=tabular, such as data.separator=tab"
        )
        raise ValueError(f"no option {key!r}; {hint}")
    try:
        override = OverridesParser.create().parse_override(quote_override(f"data.{name}={value}"))
    except HydraException as error:
        raise ValueError(f"data.{name}: cannot read {value!r}") from error
    if override.is_sweep_override():
        raise ValueError(f"data.{name} must be one value, got {value!r}")
    return name, OmegaConf.to_container(OmegaConf.create({name: override.value()}), resolve=True)[name]  # type: ignore[call-overload,index]


if __name__ == "__main__":
    main()
