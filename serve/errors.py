"""Errors have one shape, `{"detail", "code"}`, and never echo the request."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class ApiError(Exception):
    """An error that is answered to the client.

    Args:
        status: HTTP status.
        code: One word for programs.
        detail: One sentence for people, without anything that the client sent.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def install(app: FastAPI) -> None:
    """Give every error of `app` the one shape."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)


def error(status: int, code: str, detail: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"detail": detail, "code": code}, status, headers)


async def _api_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ApiError)
    return error(exc.status, exc.code, exc.detail)


async def _invalid(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    *place, last = first["loc"] or ("request",)
    if first["type"] == "extra_forbidden":  # its name is the client's
        return error(400, "invalid_request", f"{_place(place)} has a field that is not known")
    if last in ("user_id", "item_id") and first["type"] != "missing":
        return error(400, "invalid_id", request.app.state.service.models.current.id_rule)
    if first["type"] == "json_invalid":
        return error(400, "invalid_json", "body is not valid JSON")
    if first["type"] == "model_attributes_type":  # also a body whose content type is not JSON
        return error(
            400, "invalid_request", f"{_place([*place, last])} must be a JSON object, sent as application/json"
        )
    return error(400, "invalid_request", f"{_place([*place, last])}: {_lower(first['msg'])}")


def _place(loc: list[Any]) -> str:
    """`body.ratings[3].rating` of a location."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


async def _http_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    code, detail = {
        400: ("invalid_json", "body is not valid JSON in UTF-8"),
        404: ("not_found", "there is nothing at this path; /docs lists what there is"),
        405: ("method_not_allowed", "this path does not take this method"),
        408: ("body_too_slow", "the body did not arrive in time"),
        413: ("body_too_large", "body is longer than this service takes"),
    }.get(exc.status_code, ("error", str(exc.detail)))
    return error(exc.status_code, code, detail, exc.headers)
