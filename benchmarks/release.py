"""This version beside the one before: size of the code, start, speed, service, figures, tests.

    python -m benchmarks.release --before CHECKOUT --data-root FOLDER [--only code start busy service rmse tests]

`--before` is a checkout of the older version, `--before-python` an interpreter that has what it needs, and
`--data-root` holds MovieLens 100K. Whatever depends on the machine is measured in turns; figures are medians.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.busy_core import measure as measure_beside_burner
from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.load.service import ROOT, running
from benchmarks.serving import GET, POST, script, wrk
from recsys.bundle import Bundle

COMMANDS = {"__init__", "__main__", "train", "evaluate", "forget", "inspect", "recommend"}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MODELS = ("mf", "svdpp", "als", "bayesian_mf")
TASKS = ("data set", "metric", "model", "route")


@dataclass(frozen=True)
class Version:
    """A checkout and what runs it."""

    root: Path
    python: str

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(self.root)}

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output of `python <command>`."""
        return subprocess.run(
            [self.python, *command], cwd=self.root, env=self.environment, check=check,
            stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip


Versions = dict[str, Version]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="checkout of the older version")
    parser.add_argument("--before-python", default=sys.executable)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of MovieLens 100K")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS)
    arguments = parser.parse_args()
    versions = {
        "before": Version(arguments.before.absolute(), arguments.before_python),
        "after": Version(ROOT, sys.executable),
    }
    file = RESULTS / f"release-{DEVICE}.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "mf"
        for part in arguments.only or PARTS:
            if part in ("start", "service") and not run.exists():
                train(versions["before"], "mf", run, arguments.data_root)  # both versions read it
            found[part] = PARTS[part](versions, run, arguments.data_root, arguments.rounds)
            found[part] |= provenance("benchmarks.release", sys.argv[1:])
            print(json.dumps({part: found[part]}, indent=2), flush=True)
            write(found, file)


def code(versions: Versions, *_: Any) -> dict[str, Any]:
    """Modules at the top of `recsys` that are no commands, longest class and file, lines of README."""
    return {name: _code(version.root) for name, version in versions.items()}


def _code(root: Path) -> dict[str, Any]:
    files = [file for package in ("recsys", "serve") for file in (root / package).rglob("*.py")]
    classes = [
        (sum(isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) for member in node.body), node.name)
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    length = {file: len(file.read_text().splitlines()) for file in files}
    longest = max(length, key=lambda file: length[file])
    top = sorted(file.stem for file in (root / "recsys").glob("*.py") if file.stem not in COMMANDS)
    return {
        "not_commands": top,
        "cycles": _cycles(root),
        "longest_class": max(classes),
        "longest_file": (length[longest], str(longest.relative_to(root))),
        "readme_lines": len((root / "README.md").read_text().splitlines()),
        "files_per_task": _files_per_task((root / "CONTRIBUTING.md").read_text()),
    }


def _cycles(root: Path) -> list[list[str]]:
    """Groups of modules that import each other, those under TYPE_CHECKING and by importlib's name included."""
    names = {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
        for package in ("recsys", "serve")
        for file in (root / package).rglob("*.py")
    }
    imports = {name: _imports(file, names) - {name} for name, file in names.items()}
    reached = {name: _reachable(name, imports) for name in names}
    groups = {frozenset(m for m in reached[name] if name in reached[m]) for name in names if name in reached[name]}
    return sorted(sorted(group) for group in groups)


def _imports(file: Path, names: dict[str, Path]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= below & names.keys() or {node.module}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return found & names.keys()


def _reachable(start: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += imports[name]
    return found


def _files_per_task(contributing: str) -> dict[str, int]:
    """Files that CONTRIBUTING names for each task: its numbered steps that begin with one."""
    counts = {}
    for section in contributing.split("\n## "):
        title = section.partition("\n")[0].strip()
        task = next((task for task in TASKS if title == f"Add a {task}"), None)
        if task:
            counts[task] = len(re.findall(r"^\d+\. \*\*", section, re.MULTILINE))
    return counts


def start(versions: Versions, run: Path, _: Path, rounds: int) -> dict[str, Any]:
    """CPU seconds of `evaluate` from start to end, and of `import recsys` beyond Python's own start."""
    commands = {
        "evaluate": ("-m", "recsys.evaluate", f"run={run}"),
        "import": ("-c", "import recsys"),
        "python": ("-c", "pass"),
    }
    spent: dict[str, dict[str, list[float]]] = {name: {what: [] for what in commands} for name in versions}
    for _round in range(rounds):
        for name, version in versions.items():
            for what, command in commands.items():
                before = _cpu_of_children()
                version.run(*command)
                spent[name][what].append(_cpu_of_children() - before)
    medians = {
        name: {what: statistics.median(values) for what, values in found.items()} for name, found in spent.items()
    }
    return {
        name: {"evaluate": round(it["evaluate"], 3), "import": round(max(it["import"] - it["python"], 0), 3)}
        for name, it in medians.items()
    }


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def busy(versions: Versions, _: Path, data: Path, rounds: int) -> dict[str, Any]:
    """Wall seconds of `make train` beside a process at 100% on one core, against without; the older version once."""
    found = {}
    for name, version in versions.items():
        measured: dict[bool, list[float]] = {False: [], True: []}
        # The threads' default is measured, not the single one of the other parts.
        environment = {variable: value for variable, value in version.environment.items() if variable not in THREADS}
        for _round in range(1 if name == "before" else rounds):
            for beside, values in measured.items():
                arguments = [f"data.root={data}"]
                spent = measure_beside_burner(
                    arguments, busy=beside, python=version.python, cwd=version.root, environment=environment
                )
                values.append(spent["wall"])
        quiet, loaded = (statistics.median(values) for values in measured.values())
        found[name] = {"quiet": round(quiet, 2), "busy": round(loaded, 2), "ratio": round(loaded / quiet, 2)}
    return found


def service(versions: Versions, run: Path, _: Path, rounds: int) -> dict[str, Any]:
    """Requests per second of both services in turns, and the median of the rounds' ratios, after over before."""
    requests = {
        "one rating": POST.format(path="/predict/rating/"),
        "top-10": GET.format(query=""),
        "top-10 with reasons": GET.format(query="&explain=true"),
    }
    bundle = Bundle.load(run / "bundle")
    command = ("-m", "serve", "--bundle", str(run / "bundle"), "--log-level", "warning")
    before, after = versions["before"], versions["after"]
    rates: dict[str, dict[str, list[float]]] = {what: {"before": [], "after": []} for what in requests}
    with (
        tempfile.TemporaryDirectory() as scripts,
        running(*command, environment=before.environment, python=before.python, cwd=before.root) as old,
        running(*command, environment=after.environment, python=after.python, cwd=after.root) as new,
    ):
        files = {what: Path(scripts) / f"{number}.lua" for number, what in enumerate(requests)}
        for what, request in requests.items():
            files[what].write_text(script(bundle, request))
        for _round in range(rounds):
            for what, file in files.items():
                for name, running_service in (("before", old), ("after", new)):
                    rates[what][name].append(wrk(running_service, file, 4))
    return {
        what: {name: round(statistics.median(values)) for name, values in found.items()}
        | {"ratio": round(statistics.median(a / b for b, a in zip(*found.values(), strict=True)), 3)}
        for what, found in rates.items()
    }


def rmse(versions: Versions, _: Path, data: Path, _rounds: int) -> dict[str, Any]:
    """Test RMSE of each model on ML-100K with seed 0, one thread."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            for name, version in versions.items():
                metrics = train(version, model, Path(folder) / f"{model}-{name}", data)
                found.setdefault(model, {})[name] = metrics["test/rmse"]
    return found


def train(version: Version, model: str, folder: Path, data: Path) -> dict[str, Any]:
    version.run("-m", "recsys.train", f"model={model}", f"data.root={data}", f"hydra.run.dir={folder}")
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def tests(versions: Versions, *_: Any) -> dict[str, Any]:
    """Wall and CPU seconds of the tests as `make test` and `make test-quick` run them."""
    pytest = ("-m", "pytest", "-n", "auto", "--dist", "worksteal", "-q")
    suites: dict[str, tuple[Version, tuple[str, ...]]] = {name: (version, pytest) for name, version in versions.items()}
    suites["quick"] = (versions["after"], (*pytest, "-m", "not slow and not long"))
    found = {}
    for name, (version, command) in suites.items():
        before, started = _cpu_of_children(), time.perf_counter()
        printed = version.run(*command, check=False)
        found[name] = {
            "wall": round(time.perf_counter() - started, 1),
            "cpu": round(_cpu_of_children() - before, 1),
            "failures": [line for line in printed.splitlines() if line.startswith(("FAILED", "ERROR"))],
        }
    return found


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "code": code,
    "start": start,
    "busy": busy,
    "service": service,
    "rmse": rmse,
    "tests": tests,
}

if __name__ == "__main__":
    main()
