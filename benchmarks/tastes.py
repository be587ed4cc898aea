"""Ten tastes: does somebody with five titles of two genres get more of them?

    python -m benchmarks.tastes RUN ... [--draws 20] [--seed 0] [--out FILE]

The tastes are pairs of genres that together cover under 25% of the catalogue: the ten with the most titles that have
both genres and at least 50 ratings. Five of these are drawn and rated with the top of the scale; a hit is a recommended
title, of the first ten, with at least one of the two genres. Hits are the mean over the pairs and 20 draws, which are
the same for every model; a rating model is asked in every order that it has (`rank_by`).

Prints and keeps, in `results/tastes.json`, the hits by model and order, and the first lists side by side.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.commit import git_commit
from recsys.evaluation.list_orders import orders_of
from serve.models.pointer import bundle_folder

FILE = Path(__file__).parent / "results" / "tastes.json"
PAIRS, TITLES, LENGTH = 10, 5, 10
MOST_COVERED, LEAST_RATINGS = 0.25, 50

Pair = tuple[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or of a bundle")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    stored = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    for folder in arguments.runs:
        for row in measured(Bundle.load(bundle_folder(folder)), arguments.draws, arguments.seed):
            print(f"{row['name']:40} {row['rank_by'] or 'its own order':14} {row['hits']:.2f} of {LENGTH}")
            stored = [one for one in stored if (one["name"], one["rank_by"]) != (row["name"], row["rank_by"])] + [row]
    arguments.out.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")


def measured(bundle: Bundle, draws: int = 20, seed: int = 0) -> Iterator[dict[str, Any]]:
    """A row for each order of a bundle, its default first.

    Raises:
        ValueError: The items have no genres of which ten pairs can be made.
    """
    tastes = pairs_of(bundle)
    if not tastes:
        raise ValueError(f"{bundle.manifest['data']}: no two genres have {TITLES} titles with {LEAST_RATINGS} ratings")
    manifest, default = bundle.manifest, bundle.ranker.order().rank_by
    names: Sequence[str] = sorted([] if bundle.is_ranking else orders_of(bundle), key=lambda name: name != default)
    for rank_by in names or [None]:
        hits, lists = {}, {}
        rng = np.random.default_rng(seed)
        for pair, rows in tastes.items():
            found = []
            for draw in range(draws):
                given = rng.choice(rows, TITLES, replace=False).tolist()
                best = recommended(bundle, given, rank_by)
                found.append(sum(bool({*pair} & {*bundle.items[row]["genres"]}) for row in best))
                if not draw:
                    lists["+".join(pair)] = {
                        "given": [bundle.title(row) for row in given], "best": [bundle.title(row) for row in best],
                        "hits": found[0],
                    }  # fmt: skip
            hits["+".join(pair)] = float(np.mean(found))
        yield {
            "name": f"{manifest['data']} {manifest['model']}, {manifest.get('split')}",
            "rank_by": rank_by, "is_default": rank_by in (None, default), "draws": draws, "seed": seed,
            "hits": float(np.mean([*hits.values()])), "pairs": hits, "lists": lists, "commit": git_commit(),
        }  # fmt: skip


def recommended(bundle: Bundle, given: list[int], rank_by: str | None) -> list[int]:
    """Item rows of the list of somebody who gave the best rating to some items."""
    top = bundle.given_scale[1]
    folded = bundle.fold_in({bundle.item_id(row): top for row in given})
    return [bundle.item_row[one.item_id] for one in bundle.recommend(folded, LENGTH, rank_by=rank_by)]


def pairs_of(bundle: Bundle) -> dict[Pair, np.ndarray]:
    """The tastes, each with the item rows of which titles are drawn."""
    rated = np.bincount(bundle.ratings.item, minlength=len(bundle.items))
    has = {genre: np.zeros(len(bundle.items), bool) for about in bundle.items for genre in about["genres"]}
    for row, about in enumerate(bundle.items):
        for genre in about["genres"]:
            has[genre][row] = True
    often = (rated >= LEAST_RATINGS) & (np.arange(len(rated)) < bundle.n_items)
    found = {}
    for one, other in combinations(sorted(has), 2):
        both = np.flatnonzero(has[one] & has[other] & often)
        if len(both) >= TITLES and (has[one] | has[other]).mean() < MOST_COVERED:
            found[one, other] = both
    return dict(sorted(found.items(), key=lambda taste: -len(taste[1]))[:PAIRS])


if __name__ == "__main__":
    main()
