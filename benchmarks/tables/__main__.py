"""Write the tables of README.md and docs/benchmarks.md, and two pictures in docs, from benchmarks/results.

    python -m benchmarks.tables [--check]

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; all else stays as it is. With `--check` nothing is
written: what differs from the results is named, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.tables.documents import differing, write
from benchmarks.tables.results import TablesError

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.tables", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--check", action="store_true", help="only name what differs from the results")
    arguments = parser.parse_args()
    try:
        changed = differing(ROOT) if arguments.check else write(ROOT)
    except TablesError as error:
        sys.exit(f"error: {error}")
    for what in changed:
        print(f"{what} is not what the results give" if arguments.check else f"{what}: written")
    if arguments.check and changed:
        sys.exit("make bench-report writes them anew")


if __name__ == "__main__":
    main()
