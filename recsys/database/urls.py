"""Database URLs: read, checked, and made into engines of SQLAlchemy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from recsys.database.errors import DatabaseError
from recsys.database.passwords import HIDDEN, redacted

EXAMPLES = "sqlite:////data/shop.db or postgresql+psycopg://reader@db/shop"


def parse_url(text: str, name: str) -> URL:
    """The URL in a text.

    Args:
        text: Such as `sqlite:////data/shop.db`.
        name: Of the option or the variable that it is from, for messages.

    Raises:
        DatabaseError: It is none.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseError(f"{name} must be an SQLAlchemy URL such as {EXAMPLES}") from None
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def new_engine(url: URL, **options: Any) -> Engine:
    """An engine for the URL; `options` are those of `create_engine`.

    Raises:
        DatabaseError: There is no such dialect, or its driver is not installed.
    """
    try:
        return create_engine(url, **options)
    except ModuleNotFoundError as error:
        extra = "postgres" if "postgres" in url.drivername else None
        hint = f"pip install 'recsys-lightning[{extra}]'" if extra else f"pip install {error.name}"
        raise DatabaseError(f"{url.drivername} needs the driver {error.name}: {hint}") from None
    except SQLAlchemyError as error:
        raise DatabaseError(f"{shown(url)}: {first_line(error, url)}") from None


def shown(url: URL) -> str:
    """The URL without its password, also where that is a parameter."""
    return redacted(url.render_as_string())


def first_line(error: Exception, url: URL) -> str:
    """The first line of a database's error, without the password."""
    message = " ".join(str(getattr(error, "orig", None) or error).strip().split("\n")[0].split())
    return redacted(message.replace(url.password, HIDDEN) if url.password else message)
