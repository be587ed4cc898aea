"""Run campaigns, store their figures and print them: `python -m benchmarks.chaos [NAME …] [--short]`.

Exit status 1 if something does not hold. A short run takes seconds and stores nothing.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.chaos.campaign import CAMPAIGNS, campaign
from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CAMPAIGNS)}; all by default")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; stores nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(CAMPAIGNS):
        parser.error(f"NAME must be of {', '.join(CAMPAIGNS)}, got {', '.join(sorted(unknown))}")
    broken = []
    for name in arguments.names or CAMPAIGNS:
        one = campaign(name)
        print(f"{name}: {one.summary}", flush=True)
        of = provenance("benchmarks.chaos", [name])
        figures = one.run(short=arguments.short)
        for row in one.rows(figures):
            print(f"  {'holds ' if row.holds else 'BROKEN'}  {row.what}: {row.found}", flush=True)
            broken += [] if row.holds else [name]
        if not arguments.short:
            write({**of, "figures": figures}, RESULTS / f"chaos_{name}-{DEVICE}.json")
    if broken:
        sys.exit(f"error: does not hold: {', '.join(dict.fromkeys(broken))}")


if __name__ == "__main__":
    main()
