"""Point a service at a run's bundle: `python -m serve.promote outputs/2026-11-23/12-00-00-mf-ml_100k`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from recsys.bundle import BundleError
from recsys.bundle.storage import read_manifest
from serve.pointer import bundle_folder, read_pointer, write_pointer
from serve.served_model import ServedModel

POINTER = Path("outputs/serving")


def promote(run: Path, pointer: Path) -> ServedModel:
    """Validate the bundle as the service would, then rewrite the pointer.

    Raises:
        BundleError: The bundle would be rejected; the pointer is unchanged.
    """
    model = ServedModel.load(bundle_folder(run))
    if pointer.exists():
        kind = model.bundle.manifest["id_kind"]
        with contextlib.suppress(BundleError):  # its bundle is gone: any kind is allowed
            kind = read_manifest(read_pointer(pointer))[0].get("id_kind")
        if kind != model.bundle.manifest["id_kind"]:
            raise BundleError(
                f"{run} has ids of another type than the bundle of {pointer}; serve it with a separate service"
            )
    write_pointer(pointer, bundle_folder(run))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serve.promote", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run, or of a bundle")
    parser.add_argument("--pointer", type=Path, default=POINTER, help=f"file to rewrite (default {POINTER})")
    arguments = parser.parse_args()
    try:
        model = promote(arguments.run, arguments.pointer)
    except (BundleError, OSError, UnicodeError) as error:
        sys.exit(f"error: {error}")
    manifest = model.bundle.manifest
    served = f"{manifest.get('model')} on {manifest['data']}, version {model.version}"
    print(f"{arguments.pointer} now points to {arguments.run}: {served}")


if __name__ == "__main__":
    main()
