"""Columns of ids: integers where all of them are, else texts as written."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.bundle.ids import MAX_ID_LENGTH
from recsys.data.readers.conversion import (
    BadValuesError,
    convert_distinct,
    encode,
    is_integer,
    is_integer_text,
    plain_integers,
    raise_bad,
    relabel,
)
from recsys.data.readers.fields import MISSING_WORDS, Field
from recsys.data.readers.format import Values

ID_NUMBER = r"-?[0-9]+(\.0+)?"
FIRST_IDS = 100
NUMBER_OR_WORD = re.compile("|".join([ID_NUMBER, *map(re.escape, MISSING_WORDS)]))
EXACT = 1 << 53  # larger whole numbers have lost digits as a float


@dataclass(frozen=True)
class IntegerId(Field):
    """An id that must be an integer, as in every MovieLens release; leading zeros and blanks are allowed."""

    def value(self, text: str, decimal: str = ".") -> int:
        if not is_integer_text(text):
            raise ValueError(f"must be an integer, got {text!r}")
        return int(text)

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        values = plain_integers(column)
        return convert_distinct(self.value, column, decimal, np.int64) if values is None else values


@dataclass(frozen=True)
class AnyId(Field):
    """An id, kept as written without surrounding blanks; an empty one is missing.

    `parse` and `join` give integers if all ids are canonical 64-bit integers, else a dictionary array with nulls for
    missing ids. If each id of a column is written as a whole number, such as 7 or 7.0, then 7.0 is the id 7, and the
    words of `MISSING_WORDS` are missing.
    """

    def value(self, text: str, decimal: str = ".") -> str | None:
        text = text.strip()
        if len(text) > MAX_ID_LENGTH:
            raise ValueError(f"must have at most {MAX_ID_LENGTH} characters, got {len(text)}: {text[:40]!r}…")
        if "\n" in text or "\0" in text:
            raise ValueError(f"must have no line end and no NUL character, got {text[:40]!r}")
        return text or None

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        plain = plain_integers(column, canonical=True)
        if plain is not None:
            return plain
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            column = _whole_numbers(column)
        encoded = encode(column)
        texts = pc.utf8_trim_whitespace(encoded.dictionary)
        bad = pc.greater(pc.utf8_length(texts), MAX_ID_LENGTH)
        for sign in "\n\0":
            bad = pc.or_(bad, pc.match_substring(texts, sign))
        if pc.any(bad).as_py():
            raise_bad(
                encoded,
                {place: self.problem(texts[place].as_py()) or "" for place in pc.indices_nonzero(bad).to_pylist()},
            )
        if texts.equals(encoded.dictionary) and not pc.any(pc.equal(texts, "")).as_py():
            return encoded
        return relabel(encoded, pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts))

    def join(self, parts: list[Values]) -> Values:
        if all(isinstance(part, np.ndarray) for part in parts):
            return super().join(parts) if parts else np.zeros(0, np.int64)
        arrays = [_id_texts(part) for part in parts]
        parts.clear()
        whole = pa.chunked_array(arrays).unify_dictionaries().combine_chunks()
        whole = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
        ids = whole.dictionary
        if not all(NUMBER_OR_WORD.fullmatch(text) for text in ids[:FIRST_IDS].to_pylist()):
            return whole  # most often: this is quick
        words = pc.is_in(ids, value_set=pa.array(MISSING_WORDS))
        numbers = pc.match_substring_regex(ids, f"^{ID_NUMBER}$")
        if not pc.all(pc.or_(words, numbers)).as_py() or not pc.any(numbers).as_py():
            return whole
        plain = pc.replace_substring_regex(ids, r"\.0+$", "")
        return relabel(whole, pc.if_else(words, pa.scalar(None, pa.string()), plain))


def same_kind(users: Values, items: Values) -> tuple[Values, Values]:
    """Ids of one kind, `(rows,)` each: int64 if all of both are integers, else dictionary arrays of texts."""
    if isinstance(users, np.ndarray) and isinstance(items, np.ndarray):
        return users, items
    return _id_texts(users), _id_texts(items)


def integers_if_all(ids: Values) -> Values:
    """Ids as int64 if all of them are canonical integers; as they are otherwise."""
    if isinstance(ids, np.ndarray) or ids.null_count or not len(ids) or not is_integer(ids[0].as_py()):
        return ids
    is_used = np.zeros(len(ids.dictionary), dtype=bool)
    is_used[ids.indices.to_numpy()] = True
    used = np.flatnonzero(is_used)
    texts = ids.dictionary.take(pa.array(used)).to_pylist()
    if not all(map(is_integer, texts)):
        return ids
    distinct = np.zeros(len(ids.dictionary), dtype=np.int64)
    distinct[used] = [int(text) for text in texts]
    return distinct[ids.indices.to_numpy()]


def _whole_numbers(column: pa.Array) -> pa.Array:
    """Texts of ids that a typed file holds as floats or decimals, null where they are missing."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    column = column.cast(kind)
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    known = ~np.isnan(values)
    exact = np.floor(values) == values
    if pa.types.is_floating(kind):
        exact &= np.abs(values) <= EXACT
    bad = np.flatnonzero(known & ~exact)
    if len(bad):
        raise BadValuesError(bad, [f"must be a whole number up to 2**53, got {values[row]}" for row in bad])
    target = pa.int64() if pa.types.is_floating(kind) else pa.decimal128(38, 0)
    whole = pa.array(np.where(known, values, 0).astype(np.int64)) if target == pa.int64() else column.cast(target)
    return pc.if_else(pa.array(known), whole.cast(pa.string()), pa.scalar(None, pa.string()))


def _id_texts(part: Values) -> pa.DictionaryArray:
    if not isinstance(part, np.ndarray):
        return part
    distinct, codes = np.unique(part, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(distinct).cast(pa.string()))
