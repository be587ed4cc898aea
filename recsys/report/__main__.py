"""Compare runs: `python -m recsys.report outputs/2026-11-23/12-00-00-mf-ml_100k`.

Any folders will do: of a run, a sweep, a study, of repeats, or one with all of them below.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recsys.evaluation.registry import NDCG, RMSE, reported_metrics
from recsys.report import ReportError, find, named
from recsys.report.settings import Experiments

PAGE_NAME = "report.html"
TEXTS = ("md", "csv", "json")


def main(argv: Sequence[str] | None = None) -> None:
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
        _write(file, as_page(found, root))
        print(f"the page: {file}")
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
        raise ReportError(f"{file} cannot be written ({error.strerror}); --out names another file") from error


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was typed. Ends the process, with the usage, where it is wrong."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m recsys.report", description=summary, epilog=rest)
    parser.add_argument("folders", nargs="+", type=Path, metavar="folder", help="where runs are, at any depth")
    parser.add_argument("--format", choices=("table", "html", *TEXTS),
                        help="table: to the terminal; html: a page; md, csv, json: to the standard output "
                        "(default: table and html)")  # fmt: skip
    parser.add_argument("--metric", choices=reported_metrics(), default=RMSE.validation_key,
                        help=f"what settings are ranked by (default {RMSE.validation_key}; of ranking models "
                        f"{NDCG.validation_key})")  # fmt: skip
    parser.add_argument("--top", type=_positive, default=20, metavar="N",
                        help="settings in a table, and runs that did not finish (default 20)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help=f"where to write (default for the page: {PAGE_NAME} in the first folder)")  # fmt: skip
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    given = parser.parse_args(argv)
    if given.format == "table" and given.out:
        parser.error("--out has no meaning with --format table")
    if given.open and given.format not in (None, "html"):
        parser.error(f"--open shows the page, which --format {given.format} does not write")
    return given


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}")
    return value


if __name__ == "__main__":
    main()
