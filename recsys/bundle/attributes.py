"""What is known of people besides their ratings: each attribute is a name and a value, such as `gender=F`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import IndexArray


class UserAttributes(NamedTuple):
    """Attributes of the data set's users: user row u has those at `indptr[u]` to `indptr[u + 1]`."""

    indptr: IndexArray  # (all users + 1,)
    attribute: IndexArray  # positions among the names of the manifest's `attributes`

    def of(self, user: int) -> IndexArray:
        """The attributes of a user's row; none for a row outside the data set."""
        if not 0 <= user < len(self.indptr) - 1:
            return self.attribute[:0]
        return self.attribute[self.indptr[user] : self.indptr[user + 1]]


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
