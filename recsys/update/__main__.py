"""Bring what people did since into the served version: `recsys update`, once or `--every 10m`.

Users and items are solved again given the events since the champion's cut, and the new version is promoted unless it
predicts worse.
With `--refit 1d`, or when its predictions are too far from those of a full refit, the model is fitted again as a whole,
with the configuration of its own run.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from recsys.database.flag import add_database_flag, open_database
from recsys.progress import tolerate_closed_output
from recsys.update import SWEEPS, SWEEPS_OF_SAMPLES
from recsys.versions.version import CHAMPION, VersionConflictError

if TYPE_CHECKING:
    from recsys.update.update import Policy
    from recsys.versions import Versions

RUNS = Path("outputs/updates")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MOST_SWEEPS = 1000
DURATION = re.compile(r"([0-9]{1,9})([smhd])")
ERRORS = (ValueError, OSError, ArithmeticError)  # of databases, stores, versions and refits, too

log = logging.getLogger("recsys.update")


def main(argv: Sequence[str] | None = None) -> None:
    tolerate_closed_output()
    parser = argparse.ArgumentParser(
        prog="recsys update", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_database_flag(parser)
    parser.add_argument("--store", metavar="URL", help="of the versions (default: RECSYS_STORE, or outputs/versions)")
    parser.add_argument("--alias", default=CHAMPION, help=f"whose version is updated (default {CHAMPION})")
    parser.add_argument("--every", type=interval, metavar="TIME", help="again and again, such as 10m; else once")
    parser.add_argument(
        "--refit", type=duration, metavar="TIME", help="fit again if the last fit is as old, such as 1d"
    )
    parser.add_argument(
        "--max-distance", type=stars, metavar="STARS", help="estimated distance to a full refit from which on to fit "
        "again (default: the spread of seeds)",
    )  # fmt: skip
    parser.add_argument(
        "--sweeps", type=sweeps, metavar="N", help=f"over all users and items (default {SWEEPS}, of a posterior's "
        f"samples {SWEEPS_OF_SAMPLES}); 0: one over those of new ratings alone, which costs less",
    )  # fmt: skip
    parser.add_argument(
        "--runs", type=Path, default=RUNS, metavar="FOLDER", help=f"of runs that fit again (default {RUNS})"
    )
    parser.add_argument(
        "--sign", type=Path, metavar="KEY.pem", help="sign new versions, for the service's --verify-key"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, _stop)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: an update has threads of its own
    from recsys.update.update import Policy, update
    from recsys.versions import open_versions

    policy = Policy(arguments.alias, arguments.refit, arguments.max_distance, arguments.sweeps, arguments.runs)
    try:
        versions = open_versions(
            open_database(arguments.database, create=False), arguments.store, sign_with=arguments.sign
        )
        if arguments.every is None:
            update(versions, policy)
        else:
            _again_and_again(versions, policy, arguments.every)
    except ERRORS as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _again_and_again(versions: Versions, policy: Policy, seconds: float) -> NoReturn:
    """Update at regular times; what fails once is said, and tried again the next time."""
    from recsys.update.update import update

    while True:
        began = time.monotonic()
        try:
            update(versions, policy)
        except VersionConflictError as error:
            log.info("made again at the next update: %s", error)
        except ERRORS as error:
            log.error("error: %s", error)
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))


def duration(text: str) -> float:
    """Seconds of a text such as 90s, 10m, 6h or 1d."""
    found = DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"must be a number with s, m, h or d, such as 10m, got {text!r:.80}")
    return float(int(found[1]) * UNITS[found[2]])


def interval(text: str) -> float:
    """A duration that is not 0."""
    if not (seconds := duration(text)):
        raise argparse.ArgumentTypeError(f"must be 1s or more, got {text!r:.80}")
    return seconds


def stars(text: str) -> float:
    """A distance in stars."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not found >= 0:  # NaN, too
        raise argparse.ArgumentTypeError(f"must be a number of stars >= 0, got {text!r:.80}")
    return found


def sweeps(text: str) -> int:
    """A number of sweeps."""
    if not text.isdecimal() or int(text) > MOST_SWEEPS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MOST_SWEEPS}, got {text!r:.80}")
    return int(text)


def _stop(*_: Any) -> NoReturn:
    sys.exit(143)


if __name__ == "__main__":
    main()
