"""What is known of users and items besides ratings: each attribute is a name and a value, such as `gender=F`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Id, IndexArray

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")


class RowAttributes(NamedTuple):
    """Attributes of the data set's users, or of its items: row r has those at `indptr[r]` to `indptr[r + 1]`."""

    indptr: IndexArray  # (all rows + 1,)
    attribute: IndexArray  # positions among the names of the manifest's `attributes`, or `item_attributes`

    @classmethod
    def of_rows(cls, rows: Sequence[IndexArray]) -> RowAttributes:
        """A table of the attributes of each row, of which there is at least one."""
        indptr = np.append(0, np.cumsum([len(row) for row in rows]))
        return cls(indptr.astype(np.int64), np.concatenate(rows).astype(np.int32))

    def of(self, row: int) -> IndexArray:
        """The attributes of a row; none for a row outside the data set."""
        if not 0 <= row < len(self.indptr) - 1:
            return self.attribute[:0]
        return self.attribute[self.indptr[row] : self.indptr[row + 1]]


def choices(names: Sequence[str]) -> dict[str, list[str]]:
    """The values of each attribute: `{"gender": ["F", "M"]}` of `["gender=F", "gender=M"]`."""
    found: dict[str, list[str]] = {}
    for full in names:
        name, _, value = full.partition("=")
        found.setdefault(name, []).append(value)
    return found


def attribute_rows(names: Sequence[str], given: Mapping[str, object]) -> NDArray[np.int64]:
    """Positions of someone's attributes among `names`.

    Raises:
        ValueError: A name or a value is not one of those that the model knows.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"attributes must map names to values, got {given!r:.80}")
    known = choices(names)
    for name, value in given.items():
        if not known:
            raise ValueError("attributes: this model knows no attributes of users")
        if name not in known:
            raise ValueError(f"attributes must be among {', '.join(known)}, got {name!r:.80}")
        if str(value) not in known[name]:
            raise ValueError(f"attributes: {name} must be one of {', '.join(known[name])}, got {value!r:.80}")
    return np.array([names.index(f"{name}={value}") for name, value in given.items()], np.int64)


def settable(known: Mapping[str, Sequence[str]], name: str, value: str) -> bool:
    """Whether a user may have this value of an attribute in data that a model is fitted on again.

    The name must be one that the model knows; where it knows only numbers of it, or ranges of numbers such as `5..12`,
    so must the value. It may be new: which values a model knows is for its next fit to say.

    Args:
        known: Values by name, as in `choices`.
        name: Of the attribute.
        value: Of the attribute.
    """
    values = known.get(name, ())
    is_numeric = all(_is_number(part) for one in values for part in one.split(".."))
    return name in known and (not is_numeric or _is_number(value) or value in values)


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def undescribed(item: Id) -> dict[str, Any]:
    """Title, year and genres of an item of which only the id is known."""
    return {"title": str(item), "year": None, "genres": []}


def item_attribute_rows(
    names: Sequence[str], about: Mapping[str, Any], given: Mapping[str, object] | None = None
) -> NDArray[np.int64]:
    """Positions of an item's attributes among `names`, ascending; what the model does not know is ignored.

    Args:
        names: The manifest's `item_attributes`.
        about: The item's `year`, which may also count by its decade, and `genres`.
        given: Other attributes: a value, or a list of values, by name.
    """
    position = {name: row for row, name in enumerate(names)}
    texts = [f"genre={genre}" for genre in about.get("genres") or ()]
    if (year := about.get("year")) is not None:
        texts += [f"year={year}", f"year={year // 10 * 10}s"]
    for name, value in (given or {}).items():
        texts += [f"{name}={one}" for one in (value if isinstance(value, list | tuple) else [value])]
    return np.array(sorted({position[text] for text in texts if text in position}), np.int64)
