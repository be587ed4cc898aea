"""The OpenAPI document, with the id format, scale and genres of the served bundle."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI

from recsys.bundle.attributes import choices
from recsys.events.event import CLOCK_TOLERANCE, RATING
from serve.ids import body_id_schema, id_schema
from serve.info import sample_ids
from serve.models.served_model import ServedModel
from serve.schemas import Error

DESCRIPTIONS = {
    400: "The request is malformed, a value is out of range, or the service does not go by the name in Host.",
    401: "A key is needed, or this one is not valid.",
    403: "The service does not expose users' ratings.",
    404: "No such user, item, genre or job.",
    408: "Timeout while receiving the body.",
    409: "The current model does not support this request, an item is rated twice, an event's id is taken, an id is "
    "too large to be recorded, a job is not done, or there is no database.",
    413: "The body is too large.",
    429: "Too many requests.",
    431: "The header, with the path and the query, is too large.",
    500: "Internal error.",
    503: "Too many concurrent requests, the service is stopping, or its database does not answer.",
}
ANY_ROUTE = (400, 431, 500, 503)  # statuses that every route may return
WAIT = (429, 503)  # with Retry-After
EXAMPLES = 3  # genres
IDS = ("id", "body-id", "any-id", "recorded-id", "recorded-body-id")
MARKERS = (*IDS, "stars", "attributes", "genre", "seconds")
SCHEME = {"type": "http", "scheme": "bearer", "description": "An API key, made by `recsys keys add`."}


ETAG_RESPONSES: dict[int | str, dict[str, Any]] = {  # of a GET route whose answers are kept
    200: {"headers": {"ETag": {"schema": {"type": "string"}, "description": "Of this content, for `If-None-Match`."}}},
    304: {"description": "The content is that of an ETag in `If-None-Match`."},
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may fail with these statuses; by default, those common to all routes."""
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses or ANY_ROUTE:
        responses[status] = {"model": Error, "description": DESCRIPTIONS[status]}
        if status in WAIT:
            responses[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return responses


def openapi_document(
    app: FastAPI, model: ServedModel | None, *, expose_user_ratings: bool, keys: bool, rate_limit: bool, live: bool
) -> dict[str, Any]:
    """The document for the current model; a generic one if no model is loaded yet.

    Args:
        app: The application.
        model: The current model.
        expose_user_ratings: Whether to everybody.
        keys: Whether keys are used.
        rate_limit: Whether requests are limited.
        live: Whether there is a database, by which genres come and go: then any text may be one.
    """
    app.openapi_schema = None
    schema = FastAPI.openapi(app)
    app.openapi_schema = None
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # malformed requests get 400
            for parameter in operation.get("parameters", ()):
                _drop_null(parameter["schema"])
    _document_access(app, schema, keys=keys, rate_limit=rate_limit)
    schemas = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    if model is None:
        _fill(schema, {kind: {} for kind in MARKERS}, {})
        return schema
    if model.bundle.is_implicit:
        schemas["EventIn"]["anyOf"][0] = {"properties": {"kind": {"const": RATING}}}
    else:
        schemas["RatingIn"]["required"].append("rating")
        _drop_null(schemas["RatingIn"]["properties"]["rating"])
    kind = schemas["RatingIn"]["properties"]["kind"]
    if kinds := list(model.bundle.kind_ratings):
        kind |= {"anyOf": [{"type": "string", "enum": kinds}, {"type": "null"}]}
    else:
        schemas["RatingIn"]["properties"].pop("kind")
    low, high = model.bundle.given_scale
    known, genres = choices(model.bundle.attributes), model.catalogue.genres
    filled: dict[str, dict[str, Any]] = {
        "id": id_schema(integers=model.integer_ids),
        "body-id": body_id_schema(integers=model.integer_ids),
        "any-id": {},
        "recorded-id": id_schema(integers=model.integer_ids, recorded=True),
        "recorded-body-id": body_id_schema(integers=model.integer_ids, recorded=True),
        "stars": {"minimum": low, "maximum": high},
        "attributes": {
            "properties": {name: {"type": "string", "enum": values} for name, values in known.items()},
            "additionalProperties": False,
        },
        "genre": ({"examples": genres[:EXAMPLES]} if live else {"enum": genres}) if genres else {},
        "seconds": {"maximum": (int(time.time()) // CLOCK_TOLERANCE + 1) * CLOCK_TOLERANCE},  # goes on being allowed
    }
    examples = sample_ids(model, expose_user_ratings=expose_user_ratings)
    _fill(schema, filled, examples)
    known_pair = {name: examples.get(name, examples["item_id"]) for name in ("user_id", "item_id")}
    schemas["PredictionRequest"]["examples"] = [known_pair]  # or else both a user and ratings would be shown
    return schema


def _document_access(app: FastAPI, schema: dict[str, Any], *, keys: bool, rate_limit: bool) -> None:
    """Add to each operation the scope that a key needs, and the errors of requests without one, or of too many."""
    if keys:
        schema["components"]["securitySchemes"] = {"key": SCHEME}
    for route in app.routes:
        needs = getattr(route, "scope_of_key", None)
        operations = schema["paths"].get(getattr(route, "path_format", ""), {})
        for method in getattr(route, "methods", None) or () if needs is not None else ():
            operation = operations[method.lower()]
            responses = operation["responses"]
            if keys:
                operation["security"] = [{"key": []}]
                about = f"{operation.get('description', '')}\n\nKeys need the scope `{needs}`."
                operation["description"] = about.strip()
                histories = "403" in responses
                responses["401"] = _response(401)
                responses["403"] = _response(403)
                responses["403"]["description"] = f"The key lacks the scope. {DESCRIPTIONS[403] * histories}".strip()
            if keys or rate_limit:
                responses["429"] = _response(429)


def _response(status: int) -> dict[str, Any]:
    """The documentation of an error, as FastAPI writes it."""
    one = error_responses(status)[status]
    schema = {"$ref": "#/components/schemas/Error"}
    return {key: value for key, value in one.items() if key != "model"} | {
        "content": {"application/json": {"schema": schema}}
    }


def _drop_null(schema: dict[str, Any]) -> None:
    """Remove null from a query parameter's schema: it is expressed by omitting the parameter."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        del schema["anyOf"]
        schema.update(options[0])


def _fill(node: Any, filled: dict[str, dict[str, Any]], examples: dict[str, str], name: str = "") -> None:
    """Replace each marker in `format` by its schema, in place, and give ids an existing example."""
    if isinstance(node, list):
        for element in node:
            _fill(element, filled, examples, name)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("format"), str) and node["format"] in filled:  # a property may have that name
        kind = node.pop("format")
        node.update(filled[kind])
        if kind in IDS and name in examples:
            node["examples"] = [examples[name]]
    for key, value in node.items():
        _fill(value, filled, examples, node.get("name", name) if key == "schema" else key)
