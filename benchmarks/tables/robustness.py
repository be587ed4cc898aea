"""Tables of what people's files, kills, full disks, scales and defaults do to a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.tables.markdown import ABSENT, by_device, paragraphs, stars, table
from benchmarks.tables.results import Entry, Results, about

DATA_NAMES = {"long_tail": "generated long tail", "ml_100k": "ML-100K", "ml_1m": "ML-1M"}


def cases(results: Results) -> str:
    """Files as people have them, and whether they train at the first try."""
    found = [case for case in results.one("cases") if case["command"].startswith("python -m recsys.train")]
    tables = len(results.one("cases")) - len(found)
    rows = [[f"`{case['file']}`", _sentence(case["trained"]), _sentence(case["alone"])] for case in found]
    total = f"{sum(case['trained'] == 'yes' for case in found)} of {len(found)}"
    alone = f"{sum(case['alone'] == 'same' for case in found)} of {len(found)}"
    header = ["file", f"trains by the printed command: {total}", f"`train` alone reads the same: {alone}"]
    rest = f"{tables} more files are tables of items without ratings; each is refused in a sentence." if tables else ""
    return paragraphs(table(header, rows, "lll"), rest)


def _sentence(text: str) -> str:
    return text if text in ("yes", "same") else "a sentence that names the option"


def damaged_files(results: Results) -> str:
    """Rows of damaged files that went missing without a count."""
    found = results.one("damaged_files")
    rows = [
        [label, f"{found[key]:,}"]
        for key, label in (
            ("files", "damaged files"),
            ("read (error)", "read whole, `data.bad_rows=error`"),
            ("refused with a sentence (error)", "refused with file and line, `data.bad_rows=error`"),
            ("read (drop)", "read, `data.bad_rows=drop`"),
            ("refused with a sentence (drop)", "refused, `data.bad_rows=drop`"),
            ("rows refused", "rows refused and counted, `data.bad_rows=drop`"),
            ("rows lost without a count", "rows lost without a count"),
            ("crashes", "other errors"),
        )
    ]
    return table(["what", "count"], rows, "lr")


def run_kills(results: Results) -> str:
    """What a run loses to SIGKILL and to a full disk while it writes."""
    return by_device(results, "run_kills", _run_kills)


def _run_kills(found: Entry) -> str:
    kills, disks = found["sigkill"], found["full_disk"]
    rows = [["SIGKILL while a checkpoint is written", f"{kills['kills']}", f"{kills['unreadable_checkpoints']}",
             f"{kills['lost']}"]]  # fmt: skip
    if "skipped" not in disks:
        rows.append(["disk full", f"{disks['runs']}", f"{disks['unreadable_checkpoints']}", f"{disks['lost']}"])
    header = ["disturbance", "runs", "unreadable checkpoints", "runs that did not resume to equal metrics"]
    return paragraphs(table(header, rows, "lrrr"), f"Full disk: {disks['skipped']}." if "skipped" in disks else "",
                      about([found]))  # fmt: skip


def units(results: Results) -> str:
    """What another scale of the ratings changes."""
    return by_device(results, "units", _units)


def _units(found: Entry) -> str:
    scaled = f"r to {found['factor']:g} r {found['shift']:+g}".replace("-7", "− 7")
    rows = [
        [f"`{row['model']}`", f"{row['rmse']:.6f}", f"{row['rescaled']:.6f}", f"{row['difference']:+.0e}"]
        for row in found["rows"]
    ]
    header = ["model", "RMSE in stars", f"RMSE of {scaled}, divided by {found['factor']:g}", "difference"]
    return paragraphs(table(header, rows, "lrrr"), about([found]))


def defaults(results: Results) -> str:
    """Every rating model's defaults against the biases."""
    return by_device(results, "defaults", _defaults)


def _defaults(found: Iterable[dict[str, Any]]) -> str:
    entries = sorted(found, key=lambda row: (row["data"], row["split"] != "user_time", row["group"], row["model"]))
    rows = [
        [DATA_NAMES[row["data"]], f"`{row['split']}`", f"{row['group']}, {row['rows']:,}", f"`{row['model']}`",
         stars(row["rmse"]), stars(row["biases"]), f"{row['difference']:+.4f}",
         f"{row['low']:+.4f} to {row['high']:+.4f}"]
        for row in entries
    ]  # fmt: skip
    header = ["data", "split", "test rows", "model", "RMSE", "RMSE of biases", "difference of squares", "95% interval"]
    return paragraphs(table(header, rows, "llllrrrr") if rows else ABSENT, about(entries))
