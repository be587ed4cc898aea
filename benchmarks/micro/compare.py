"""Has anything become slower? python -m benchmarks.micro.compare [--store].

Runs the benchmarks a few times, each time in a new process, and compares every benchmark's ratio to the calibration
around it with the stored one. What seems slower is measured again before it is said to be.

Exit status: 0 where nothing is slower beyond noise, 1 where something is, 2 where that could not be found out.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from benchmarks.micro.comparison import SLOWER, compare
from benchmarks.micro.passes import SuiteError, measured
from benchmarks.micro.render import show
from benchmarks.micro.results import DEVICE, FOLDER, ResultsError, load, of_passes, save, stored_file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=5, help="how often to run the benchmarks; 5 by default")
    parser.add_argument("--store", action="store_true", help="keep what is measured, to compare with it later")
    arguments = parser.parse_args()
    if arguments.passes < 1:
        parser.error(f"--passes must be >= 1, got {arguments.passes}")
    try:
        return store(arguments.passes) if arguments.store else compared(arguments.passes)
    except (ResultsError, SuiteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def store(passes: int) -> int:
    file = FOLDER / f"micro-{DEVICE}.json"
    save(of_passes(measured(passes)), file)
    print(f"stored in {file}")
    return 0


def compared(passes: int) -> int:
    file = stored_file()
    stored = load(file)  # before a minute is spent on what cannot be compared
    reports = measured(passes)
    rows = compare(stored, of_passes(reports))
    if any(row.verdict == SLOWER for row in rows):
        reports += measured(passes, [row.name for row in rows if row.verdict == SLOWER])
        rows = compare(stored, of_passes(reports))
    show(Console(), file, stored, of_passes(reports), rows)
    return int(any(row.verdict == SLOWER for row in rows))


if __name__ == "__main__":
    sys.exit(main())
