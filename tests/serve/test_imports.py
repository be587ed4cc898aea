"""Serving needs little: a bundle, NumPy and FastAPI."""

from __future__ import annotations

import subprocess
import sys

from tests.serve.conftest import ROOT, clean_environment

HEAVY = ("torch", "lightning", "hydra", "omegaconf", "pandas", "pyarrow", "scipy", "matplotlib", "sklearn", "wandb",
         "cryptography", "sqlalchemy", "alembic")  # fmt: skip


def test_the_service_imports_nothing_heavy() -> None:
    code = "import sys, serve.app, serve.__main__, serve.promote; print(*{n.split('.')[0] for n in sys.modules})"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert not set(answer.stdout.split()) & set(HEAVY)


def test_the_check_of_a_bundle_imports_no_web_framework() -> None:
    code = "import sys, serve.candidate, serve.models.served_model; print(*{n.split('.')[0] for n in sys.modules})"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert not set(answer.stdout.split()) & {"fastapi", "starlette", "uvicorn", *HEAVY}
