"""Bundles, pointers and the parse cache with bits flipped, cut short or exchanged: refused, or of the same answer."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.chaos.campaign import Figures, Row
from recsys.bundle import Bundle, BundleError
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.manifest import DIGEST, MANIFEST
from recsys.bundle.signature import SIGNATURE, read_private_key, sign
from recsys.bundle.storage import FILES
from recsys.data import cache
from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.rating_data import RatingData
from serve.models.pointer import read_pointer, write_pointer
from tests.bundle.test_signature import write_keys
from tests.bundles import ITEMS, NAMES, RATED, USERS, make_bundle, random_factors

SUMMARY = "flipped bits, cut and exchanged files of bundles, pointers and the parse cache"
CUT = 16  # bytes between the lengths that files are cut to
SHORT = 61  # every so manieth case of a short run
LEVELS = (1.0, 2.5, 4.0, 5.0)

Load = Callable[[], Any]  # what is to be compared
Case = tuple[Path, bytes]  # a file, and what it holds instead


def plain(seed: int) -> Bundle:
    return make_bundle(random_factors(n_users=2, n_items=3, seed=seed), USERS, ITEMS, RATED, metrics={"test/rmse": 0.9})


def rich(seed: int) -> Bundle:
    """With every array that there is, and text for ids."""
    factors = random_factors(
        n_users=2, n_items=3, samples=2, implicit=True, noisy=True, levels=LEVELS, attributes=3, drift=True, seed=seed
    )
    names = {"attributes": ["gender=F", "gender=M", "age=25"], "link": "ordinal", "counts": {"items": 2}}
    known = RowAttributes(np.array([0, 2, 2, 3]), np.array([0, 2, 1], np.int32))
    return replace(make_bundle(factors, *NAMES, RATED, [5, 6, 7, 8], **names), user_attributes=known)


def answers(bundle: Bundle) -> list[Any]:
    """All that a bundle says."""
    users, items = bundle.user_ids.tolist(), bundle.item_ids.tolist()
    pairs = [(user, item) for user in users for item in items]
    found = bundle.predict(*zip(*pairs, strict=True), return_std=bundle.has_uncertainty)
    predicted = np.asarray(found).tolist()
    listed = [bundle.recommend(user, 3) for user in users]
    folded = bundle.fold_in({items[0]: 4.0}).vector.factors.tolist()
    rated = [column.tolist() for column in bundle.ratings if column is not None]
    return [pairs, predicted, listed, folded, rated, bundle.items, bundle.manifest]


def flipped_bits(file: Path) -> Iterator[Case]:
    whole = file.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            yield file, whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


def flipped_bytes(file: Path, random: np.random.Generator) -> Iterator[Case]:
    """Each byte is another one, drawn at random."""
    whole = file.read_bytes()
    for place, mask in enumerate(random.integers(1, 256, len(whole)).tolist()):
        yield file, whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :]


def cut(file: Path) -> Iterator[Case]:
    whole = file.read_bytes()
    for length in range(0, len(whole), CUT):
        yield file, whole[:length]


def exchanged(folder: Path, other: Path) -> Iterator[Case]:
    """Each file is that of another bundle with the same shapes."""
    for file in sorted(folder.iterdir()):
        yield file, (other / file.name).read_bytes()


def count(cases: Iterator[Case], load: Load, every: int, refusal: Any = BundleError) -> Counter[str]:
    """What became of the cases."""
    right, found = load(), Counter[str]()
    for number, (file, content) in enumerate(cases):
        if number % every:
            continue
        whole = file.read_bytes()
        file.write_bytes(content)
        try:
            same = load() == right
            found["same answer" if same else "another answer"] += content != whole
        except refusal:
            found["refused"] += 1
        except Exception:
            found["other errors"] += 1
        finally:
            file.write_bytes(whole)
        found["cases"] += 1
    assert load() == right
    return found


def run(*, short: bool) -> Figures:
    every, random = SHORT if short else 1, np.random.default_rng(0)
    figures: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="flips-") as scratch:
        home = Path(scratch)
        private, public = write_keys(home)
        for name, make in (("plain", plain), ("rich", rich)):
            folder, other = home / name, home / f"{name} of another seed"
            for seed, path in enumerate((folder, other)):
                make(seed).save(path)
                sign(path, (path / MANIFEST).read_bytes(), read_private_key(private))
            pointer = home / f"{name}.pointer"
            write_pointer(pointer, folder, sha256=Bundle.load(folder).sha256)
            load: Load = partial(_loaded, folder)
            tell: dict[str, tuple[Iterator[Case], Load]] = {
                "bits of manifest.json": (flipped_bits(folder / MANIFEST), load),
                "bits of manifest.sha256": (flipped_bits(folder / DIGEST), load),
                "bits of manifest.sig, where it is asked for": (
                    flipped_bits(folder / SIGNATURE), partial(_loaded, folder, verify_key=public)
                ),
                "bits of the pointer": (flipped_bits(pointer), partial(_pointed, pointer)),
                "lengths of the pointer": (
                    ((pointer, pointer.read_bytes()[:n]) for n in range(pointer.stat().st_size)),
                    partial(_pointed, pointer),
                ),
                "files of another bundle": (exchanged(folder, other), load),
            }  # fmt: skip
            tell |= {f"bytes of {file}": (flipped_bytes(folder / file, random), load) for file in FILES}
            tell |= {f"lengths of {file}": (cut(folder / file), load) for file in (MANIFEST, DIGEST, *FILES)}
            for what, (cases, loaded) in tell.items():
                few = 1 if what == "files of another bundle" else every
                figures[what] = figures.get(what, Counter()) + count(cases, loaded, few)
            shutil.rmtree(other)
        figures |= {"bytes of the parse cache": _cached(home, every, random)}
    return {what: dict(found) for what, found in figures.items()}


def _loaded(folder: Path, **options: Any) -> list[Any]:
    return answers(Bundle.load(folder, **options))


def _pointed(pointer: Path) -> list[Any]:
    folder, sha256, _ = read_pointer(pointer)
    return answers(Bundle.load(folder, sha256=sha256))


class _Discarded(Exception):  # noqa: N818
    """The cache was taken for missing, and is made again."""


def _cached(home: Path, every: int, random: np.random.Generator) -> Counter[str]:
    """Flips in the files of a data set that was parsed before."""
    frame = pd.DataFrame({USER_ID: [1, 1, 2, 3], ITEM_ID: [7, 8, 7, 9], RATING: np.float32([1, 5, 3, 4])})
    key, found = "0" * 32, Counter[str]()

    def load() -> Any:
        data = cache.load(key)
        if data is None:
            raise _Discarded
        return [data.ratings.to_dict("list"), data.scale, data.notes]

    log = logging.getLogger(cache.__name__)
    level, kept = log.level, cache.cache_folder
    log.setLevel(logging.ERROR)  # each would be a line
    try:
        cache.cache_folder = lambda: home / "cache"
        cache.store(key, RatingData("x", frame, 1, 5, notes=("a note",)))
        for file in sorted((home / "cache" / "parsed").iterdir()):
            for cases in (flipped_bytes(file, random), cut(file)):
                found += count(cases, load, every, _Discarded)
    finally:
        cache.cache_folder = kept
        log.setLevel(level)
    return found


def rows(figures: Figures) -> list[Row]:
    total = {
        kind: sum((Counter(found) for what, found in figures.items() if kind in what), Counter[str]())
        for kind in ("bits of", "bytes of", "lengths of", "files of")
    }
    names = {
        "bits of": "flipped bits: each of manifest.json, manifest.sha256, manifest.sig and the pointer of two bundles",
        "bytes of": "flipped bytes: each of the other files of two bundles, and of a parse cache",
        "lengths of": f"files cut short: at each {CUT}th length, a pointer at each",
        "files of": "files exchanged for those of a bundle with the same shapes",
    }
    return [
        Row(f"{names[kind]} ({found['cases']:,}): accepted with another answer, with the same, other errors",
            f"{found['another answer']}, {found['same answer']}, {found['other errors']}",
            not found["another answer"] and not found["other errors"])
        for kind, found in total.items()
    ]  # fmt: skip
