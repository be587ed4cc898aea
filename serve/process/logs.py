"""JSON logs on standard error, one object per line, written without ever waiting for who reads them."""

from __future__ import annotations

import atexit
import json
import logging
import logging.config
import sys
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from serve.process.streams import QueuedStream

LONGEST = 8_000  # characters of a message; twice as many of an exception
STDOUT, STDERR = 1, 2
NOTICE = '{"level": "warning", "logger": "serve", "message": "%d log lines were dropped", "dropped": %d}\n'
EXIT_SECONDS = 0.2  # for which the end of the process waits for whoever reads the log

_streams: dict[int, QueuedStream] = {}  # by descriptor


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage(), LONGEST),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = _cut(self.formatException(record.exc_info), 2 * LONGEST)
        return json.dumps(line)  # ASCII is safe for a stream of any encoding


def _cut(text: str, longest: int) -> str:
    """The text without its middle, if it is too long for a line of the log: what a traceback says stands at its end."""
    return text if len(text) <= longest else f"{text[: longest // 4]} […] {text[-3 * longest // 4 :]}"


class QueuedHandler(logging.Handler):
    """Hands lines to a queue; a record that cannot be formatted is lost, and counted."""

    def __init__(self, stream: QueuedStream) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(self.format(record) + "\n")
        except Exception:
            self.stream.drop()


def configure(level: str) -> None:
    """Configure the same log format for this service, uvicorn, Python's warnings and whatever else would be printed.

    Standard output and standard error are replaced by streams that never wait, so that `print` does not either.
    """
    name = level.upper()
    # These are not logged, and collecting them takes longer than formatting the line.
    logging._srcfile = None  # as Python's logging HOWTO recommends
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    sys.stdout, sys.stderr = _stream(STDOUT, sys.__stdout__), _stream(STDERR, sys.__stderr__)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonFormatter}},
            "handlers": {"stderr": {"()": QueuedHandler, "stream": sys.stderr, "formatter": "json"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},  # asyncio, warnings and other libraries
            "loggers": {
                "serve": {"level": name, "handlers": ["stderr"], "propagate": False},
                "uvicorn": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
            },
        }
    )
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda about: _uncaught(about.exc_type, about.exc_value, about.exc_traceback)
    sys.unraisablehook = lambda about: _uncaught(about.exc_type, about.exc_value, about.exc_traceback)


def dropped() -> int:
    """Lines of this process that were not written: nobody read them in time, or the reader is gone."""
    return sum(stream.dropped for stream in _streams.values())


def finish(seconds: float) -> None:
    """Write what waits, for so long at most: whoever reads the log may never read again."""
    end = time.monotonic() + seconds
    for stream in _streams.values():
        stream.finish(end - time.monotonic())


def _stream(descriptor: int, original: Any) -> QueuedStream:
    if not _streams:
        atexit.register(finish, EXIT_SECONDS)
    if descriptor not in _streams:
        # Without an original the descriptor is closed, or belongs to something that was opened later.
        notice = NOTICE if descriptor == STDERR else None
        _streams[descriptor] = QueuedStream(None if original is None else descriptor, notice=notice)
    return _streams[descriptor]


def _uncaught(kind: type[BaseException], error: BaseException | None, at: TracebackType | None) -> None:
    shown = error if error is not None else kind()
    logging.getLogger("serve").error("uncaught %s", kind.__name__, exc_info=(kind, shown, at))
