"""Infer from all values of a file what they mean: the scale, values that are no ratings, counts, kinds of events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.inference.finding import Finding
from recsys.data.inference.vocabulary import event_weight
from recsys.data.readers.fields import FLAGS
from recsys.data.readers.format import Values

CODES = re.compile(r"-?9+")  # of values that are missing
FREQUENT, SHARE = 3, 0.05  # times the next value, share of the rows: zeros that are no ratings
COUNT_MAX, COUNT_RATIO, COUNT_KINDS = 100, 20, 10  # counts exceed the first, and the median by the second
RETURNED = 0.1  # share of counts that may be negative


def infer_values(
    values: Mapping[str, Values], options: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Finding]]:
    """Infer the options of `TabularRatings` that depend on all rows.

    Args:
        values: `rating` (numbers, NaN where a rating is missing), `event` (a dictionary array); either may be absent.
        options: All options of columns, given or inferred: `rating_column`, `event_column`, `weight_column`.
        given: Options that are known.

    Returns:
        `missing`, `rating_min`, `rating_max` and `events`, as far as they apply and are not given; `rating_column` and
        `weight_column` if the ratings are counts, or no ratings at all. And why.
    """
    result: dict[str, Any] = {}
    findings: list[Finding] = []
    if "rating" in values:
        result, findings = _infer_ratings(np.asarray(values["rating"]), options, given)
    if "event" in values and "events" not in given:
        kinds = _distinct(values["event"])
        result["events"] = {kind: weight for kind in kinds if (weight := event_weight(kind))}
        opposite = [kind for kind in kinds if _says_no(kind)]
        if opposite and not event_weight(str(options.get("event_column"))):  # such as "returned" or "skipped"
            result["events"] = dict.fromkeys(opposite, 1)
        if not result["events"]:
            result["events"] = dict.fromkeys(kinds, 1)
        left = [kind for kind in kinds if kind not in result["events"]]
        findings.append(
            Finding(
                "events", result["events"], "the words of the column" + f"; left out: {', '.join(left)}" * bool(left)
            )
        )
    return result, findings


def _says_no(kind: str) -> bool:
    return FLAGS.get(kind.lower(), 1.0) == 0 or (_is_float(kind) and float(kind) <= 0)


def _distinct(column: Values) -> list[str]:
    """Kinds of a dictionary array that occur, in order of the dictionary."""
    found = pc.unique(column)
    array = found.dictionary_decode() if pa.types.is_dictionary(found.type) else found
    return [str(kind) for kind in array.to_pylist() if kind is not None and str(kind).strip()]


def value_counts(numbers: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distinct numbers, ascending and without NaN, and how often each occurs."""
    counted = pc.value_counts(pa.array(numbers))
    kinds = counted.field("values").to_numpy(zero_copy_only=False).astype(np.float64)
    counts = counted.field("counts").to_numpy(zero_copy_only=False)
    order = np.argsort(kinds)
    order = order[~np.isnan(kinds[order])]
    if numbers.dtype == np.float32:
        kinds = np.array([float(str(kind)) for kind in kinds.astype(np.float32)]) if len(kinds) < 1000 else kinds
    return kinds[order], counts[order].astype(np.int64)


def _infer_ratings(
    ratings: NDArray[Any], options: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Finding]]:
    column = options.get("rating_column")
    kinds, counts = value_counts(ratings)
    result: dict[str, Any] = {}
    findings: list[Finding] = []
    if "missing" in given:
        missing = [float(value) for value in given["missing"] or () if _is_float(value)]
        keep = ~np.isin(kinds, missing)
    else:
        found = not_rated(kinds, counts)
        if found:
            result["missing"] = [_number(value) for value, _ in found]
            findings.append(
                Finding("missing", result["missing"], "; ".join(f"{value:g}: {why}" for value, why in found))
            )
        keep = ~np.isin(kinds, [value for value, _ in found])
    kinds, counts = kinds[keep], counts[keep]
    if "rating_column" not in given and "weight_column" not in given:
        if not len(kinds):
            return {"rating_column": None}, [Finding("rating_column", None, f"{column!r} has no ratings")]
        if len(kinds) == 1 and counts[0] > 2:
            only = f"every {column!r} is {kinds[0]:g}"
            return {"rating_column": None}, [Finding("rating_column", None, only)]
        if is_counts(kinds, counts):
            why = f"{column!r} goes up to {kinds[-1]:,g}, {_median(kinds, counts):g} in the middle: counts, no stars"
            findings = [Finding("rating_column", None, why), Finding("weight_column", column, why)]
            return {"rating_column": None, "weight_column": column}, findings
    if len(kinds) > 1:  # a scale has two ends
        for option, value in (("rating_min", float(kinds[0])), ("rating_max", float(kinds[-1]))):
            if option not in given:
                result[option] = value
                findings.append(Finding(option, _number(value), "the range of the data"))
    return result, findings


def not_rated(kinds: NDArray[np.float64], counts: NDArray[np.int64]) -> list[tuple[float, str]]:
    """Values at the ends of a scale that stand for no rating, and why.

    Args:
        kinds: Distinct values, ascending.
        counts: How often each occurs.
    """
    found: list[tuple[float, str]] = []
    while len(kinds) > 2:
        low_gap, high_gap = kinds[1] - kinds[0], kinds[-1] - kinds[-2]
        if _is_code(kinds[-1]) and high_gap > kinds[-2] - kinds[0]:
            found.append((float(kinds[-1]), f"far above the others, which end at {kinds[-2]:g}"))
            kinds, counts = kinds[:-1], counts[:-1]
        elif _is_code(kinds[0]) and low_gap > kinds[-1] - kinds[1]:
            found.append((float(kinds[0]), f"far below the others, which begin at {kinds[1]:g}"))
            kinds, counts = kinds[1:], counts[1:]
        elif kinds[0] == -1 and kinds[1] >= 0 and kinds[-1] >= 5:
            found.append((-1.0, f"below a scale from {kinds[1]:g} to {kinds[-1]:g}"))
            kinds, counts = kinds[1:], counts[1:]
        elif (
            kinds[0] == 0
            and kinds[1] <= 2
            and kinds[-1] >= 5
            and counts[0] > FREQUENT * counts[1]
            and counts[0] >= SHARE * counts.sum()
            and not is_counts(kinds, counts)
        ):
            share = counts[0] / counts.sum()
            found.append((0.0, f"{share:.0%} of the rows, below a scale from {kinds[1]:g} to {kinds[-1]:g}"))
            kinds, counts = kinds[1:], counts[1:]
        else:
            break
    return found


def is_counts(kinds: NDArray[np.float64], counts: NDArray[np.int64]) -> bool:
    """Whether values are counts, such as plays, and not ratings on a scale."""
    return bool(
        len(kinds) >= COUNT_KINDS
        and counts[kinds < 0].sum() <= RETURNED * counts.sum()
        and kinds[-1] > COUNT_MAX
        and kinds[-1] > COUNT_RATIO * _median(kinds, counts)
    )


def _median(kinds: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    return float(kinds[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])


def _is_code(value: float) -> bool:
    return bool(CODES.fullmatch(f"{value:.10g}"))


def _is_float(value: object) -> bool:
    try:
        return float(str(value)) == float(str(value))
    except ValueError:
        return False


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() else value
