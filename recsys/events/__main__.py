"""Events of a database: `recsys events import FILE`, `show`, `count`.

FILE is what `recsys inspect` takes: a file, a glob, a folder, or - for standard input; so are the options of
`data=tabular`, such as data.separator=semicolon.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from recsys.database.flag import add_database_flag, open_database
from recsys.events.event import CHOICE, CLOCK_TOLERANCE, RATING, WITHDRAWAL, Event
from recsys.events.event_rules import EventRules
from recsys.events.given_ids import given_id
from recsys.progress import printable, progress, tolerate_closed_output
from recsys.versions.flags import add_store_flag
from recsys.versions.version import CHAMPION, VersionError

if TYPE_CHECKING:
    from recsys.database import Database
    from recsys.events import EventLog
    from recsys.versions import Versions

AT_ONCE = 1000  # events of a transaction, so that a service that writes too waits for a moment only


def main(argv: Sequence[str] | None = None) -> None:
    tolerate_closed_output()
    parser = argparse.ArgumentParser(
        prog="recsys events", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="import | show | count")
    new = commands.add_parser("import", help="record the ratings of a file; importing it again changes nothing")
    new.add_argument("file", metavar="FILE")
    new.add_argument("options", nargs="*", metavar="data.option=value", help="those of data=tabular")
    kinds = f"of rows without a rating (default {CHOICE}); {WITHDRAWAL}: take back what was said of each row's pair"
    new.add_argument("--kind", help=kinds)
    show = commands.add_parser("show", help="print the latest events as CSV, the last one last")
    show.add_argument("--user", metavar="ID", help="only this user's")
    show.add_argument("--last", type=_at_least_one, default=20, metavar="N", help="how many (default 20)")
    count = commands.add_parser("count", help="print how many events there are, and the seq of the last one")
    for one in (new, show):
        add_store_flag(one)
    for one in (new, show, count):
        add_database_flag(one)
    arguments = parser.parse_args(argv)
    try:
        _run(arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")


def _at_least_one(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 63):
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1, got {text!r:.80}")
    return int(text)


def _run(arguments: argparse.Namespace) -> None:
    database = open_database(arguments.database, create=arguments.command == "import")
    from recsys.events import EventLog

    log = EventLog(database)
    if arguments.command == "import":
        rules = _rules(_versions(database, arguments.store))
        found = import_events(log, arguments.file, arguments.options, arguments.kind, rules)
        if found.rows is not None:
            print(printable(found.rows))
        print(f"{found.new:,} new of {found.events:,} events of {arguments.file}; {log.count():,} in {database}")
    elif arguments.command == "show":
        user = arguments.user
        if user is not None:
            user = given_id(user, _versions(database, arguments.store).id_kind())
        _show(log, user, arguments.last)
    else:
        print(f"{log.count():,} events in {database}, the last one has seq {log.cut()}")


def _versions(database: Database, store: str | None) -> Versions:
    from recsys.versions import open_versions

    return open_versions(database, store)


def _rules(versions: Versions) -> EventRules:
    """Those of the champion; without one, hardly any.

    Raises:
        VersionError: Its files are not in the store.
    """
    try:
        manifest = versions.manifest()
        if manifest is None:
            return EventRules()
        is_ranking = manifest["task"] == "ranking"  # whose ratings say whether they are implicit feedback
        return EventRules.of(manifest, versions.champion().bundle.given_scale if is_ranking else None)
    except VersionError as error:
        hint = f"--store, or RECSYS_STORE, must name the store with the {CHAMPION}, against which events are checked"
        raise VersionError(f"{error}: {hint}") from error


class Imported(NamedTuple):
    """What importing a file came to."""

    rows: str | None  # what became of its rows, as a sentence; None if they were not counted
    events: int  # in the file
    new: int  # of these


def import_events(
    log: EventLog, path: str, options: Sequence[str] = (), kind: str | None = None, rules: EventRules | None = None
) -> Imported:
    """Append the rows of a file as events, of which those that are there already count once.

    The whole file is checked before anything is appended.

    Args:
        log: Where to.
        path: What `recsys inspect` takes.
        options: Such as `data.separator=semicolon`.
        kind: Of rows without a rating, None for what the file says, or else `CHOICE`; `WITHDRAWAL` takes back what was
            said of rated rows, too.
        rules: What ids and ratings must be.

    Raises:
        DataError: It cannot be read.
        ValueError: An id, a rating or a time is none; names the file, the row, the value and what is allowed.
        DatabaseError: The database does not answer. What was appended before stays.
    """
    try:
        from recsys.inspect import check_unread_columns, read_ratings
    except ModuleNotFoundError as error:
        raise ValueError(f"reading files needs {error.name}: pip install 'recsys-lightning[train]'") from None
    rules = EventRules() if rules is None else rules
    scale = [] if kind == WITHDRAWAL else _of_scale(options, rules)
    data = read_ratings(path, [*scale, *options])
    check_unread_columns(path, options, data)
    kinds = [CHOICE if one == RATING else one for one in data.events] if kind is None else []
    kind = _kind(path, kind, is_rated=not data.implicit)
    now = int(time.time())
    texts = _checked(path, data.ratings, kinds or [kind], rules, now)
    rows, new = _events(data.ratings, texts, kinds or [kind], now), 0
    with progress("importing", len(data.ratings)) as advance:
        while chunk := list(islice(rows, AT_ONCE)):
            new += log.append_new(chunk)
            advance(len(chunk))
    return Imported(None if data.counts is None else data.counts.sentence(path), len(data.ratings), new)


def _kind(path: str, given: str | None, *, is_rated: bool) -> str | None:
    """The kind of a file's events; None if they are its ratings.

    Raises:
        ValueError: The file has none of this kind.
    """
    if not is_rated:
        if given == RATING:
            raise ValueError(
                f"{path} has no ratings: --kind must be of rows without one, such as {CHOICE}, got {given}"
            )
        return given or CHOICE
    if given in (None, RATING):
        return None
    if given == WITHDRAWAL:
        return given
    raise ValueError(
        f"{path} has ratings: --kind must be {RATING} or {WITHDRAWAL}, got {given!r:.80}; data.rating_column=null "
        "leaves them out"
    )


def _of_scale(options: Sequence[str], rules: EventRules) -> list[str]:
    """Options of the scale, by which the reader names the line of a rating that is off it."""
    low, high = rules.scale
    if not low < high < math.inf or any(option.removeprefix("data.").startswith("rating_m") for option in options):
        return []
    return [f"data.rating_min={low!r}", f"data.rating_max={high!r}"]


class _Texts(NamedTuple):
    """What stands for the distinct values of a frame of ratings."""

    users: dict[Any, str]
    items: dict[Any, str]
    stars: dict[Any, float]


def _checked(path: str, ratings: Any, kinds: Sequence[str | None], rules: EventRules, now: int) -> _Texts:
    """Check each distinct value; None is the kind of rows with a rating.

    Raises:
        ValueError: One is not allowed; names the row by its user and item.
    """
    for kind in kinds:
        sample = Event.of_content("1", "1", kind or RATING, 1.0 if kind is None else None, now)
        sample.check()
    texts = _Texts({}, {}, {})

    def check(column: str, found: dict[Any, Any], meant: Callable[[Any], Any]) -> None:
        for value in ratings[column].unique():
            try:
                found[value] = meant(value)
            except ValueError as error:
                row = int((ratings[column] == value).to_numpy().argmax())
                raise ValueError(f"{_row(path, ratings, row)}: {error}") from None

    def id_text(name: str, value: Any) -> str:
        text = rules.id(str(value), name)
        (sample._replace(user_id=text) if name == "user_id" else sample._replace(item_id=text)).check()
        return text

    def stars(value: Any) -> float:
        found = float(str(value))  # 4.1, not float32's 4.0999999
        rules.check_rating(found)
        return found

    check("user_id", texts.users, partial(id_text, "user_id"))
    check("item_id", texts.items, partial(id_text, "item_id"))
    if None in kinds:
        check("rating", texts.stars, stars)
    if "timestamp" in ratings and ratings["timestamp"].max() > now + CLOCK_TOLERANCE:
        row = int(ratings["timestamp"].to_numpy().argmax())
        got = int(ratings["timestamp"].iloc[row])
        shown = f"{got} ({_moment(got)})"
        raise ValueError(
            f"{_row(path, ratings, row)}: timestamp must be unix seconds, at most a day ahead of now, got {shown}"
        )
    return texts


def _row(path: str, ratings: Any, row: int) -> str:
    user, item = (str(ratings[name].iloc[row]) for name in ("user_id", "item_id"))
    return f"{path}, the row of user {user!r:.80} and item {item!r:.80}"


def _events(ratings: Any, texts: _Texts, kinds: Sequence[str | None], now: int) -> Iterator[Event]:
    """The events of a frame of ratings, in its order; of several kinds, each row says which."""
    times = ratings["timestamp"] if "timestamp" in ratings else repeat(None, len(ratings))
    places = ratings["event"] if len(kinds) > 1 else repeat(0, len(ratings))
    columns = zip(ratings["user_id"], ratings["item_id"], ratings["rating"], times, places, strict=True)
    for user, item, rating, moment, place in columns:
        kind = kinds[place]
        stars = texts.stars[rating] if kind is None else None
        seconds = None if moment is None else int(moment)
        yield Event.of_content(texts.users[user], texts.items[item], kind or RATING, stars, seconds, now)


def _show(log: EventLog, user: str | None, last: int) -> None:
    found = log.latest(last, user)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("seq", "received", "timestamp", "user_id", "item_id", "kind", "rating", "event_id"))
    for one in found:
        texts = map(printable, (one.user_id, one.item_id, one.kind))
        rating = "" if one.rating is None else f"{one.rating:g}"
        writer.writerow(
            (one.seq, _moment(one.received), _moment(one.timestamp), *texts, rating, printable(one.event_id))
        )


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
