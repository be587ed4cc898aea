"""Values of the fields of rows: weights of events, ids that look like nothing, and the frame of the rows kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.errors import did_you_mean, listed
from recsys.data.readers.fields import MISSING_WORDS
from recsys.data.readers.format import Values

LONG_TAIL = 20  # the largest weight over the median from which weights count by their logarithm


def event_weights(events: Values, known: Mapping[str, float]) -> NDArray[np.float64]:
    """Weight of each row by its kind of event, `(rows,)`; 0 for other kinds."""
    weights = np.array([*(known.get(kind, 0.0) for kind in _kinds(events)), 0.0], dtype=np.float64)
    found: NDArray[np.float64] = weights[pc.fill_null(events.indices, len(weights) - 1).to_numpy(zero_copy_only=False)]
    return found


def event_kinds(events: Values, known: Mapping[str, float]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The kinds of events that occur and weigh more than 0, from the lightest, and each row's place among them.

    Kinds of the same weight are in the order of `known`.

    Returns:
        The kinds, and places `(rows,)`, 0 for other kinds.
    """
    names = _kinds(events)
    found = sorted((kind for kind in known if known[kind] > 0 and kind in names), key=lambda kind: known[kind])
    place_of = {kind: place for place, kind in enumerate(found)}
    places = np.array([*(place_of.get(name, 0) for name in names), 0], np.int32)
    return tuple(found), places[pc.fill_null(events.indices, len(names)).to_numpy(zero_copy_only=False)]


def events_text(weights: Mapping[str, float]) -> str:
    """Weights of events as they are typed: "{view: 1, 'a,b': 3}"."""
    kinds = [kind if re.fullmatch(r"\w+([ -]\w+)*", kind) else repr(kind) for kind in weights]
    return "{" + ", ".join(f"{kind}: {weight:g}" for kind, weight in zip(kinds, weights.values(), strict=True)) + "}"


def absent_events(events: Values, known: Mapping[str, float], column: str) -> str | None:
    """Which kinds of events have a weight but do not occur, in words; None if all occur."""
    kinds = _kinds(events)
    absent = [kind for kind in known if kind not in kinds]
    if not absent:
        return None
    hint = did_you_mean(absent[0], kinds)
    return f"the column {column} has no event {listed(absent)}, which events names, but {listed(kinds)}{hint}"


def weight_scale(weights: NDArray[np.float64]) -> tuple[str, str]:
    """`log` for weights with a long tail, else `linear`; and why."""
    high, middle = float(weights.max()), float(np.median(weights))
    why = f"the largest is {high:,.4g}, the median {middle:,.4g}"
    return ("log" if high > LONG_TAIL * middle else "linear"), why


def words_as_ids(ids: pa.DictionaryArray) -> tuple[int, list[str]]:
    """Number of rows whose id is a word for nothing, such as NA, and the words."""
    words = pc.is_in(ids.dictionary, value_set=pa.array(MISSING_WORDS))
    if not pc.any(words).as_py():
        return 0, []
    found = pc.filter(ids.dictionary, words).to_pylist()
    return int(np.count_nonzero(pc.is_in(ids.dictionary_decode(), value_set=pa.array(found)))), found


def rows_frame(ids: Mapping[str, Values], columns: Mapping[str, Any], keep: NDArray[np.bool_]) -> pd.DataFrame:
    """The rows that are kept; nothing is copied if all are."""
    whole = bool(keep.all())
    found: dict[str, Any] = {}
    for name, column in ids.items():
        if isinstance(column, np.ndarray):
            found[name] = column if whole else column[keep]
        else:
            kept = column if whole else column.filter(pa.array(keep))
            found[name] = kept.cast(pa.large_string()).to_pandas()
    found |= {name: column if whole else column[keep] for name, column in columns.items()}
    return pd.DataFrame(found, copy=False)


def _kinds(events: Values) -> list[str]:
    return ["" if kind is None else str(kind) for kind in events.dictionary.to_pylist()]
