"""JSON logs on standard error, one object per line."""

from __future__ import annotations

import json
import logging
import logging.config
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)  # ASCII is safe for a stream of any encoding


def configure(level: str) -> None:
    """Configure the same log format for this service and uvicorn."""
    name = level.upper()
    # These are not logged, and collecting them takes longer than formatting the line.
    logging._srcfile = None  # as Python's logging HOWTO recommends
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonFormatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "loggers": {
                "serve": {"level": name, "handlers": ["stderr"], "propagate": False},
                "uvicorn": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
            },
        }
    )
