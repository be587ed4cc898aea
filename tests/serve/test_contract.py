"""Schemathesis makes requests of the OpenAPI document and checks whether the service keeps what it says.

All checks are on, for bundles of each kind, against a server whose limits are off; `python -m benchmarks.chaos fuzz`
makes 10,000 cases, with keys and without:

    python -m pytest -m slow -s tests/serve/test_contract.py
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from serve import keys
from serve.access.key_file import SCOPES
from tests.serve.conftest import KINDS, Served, save

if importlib.util.find_spec("schemathesis") is None:
    pytest.skip("schemathesis is not installed", allow_module_level=True)

from benchmarks.chaos.fuzz import NO_LIMITS, Fuzzed, fuzz

Start = Callable[..., Served]


def kept(found: Fuzzed, least: int) -> None:
    assert found.violations == found.errors == 0, found.report
    assert found.cases >= least


@pytest.mark.slow  # `CheckedClient` holds the answers of all other tests against the document
@pytest.mark.parametrize("with_keys", [False, True])
def test_the_contract_is_kept_at_a_glance(serve: Start, tmp_path: Path, with_keys: bool) -> None:
    key = keys.add(tmp_path / "keys", "all", frozenset(SCOPES)) if with_keys else None
    access = ("--keys", str(tmp_path / "keys")) if with_keys else ()
    served = serve("--bundle", str(save(KINDS["int"](), tmp_path / "bundle")), *access, *NO_LIMITS)
    options = ["--phases", "examples,fuzzing", "--max-examples", "11", "--seed", "1"]
    kept(fuzz(served, tmp_path, *options, key=key), 100)


@pytest.mark.slow
def test_the_contract_is_kept_while_items_and_events_come(serve: Start, tmp_path: Path) -> None:
    database = ("--database", f"sqlite:///{tmp_path}/live.db")
    served = serve("--bundle", str(save(KINDS["int"](), tmp_path / "bundle")), *database, *NO_LIMITS)
    kept(fuzz(served, tmp_path, "--phases", "examples,fuzzing", "--max-examples", "11", "--seed", "1"), 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "examples"), [("int", 200), ("str", 200), ("ordinal", 60), ("ranking", 60), ("no fold-in", 60)]
)
def test_the_contract_is_kept(serve: Start, tmp_path: Path, kind: str, examples: int) -> None:
    served = serve("--bundle", str(save(KINDS[kind](), tmp_path / "bundle")), *NO_LIMITS)
    found = fuzz(served, tmp_path, "--max-examples", str(examples), "--seed", "7")
    print(f"{kind}: {found.cases} cases, no failure, no 5xx")
    kept(found, 2000 if examples == 200 else 500)
