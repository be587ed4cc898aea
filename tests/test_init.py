"""The package itself: what it offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import recsys
from recsys.bundle import Bundle, BundleError


def test_load_takes_a_run_or_a_bundle(tmp_path: Path, small: Bundle) -> None:
    small.save(tmp_path / "run" / "bundle")
    for folder in (tmp_path / "run", tmp_path / "run" / "bundle", str(tmp_path / "run")):
        assert recsys.load(folder).predict([10], [7]) == small.predict([10], [7])
    with pytest.raises(BundleError, match=r"manifest\.json"):
        recsys.load(tmp_path)


def test_names_are_imported_on_first_use() -> None:
    assert recsys.Bundle is Bundle
    assert set(recsys.__all__) <= set(dir(recsys))
    assert recsys.__version__
    with pytest.raises(AttributeError, match="nosuch"):
        _ = recsys.nosuch


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import recsys; print(*(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "torch", "safetensors", "json", "pathlib", "importlib.metadata", "recsys.bundle"}
    assert heavy.isdisjoint(found)
