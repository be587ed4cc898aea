"""The HTTP API page: routes, parameters, bodies and answers from the service's own OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tables import table

from serve.app import create_app
from serve.settings import Settings

INTRODUCTION = """# HTTP API

Generated from the service's OpenAPI document, which a running service has at `/openapi.json` and, to try out, at
`/docs`. IDs travel as strings; ratings are in stars. Errors have the shape `{"detail": …, "code": …}`. Any route may
answer 431 (the header, with path and query, is too large), 500 (a fault of the service) or 503 (too many requests at
once, or the service is stopping; see `Retry-After`).
Where keys are used, most need one: 401 without, 403 without the scope; and 429 beyond a limit. See
[Decide who may ask](../how-to/access.md).
"""
EVERYWHERE = ("431", "500", "503")
LIMITS = {"minimum": "≥", "exclusiveMinimum": "\\>", "maximum": "≤", "exclusiveMaximum": "\\<", "maxLength": "length ≤",
          "maxItems": "items ≤"}  # fmt: skip


def http_api() -> str:
    document = openapi()
    parts = [INTRODUCTION]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(f"## {method.upper()} {path}")
            parts += [operation.get("description") or operation.get("summary", "")]
            parts += [parameters(operation), *bodies(operation), answers(operation)]
    parts.append("## Schemas")
    for name, schema in document["components"]["schemas"].items():
        parts += [f"### {name}", schema.get("description", ""), fields(schema)]
    return "\n\n".join(part for part in parts if part) + "\n"


def openapi() -> dict[str, Any]:
    """The document without the ids, scale and genres of a model: the service has not started."""
    return create_app(Settings()).openapi()


def parameters(operation: dict[str, Any]) -> str:
    rows = [
        [
            f"`{given['name']}`",
            given["in"],
            kind(given["schema"]),
            "required" if given["required"] else default(given["schema"]),
            meaning(given),
        ]
        for given in operation.get("parameters", [])
    ]
    return table(["parameter", "in", "type", "default", "meaning"], rows)


def bodies(operation: dict[str, Any]) -> Iterator[str]:
    for media, found in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{media}`: {kind(found['schema'])}"


def answers(operation: dict[str, Any]) -> str:
    rows = []
    for status, answer in operation["responses"].items():
        if status in EVERYWHERE:
            continue
        kinds = [kind(found["schema"]) for found in answer.get("content", {}).values() if "schema" in found]
        rows.append([status, ", ".join(kinds), answer.get("description", "")])
    return table(["status", "answer", "meaning"], rows)


def fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        [f"`{name}`", kind(found), "required" if name in required else default(found), meaning(found)]
        for name, found in schema.get("properties", {}).items()
    ]
    return table(["field", "type", "default", "meaning"], rows)


def default(schema: dict[str, Any]) -> str:
    return f"`{schema['default']}`".lower() if schema.get("default") is not None else ""


def meaning(schema: dict[str, Any]) -> str:
    return str(schema.get("description") or schema.get("schema", {}).get("description", ""))


def kind(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(kind(part) for part in schema[union]))
    if isinstance(types := schema.get("type"), list):
        return " or ".join(kind(schema | {"type": one}) for one in types)
    if schema.get("type") == "array":
        return f"array of {kind(schema.get('items', {}))}"
    choices = ", ".join(f"`{value}`" for value in schema.get("enum", []))
    limits = [f"{sign} {schema[key]}" for key, sign in LIMITS.items() if key in schema]
    return " ".join([choices or schema.get("format") or schema.get("type", "any"), *limits])
