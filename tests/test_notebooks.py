"""The notebooks read as articles, define nothing, are stored without outputs, and run from top to bottom."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

from recsys.data.errors import DataError
from recsys.data.sources import MovieLens
from recsys.experiments.configuration import config_dir
from recsys.files import cache_folder
from tests.conftest import SHARED

FOLDER = config_dir().parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds MovieLens 100K: a new one where the files are at hand, else the user's own."""
    if (SHARED / "ml-100k").is_dir():
        folder = tmp_path_factory.mktemp("cache")
        (folder / "ml-100k").symlink_to(SHARED / "ml-100k")
        return folder
    try:
        MovieLens("ml-100k").prepare()
    except DataError as error:
        pytest.skip(f"the notebooks need ml-100k: {error}")
    return cache_folder()


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code_of(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_is_stored_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata.language_info) == {"name"}, "the version of one's own Python is nobody's business"
    for cell in notebook.cells:
        assert not cell.metadata, cell.id
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None), cell.id


def test_imports_recsys_and_defines_nothing(path: Path) -> None:
    code = code_of(read(path))
    assert any(re.search(r"^(from|import) recsys\b", source, re.MULTILINE) for source in code)
    for source in code:
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(source))):
            assert not isinstance(node, DEFINITIONS), ast.unparse(node)


def test_begins_with_a_question_and_ends_with_what_to_take_away(path: Path) -> None:
    cells = read(path).cells
    title = cells[0].source.partition("\n")[0]
    assert cells[0].cell_type == "markdown"
    assert title.startswith("# ")
    assert title.endswith("?")
    assert "\n## Summary\n" in f"\n{cells[-1].source}"
    for link in re.findall(r"\]\((?!http)([^)]+)\)", "\n".join(cell.source for cell in cells)):
        assert (FOLDER / link).is_file(), link


@pytest.mark.slow  # `make docs` executes them too
def test_runs(path: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    for folder in (work, tmp_path / "tmp"):
        folder.mkdir()
    monkeypatch.setenv("RECSYS_CACHE", str(cache))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))  # neither the user's settings nor another Python's kernel
    notebook = read(path)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(work)}}).execute()
    assert not list(work.iterdir()), "a notebook writes to temporary folders only"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = [(output.name, output.text) for output in outputs if output.output_type == "stream"]
    assert not [text for name, text in printed if name == "stderr" or "Error in callback" in text]
    data = [output.data for output in outputs if "data" in output]
    figures = [content for content in data if content.get("text/plain", "").startswith("<Figure")]
    assert len(figures) == sum(source.count("plt.subplots(") for source in code_of(notebook))
    assert all("image/png" in content for content in figures)
