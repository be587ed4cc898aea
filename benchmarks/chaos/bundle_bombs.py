"""Bundles that are small on disk and large in memory or time: each is refused, or is within its budget."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chaos.campaign import Figures, Row
from benchmarks.chaos.loading import load_each
from recsys.bundle import Bundle, UserRatings
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.manifest import DIGEST, MANIFEST
from tests.bundles import make_bundle, random_factors, reseal, rewritten, seal

SUMMARY = "bundles that are bombs of memory or time"
MEMORY, SECONDS = 1 << 30, 5.0  # the budget
SPARSE = 20 << 30  # bytes that a file says it has
FACTORS, IDS, RATINGS, ITEMS = "factors.safetensors", "ids.safetensors", "ratings.safetensors", "items.json"
MANY = 5_000_000

Bomb = Callable[[Path], None]


def sparse(name: str) -> Bomb:
    def make(folder: Path) -> None:
        os.truncate(folder / name, SPARSE)
        if name not in (MANIFEST, DIGEST):
            files = json.loads((folder / MANIFEST).read_text())["files"]
            rewritten(folder, files=files | {name: files[name] | {"size": SPARSE}})

    return make


def in_place(name: str, make: Callable[[Path], object]) -> Bomb:
    """Something else in the place of a file."""

    def exchange(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return exchange


def manifest(content: str) -> Bomb:
    """More in the manifest, `MORE` for what is there."""

    def make(folder: Path) -> None:
        whole = (folder / MANIFEST).read_text().strip()
        (folder / MANIFEST).write_text(content.replace("MORE", whole.removeprefix("{").removesuffix("}")))
        seal(folder)

    return make


def items(content: Callable[[], str]) -> Bomb:
    def make(folder: Path) -> None:
        (folder / ITEMS).write_text(content(), encoding="utf-8")
        reseal(folder, ITEMS)

    return make


def header(name: str, text: bytes, length: int | None = None, data: int = 0) -> Bomb:
    """A file of arrays with this header, and as many bytes of data."""

    def make(folder: Path) -> None:
        begin = (len(text) if length is None else length).to_bytes(8, "little")
        (folder / name).write_bytes(begin + text + bytes(data))
        reseal(folder, name)

    return make


def described(**arrays: tuple[str, list[int], list[int]]) -> bytes:
    return json.dumps(
        {name: {"dtype": kind, "shape": shape, "data_offsets": ends} for name, (kind, shape, ends) in arrays.items()}
    ).encode()


def bundle(make: Callable[[], Bundle]) -> Bomb:
    """A bundle in which everything fits together."""

    def save(folder: Path) -> None:
        make().save(folder)

    return save


def sized(users: int = 2, n_all: int = 4, *, text: bool = False, **shape: Any) -> Bundle:
    """A bundle of so many users and items, most of which have no factors."""
    fitted = {"n_users": min(users, 2), "n_items": min(n_all, 4)} | shape
    links = {"link": "ordinal", "rating_scale": [0.0, 1e9]} if shape.get("levels") else {}
    names = {"attributes": [f"a={n}" for n in range(shape["attributes"])]} if shape.get("attributes") else {}
    user_ids: Any = [f"{n:x}" for n in range(users)] if text else range(users)
    item_ids: Any = [f"{n:x}" for n in range(n_all)] if text else range(n_all)
    whole = make_bundle(random_factors(**fitted), [*user_ids], [*item_ids], **links, **names)
    return replace(whole, items=[{"title": f"Film {row}", "year": None, "genres": []} for row in range(n_all)])


def rated_by_one(ratings: int, **shape: Any) -> Bundle:
    """One user has so many ratings."""
    small = sized(**shape)
    rows = np.arange(ratings, dtype=np.int32) % 4
    rated = UserRatings(
        np.array([0, ratings, ratings]), rows, np.ones(ratings, np.float32), np.zeros(ratings, np.uint8)
    )
    return replace(small, ratings=rated)


def with_attributes(each: int, **shape: Any) -> Bundle:
    """One user has an attribute so many times."""
    known = RowAttributes(np.array([0, each, each]), np.zeros(each, np.int32))
    return replace(sized(attributes=2, **shape), user_attributes=known)


def titled(titles: list[str], genres: Callable[[int], list[str]] = lambda _: []) -> Bundle:
    about = [{"title": title, "year": None, "genres": genres(row)} for row, title in enumerate(titles)]
    return replace(sized(n_all=len(titles)), items=about)


def spread_words(characters: int) -> list[str]:
    """Titles of words that are all different."""
    words = [f"{n:x}" for n in range(characters // 6)]
    return [" ".join(words[start : start + 1000]) for start in range(0, len(words), 1000)]


def _a(n: int) -> list[str]:
    return ["a"] * n


BOMBS: dict[str, Bomb] = {
    "manifest.json of 20 GB that are a hole": sparse(MANIFEST),
    "manifest.sha256 of 20 GB that are a hole": sparse(DIGEST),
    "items.json of 20 GB that are a hole": sparse(ITEMS),
    "arrays of 20 GB that are a hole": sparse(FACTORS),
    "manifest.json is a pipe": in_place(MANIFEST, os.mkfifo),
    "manifest.sha256 is a pipe": in_place(DIGEST, os.mkfifo),
    "arrays are a pipe": in_place(RATINGS, os.mkfifo),
    "items.json is a link to /dev/zero": in_place(ITEMS, lambda path: path.symlink_to("/dev/zero")),
    "manifest.json is a link to /dev/zero": in_place(MANIFEST, lambda path: path.symlink_to("/dev/zero")),
    "items.json is a link to itself": in_place(ITEMS, lambda path: path.symlink_to(path.name)),
    "ids are a folder": in_place(IDS, Path.mkdir),
    "manifest nested in a million levels": manifest('{"x": ' + "[" * 1_000_000 + "]" * 1_000_000 + ", MORE}"),
    "manifest with a number of a million digits": manifest('{"x": ' + "9" * 1_000_000 + ", MORE}"),
    "manifest with a million empty lists": manifest('{"x": [' + "[]," * 1_000_000 + "0], MORE}"),
    "manifest with 190,000 empty lists": manifest('{"x": [' + "[]," * 190_000 + "0], MORE}"),
    "manifest with 300,000 names": manifest("{" + "".join(f'"{n:x}":0,' for n in range(300_000)) + "MORE}"),
    "manifest that names one thing 190,000 times": manifest("{" + '"":0,' * 190_000 + "MORE}"),
    "manifest with 190,000 names, the last one twice": manifest(
        "{" + "".join(f'"{n:x}":0,' for n in range(190_000)) + '"2e62f":0, MORE}'
    ),
    "manifest with a text of 4 MB": manifest('{"model": "' + "x" * 4_000_000 + '", MORE}'),
    "items nested in ten million levels": items(lambda: "[" * 10_000_000 + "]" * 10_000_000),
    "items: ten million empty objects": items(lambda: "[" + "{}," * 10_000_000 + "{}]"),
    "items: two million empty lists in one": items(
        lambda: '[{"title": "", "year": null, "genres": [' + "[]," * 2_000_000 + '""]}]'
    ),
    "items: ten million numbers": items(lambda: "[" + "1," * 10_000_000 + "1]"),
    "items: a title of 60 MB": items(lambda: json.dumps([{"title": "x" * 60_000_000, "year": None, "genres": []}])),
    "items: 60 MB of text with one wide character": items(lambda: '["🎬' + "x" * 60_000_000 + '"]'),
    "items: numbers of 4,000 digits": items(lambda: "[" + ("9" * 4000 + ",") * 10_000 + "1]"),
    "header longer than the file": header(FACTORS, b"{}", 2**63),
    "header of 90 MB": header(FACTORS, b"{" + b" " * 90_000_000 + b"}"),
    "header nested in 60,000 levels": header(FACTORS, b'{"a":' + b"[" * 60_000),
    "arrays of 2^62 rows": header(FACTORS, described(mu=("F32", [2**62], [0, 2**64 - 1]))),
    "arrays whose size overflows": header(FACTORS, described(mu=("F32", [2**32, 2**32], [0, 0]))),
    "an array of 64 axes": header(FACTORS, described(mu=("F32", [1] * 64, [0, 4])), data=4),
    "arrays without any rows": header(FACTORS, described(**{f"a{n}": ("F32", [0, 2**40], [0, 0]) for n in range(500)})),
    "5,000,000 samples": bundle(lambda: sized(samples=MANY // 20, dim=1)),
    "5,000 coordinates": bundle(lambda: sized(dim=5000)),
    "20,000,000 ratings of one user, 128 coordinates": bundle(lambda: rated_by_one(20_000_000, dim=128)),
    "2,000,000 ratings of one user, 1,000 coordinates": bundle(lambda: rated_by_one(2_000_000, dim=1000)),
    "5,000,000 attributes of one user": bundle(lambda: with_attributes(MANY, dim=64)),
    "20,000 items with 1,000 levels, ten samples": bundle(
        lambda: sized(n_all=20_000, n_items=20_000, levels=tuple(np.arange(0, 1000.0)), samples=10)
    ),
    "20,000 items with 10,000 levels, ten samples": bundle(
        lambda: sized(n_all=20_000, n_items=20_000, levels=tuple(np.arange(0, 10_000.0)), samples=10)
    ),
    "5,000,000 users": bundle(lambda: sized(MANY)),
    "3,000,000 users with text for ids": bundle(lambda: sized(3_000_000, text=True)),
    "3.8 MB of titles, a word every other character": bundle(
        lambda: titled([" ".join(map(chr, range(0x4E00, 0x4E00 + 4_000)))] * 950)
    ),
    "4 MB of different words": bundle(lambda: titled(spread_words(4_000_000))),
    "30 MB of different words": bundle(lambda: titled(spread_words(30_000_000))),
    "titles that normalization makes 18 times as long": bundle(lambda: titled(["\ufdfa" * 5_000] * 300)),
    "near the limits: 20 MB of titles in one script": bundle(lambda: titled(["abcd " * 200] * 9_000)),
    "near the limits: 5 MB of titles in another": bundle(lambda: titled(["\u4e00\u4e01 " * 300] * 5_500)),
    "near the limits: 1,800 coordinates": bundle(lambda: rated_by_one(10, dim=1800)),
    "near the limits: 30,000 fitted users with noise, 1,000 coordinates": bundle(
        lambda: sized(30_000, n_users=30_000, dim=1000, noisy=True)
    ),
    "near the limits: 3,500 items with 1,000 levels, ten samples": bundle(
        lambda: sized(n_all=3500, n_items=3500, levels=tuple(np.arange(0, 1000.0)), samples=10)
    ),
    "near the limits: a user with 30 ratings, 10,000 samples": bundle(lambda: rated_by_one(30, samples=10_000, dim=15)),
    "near the limits: 10,000 samples": bundle(lambda: sized(samples=10_000, dim=7, noisy=True)),
    "near the limits: 20,000 ratings of one user, 1,000 coordinates": bundle(lambda: rated_by_one(20_000, dim=1000)),
    "near the limits: 10,000,000 ratings": bundle(lambda: rated_by_one(10_000_000, dim=1)),
    "near the limits: 300,000 fitted users with noise": bundle(
        lambda: sized(300_000, n_users=300_000, dim=64, noisy=True)
    ),
    "near the limits: 500,000 items": bundle(lambda: sized(n_all=500_000)),
    "99,000 genres, each of one item": bundle(
        lambda: titled(_a(9_000), lambda row: [f"{row}-{n}" for n in range(11)])
    ),
    "590,000 genres, each of one item": bundle(
        lambda: titled(_a(59_000), lambda row: [f"{row}-{n}" for n in range(10)])
    ),
}  # fmt: skip
SHORT = (*tuple(BOMBS)[:13], "arrays of 2^62 rows", "arrays whose size overflows", "5,000,000 samples")


def run(*, short: bool) -> Figures:
    names = SHORT if short else tuple(BOMBS)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bombs-") as scratch:
        whole = Path(scratch) / "whole"
        sized().save(whole)

        def folders() -> Any:
            yield whole
            for name in names:
                folder = shutil.copytree(whole, Path(scratch) / "bundle")
                BOMBS[name](folder)
                yield folder
                shutil.rmtree(folder)

        made = folders()
        environment = {"RECSYS_MAX_BUNDLE_MEMORY": str(MEMORY)}
        for name, loaded in zip(("none", *names), load_each(made, environment), strict=True):
            found[name] = {"said": loaded.said, "seconds": round(loaded.seconds, 3), "peak": loaded.peak}
    assert found.pop("none")["said"] == "loaded"
    return {"memory": MEMORY, "seconds": SECONDS, "bombs": found}


def rows(figures: Figures) -> list[Row]:
    bombs = figures["bombs"].values()
    refused = [bomb for bomb in bombs if bomb["said"].startswith("BundleError: ")]
    loaded = [bomb for bomb in bombs if bomb["said"] == "loaded"]
    over = [bomb for bomb in bombs if bomb["peak"] > figures["memory"] or bomb["seconds"] > figures["seconds"]]
    other = len(bombs) - len(refused) - len(loaded)
    budget = f"{figures['memory'] >> 30} GiB and {figures['seconds']:g} s"
    most = [
        f"{max((bomb['peak'] for bomb in kind), default=0) / 1e6:.0f} MB and "
        f"{max((bomb['seconds'] for bomb in kind), default=0):.1f} s"
        for kind in (refused, loaded)
    ]
    return [
        Row(f"{len(bombs)} kinds of bundles that are bombs, each loaded with {budget}: over the budget, other errors",
            f"{len(over)}, {other}", not over and not other),
        Row(f"most that one took: of {len(refused)} refused, of {len(loaded)} within the budget",
            f"{most[0]}, {most[1]}", not over),
    ]  # fmt: skip
