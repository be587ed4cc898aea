"""Ten tastes on made data: who gets more of what they gave five stars."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tables.results import Results
from benchmarks.tables.tastes import tastes
from benchmarks.tastes import measured, pairs_of
from recsys.bundle import Bundle
from tests.bundles import make_bundle, random_factors


def catalogue(weight: float) -> Bundle:
    """Two hundred titles, of which six have both genres of a pair; all have fifty ratings."""
    rated = [(user, item, 4.0, 0) for user in range(50) for item in range(200)]
    lists = {"rank_by": "liking", "weights": {"genre": weight}}
    bundle = make_bundle(random_factors(n_users=50, n_items=200), list(range(50)), list(range(200)), rated)
    items = [{"title": f"T{row}", "year": 2000, "genres": ["Drama"]} for row in range(200)]
    for row in range(12):
        items[row]["genres"] = [["Horror"], ["Horror", "War"]][row % 2]
    return replace(bundle, items=items, manifest=bundle.manifest | {"ranking": lists, "model": "mf"})


def test_pairs_are_small_and_their_titles_have_both_genres() -> None:
    found = pairs_of(catalogue(1.0))
    assert {pair: rows.tolist() for pair, rows in found.items()} == {("Horror", "War"): [1, 3, 5, 7, 9, 11]}
    with pytest.raises(ValueError, match="no two genres have 5 titles"):
        next(measured(replace(catalogue(1.0), items=[{"title": "", "year": None, "genres": []}] * 200)))


def test_hits_are_titles_with_either_genre(tmp_path: Path) -> None:
    rows = [*measured(catalogue(20.0), draws=3)]
    assert [row["rank_by"] for row in rows] == ["liking", "stars", "gain"]
    assert [row["is_default"] for row in rows] == [True, False, False]
    assert rows[0]["hits"] == pytest.approx(np.mean([7.0] * 3))  # all that are left
    assert rows[1]["hits"] < 4
    assert len(rows[0]["lists"]["Horror+War"]["best"]) == 10
    (tmp_path / "tastes.json").write_text(json.dumps(rows))
    text = tastes(Results(tmp_path))
    assert "| small mf, None | `liking` (default) | 7.00 |" in text
    assert "Horror and War: T" in text
