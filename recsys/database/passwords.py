"""Passwords in database URLs: taken from the environment, and never written to a file, a log or a message."""

from __future__ import annotations

import logging
import os
import re
from typing import Any

HIDDEN = "***"
PASSWORD = re.compile(
    r"""(?P<before>[a-z][\w+.-]*://[^\s:/@'"]*:(?!\d+(?:[/?\#]|$))|(?:^|[?&;\s])(?:\w*password|passwd|pwd)=)"""
    r"""(?P<secret>(?<=:)[^\s'"]+(?=@)|(?<==)[^\s'"&;]+)""",
    re.IGNORECASE,
)
VARIABLES = {"data.url": "RECSYS_DATABASE", "hydra.sweeper.storage": "RECSYS_STUDY_DATABASE"}


def has_password(text: str) -> bool:
    """Whether a URL in the text has a password that is not hidden."""
    return any(found["secret"] != HIDDEN for found in PASSWORD.finditer(text))


def redacted(text: str) -> str:
    """The text with `***` for the password of every URL in it, as in `postgresql://reader:***@db/shop`."""
    return PASSWORD.sub(lambda found: found["before"] + HIDDEN, text)


def redacted_settings(settings: Any) -> Any:
    """Plain settings (dicts, lists and values) with all texts redacted."""
    if isinstance(settings, dict):
        return {key: redacted_settings(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [redacted_settings(value) for value in settings]
    return redacted(settings) if isinstance(settings, str) else settings


def restored_settings(settings: Any) -> Any:
    """Redacted settings with the URLs that some environment variable holds with their password."""
    if isinstance(settings, dict):
        return {key: restored_settings(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [restored_settings(value) for value in settings]
    if not isinstance(settings, str) or HIDDEN not in settings or redacted(settings) != settings:
        return settings
    return next((value for value in os.environ.values() if redacted(value) == settings), settings)


def check_no_password(argument: str) -> None:
    """Refuse a password on the command line, from where it would get into several files.

    Raises:
        ValueError: Names the environment variable to set instead.
    """
    key = argument.partition("=")[0].lstrip("+")
    if has_password(argument):
        raise ValueError(
            f"{key} must have no password, which would be written to files: leave it out, and set the environment "
            f"variable {VARIABLES.get(key, 'RECSYS_DATABASE')} to the URL with it"
        )


class RedactingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without passwords, and without control characters for the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = redacted(super().format(record))
        return text if text.isprintable() else "".join(x if x.isprintable() or x == "\n" else "?" for x in text)
