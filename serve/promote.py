"""Point a service at a run's bundle: `python -m serve.promote outputs/2026-11-23/12-00-00-mf-ml_100k`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from recsys.bundle import Budget, Bundle, BundleError
from recsys.bundle.manifest import manifest_bytes, sha256_of
from recsys.bundle.signature import check_signature, read_private_key, sign
from recsys.progress import printable
from serve.candidate import Candidates
from serve.models.pointer import bundle_folder, read_pointer, write_pointer
from serve.models.replacement import MIN_SHARE, check_replacement
from serve.models.served_model import ServedModel
from serve.settings import Settings

POINTER = Path("outputs/serving")


def promote(run: Path, pointer: Path, *, other_data: bool = False, sign_with: Path | None = None) -> ServedModel:
    """Validate the bundle as the service would, sign it, then rewrite the pointer.

    Args:
        run: Folder of a run, or of a bundle.
        pointer: File to rewrite.
        other_data: Also where the bundle has other users and items than the one that the pointer names now.
        sign_with: File of an Ed25519 private key, to sign the bundle with; None to leave it as it is.

    Raises:
        BundleError: The bundle would be rejected, or the key cannot be used; the pointer is unchanged.
        WriteError: The bundle's folder or the pointer cannot be written.
    """
    folder, settings = bundle_folder(run), Settings()
    key = None if sign_with is None else read_private_key(sign_with)
    before = settings if key is None else settings.model_copy(update={"verify_key": None})  # it is yet to be signed
    model = ServedModel.load(folder, sha256=Candidates(before).check(folder), settings=before)
    served = None
    if pointer.exists():
        with contextlib.suppress(BundleError):  # its bundle is gone: any may follow
            served = Bundle.load(read_pointer(pointer).folder, budget=settings.budget)
    if served is not None:
        check_replacement(served, model.bundle, str(run), other_data=other_data)
    if key is not None:
        sign(folder, _manifest(folder, model), key)
        if settings.verify_key is not None:
            check_signature(folder, _manifest(folder, model), settings.verify_key)
    permitted = model.bundle_version if other_data else None
    write_pointer(pointer, folder, sha256=model.bundle.sha256, other_data=permitted)
    return model


def _manifest(folder: Path, model: ServedModel) -> bytes:
    """The bytes of the manifest that the model was loaded with."""
    content = manifest_bytes(folder, Budget())
    if sha256_of(content) != model.bundle.sha256:
        raise BundleError(f"{folder} was exchanged meanwhile")
    return content


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serve.promote", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run, or of a bundle")
    parser.add_argument("--pointer", type=Path, default=POINTER, help=f"file to rewrite (default {POINTER})")
    parser.add_argument(
        "--other-data",
        action="store_true",
        help=f"also if the bundle has less than {100 * MIN_SHARE:g} percent of the users or items in service",
    )
    parser.add_argument(
        "--sign", type=Path, metavar="KEY.pem", help="sign the bundle with this Ed25519 private key, for --verify-key"
    )
    arguments = parser.parse_args()
    try:
        model = promote(arguments.run, arguments.pointer, other_data=arguments.other_data, sign_with=arguments.sign)
    except (BundleError, OSError, UnicodeError) as error:
        sys.exit(f"error: {printable(str(error))}")
    manifest = model.bundle.manifest
    served = f"{manifest.get('model')} on {manifest['data']}, version {model.version}"
    signed = "" if arguments.sign is None else ", signed"
    print(printable(f"{arguments.pointer} now points to {arguments.run}: {served}{signed}"))


if __name__ == "__main__":
    main()
