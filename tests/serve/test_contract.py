"""Schemathesis makes requests of the OpenAPI document and checks whether the service keeps what it says.

All checks are on, for a bundle with integer ids and one with strings, against a server whose limits are off:

    python -m pytest -m slow -s tests/serve/test_contract.py
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serve.conftest import KINDS, Served, clean_environment, save

if importlib.util.find_spec("schemathesis") is None:
    pytest.skip("schemathesis is not installed", allow_module_level=True)

Start = Callable[..., Served]
NO_LIMITS = ("--max-in-flight", "0", "--max-body-bytes", "0", "--drain-seconds", "0")


def checked(served: Served, cwd: Path, *options: str) -> int:
    """Number of cases, after all of them passed."""
    command = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    ended = subprocess.run(
        [sys.executable, "-c", command, "run", f"{served.url}/openapi.json", "--checks", "all", "--no-color",
         "--suppress-health-check", "all", *options],
        cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-6000:]
    found = re.search(r"(\d+) generated, (\d+) passed", ended.stdout)
    assert found is not None
    assert found[1] == found[2]
    assert served.stop() == 0
    # No fault and no traceback; uvicorn warns of what is no HTTP, with which Schemathesis tries what it can send.
    assert {line["level"] for line in served.lines()} <= {"info", "warning"}
    assert all(line["status"] < 500 for line in served.lines() if "status" in line)
    return int(found[1])


@pytest.mark.slow  # `CheckedClient` holds the answers of all other tests against the document
def test_the_contract_is_kept_at_a_glance(serve: Start, tmp_path: Path) -> None:
    served = serve("--bundle", str(save(KINDS["int"](), tmp_path / "bundle")), *NO_LIMITS)
    options = ["--phases", "examples,fuzzing", "--max-examples", "11", "--seed", "1"]
    assert checked(served, tmp_path, *options) >= 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "examples"), [("int", 200), ("str", 200), ("ordinal", 60), ("ranking", 60), ("no fold-in", 60)]
)
def test_the_contract_is_kept(serve: Start, tmp_path: Path, kind: str, examples: int) -> None:
    served = serve("--bundle", str(save(KINDS[kind](), tmp_path / "bundle")), *NO_LIMITS)
    cases = checked(served, tmp_path, "--max-examples", str(examples), "--seed", "7")
    print(f"{kind}: {cases} cases, no failure, no 5xx")
    assert cases >= (2000 if examples == 200 else 500)
