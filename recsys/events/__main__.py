"""Events of a database: `recsys events import FILE`, `show`, `count`.

FILE is what `recsys inspect` takes: a file, a glob, a folder, or - for standard input; so are the options of
`data=tabular`, such as data.separator=semicolon.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from recsys.database.flag import add_database_flag, open_database
from recsys.events.event import RATING, Event
from recsys.progress import printable, progress, tolerate_closed_output

if TYPE_CHECKING:
    from recsys.events import EventLog

AT_ONCE = 1000  # events of a transaction, so that a service that writes too waits for a moment only
CHOICE = "choice"  # kind of implicit feedback


def main(argv: Sequence[str] | None = None) -> None:
    tolerate_closed_output()
    parser = argparse.ArgumentParser(
        prog="recsys events", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="import | show | count")
    new = commands.add_parser("import", help="record the ratings of a file; importing it again changes nothing")
    new.add_argument("file", metavar="FILE")
    new.add_argument("options", nargs="*", metavar="data.option=value", help="those of data=tabular")
    new.add_argument("--kind", default=CHOICE, help=f"of rows without a rating (default {CHOICE})")
    show = commands.add_parser("show", help="print the latest events as CSV, the last one last")
    show.add_argument("--user", metavar="ID", help="only this user's")
    show.add_argument("--last", type=_at_least_one, default=20, metavar="N", help="how many (default 20)")
    count = commands.add_parser("count", help="print how many events there are, and the seq of the last one")
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
        read = import_events(log, arguments.file, arguments.options, arguments.kind)
        print(f"{read:,} events of {arguments.file}; {log.count():,} in {database}")
    elif arguments.command == "show":
        _show(log, arguments.user, arguments.last)
    else:
        print(f"{log.count():,} events in {database}, the last one has seq {log.cut()}")


def import_events(log: EventLog, path: str, options: Sequence[str] = (), kind: str = CHOICE) -> int:
    """Append the ratings of a file, of which those that are there already count once.

    Args:
        log: Where to.
        path: What `recsys inspect` takes.
        options: Such as `data.separator=semicolon`.
        kind: Of rows without a rating.

    Returns:
        How many there are in the file.

    Raises:
        DataError: It cannot be read.
        EventConflictError: An id is taken by an event with other content.
        DatabaseError: The database does not answer. What was appended before stays.
    """
    try:
        from recsys.inspect import read_ratings
    except ModuleNotFoundError as error:
        raise ValueError(f"reading files needs {error.name}: pip install 'recsys-lightning[train]'") from None
    data = read_ratings(path, options)
    rows, done = _events(data.ratings, None if not data.implicit else kind), 0
    with progress("importing", len(data.ratings)) as advance:
        while chunk := list(islice(rows, AT_ONCE)):
            (outcome,) = log.append(chunk)
            if isinstance(outcome, Exception):
                raise outcome
            done += len(chunk)
            advance(len(chunk))
    return done


def _events(ratings: Any, kind: str | None) -> Iterator[Event]:
    """The events of a frame of ratings, in its order; a kind if they have none of their own."""
    shown = {value: float(str(value)) for value in ratings["rating"].unique()}  # 4.1, not float32's 4.0999999
    times = ratings["timestamp"] if "timestamp" in ratings else [0] * len(ratings)
    columns = zip(ratings["user_id"], ratings["item_id"], ratings["rating"], times, strict=True)
    for row, (user, item, rating, time) in enumerate(columns):
        stars = shown[rating] if kind is None else None
        event = Event.of_content(str(user), str(item), kind or RATING, stars, int(time))
        try:
            event.check()
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from None
        yield event


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
