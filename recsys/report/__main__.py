"""Compare runs: `python -m recsys.report outputs/2026-11-23/12-00-00-mf-ml_100k`.

A folder may be a run, a sweep, a study or repeated runs, or contain any of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recsys.evaluation.registry import NDCG, RMSE, reported_metrics
from recsys.progress import tolerate_closed_output
from recsys.report import ReportError, find, named
from recsys.report.settings import Experiments

PAGE_NAME = "report.html"
TEXTS = ("md", "csv", "json")


def main(argv: Sequence[str] | None = None) -> None:
    tolerate_closed_output()
    given = arguments(argv)
    try:
        found = find(given.folders, given.metric)
        _report(found, given)
    except ReportError as error:
        sys.exit(f"error: {error}")


def _report(found: Experiments, given: argparse.Namespace) -> None:
    root = named(given.folders)
    if given.format in TEXTS:
        _put(_text(found, given, root), given.out)
        return
    if given.format != "html":
        from recsys.report.terminal import console, print_experiments

        print_experiments(console(), found, given.top)
    if given.format != "table":
        from recsys.report.formats import as_page

        file = given.out or given.folders[0] / PAGE_NAME
        if given.out is None and file.is_symlink():  # in a stranger's folder it may lead anywhere
            raise ReportError(f"{file} is a link to {file.readlink()}; name the file to write with --out")
        _write(file, as_page(found, root))
        print(f"report: {file}")
        if given.open:
            import webbrowser

            webbrowser.open(file.resolve().as_uri())


def _text(found: Experiments, given: argparse.Namespace, root: str) -> str:
    from recsys.report.formats import as_csv, as_json, as_markdown

    if given.format == "json":
        return as_json(found, root)
    return as_csv(found) if given.format == "csv" else as_markdown(found, given.top)


def _put(text: str, file: Path | None) -> None:
    if file is None:
        sys.stdout.write(text)
    else:
        _write(file, text)


def _write(file: Path, text: str) -> None:
    from recsys.files import atomic_write

    try:
        with atomic_write(file) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {file} ({error.strerror}); choose another file with --out") from error


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; on an error print the usage and exit."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m recsys.report", description=summary, epilog=rest)
    parser.add_argument("folders", nargs="+", type=Path, metavar="folder", help="folder with runs, at any depth")
    parser.add_argument("--format", choices=("table", "html", *TEXTS),
                        help="table: on the terminal; html: a page; md, csv, json: to standard output "
                        "(default: table and html)")  # fmt: skip
    parser.add_argument("--metric", choices=reported_metrics(), default=RMSE.validation_key,
                        help=f"metric that ranks the settings (default {RMSE.validation_key}; for ranking models "
                        f"{NDCG.validation_key})")  # fmt: skip
    parser.add_argument("--top", type=_positive, default=20, metavar="N",
                        help="number of settings and of unfinished runs to show (default 20)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help=f"output file (default for html: {PAGE_NAME} in the first folder)")  # fmt: skip
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    given = parser.parse_args(argv)
    if given.format == "table" and given.out:
        parser.error("--out cannot be used with --format table")
    if given.open and given.format not in (None, "html"):
        parser.error(f"--open needs --format html, got --format {given.format}")
    return given


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text}")
    return value


if __name__ == "__main__":
    main()
