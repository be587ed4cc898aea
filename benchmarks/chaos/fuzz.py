"""Requests made of the OpenAPI document by Schemathesis, which holds every answer against it, with all its checks."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.chaos.campaign import Figures, Row
from serve import keys
from serve.access.key_file import SCOPES
from tests.serve.conftest import KINDS, Served, clean_environment, save

SUMMARY = "requests made of the API's own document, with keys and without"
FUZZED = ("int", "str", "ordinal", "ranking")
NO_LIMITS = ("--max-in-flight", "0", "--max-body-bytes", "0", "--drain-seconds", "0")
SCHEMATHESIS = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


class Fuzzed(NamedTuple):
    """What came of it.

    Attributes:
        cases: How many requests were made up; checks add their own to them.
        violations: How many of them broke what the document, or a check, promises.
        errors: How many answers had a status of 500 or more, or were logged as errors.
        report: What Schemathesis printed, for people.
    """

    cases: int
    violations: int
    errors: int
    report: str


def fuzz(served: Served, folder: Path, *options: str, key: str | None = None) -> Fuzzed:
    """Run Schemathesis against a service, and stop the service.

    Args:
        served: The service.
        folder: Where to run.
        *options: Of Schemathesis.
        key: To send with each request; checks leave it out.
    """
    header = [] if key is None else ["--header", f"Authorization: Bearer {key}"]
    ended = subprocess.run(
        [sys.executable, "-c", SCHEMATHESIS, "run", f"{served.url}/openapi.json", "--checks", "all", "--no-color",
         "--suppress-health-check", "all", *header, *options],
        cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    stopped = served.stop()
    report = (ended.stdout + ended.stderr)[-6000:]
    found = re.search(r"(\d+) generated, (\d+) passed", ended.stdout)
    if found is None:
        return Fuzzed(0, 1, int(stopped != 0), report)
    lines = served.lines()
    errors = sum(line["level"] not in ("info", "warning") or line.get("status", 0) >= 500 for line in lines)
    violations = max(int(found[1]) - int(found[2]), int(ended.returncode != 0))
    return Fuzzed(int(found[1]), violations, errors + (stopped != 0), report)


def run(*, short: bool) -> Figures:
    options = ("--phases", "fuzzing", "--max-examples", "2") if short else ("--max-examples", "75")
    figures: Figures = {"cases": 0, "violations": 0, "errors": 0, "least": 20 if short else 10_000, "reports": []}
    for kind in FUZZED[:1] if short else FUZZED:
        for with_keys in (True,) if short else (True, False):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                bundle = save(KINDS[kind](), folder / "bundle")
                key = keys.add(folder / "keys", "fuzz", frozenset(SCOPES)) if with_keys else None
                access = ("--keys", str(folder / "keys")) if with_keys else ()
                served = Served("--bundle", str(bundle), *access, *NO_LIMITS, cwd=folder).ready()
                found = fuzz(served, folder, *options, "--seed", "7", key=key)
            for name in ("cases", "violations", "errors"):
                figures[name] += getattr(found, name)
            if found.violations or found.errors:
                figures["reports"].append(found.report)
    return figures


def rows(figures: Figures) -> list[Row]:
    what = f"schemathesis, all checks, keys on and off, {figures['cases']:,} cases"
    found = f"{figures['errors']} of 5xx, {figures['violations']} violations"
    holds = figures["cases"] >= figures["least"] and not figures["errors"] and not figures["violations"]
    return [Row(what, found, holds)]
