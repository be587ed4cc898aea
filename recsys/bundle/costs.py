"""What a bundle costs: memory and work, from above, by the shapes of its arrays before they are read.

Python objects are counted with what a service builds from them: rows by id, descriptions and the search index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from recsys.bundle.array_file import Described
from recsys.bundle.budget import Spending
from recsys.bundle.encoder_fold_in import REASONS
from recsys.bundle.errors import BundleError
from recsys.bundle.fold_in import CONTRIBUTIONS, LATENT_ITERATIONS
from recsys.bundle.parts import BundleParts
from recsys.bundle.ranker import DIRECTIONS
from recsys.bundle.schema import ENCODER_SPECS, FACTOR_SPECS, ROW_SPECS, check_arrays
from recsys.bundle.widths import unpacked_shapes

USER, ITEM = 350, 700  # bytes of Python objects for each: ids, rows by id, descriptions
ID_TEXT = 6  # bytes for each of a text: as it is, copied, and as characters of up to four
SEARCHED = 1000  # characters of a title that a search looks at
INDEXED = 100  # bytes of each in the index, where each other character may end a word
ASCII_WORK, OTHER_WORK = 350, 7_500  # multiplications in whose time a character is normalized
MAX_K = 1000  # items that a service recommends, and explains, at a time
MAX_RATINGS = 1000  # that someone new may give it, of an item each
SCORED = 16  # multiplications in whose time a coordinate of an item is read to be scored
EXPLAINED = 8  # and one of a rating is, for each explanation
LEVEL = 1000  # multiplications in whose time a normal distribution's function is found
GATHERED = 4  # multiplications in whose time a weight of an item of a history is read and added


def take_arrays(files: Mapping[str, Mapping[str, Described]], version: int, spending: Spending) -> None:
    """Account for arrays by their headers.

    Args:
        files: Arrays by file and name.
        version: Of the manifest's schema.
        spending: Of the budget.

    Raises:
        BundleError: They do not fit together, or are beyond the budget.
    """
    factors, ids, ratings = (files[name] for name in ("factors", "ids", "ratings"))
    if version == 1 and "prior_precision" in factors:
        shape, dtype = factors["prior_precision"]
        factors = {**factors, "prior_precision": Described((1, *shape), dtype)}
    try:
        whole = unpacked_shapes(factors)
        known = {name: whole[name] for name in FACTOR_SPECS if name in whole}
        known |= {name: factors[name] for name in ENCODER_SPECS if name in factors}
        known |= {name: ratings[name] for name in ROW_SPECS if name in ratings}
        sizes = check_arrays(known, FACTOR_SPECS | ENCODER_SPECS | ROW_SPECS, {})
    except ValueError as error:
        raise BundleError(f"{spending.path} is not a usable bundle: {error}") from error
    s, u, i, d, e, t, v, levels, r = (sizes.get(axis, 0) for axis in "suidetvlr")
    spending.budget.check("samples", s, f"{spending.path} has … samples")
    for axis, side in (("a", "users"), ("y", "items")):
        spending.budget.check("attributes", sizes.get(axis, 0), f"{spending.path} has … attributes of {side}")
    spending.take(sum(array.nbytes for file in files.values() for array in file.values()), "arrays")
    unpacked = [array.nbytes for name, array in whole.items() if name not in factors]
    spending.take(sum(unpacked) + max(unpacked, default=0) // 4, "tables of factors, unpacked,")  # with what is kept
    design, noise = 4 * s * i * e, 8 * s * u * e if "precision" in factors else 0
    implicit = known["item_implicit"].nbytes if "item_implicit" in known else 0
    spending.take(2 * design + 12 * s * i + 8 * (t + 3) * s * e * e + noise + implicit, "factors as answers need them")
    spending.take(i * (4 * min(DIRECTIONS, s * d) + 100), "items as lists need them")
    spending.take(8 * (v + 3) * s * e * e if v else 0, "factors as new items need them")
    checked = [math.prod(array.shape) for name, array in known.items() if name != "item_weights"]  # not copied for it
    spending.take(20 * r + 3 * max(checked, default=0), "ratings")
    for side, each in (("user", USER), ("item", ITEM)):
        count, text = _ids(side, ids)
        spending.take(each * count + ID_TEXT * text, f"{side}s")
    work = s * i * (d + LEVEL * levels) + 6 * s * e**3 + (s * (u + i) * e * e if noise else 0)
    spending.budget.check("work", work, f"{spending.path}: an answer takes as long as … multiplications")


def _ids(side: str, arrays: Mapping[str, Described]) -> tuple[int, int]:
    """Number of ids, and bytes of their text."""
    size = {name: math.prod(arrays[name].shape) for name in arrays}
    return size.get(f"{side}_ids", size.get(f"{side}_ids_offsets", 0)), size.get(f"{side}_ids_utf8", 0)


def take_parts(bundle: BundleParts, spending: Spending) -> None:
    """Account for what the shapes do not say: texts, and the users with the most ratings and attributes.

    Raises:
        BundleError: They are beyond the budget.
    """
    path, budget = spending.path, spending.budget
    for name, value in bundle.manifest.items():
        for text in value if isinstance(value, list) else [value]:
            _check_text(text, f"{path}: {name:.80} in the manifest has … characters", spending)
    genres: set[str] = set()
    characters = work = 0
    for row, item in enumerate(bundle.items):
        _check_text(item["title"], f"{path}: the title of item {row} has … characters", spending)
        searched = item["title"][:SEARCHED]
        characters += len(searched)
        work += len(searched) * (ASCII_WORK if searched.isascii() else OTHER_WORK)
        genres.update(item["genres"])
    for genre in genres:
        _check_text(genre, f"{path}: a genre has … characters", spending)
    budget.check("genres", len(genres), f"{path} has … genres")
    spending.take(INDEXED * characters, "titles")
    budget.check("work", work, f"{path}: the search index of its titles takes as long as … multiplications")
    samples, coordinates = bundle.factors.prior_mean.shape
    known = bundle.user_attributes
    ratings = max(int(np.diff(bundle.ratings.indptr).max(initial=0)), min(bundle.n_items, MAX_RATINGS))
    attributes = 0 if known is None else int(np.diff(known.indptr).max(initial=0))
    explained = 12 * max(min(CONTRIBUTIONS, samples * ratings * MAX_K), samples * ratings) + 8 * ratings * MAX_K
    spending.take(24 * (ratings + attributes) * samples * coordinates + explained, "busiest user")
    if bundle.can_fold_in_items:  # all that were not fitted, together
        raters = max(int(np.count_nonzero(bundle.ratings.item >= bundle.fitted_items)), MAX_RATINGS)
        spending.take(24 * raters * samples * coordinates, "ratings of items that were not fitted")
    if bundle.encoder is not None:
        spending.take(bundle.encoder.working_bytes, "histories that are encoded")
    work = ratings * (samples * coordinates**2 + GATHERED * _weighted(bundle))
    work += 0 if bundle.encoder is None else (1 + REASONS) * bundle.encoder.work(ratings)
    budget.check("work", work, f"{path}: folding in a user with {ratings:,} ratings takes … multiplications")


def answer_work(bundle: BundleParts, scored: int, ratings: int = 0, explained: int = 0) -> int:
    """Multiplications in whose time an answer is computed; a core does 10 billion in a second.

    Args:
        bundle: The model.
        scored: Items that are scored for a user.
        ratings: That are folded in, or in a history; 0 for a fitted user's row.
        explained: Items that are explained by these.
    """
    samples, e = bundle.factors.prior_mean.shape
    ordinal = 0 if bundle.factors.levels is None else LEVEL * len(bundle.factors.levels)
    scores = scored * samples * (SCORED * e + ordinal)
    solved = ratings * samples * (e * e + LATENT_ITERATIONS * bool(ordinal) * (2 * e + 2 * LEVEL)) + samples * e**3
    solved += ratings * GATHERED * _weighted(bundle)
    if bundle.encoder is not None:
        solved *= bundle.encoder.adds
        solved += (1 + (REASONS if explained else 0)) * bundle.encoder.work(ratings)
    return int(scores + bool(ratings) * solved + explained * samples * (e * e + EXPLAINED * ratings * e))


def _weighted(bundle: BundleParts) -> int:
    """Items with weights."""
    return 0 if bundle.factors.item_weights is None else len(bundle.factors.item_weights)


def _check_text(text: Any, what: str, spending: Spending) -> None:
    if isinstance(text, str):
        spending.budget.check("text", len(text), what)
