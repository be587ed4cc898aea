"""A finished run as a version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsys.bundle import BundleError
from recsys.bundle.manifest import MANIFEST
from recsys.database.passwords import redacted_settings
from recsys.files import checked_yaml, read_json
from recsys.versions.version import Version
from recsys.versions.versions import Versions

WANDB = "wandb.json"  # of a run that was tracked: where


def add_run(versions: Versions, run: Path) -> Version:
    """Make a version of a run's bundle, with the run's metrics and configuration.

    Args:
        versions: Where to.
        run: Folder of the run, or of a bundle.

    Raises:
        BundleError: There is no bundle, or the run's files are damaged.
        DatabaseError, VersionError, WriteError: It cannot be stored.
    """
    bundle = run if (run / MANIFEST).is_file() else run / "bundle"
    if not (bundle / MANIFEST).is_file():
        raise BundleError(f"{run} is no finished run: it has no bundle")
    folder = bundle.parent if bundle.name == "bundle" else bundle
    return versions.add(bundle, read_json(folder / "metrics.json") or {}, _configuration(folder))


def _configuration(folder: Path) -> dict[str, Any]:
    """The run's settings, and where W&B has it."""
    found: dict[str, Any] = {}
    file = folder / "config.yaml"
    if file.is_file():
        try:
            import yaml  # type: ignore[import-untyped]

            settings = yaml.safe_load(checked_yaml(file))
        except ModuleNotFoundError as error:
            raise BundleError(f"{file} needs {error.name}: pip install pyyaml") from None
        except ValueError as error:
            raise BundleError(f"{file} is damaged: {error}") from error
        found = dict(redacted_settings(settings)) if isinstance(settings, dict) else {}
    tracked = read_json(folder / WANDB)
    return found if tracked is None else found | {"wandb": tracked}
