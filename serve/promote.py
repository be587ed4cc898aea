"""Point a service at a run's bundle: `python -m serve.promote outputs/2026-11-23/12-00-00-mf-ml_100k`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from recsys.bundle import Bundle, BundleError
from serve.candidate import Candidates
from serve.pointer import bundle_folder, read_pointer, write_pointer
from serve.replacement import MIN_SHARE, check_replacement
from serve.served_model import ServedModel
from serve.settings import Settings

POINTER = Path("outputs/serving")


def promote(run: Path, pointer: Path, *, other_data: bool = False) -> ServedModel:
    """Validate the bundle as the service would, then rewrite the pointer.

    Args:
        run: Folder of a run, or of a bundle.
        pointer: File to rewrite.
        other_data: Also where the bundle has other users and items than the one that the pointer names now.

    Raises:
        BundleError: The bundle would be rejected; the pointer is unchanged.
    """
    folder = bundle_folder(run)
    model = ServedModel.load(folder, sha256=Candidates(Settings()).check(folder))
    served = None
    if pointer.exists():
        with contextlib.suppress(BundleError):  # its bundle is gone: any may follow
            served = Bundle.load(read_pointer(pointer).folder)
    if served is not None:
        check_replacement(served, model.bundle, str(run), other_data=other_data)
    permitted = model.version if other_data else None
    write_pointer(pointer, folder, sha256=model.bundle.sha256, other_data=permitted)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serve.promote", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run, or of a bundle")
    parser.add_argument("--pointer", type=Path, default=POINTER, help=f"file to rewrite (default {POINTER})")
    parser.add_argument(
        "--other-data",
        action="store_true",
        help=f"also if the bundle has less than {100 * MIN_SHARE:g} percent of the users or items in service",
    )
    arguments = parser.parse_args()
    try:
        model = promote(arguments.run, arguments.pointer, other_data=arguments.other_data)
    except (BundleError, OSError, UnicodeError) as error:
        sys.exit(f"error: {error}")
    manifest = model.bundle.manifest
    served = f"{manifest.get('model')} on {manifest['data']}, version {model.version}"
    print(f"{arguments.pointer} now points to {arguments.run}: {served}")


if __name__ == "__main__":
    main()
