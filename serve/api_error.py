"""The error that routes raise, without what turns it into a response: a bundle is checked without a web framework."""

from __future__ import annotations


class ApiError(Exception):
    """An error returned to the client.

    Args:
        status: HTTP status.
        code: Machine-readable code.
        detail: Human-readable message, without content of the request.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
