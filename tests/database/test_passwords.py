from __future__ import annotations

import logging
import sys

import pytest

from recsys.database.passwords import (
    RedactingFormatter,
    check_no_password,
    has_password,
    redacted,
    redacted_settings,
    restored_settings,
)

URLS = {
    "postgresql://me:secret@db/shop": "postgresql://me:***@db/shop",
    "postgresql+psycopg://me:secret@db:5432/shop?sslmode=require": "postgresql+psycopg://me:***@db:5432/shop?sslmode=require",
    "mysql://:secret@db/shop": "mysql://:***@db/shop",
    "mysql://me:p@ss/wo:rd@db/shop": "mysql://me:***@db/shop",
    "postgresql://me:%40x%2F@db/shop": "postgresql://me:***@db/shop",
    "postgresql://db/shop?user=me&password=secret&x=1": "postgresql://db/shop?user=me&password=***&x=1",
    "postgresql://db/shop?sslpassword=secret": "postgresql://db/shop?sslpassword=***",
    "host=db user=me password=secret dbname=x": "host=db user=me password=*** dbname=x",
    "could not open 'postgresql://me:secret@db/shop': refused": "could not open 'postgresql://me:***@db/shop': refused",
    "two a://b:c@d and e://f:g@h": "two a://b:***@d and e://f:***@h",
}
PLAIN = [
    "sqlite:////data/shop.db", "sqlite:///a@b.db", "postgresql://me@db/shop", "postgresql://db:5432/shop@x",
    "http://localhost:8000/", "http://localhost:8000", "see https://hydra.cc/docs at 12:30 me@x.org", "a:b@c", "",
    "postgresql://me:***@db/shop", "data.split=user_time",
]  # fmt: skip


@pytest.mark.parametrize(("text", "hidden"), URLS.items())
def test_passwords_are_hidden(text: str, hidden: str) -> None:
    assert has_password(text)
    assert redacted(text) == hidden
    assert redacted(hidden) == hidden
    assert not has_password(hidden)


@pytest.mark.parametrize("text", PLAIN)
def test_all_else_stays(text: str) -> None:
    assert redacted(text) == text
    assert not has_password(text)


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"a": ["postgresql://me:secret@db/shop", 1], "b": {"c": None}}
    hidden = redacted_settings(settings)
    assert hidden == {"a": ["postgresql://me:***@db/shop", 1], "b": {"c": None}}
    assert restored_settings(hidden) == hidden
    monkeypatch.setenv("ANY_NAME", "postgresql://me:secret@db/shop")
    assert restored_settings(hidden) == settings
    assert restored_settings({"a": "postgresql://me:***@evil/shop"}) == {"a": "postgresql://me:***@evil/shop"}


@pytest.mark.parametrize(
    ("argument", "variable"),
    [("data.url=a://b:c@d/e", "RECSYS_DATABASE"), ("hydra.sweeper.storage=a://b:c@d/e", "RECSYS_STUDY_DATABASE")],
)
def test_a_password_is_refused_on_the_command_line(argument: str, variable: str) -> None:
    with pytest.raises(ValueError, match=f"must have no password, .* environment variable {variable} ") as raised:
        check_no_password(argument)
    assert "b:c" not in str(raised.value)
    check_no_password("data.url=postgresql://me@db/shop")


def test_a_log_holds_no_password() -> None:
    try:
        raise ValueError("cannot open postgresql://me:secret@db")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed: %s", ("a://b:c@d",), sys.exc_info())
    text = RedactingFormatter("%(message)s").format(record)
    assert "failed: a://b:***@d" in text
    assert "secret" not in text
