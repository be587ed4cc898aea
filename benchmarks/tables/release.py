"""What `benchmarks/release.py` measured: this version beside the one before."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.tables.markdown import ABSENT, by_device, paragraphs, table
from benchmarks.tables.results import Entry, Results, about


def release(results: Results) -> str:
    """Code, start, speed, service, figures and tests of two versions."""
    return by_device(results, "release", _release)


def _release(found: dict[str, Entry]) -> str:
    rows: list[list[str]] = []

    def add(part: str, label: str, cell: Callable[[Entry], str]) -> None:
        if part in found:
            rows.append([label, cell(found[part]["before"]), cell(found[part]["after"])])

    add("code", "modules at the top of `recsys/` that are no commands; import cycles", _modules)
    add("code", "files that a new data set, metric, model, route touches, as CONTRIBUTING lists them", _tasks)
    add("code", "methods of the longest class; lines of the longest file", _longest)
    add("code", "lines of README", lambda code: f"{code['readme_lines']}")
    add("start", "CPU seconds of `python -m recsys.evaluate run=…`; of `import recsys`", _start)
    add("busy", "`make train` beside a process at 100% on one of two cores, against a quiet machine", _busy)
    for what in ("one rating", "top-10", "top-10 with reasons"):
        if what in found.get("service", {}):
            rates = found["service"][what]
            ratio = f"{rates['after']:,} ({rates['ratio']:.2f}×)"
            rows.append([f"requests per second: {what}", f"{rates['before']:,}", ratio])
    for model, rmse in found.get("rmse", {}).items():
        if isinstance(rmse, dict) and "after" in rmse:
            equal = "equal" if rmse["after"] == rmse["before"] else f"{rmse['after'] - rmse['before']:+.0e}"
            rows.append([f"test RMSE of `{model}`", f"{rmse['before']:.6f}", f"{rmse['after']:.6f} ({equal})"])
    add("tests", "`make test`, seconds (CPU seconds)", lambda tests: f"{tests['wall']:.0f} ({tests['cpu']:.0f})")
    if "quick" in found.get("tests", {}):
        quick = found["tests"]["quick"]
        rows.append(["`make test-quick`, the same", ABSENT, f"{quick['wall']:.0f} ({quick['cpu']:.0f})"])
    return paragraphs(table(["what", "0.1.0", "0.2.0"], rows, "lrr"), about(list(found.values())))


def _modules(code: Entry) -> str:
    return f"{len(code['not_commands'])}; {len(code['cycles'])}"


def _tasks(code: Entry) -> str:
    return " / ".join(str(count) for count in code["files_per_task"].values()) or ABSENT


def _longest(code: Entry) -> str:
    return f"{code['longest_class'][0]}; {code['longest_file'][0]}"


def _start(spent: Entry) -> str:
    return f"{spent['evaluate']:.2f}; {spent['import']:.2f}"


def _busy(spent: Entry) -> str:
    return f"{spent['ratio']:.1f}× ({spent['busy']:.1f} s for {spent['quiet']:.1f} s)"
