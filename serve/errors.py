"""Error responses: all have the form `{"detail", "code"}` and never echo the request."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from numpy.linalg import LinAlgError
from starlette.exceptions import HTTPException

from serve.api_error import ApiError


def no_model() -> ApiError:
    return ApiError(503, "no_model", "the service waits for its first model; try again")


def install(app: FastAPI) -> None:
    """Install handlers that give all errors of `app` this form."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    for kind in (ArithmeticError, LinAlgError):
        app.add_exception_handler(kind, _no_answer)


def error(status: int, code: str, detail: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"detail": detail, "code": code}, status, headers)


async def _api_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ApiError)
    return error(exc.status, exc.code, exc.detail, {"Retry-After": "1"} if exc.status == 503 else None)


async def _no_answer(request: Request, exc: Exception) -> JSONResponse:
    """The bundle of a stranger may have a prior that makes the fold-in of some ratings singular or infinite."""
    return error(409, "no_fold_in", "the model has no finite answer to these ratings")


async def _invalid(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    *place, last = first["loc"] or ("request",)
    if first["type"] == "unknown_field":
        return error(400, "invalid_request", f"{_place([*place, last])} {first['msg']}")
    if (last in ("user_id", "item_id") or place == ["body", "users"]) and first["type"] != "missing":
        model = request.app.state.service.model
        if model is None:
            return await _api_error(request, no_model())
        where = _place([*place, last]) if place[:1] == ["body"] else ""
        return error(400, "invalid_id", model.users.fault(first.get("input"), where))
    if first["type"] == "json_invalid":
        return error(400, "invalid_json", "body is not valid JSON")
    if first["type"] == "model_attributes_type":  # also a body whose content type is not JSON
        return error(
            400, "invalid_request", f"{_place([*place, last])} must be a JSON object, sent as application/json"
        )
    return error(400, "invalid_request", f"{_place([*place, last])}: {_lower(first['msg'])}")


def _place(loc: list[Any]) -> str:
    """Format a location as `body.ratings[3].rating`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


async def _http_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    code, detail = {
        400: ("invalid_json", "body is not valid JSON in UTF-8"),
        404: ("not_found", "no such path; see /docs"),
        405: ("method_not_allowed", "method not allowed for this path"),
        408: ("body_too_slow", "timeout while receiving the body"),
        413: ("body_too_large", "body exceeds the size limit of this service"),
    }.get(exc.status_code, ("error", str(exc.detail)))
    return error(exc.status_code, code, detail, exc.headers)
