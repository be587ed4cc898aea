"""Forget a person: `recsys forget USER`. It may be run again, whatever moment it was stopped at.

Deletes their events, attributes and jobs of bulk scoring, makes and promotes versions without them, and removes those
that hold their rows from the store; services remove the results of those jobs within a second, or when they start. What
interrupted refits of `recsys update` left of those versions goes too. Other run folders, files of ratings, downloaded
results and backups are yours to clean.

Of whom nothing is known, it says so, and its exit status is 1: a mistyped id is not taken for done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recsys.database.flag import add_database_flag, open_database
from recsys.files import folder_lock, is_locked
from recsys.progress import printable
from recsys.versions.flags import add_by_flag, add_store_flag


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="recsys forget", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("user", metavar="USER", help="id of the person")
    add_database_flag(parser)
    add_store_flag(parser)
    add_by_flag(parser)
    parser.add_argument(
        "--sign", type=Path, metavar="KEY.pem", help="sign the new versions with this Ed25519 private key"
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("outputs/updates"),
        metavar="FOLDER",
        help="of runs of `recsys update` that fit again (default outputs/updates)",
    )
    arguments = parser.parse_args(argv)
    try:
        database = open_database(arguments.database, create=False)
        from recsys.events.given_ids import given_id
        from recsys.update.update import remove_stale_refits
        from recsys.versions import open_versions
        from recsys.versions.account import account
        from recsys.versions.forget import forget

        versions = open_versions(database, arguments.store, sign_with=arguments.sign)
        user, problem = arguments.user, f"no such person: nothing is known of {arguments.user}"
        try:
            user = given_id(user, versions.id_kind())
        except ValueError as error:  # it may be of data before these
            problem = f"error: {error}"
        found = forget(versions, user, arguments.by or account())
        if arguments.runs.is_dir() and not is_locked(arguments.runs):  # otherwise the next update removes them
            with folder_lock(arguments.runs, "updates"):
                remove_stale_refits(versions, arguments.runs)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")
    if not found.is_known:
        sys.exit(printable(problem))
    moved = f"; {', '.join(found.aliases)} moved to a version without them" if found.aliases else ""
    deleted = f"{found.events:,} events and {found.jobs} jobs deleted"
    print(printable(f"{deleted}, {len(found.withdrawn)} versions withdrawn{moved}"))
    print("run folders, files of ratings, downloaded results and backups are yours to clean")


if __name__ == "__main__":
    main()
