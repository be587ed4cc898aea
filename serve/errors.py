"""Error responses: all have the form `{"detail", "code"}` and never echo the request."""

from __future__ import annotations

from typing import Any, get_args

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from numpy.linalg import LinAlgError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from recsys.bundle.rules import MAX_BOOST, MAX_BOOSTS
from serve.api_error import ApiError
from serve.list_requests import RecommendationQuery
from serve.schemas import MAX_TEXT

ID_LISTS = ("users", "exclude", "available")
BOOSTS = f"at most {MAX_BOOSTS} genres or ids of items, each with an amount in [{-MAX_BOOST:g}, {MAX_BOOST:g}]"
ATTRIBUTES = f"names and values must be texts of 1 to {MAX_TEXT} characters, without control characters"


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
    if first["type"] == "extra_forbidden":  # its name is the client's
        allowed = ", ".join(_fields(request, place))
        return error(400, "invalid_request", f"{_place(place)} has an unknown field; allowed are {allowed}")
    if place[:2] == ["body", "attributes"]:  # what follows are names, which are the client's
        return error(400, "invalid_request", f"body.attributes: {ATTRIBUTES}")
    if [*place[1:], last][:1] == ["boost"]:  # so here
        return error(400, "invalid_request", f"{_place([place[0], 'boost'])}: {BOOSTS}")
    if (last in ("user_id", "item_id") or (len(place) == 2 and place[1] in ID_LISTS)) and first["type"] != "missing":
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
    if first["type"] in ("too_short", "too_long"):
        return error(400, "invalid_request", f"{_place([*place, last])} must have {_length(first['ctx'])}")
    if last == "timestamp" and first["type"] != "missing":
        return error(400, "invalid_request", f"{_place([*place, last])} must be an integer, unix seconds")
    return error(400, "invalid_request", f"{_place([*place, last])}: {_lower(first['msg'])}")


def _fields(request: Request, place: list[Any]) -> list[str]:
    """The fields that an object of a request may have."""
    model: type[BaseModel] = RecommendationQuery  # of query strings, only this one has fields
    if place[0] == "body":
        model = _model_in(request.scope["route"].body_field.field_info.annotation)
    for part in place[1:]:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel]:
    """The model in an annotation, such as `list[Model] | None`, of which there is one."""
    while not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    return annotation


def _place(loc: list[Any]) -> str:
    """Format a location as `body.ratings[3].rating`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _length(context: dict[str, Any]) -> str:
    """What a list's length must be, and what it is."""
    bound, limit = ("least", context["min_length"]) if "min_length" in context else ("most", context["max_length"])
    return f"at {bound} {limit} item{'s' * (limit != 1)}, got {context['actual_length']}"


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
