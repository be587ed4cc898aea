"""What the manifest of a bundle must say of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.bundle.ids import KIND
from recsys.bundle.ranking import KEY, is_valid
from recsys.bundle.schema import LARGEST

__all__ = ["check_manifest"]

REQUIRED = ("task", "rating_scale", "id_kind", "data")


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Check the entries that predictions depend on.

    Raises:
        ValueError: One is missing or not valid; the message names it and its value.
    """
    scale, noise, names = manifest.get("rating_scale"), manifest.get("noise"), manifest.get("attributes", [])
    target, of_items = manifest.get("fold_in_target"), manifest.get("item_attributes", [])
    valid = {
        "task": manifest.get("task") in ("rating", "ranking"),
        "id_kind": manifest.get("id_kind") in ("int", "str"),
        "data": isinstance(manifest.get("data"), str),
        "model": isinstance(manifest.get("model", ""), str),
        "rating_scale": isinstance(scale, list | tuple) and len(scale) == 2 and all(map(_is_number, scale))
                        and scale[0] < scale[1],
        "link": manifest.get("link", "identity") in ("identity", "ordinal"),
        "fold_in": manifest.get("fold_in", "ridge") in ("ridge", "items", "encoder", "none"),
        "noise": noise is None or (_is_number(noise) and noise >= 0),
        "fold_in_target": target is None or (_is_number(target) and target > 0),
        "attributes": _are_attributes(names),
        "item_attributes": _are_attributes(of_items),
        "events": _are_kinds(manifest),
        KEY: is_valid(manifest.get(KEY)),
    }  # fmt: skip
    if missing := [key for key in REQUIRED if key not in manifest]:
        raise ValueError(f"the manifest lacks {', '.join(missing)}")
    for key, sound in valid.items():
        if not sound:
            raise ValueError(f"the manifest's {key} is not valid: {manifest.get(key)!r:.80}")


def _are_attributes(names: Any) -> bool:
    texts = isinstance(names, list) and all(isinstance(name, str) and "=" in name for name in names)
    return texts and len(set(names)) == len(names)


def _are_kinds(manifest: Mapping[str, Any]) -> bool:
    """Whether kinds of events are distinct texts, and of a model that can read them."""
    kinds = manifest.get("events", [])
    texts = isinstance(kinds, list) and all(isinstance(kind, str) and KIND.fullmatch(kind) for kind in kinds)
    reads = manifest.get("fold_in") == "encoder" and manifest.get("task") == "ranking"
    can_read = reads and list(manifest.get("rating_scale", ())) == [0, 1]  # where ratings that stand for kinds lie
    return texts and len(set(kinds)) == len(kinds) and (can_read or not kinds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
