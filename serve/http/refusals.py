"""Errors that are written as bytes, without the application: whoever is refused must cost next to nothing."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from http import HTTPStatus

from serve.access.headers import SECURITY_HEADERS
from serve.http.load import UNLIMITED_PATHS

UNSHED = re.compile(rb"(?:GET|HEAD) (?:%b)[ ?]" % "|".join(UNLIMITED_PATHS).encode())  # answered whatever the load
_FRAMING = re.compile(rb"content-length|transfer-encoding|expect", re.IGNORECASE)  # however it is written
_REQUEST_LINE = re.compile(rb"[!-~]+ [!-~]+ HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
_CLOSING = re.compile(rb"\n(?:connection|upgrade)[ \t]*:(?![ \t]*keep-alive[ \t]*\r\n)", re.IGNORECASE)

_numbers = itertools.count()
_prefix = secrets.token_hex(4).encode()


class Refusal:
    """An error response, ready to be sent.

    Args:
        status: HTTP status.
        code: Machine-readable code.
        detail: Human-readable message.
        retry: Whether the client should come again, a second later.
    """

    def __init__(self, status: int, code: str, detail: str, *, retry: bool = False) -> None:
        self.code, self.detail = code, detail
        self._body = json.dumps({"detail": detail, "code": code}).encode()
        lines = [
            b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()),
            b"content-type: application/json",
            b"content-length: %d" % len(self._body),
            *(b"%s: %s" % header for header in SECURITY_HEADERS),
            *([b"retry-after: 1"] if retry else []),
        ]
        self._start = b"\r\n".join([*lines, b"x-request-id: "])

    def answer(self, request: bytes = b"", *, keep: bool = False) -> bytes:
        """The response to a request of which the first bytes are known; `keep` if the connection stays open."""
        end = b"\r\n\r\n" if keep else b"\r\nconnection: close\r\n\r\n"
        number = _prefix + b"%08x" % next(_numbers)
        return self._start + number + end + (b"" if request.startswith(b"HEAD ") else self._body)


OVERLOADED = Refusal(503, "overloaded", "too many requests at once; try again", retry=True)
TOO_MANY_CONNECTIONS = Refusal(503, "too_many_connections", "too many connections at once; try again", retry=True)
HEADER_TOO_LARGE = Refusal(431, "header_too_large", "the request's header exceeds the size limit of this service")
HEADER_TOO_SLOW = Refusal(408, "header_too_slow", "timeout while receiving the request's header")
MALFORMED = Refusal(400, "malformed_request", "not a valid HTTP request")


def is_whole(request: bytes) -> bool:
    """Whether these bytes are one whole request, so that its client sends nothing before it has an answer."""
    end = request.find(b"\r\n\r\n") + 4
    framing = _FRAMING.findall(request, 0, end)
    if not framing:
        return end == len(request) > 4
    length = _LENGTH.search(request, 0, end)
    return len(framing) == 1 and length is not None and end + int(length[1]) == len(request)


def may_follow(request: bytes) -> bool:
    """Whether after a whole request its client may send another one on the same connection."""
    end = request.find(b"\r\n\r\n") + 2
    return _REQUEST_LINE.match(request) is not None and _CLOSING.search(request, 0, end) is None
