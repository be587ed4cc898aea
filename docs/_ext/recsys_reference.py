"""Reference pages written at build time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configuration_page import configuration
from http_page import http_api
from settings_page import settings
from sphinx.application import Sphinx


def write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference"
    for name, content in (("configuration", configuration()), ("http", http_api()), ("settings", settings())):
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text() != content:  # an unchanged page is not built again
            file.write_text(content)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
