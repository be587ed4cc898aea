"""Reference pages written at build time: configuration from `conf/` and signatures, HTTP API from OpenAPI."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_class
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
GROUPS = ("data", "model", "trainer", "callbacks", "logger", "hparams_search", "experiment")


def configuration() -> str:
    """Every configuration file with its comments, by command and group, and what each class takes."""
    parts = [
        "# Configuration",
        "Every key can be set on the command line as `key=value`; a group is chosen as `group=option`. "
        "`python -m recsys.train --cfg job` prints the composed configuration, and Hydra's `--config-dir` adds a "
        "folder of your own with the same groups.",
    ]
    for command in ("train", "evaluate", "recommend"):
        parts += [f"## recsys {command}", code(without_help(ROOT / "conf" / f"{command}.yaml"))]
    parts += [
        "## Splits and batches",
        "Shared by every data set, as `data.<key>`.",
        code(ROOT / "conf" / "splits.yaml"),
    ]
    for group in GROUPS:
        parts.append(f"## {group}")
        for file in sorted((ROOT / "conf" / group).glob("*.yaml")):
            parts += [f"### {group}={file.stem}", *arguments_of(file), code(file)]
    return "\n\n".join(parts) + "\n"


def arguments_of(file: Path) -> list[str]:
    """The first paragraph of the docstring of a file's `_target_`."""
    content = yaml.safe_load(file.read_text()) or {}
    target = content.get("_target_", "")
    if not target.startswith("recsys."):
        return []
    doc = inspect.getdoc(get_class(target)) or ""
    return [f"`{target}`", doc.partition("\n\n")[0]]


def without_help(file: Path) -> str:
    """A command's defaults; what is below `hydra:` is about logs and folders."""
    return file.read_text().partition("\nhydra:")[0]


def code(source: Path | str) -> str:
    text = source.read_text() if isinstance(source, Path) else source
    return f"```yaml\n{text.strip()}\n```"


def http_api() -> str:
    """Routes, parameters, bodies and answers from the application's own OpenAPI document."""
    document = openapi()
    parts = [
        "# HTTP API",
        "Generated from the service's OpenAPI document, which a running service has at `/openapi.json` and, to try "
        "out, at `/docs`. IDs travel as strings; ratings are in stars. Errors have the shape "
        '`{"detail": …, "code": …}`.',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += [f"## {method.upper()} {path}", operation.get("summary", ""), operation.get("description", "")]
            parts += parameters(operation)
            parts += body(operation)
            parts += answers(operation)
    parts.append("## Schemas")
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        parts += [f"### {name}", schema.get("description", ""), *fields(schema)]
    return "\n\n".join(part for part in parts if part) + "\n"


def openapi() -> dict[str, Any]:
    from serve.app import create_app
    from serve.settings import Settings

    document: dict[str, Any] = create_app(Settings()).openapi()
    return document


def rows(header: list[str], cells: list[list[str]]) -> list[str]:
    if not cells:
        return []
    lines = [header, ["---"] * len(header), *cells]
    return [
        "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
        )
    ]


def parameters(operation: dict[str, Any]) -> list[str]:
    cells = [
        [f"`{given['name']}`", given["in"], kind(given.get("schema", {})), given.get("description", "")]
        for given in operation.get("parameters", [])
    ]
    return rows(["parameter", "in", "type", "description"], cells)


def body(operation: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    return [f"Body ({media}): {kind(found['schema'])}" for media, found in content.items() if "schema" in found]


def answers(operation: dict[str, Any]) -> list[str]:
    cells = []
    for status, answer in operation.get("responses", {}).items():
        kinds = [kind(found["schema"]) for found in answer.get("content", {}).values() if "schema" in found]
        cells.append([status, ", ".join(kinds), answer.get("description", "")])
    return rows(["status", "answer", "description"], cells)


def fields(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", [])
    cells = [
        [f"`{name}`", kind(found), "yes" if name in required else "", found.get("description", "")]
        for name, found in schema.get("properties", {}).items()
    ]
    return rows(["field", "type", "required", "description"], cells)


def kind(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return " or ".join(kind(part) for part in schema[union])
    if schema.get("type") == "array":
        return f"array of {kind(schema.get('items', {}))}"
    limits = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", "\\>"), ("maximum", "≤"), ("maxLength", "length ≤"))
        if key in schema
    ]
    words = schema.get("enum") and ", ".join(f"`{value}`" for value in schema["enum"])
    return " ".join([words or str(schema.get("type", "any")), *limits])


def write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference"
    for name, content in (("configuration", configuration()), ("http", http_api())):
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text() != content:  # an unchanged page is not built again
            file.write_text(content)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
