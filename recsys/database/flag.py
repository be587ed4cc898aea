"""The flag `--database` of commands."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from recsys.database.errors import DatabaseError
from recsys.database.passwords import has_password

if TYPE_CHECKING:
    from recsys.database.connection import Database


def add_database_flag(parser: argparse.ArgumentParser) -> None:
    """Give a command the flag; `open_database` opens what it names."""
    parser.add_argument(
        "--database", metavar="URL", type=_without_password,
        help="SQLAlchemy URL (default: RECSYS_DATABASE, or sqlite:///outputs/recsys.db)",
    )  # fmt: skip


def open_database(url: str | None, *, create: bool = True) -> Database:
    """The database that the flag names, or else the variable `RECSYS_DATABASE`, or else SQLite in `outputs/`.

    Args:
        url: What the flag names, or None.
        create: Whether SQLite's file is made where there is none.

    Raises:
        DatabaseError: It cannot be used, or packages that it needs are not installed.
    """
    try:
        from recsys.database.connection import VARIABLE, Database
    except ModuleNotFoundError as error:
        raise DatabaseError(f"a database needs {error.name}: pip install 'recsys-lightning[live]'") from None
    return Database.open(url, name=VARIABLE if url is None else "--database", create=create)


def _without_password(url: str) -> str:
    if has_password(url):  # which other accounts can read there
        raise argparse.ArgumentTypeError("must have no password: set RECSYS_DATABASE to the URL with it")
    return url
