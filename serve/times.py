"""Times in requests: unix seconds, at most a day ahead of the service's clock."""

from __future__ import annotations

import time

from recsys.events.event import CLOCK_TOLERANCE
from serve.api_error import ApiError


def latest_time() -> int:
    """The last time that a request may name, unix seconds."""
    return int(time.time()) + CLOCK_TOLERANCE


def check_time(seconds: int, latest: int, place: str) -> None:
    """Reject a time that cannot be one, such as one in milliseconds.

    Args:
        seconds: Of the request.
        latest: `latest_time`.
        place: In the body.

    Raises:
        ApiError: 400, it is before 1970, or later than that.
    """
    if not 0 <= seconds <= latest:
        allowed = f"unix seconds from 0 to {latest}, a day ahead of the service's clock"
        raise ApiError(400, "invalid_timestamp", f"{place} must be {allowed}")
