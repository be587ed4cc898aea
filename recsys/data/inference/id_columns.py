"""Tell from values which columns hold ids, and which of two holds the users."""

from __future__ import annotations

import re
from collections.abc import Sequence

from recsys.data.errors import DataError, UndecidedError
from recsys.data.inference.sample_columns import Column
from recsys.data.inference.vocabulary import ITEM, NOUNS, USER, is_attribute

ITEM_IDS = re.compile(r"B0?[0-9A-Z]{8,9}|97[89]\d{10}|\d{9}X|https?://.*|tt\d{7,8}")  # ASIN, ISBN, URL, IMDb
USER_IDS = re.compile(r"A[0-9A-Z]{11,20}|[^@\s]+@[^@\s]+\.[a-z]+")  # Amazon's reviewers, email addresses
PREFIX = re.compile(r"([A-Za-z]+)[ _:#-]?\d")
USER_PREFIXES = {"u", "usr", *NOUNS[USER]}
ITEM_PREFIXES = {"i", "p", "m", "b", "isbn", "prd", *NOUNS[ITEM]} - {"title", "parent", "what"}
MOST_COMPARED = 50  # columns
TEXT_LENGTH = 80  # characters; longer ones are no ids


def candidates(free: Sequence[Column], others: Sequence[Column], wanted: int, numbers: int) -> list[Column]:
    """The columns with ids, in file order.

    Args:
        free: Columns without a role.
        others: Columns with ids that are known.
        wanted: How many have to be found, 1 or 2.
        numbers: Columns of weights that may be among those without names, the last ones.

    Raises:
        DataError: There are fewer, or more and nothing tells which.
    """
    found = [column for column in free if column.present and not column.stores_time and not _is_prose(column)]
    found = [column for column in found if not (column.mostly_numeric and not column.whole)] or found
    steps = (
        lambda column: column.constant,
        lambda column: is_attribute(column.name),
        lambda column: column.is_index,
        lambda column: len(column.distinct) == len(column.texts) > 9,
    )
    for is_none in steps:
        if len(found) > wanted:
            found = [column for column in found if not is_none(column)]
    if wanted < len(found) < MOST_COMPARED:
        found = _undetermined(found, others, wanted)
    if len(found) == wanted + 1 and numbers and not found[-1].named and found[-1].whole and found[-1].low >= 0:
        found = found[:-1]
    if len(found) == wanted and not (wanted == 1 and len(found[0].distinct) == len(found[0].texts) > 9):
        return found
    names = ", ".join(column.name for column in (found or free)[:20]) or "none"
    if len(found) <= 1 and len(others) == 1 and len(others[0].distinct) == len(others[0].texts):
        raise DataError(
            f"no ratings: {others[0].name!r} has each id once, as a table of users or items has; if it is not one, set "
            "data.user_column and data.item_column"
        )
    what = "users and items" if wanted == 2 else "other ids, users or items"
    raise DataError(
        f"cannot tell which columns hold the {what}: {'candidates' if len(found) > wanted else 'columns'} are {names}; "
        "set data.user_column and data.item_column"
    )


def _undetermined(found: list[Column], others: Sequence[Column], wanted: int) -> list[Column]:
    """The columns without those that another determines, as an item does its category; of two alike the first stays."""
    kept = list(found)
    for column in reversed(found):
        if len(kept) > wanted and any(determines(one, column) for one in (*kept, *others) if one is not column):
            kept.remove(column)
    return kept


def determines(fine: Column, coarse: Column) -> bool:
    """Whether each value of a column always comes with the same one of another that has no more values."""
    pairs = set(zip(fine.texts, coarse.texts, strict=True))
    kinds = len(set(fine.texts))
    return len(pairs) == kinds and len(set(coarse.texts)) <= kinds < len(fine.texts)


def orient(first: Column, second: Column) -> tuple[Column, Column, str]:
    """The column of users, that of items, and why.

    Raises:
        UndecidedError: It cannot be told.
    """
    lead = _item_likeness(first) - _item_likeness(second)
    if abs(lead) > 0.3:
        user, item = (second, first) if lead > 0 else (first, second)
        return user, item, f"ids such as {user.present[0]} and {item.present[0]}"
    if second.grouped and not first.grouped:
        raise UndecidedError(
            f"cannot tell users from items; set data.user_column={first.name} data.item_column={second.name}, or "
            f"data.user_column={second.name} data.item_column={first.name}",
            [{"user_column": user.name, "item_column": item.name} for user, item in ((first, second), (second, first))],
        )
    return first, second, "the two columns with ids, users before items; set data.user_column if it is the other"


def _item_likeness(column: Column) -> float:
    """From -1, surely users, to 1, surely items."""
    return sum(map(_kind, column.distinct)) / max(1, len(column.distinct))


def _kind(text: str) -> int:
    prefix = PREFIX.match(text)
    if prefix and prefix[1].lower() in USER_PREFIXES:
        return -1
    if USER_IDS.fullmatch(text):
        return -1
    if ITEM_IDS.fullmatch(text) or (prefix and prefix[1].lower() in ITEM_PREFIXES):
        return 1
    return 1 if re.search(r"[^\W\d]\s+\w", text) else 0  # words, as in titles


def _is_prose(column: Column) -> bool:
    return sum(map(len, column.present)) > TEXT_LENGTH * len(column.present)
