from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMPORT_EACH = """
import importlib, os, sys
import hydra, lightning, optuna, pandas, pyarrow, torch  # once, before the forks
try:
    import fastapi
except ImportError:
    pass
failed = 0
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(name, error, flush=True)
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed > 0)
"""


@pytest.mark.slow  # a process for each module; cycles are found without, by tests/benchmarks/test_release.py
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_every_module_can_be_imported_first() -> None:
    files = [file for package in ("recsys", "serve") for file in (ROOT / package).rglob("*.py")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if file.stem != "__main__"]
    modules = sorted(name.removesuffix(".__init__") for name in names)
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
