"""The OpenAPI document: what depends on the served bundle is filled in, and no answer is left out."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from recsys.bundle.attributes import choices
from serve.model import ServedModel
from serve.schemas import Error

STATUS = {
    400: "The request is malformed, or a value is out of range.",
    403: "People's ratings are not shown here.",
    404: "There is no such user or item.",
    408: "The body did not arrive in time.",
    409: "The served model cannot answer this, or two ratings of one item contradict each other.",
    413: "The body is too long.",
    500: "A fault of the service.",
    503: "Too many requests at once, or the service is stopping.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may fail with these, and with what any route may fail with."""
    return {
        status: {"model": Error, "description": STATUS[status]}
        | (
            {"headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}}
            if status == 503
            else {}
        )
        for status in (*statuses, 500, 503)
    }


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a model as parameters of a query."""
    fields: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    parameters = []
    for name, schema in fields.items():
        description = schema.pop("description", None)
        if "anyOf" in schema:  # leaving it out is the way to say null
            schema |= schema.pop("anyOf")[0]
            schema.pop("default")
        parameters.append({"name": name, "in": "query", "required": False, "schema": schema})
        if description:
            parameters[-1]["description"] = description
    return parameters


def document(app: FastAPI, model: ServedModel, *, histories: bool) -> dict[str, Any]:
    """The document for the model in service."""
    app.openapi_schema = None
    schema = FastAPI.openapi(app)
    app.openapi_schema = None
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # malformed requests get 400
    schemas = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    low, high = model.bundle.scale
    known = choices(model.bundle.attributes)
    filled: dict[str, dict[str, Any]] = {
        "id": model.id_schema,
        "any-id": {},
        "stars": {"minimum": low, "maximum": high},
        "attributes": {
            "properties": {name: {"type": "string", "enum": values} for name, values in known.items()},
            "additionalProperties": False,
        },
        "genre": {"enum": model.catalogue.genres} if model.catalogue.genres else {},
    }
    examples = model.examples(histories=histories)
    _fill(schema, filled, examples)
    return schema


def _fill(node: Any, filled: dict[str, dict[str, Any]], examples: dict[str, str], name: str = "") -> None:
    """Replace each marker in `format` by what it stands for, in place; give ids an example that exists."""
    if isinstance(node, list):
        for element in node:
            _fill(element, filled, examples, name)
    if not isinstance(node, dict):
        return
    if node.get("format") in filled:
        kind = node.pop("format")
        node.update(filled[kind])
        if kind in ("id", "any-id") and name in examples:
            node["examples"] = [examples[name]]
    for key, value in node.items():
        _fill(value, filled, examples, node.get("name", name) if key == "schema" else key)
