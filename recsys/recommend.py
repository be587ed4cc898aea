"""Top-N for all users, or some: `python -m recsys.recommend run=<folder> k=10 out=top10.parquet`."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf

from recsys.bundle import Bundle
from recsys.bundle.partner import Partner
from recsys.cli import command
from recsys.files import atomic_write
from recsys.progress import track
from recsys.report.values import csv_cell

INTEGER = re.compile(r"0|-?[1-9]\d*", re.ASCII)
BLOCK = 1024  # users whose recommendations are held before they are written
COLUMNS = ("user_id", "rank", "item_id", "score", "title", "year", "genres", "rating")


def recommendations(
    bundle: Bundle, user_ids: list[int | str], k: int, *, exclude_seen: bool = True, **options: Any
) -> Iterator[dict[str, list[Any]]]:
    """Blocks of recommendations as columns: user by user, best first.

    Args:
        bundle: The model.
        user_ids: Whose.
        k: Items for each.
        exclude_seen: Leave out all that the user has rated.
        options: Those of `Bundle.recommend` on order and rules.

    Raises:
        ValueError: `k` is below 1, a user is not in the data, or an option is not possible.
    """
    unknown = [user for user in user_ids if user not in bundle.user_row]
    if unknown:
        hint = "; several users are written users=[196,22]" if "," in str(unknown[0]) else ""
        raise ValueError(f"users: no user {unknown[0]!r} in {bundle.manifest['data']}{hint}")
    for start in track(range(0, len(user_ids), BLOCK), "recommending"):
        block: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for user in user_ids[start : start + BLOCK]:
            best = bundle.recommend(user, k, exclude_seen=exclude_seen, **options)
            for rank, one in enumerate(best, 1):
                values = (user, rank, one.item_id, one.score, one.title, one.year, "|".join(one.genres), one.rating)
                for name, value in zip(COLUMNS, values, strict=True):
                    block[name].append(value)
        yield block


def _ids(cfg: DictConfig, name: str, bundle: Bundle) -> list[int | str] | None:
    """The ids that were typed for `name`, a list or one alone; None for null."""
    given = cfg[name]
    if given is None:
        return None
    return [_id(str(one), bundle, name) for one in (given if OmegaConf.is_list(given) else [given])]


def _id(text: str, bundle: Bundle, name: str) -> int | str:
    """An id from what was typed for `name`.

    Raises:
        ValueError: The ids are integers, and the text is not how one is written.
    """
    if bundle.manifest["id_kind"] == "str":
        return text
    if not INTEGER.fullmatch(text):
        raise ValueError(f"{name}: the ids of {bundle.manifest['data']} are integers such as 196, got {text!r}")
    return int(text)


def _rules(cfg: DictConfig, bundle: Bundle) -> dict[str, Any]:
    """The rules of `Bundle.recommend`, from what was typed."""
    given = (
        {} if cfg.boost is None else OmegaConf.to_container(cfg.boost) if OmegaConf.is_dict(cfg.boost) else cfg.boost
    )
    if not isinstance(given, dict):
        raise ValueError(f"boost must be like {{Horror: 0.5}}, got {given!r:.80}")
    integers = bundle.manifest["id_kind"] == "int"
    typed = {str(name): amount for name, amount in given.items()}
    boost = {int(name) if integers and INTEGER.fullmatch(name) else name: amount for name, amount in typed.items()}
    allowed, exclude = _ids(cfg, "available", bundle), _ids(cfg, "exclude", bundle)
    return {"allowed": allowed, "exclude": exclude or (), "boost": boost}


@contextmanager
def _writer(out: Path, id_kind: str) -> Iterator[Callable[[dict[str, list[Any]]], None]]:
    """A function that appends a block to `out`, which appears under its name when everything is written."""
    with atomic_write(out) as working:
        if out.suffix == ".parquet":
            ids = pa.int64() if id_kind == "int" else pa.string()
            types = (ids, pa.int32(), ids, pa.float32(), pa.string(), pa.int32(), pa.string(), pa.float32())
            schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
            with pq.ParquetWriter(working, schema) as parquet:
                yield lambda block: parquet.write_table(pa.table(block, schema=schema))
        else:
            with working.open("w", newline="", encoding="utf-8") as stream:
                lines = csv.writer(stream)
                lines.writerow(COLUMNS)
                yield lambda block: lines.writerows(zip(*(map(csv_cell, x) for x in block.values()), strict=True))


@command("recommend")
def main(cfg: DictConfig) -> None:
    out = Path(str(cfg.out))
    if out.suffix not in (".parquet", ".csv"):
        raise ValueError(f"out must end in .parquet or .csv, got {cfg.out}")
    if type(cfg.k) is not int or cfg.k < 1:
        raise ValueError(f"k must be an integer >= 1, got {cfg.k}")
    if not isinstance(cfg.exclude_seen, bool):
        raise ValueError(f"exclude_seen must be true or false, got {cfg.exclude_seen}")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"out: there is no folder {out.absolute().parent}")
    bundle = Bundle.load(Path(cfg.run) / "bundle")
    users = _ids(cfg, "users", bundle)
    if users is None:
        users = bundle.user_ids.tolist()
    elif not users:
        raise ValueError("users must be a list of ids such as [196,22], or null for all users, got []")
    partner = None
    if cfg.rank_with is not None:
        partner = Partner(bundle, Bundle.load(Path(cfg.rank_with) / "bundle"), float(cfg.rank_mix or 0))
    options = {name: cfg[name] for name in ("rank_by", "min_ratings", "diversity")} | _rules(cfg, bundle)
    options["rank_with"] = partner
    order = bundle.ranker.order(*(options[name] for name in ("rank_by", "min_ratings", "diversity")))
    with _writer(out, bundle.manifest["id_kind"]) as write:
        for block in recommendations(bundle, users, cfg.k, exclude_seen=cfg.exclude_seen, **options):
            write(block)
    by = f" by {order.rank_by}" if order.rank_by else ""
    if partner is not None:
        by = f" in the order of {partner.ranking.manifest['model']}"
    print(f"{out}: top {cfg.k} of {bundle.n_items:,} items for {len(users):,} users{by}")


if __name__ == "__main__":
    main()
