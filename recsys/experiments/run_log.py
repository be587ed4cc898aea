"""The log of a run, `train.log`."""

from __future__ import annotations

import logging
import sys


class RunLog(logging.FileHandler):
    """Appends to a file, and goes without it where that fails, as on a full disk: a run's results do not depend on it.

    Python's own handler prints a traceback for each record that it could not write.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
