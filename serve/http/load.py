"""What a worker has taken on, and whether it can take on more: bounds on how many wait and on how long."""

from __future__ import annotations

import math
from collections import Counter
from time import monotonic

FEWEST = 8.0  # requests at once that are always taken on
FIRST_GUESS = 0.0002  # seconds that a request takes
UNLIMITED_PATHS = ("/health/live", "/health/ready", "/metrics")  # exempt from the limit
# Keys in the state of a request's scope.
ARRIVED = "arrived"  # when it came, by the monotonic clock
REFUSED = "refused"  # that there was no room for it
BESIDE = "beside"  # that it is computed beside the event loop
OPERATIONS = "operations"  # that it came by the operations port


class Load:
    """Requests in flight, and how many of them a worker takes on at once.

    Requests are computed one after another, so what comes last waits for all others: for as long as the event loop's
    turn takes, in the kernel's queue, and then as long again in the loop. Each may take half of `max_wait_seconds`, so
    the limit is that half, divided by the time that a request takes on average.

    Args:
        max_in_flight: Maximum number of requests in flight; 0 for no limit but the one above.
        max_wait_seconds: Maximum time from the arrival of a request until it is begun.
    """

    def __init__(self, max_in_flight: int, max_wait_seconds: float) -> None:
        self.most = max_in_flight or math.inf
        self.max_wait = max_wait_seconds
        self.limit = self.most
        self.in_flight = 0  # requests taken on and not yet answered, without those that wait for their client
        self.shed: Counter[str] = Counter()  # requests refused since the last report, by reason
        self.closed: Counter[str] = Counter()  # connections closed since then, by reason
        self._each = FIRST_GUESS
        self._window_end = 0.0
        self._shortest = 0.0  # wait in this window
        self._late = False

    @property
    def full(self) -> bool:
        return self.in_flight >= self.limit

    def begins(self, arrived: float) -> bool:
        """Whether a request is still to be begun, which arrived then by the monotonic clock.

        As in CoDel (Nichols and Jacobson, 2012), a wait is too long only if it was so throughout a window of time:
        after a pause of the process whatever waits is answered. So are a few requests, whatever the time they wait for
        is spent on.
        """
        now = monotonic()
        wait = now - arrived
        if now >= self._window_end:
            self._late = self._shortest > self.max_wait
            self._shortest, self._window_end = wait, now + self.max_wait / 2
        elif wait < self._shortest:
            self._shortest = wait
        return wait <= self.max_wait or not self._late or self.in_flight <= FEWEST

    def took(self, seconds: float) -> None:
        """Learn from the time that a request took, of which a pause of the process may be a part."""
        self._each += (min(seconds, 4 * self._each) - self._each) / 16
        self.limit = min(self.most, max(FEWEST, self.max_wait / 2 / self._each))
