"""From what a bundle's files hold to the parts of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from recsys.bundle.attributes import RowAttributes
from recsys.bundle.encoder import SETTINGS, Encoder
from recsys.bundle.factors import Factors
from recsys.bundle.ids import unpacked_ids
from recsys.bundle.ratings import UserRatings
from recsys.bundle.schema import ENCODER
from recsys.bundle.storage import Contents
from recsys.bundle.widths import unpacked_tables


def parts_of(contents: Contents) -> tuple[Any, ...]:
    """The parts of `BundleParts`, in its order.

    Raises:
        KeyError: An array is missing.
        ValueError: The ids are not what `packed_ids` makes, or the tables not what `packed_tables` makes.
    """
    found, rows, ids = (contents.arrays[name] for name in ("factors", "ratings", "ids"))
    if contents.manifest["schema_version"] == 1 and "prior_precision" in found:
        prior = {"prior_precision": found["prior_precision"][None], "prior_exponent": np.ones(1, np.float32)}
        found = found | prior
    found = unpacked_tables(found)
    optional = UserRatings._field_defaults
    return (
        contents.manifest,
        Factors(**_arguments(Factors, found)),
        unpacked_ids("user", ids),
        unpacked_ids("item", ids),
        UserRatings(**{name: rows[name] for name in UserRatings._fields if name in rows or name not in optional}),
        contents.items,
        contents.sha256,
        RowAttributes(rows["attribute_indptr"], rows["attribute"]) if "attribute" in rows else None,
        RowAttributes(rows["item_attribute_indptr"], rows["item_attribute"]) if "item_attribute" in rows else None,
        _encoder(contents.manifest, found),
    )


def _encoder(manifest: Mapping[str, Any], found: Mapping[str, Any]) -> Encoder | None:
    """The encoder, by the settings in the manifest; None without one."""
    arrays = {name.removeprefix(ENCODER): found[name] for name in found if name.startswith(ENCODER)}
    settings = manifest.get("encoder")
    if settings is None and not arrays:
        return None
    if not isinstance(settings, dict):
        raise ValueError(f"the manifest's encoder is not valid: {settings!r:.80}")
    return Encoder.of_settings(settings, _arguments(Encoder, arrays | dict.fromkeys(SETTINGS)))


def _arguments(kind: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass among the arrays found; a KeyError names one that is required and missing."""
    return {part.name: found[part.name] for part in fields(kind) if part.default is MISSING or part.name in found}
