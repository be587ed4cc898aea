"""Moments as people write and read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def moment(text: str) -> int:
    """Unix seconds of a time such as `2026-11-24 09:00`, which is in UTC unless it says otherwise.

    Raises:
        ValueError: It is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"a time must be like 2026-11-24 09:00 (UTC) or 2026-11-24T10:00+01:00, got {text!r:.80}"
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def past_moment(text: str) -> int:
    """As `moment`, of a time that has come.

    Raises:
        ValueError: It is none, or in the future.
    """
    found, now = moment(text), int(time.time())
    if found > now:
        raise ValueError(f"a time must be in the past, now is {shown_moment(now)} in UTC, got {text!r:.80}")
    return found


def shown_moment(seconds: int) -> str:
    """Such as `2026-11-24 09:00:00`, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
