"""What `benchmarks/sweeps.py`, `study_kills.py` and `report.py` measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.tables.markdown import by_device, paragraphs, table
from benchmarks.tables.results import Entry, NotMeasuredError, Results, about


def sweeps(results: Results) -> str:
    """A sweep's cost beside its training, a second worker, a killed study, pruning."""
    kills = ["a study killed with SIGKILL at random moments: trials lost; duplicated; left RUNNING", killed(results)]
    return by_device(results, "sweeps", lambda found: _sweeps(found, kills))


def _sweeps(found: Entry, kills: list[str]) -> str:
    jobs, pruning = found["jobs"], found["pruning"]
    overhead, later = jobs["median"]["overhead_a_job"], jobs["median"]["overhead_a_later_job"]
    grid = "12 jobs (embedding_dim 16, 32, 64; dropout 0, 0.2; reg_lambda 0.01, 0.03) in one process"
    rows = [
        [f"{grid}: seconds a job beyond its training; of which its share in the start of Python and torch",
         f"{overhead:.2f}; {overhead - later:.2f}"],
        [f"the same jobs, two workers against one process: times as fast (median of {len(jobs['rounds'])}; each)",
         f"{jobs['median']['faster']:.2f} ({listed(jobs['rounds'], 'faster', 2)})"],
        kills,
        ["a study of 40 trials, with pruning against without: time; best value worse by "
         f"(median of {len(pruning['rounds'])} sampler seeds; each)",
         f"{pruning['median']['time']:.2f}x ({listed(pruning['rounds'], 'time', 2)}); "
         f"{pruning['median']['best_worse_by']:.4f} ({listed(pruning['rounds'], 'best_worse_by', 4)})"],
    ]  # fmt: skip
    return table(["what", "figure"], rows, "ll")


def killed(results: Results) -> str:
    """What was lost; a study may have been killed on no machine yet."""
    try:
        found = results.one("study_kills")
    except NotMeasuredError:
        return "not measured"
    counts = "; ".join(str(found[name]) for name in ("lost", "duplicated", "left_running"))
    return f"{counts} ({found['kills']} kills, {found['trials_ended']} trials)"


def listed(rounds: Iterable[dict[str, Any]], name: str, digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in sorted(found[name] for found in rounds))


def report(results: Results) -> str:
    """A report over many runs."""
    return by_device(results, "report", _report)


def _report(found: Entry) -> str:
    names = {"import": "`import recsys.report`", "table": "the table in the terminal", "html": "the page",
             "md": "Markdown", "csv": "CSV", "json": "JSON"}  # fmt: skip
    rows = [[text, f"{found[name]:.2f} s"] for name, text in names.items()]
    rows.append(["size of the page", f"{found['page_mb']:.1f} MB"])
    return paragraphs(table([f"{found['runs']:,} runs", "figure"], rows, "lr"), about([found]))
