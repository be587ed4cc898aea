"""Search of titles: how long an answer takes, what the index takes, and whether typos are forgiven.

    python benchmarks/title_search.py [RUN ...] [--made-up 60000]

For each run's folder (or a bundle's), and for so many made-up titles with a long tail of words: milliseconds of a query
in one thread, by kind, and bytes of the index for each character of a title, beside what the budget counts. Queries are
drawn (seeded) from the titles: one word, two words, the beginning of a word, and two words of which the longer one has
one typo (a letter left out, put in or exchanged, or two that changed places). `found`: the title that was meant is
among the first twelve.

Figures are kept in `results/title_search-<device>.json`, a row replaced when it is measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.costs import INDEXED
from serve.models.pointer import bundle_folder
from serve.models.search import TitleSearch
from serve.models.words import words

RESULTS = Path(__file__).parent / "results"
DEVICE = f"cpu-{os.cpu_count()}core"
QUERIES, SHOWN = 1000, 12
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder of a run, or of a bundle")
    parser.add_argument("--made-up", type=int, metavar="TITLES")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for folder in arguments.runs:
        bundle = Bundle.load(bundle_folder(folder))
        titles = [bundle.title(row) for row in range(len(bundle.items))]
        counts = np.bincount(bundle.ratings.item, minlength=len(titles))
        keep(measured(bundle.manifest["data"], titles, np.argsort(-counts, kind="stable"), arguments.seed))
    if arguments.made_up:
        titles = made_up(arguments.made_up, arguments.seed)
        keep(measured("made up", titles, np.arange(len(titles)), arguments.seed))


def made_up(count: int, seed: int) -> list[str]:
    """Titles of one to six words with a year; few words are in many titles, and most in one or two."""
    rng = np.random.default_rng(seed)
    syllables = [first + vowel for first in "bcdfghjklmnprstvw" for vowel in "aeiou"]
    names = ["".join(rng.choice(syllables, rng.integers(1, 6))) for _ in range(count)]
    drawn = (len(names) * rng.random((count, 6)) ** 3).astype(int)
    return [
        f"{' '.join(names[word] for word in row[: rng.integers(1, 7)]).title()} ({rng.integers(1920, 2025)})"
        for row in drawn.tolist()
    ]


def measured(data: str, titles: Sequence[str], popular: np.ndarray, seed: int) -> dict[str, Any]:
    tracemalloc.start()
    search = TitleSearch(titles, popular.astype(np.int32))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    characters = sum(map(len, titles))
    rng = random.Random(seed)
    rows = [row for row in range(len(titles)) if max(map(len, words(titles[row])), default=0) >= 4]
    kinds: dict[str, Callable[[list[str]], str]] = {
        "one word": lambda typed: max(typed, key=len),
        "two words": lambda typed: " ".join(sorted(typed, key=len)[-2:]),
        "beginning": lambda typed: max(typed, key=len)[:3],
        "a typo": lambda typed: " ".join([*sorted(typed, key=len)[-2:-1], misspelt(max(typed, key=len), rng)]),
    }
    result: dict[str, Any] = {
        "data": data,
        "titles": len(titles),
        "words": len(search.rows_by_word.texts),
        "queries": QUERIES,
    }
    for kind, typed in kinds.items():
        seconds, found = [], 0
        for row in rng.choices(rows, k=QUERIES):
            query = typed(words(titles[row]))
            start = time.perf_counter()
            answer = search.find(query)
            seconds.append(time.perf_counter() - start)
            found += row in answer[:SHOWN]
        median, late = np.percentile(seconds, (50, 99)) * 1000
        result[kind] = {"median_ms": round(median, 3), "p99_ms": round(late, 3), "found": round(found / QUERIES, 3)}
    each = {"held": round(held / characters, 1), "peak": round(peak / characters, 1), "counted": INDEXED}
    return result | {"bytes_for_a_character": each}


def misspelt(word: str, rng: random.Random) -> str:
    """A word with one typo behind its first letter."""
    place, letter = rng.randrange(1, len(word)), rng.choice(LETTERS)
    swapped = word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :]
    left_out, put_in = word[:place] + word[place + 1 :], word[:place] + letter + word[place:]
    return rng.choice([left_out, put_in, word[:place] + letter + word[place + 1 :], swapped])


def keep(row: dict[str, Any]) -> None:
    print(json.dumps(row, indent=2))
    path = RESULTS / f"title_search-{DEVICE}.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    rows = [one for one in rows if (one["data"], one["titles"]) != (row["data"], row["titles"])] + [row]
    path.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
