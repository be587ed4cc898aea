"""Makes runs.tar.xz and expected.json: what the code of commit be4393d left behind, which later code must still read.

They were made once, on a CPU with one thread, from ratings that are generated here. To make them again:

    git worktree add /tmp/be4393d be4393d && cd /tmp/be4393d
    OMP_NUM_THREADS=1 RECSYS_CACHE=/tmp/recsys-legacy-cache python <checkout>/tests/legacy/make_fixtures.py

which calls the main function of `recsys.train`, as found in the working directory, with (see `SETTINGS` and `RUNS`)

    model=mf        model=svdpp        model=als        model=ials        model=bayesian_mf
    model=bayesian_mf model.likelihood=ordinal model.drift=5                           the run `ordinal`
    -m model=mf model.embedding_dim=2,3                                                the sweep
    model=mf, interrupted (Ctrl-C) at the start of epoch 4 of 8                        the run `cut`
    model=bayesian_mf model.likelihood=ordinal ..., interrupted at sweep 9 of 12       the run `cut_ordinal`

and then resumes the last two, to note what they end with. Pictures are left out, and of finished runs all checkpoints
but the best. Files hold the folder they were made in, `ROOT`: who uses them elsewhere replaces it.
"""

from __future__ import annotations

import importlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

COMMIT = "be4393d"
ROOT = Path("/tmp/recsys-legacy")
HERE = Path(__file__).parent
SETTINGS = [
    "data=tabular", f"data.root={ROOT}/data", "data.users_file=users.csv", "data.items_file=items.csv",
    "data.timestamp_column=timestamp", "data.rating_min=1", "data.rating_max=5", "data.batch_size=128",
]  # fmt: skip
GRADIENT = [
    "model.embedding_dim=3", "model.learning_rate=0.05", "model.plateau_patience=0", "model.dropout=0.3",
    "trainer.max_epochs=8",
]  # fmt: skip
SWEEPS = ["model.embedding_dim=3", "trainer.max_epochs=5"]
CHAIN = ["model=bayesian_mf", "model.embedding_dim=2", "model.burn_in=4", "model.thin=2", "trainer.max_epochs=12"]
ORDINAL = [*CHAIN, "model.likelihood=ordinal", "model.drift=5"]
RUNS = {
    "mf": ["model=mf", *GRADIENT],
    "svdpp": ["model=svdpp", *GRADIENT, "data.ratings_file=named.csv", "data.users_file=null", "data.items_file=null"],
    "als": ["model=als", *SWEEPS, "refit=none", "data.split=global_time", "evaluation=prequential"],
    "bayesian_mf": CHAIN,
    "ordinal": ORDINAL,
    "ials": ["model=ials", *SWEEPS],
}
MODEL_OF = {"ordinal": "bayesian_mf"}  # of a run that is not called as its model
CUT = {"cut": ("mf", 4), "cut_ordinal": ("ordinal", 9)}  # a run's settings, and the epoch at whose start it is cut off
FOLDED = ([0, 3, 5, 11], [5.0, 1.0, 4.0, 2.0])  # item rows and stars of someone new


def write_data(folder: Path, n_users: int = 30, n_items: int = 40, seed: int = 0) -> None:
    """Some 600 ratings of two tastes; `named.csv` has the same ones with strings for ids.

    The last item is rated by two users, at the end; the last two users come late: cold rows.
    """
    random = np.random.default_rng(seed)
    ratings, named = ["user_id,item_id,rating,timestamp"], ["user_id,item_id,rating,timestamp"]
    share = 1 / (3 + np.arange(n_items))
    for user in range(1, n_users + 1):
        rated = random.choice(n_items, n_items // 2, replace=False, p=share / share.sum()).tolist()
        for time, item in enumerate([*rated, n_items] if user in (3, 8) else rated):
            stars = 3 + (1 if (user + item) % 2 else -1) + random.integers(0, 2)
            rest = f"{stars},{1_000_000 + 1000 * time + user + (15_000 if user > n_users - 2 else 0)}"
            ratings.append(f"{user},{100 + item},{rest}")
            named.append(f"u{user},film é{item},{rest}")
    users = ["user_id,gender,age"] + [f"{user},{'FM'[user % 2]},{20 + user % 3 * 10}" for user in range(1, n_users + 1)]
    items = ["item_id,title,year,genres,studio"]
    kinds = (("Comedy", "s0"), ("Drama|War", "s1"))
    items += [f"{100 + i},Film {i},{1990 + i % 7},{','.join(kinds[i % 2])}" for i in range(n_items + 1)]
    folder.mkdir(parents=True)
    for name, lines in {"ratings": ratings, "named": named, "users": users, "items": items}.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def questions(bundle: Any) -> dict[str, Any]:
    """What `answers` is asked of a bundle: fitted and unseen users, with fitted and unseen items."""
    as_id = int if bundle.manifest["id_kind"] == "int" else str
    users = [*(as_id(user) for user in bundle.user_ids[[0, 7, 19, -1]]), as_id(4711)]
    items = [*(as_id(item) for item in bundle.item_ids[[0, 4, 9, 22, -2, -1]]), as_id(4712)]
    return {
        "users": users,
        "items": items,
        "ratings": [[as_id(bundle.item_ids[row]), stars] for row, stars in zip(*FOLDED, strict=True)],
        "attributes": {"gender": "F", "age": "25"} if bundle.attributes else None,
    }


def answers(bundle: Any, asked: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What a bundle says: numbers, and ids where the name ends in `_ids`."""
    users = [user for user in asked["users"] for _ in asked["items"]]
    items = asked["items"] * len(asked["users"])
    someone = bundle.fold_in(dict(asked["ratings"]), asked["attributes"])
    found: dict[str, Any] = {
        "predicted": bundle.predict(users, items),
        "folded": bundle.predict(someone, asked["items"]),
        "contributions": [reason.contribution for reason in bundle.explain(someone, asked["items"][1]).reasons],
    }
    if getattr(bundle, "has_uncertainty", getattr(bundle, "says_std", None)):
        found["std"] = bundle.predict(users, items, return_std=True)[1]
        found["folded_std"] = bundle.predict(someone, asked["items"], return_std=True)[1]
    if bundle.factors.levels is not None:
        found["probabilities"] = bundle.star_probabilities(users, items).ravel()
    lists = {
        "recommended": [best for user in asked["users"] for best in bundle.recommend(user, k=4)],
        "folded_recommended": bundle.recommend(someone, k=4),
        "similar": bundle.similar_items(asked["items"][0], k=4),
    }
    for name, best in lists.items():
        found |= {f"{name}_ids": [one.item_id for one in best], f"{name}_scores": [one.score for one in best]}
    return {name: np.asarray(values).tolist() for name, values in found.items()}


def checkpoint_answers(checkpoint: Path, model: str, conf: Path) -> list[float]:
    """What the model of a checkpoint says of pairs of rows, -1 being one never seen; `conf` says which class it is."""
    import torch
    from hydra.utils import get_class
    from omegaconf import OmegaConf

    kind = get_class(OmegaConf.load(conf / "model" / f"{model}.yaml")._target_)
    loaded = kind.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True).eval()
    user, item = torch.arange(-1, 28).repeat(2), torch.arange(-1, 57) % 36 - 1
    with torch.no_grad():
        found: list[float] = loaded(user, item).tolist()
    return found


def call(name: str, *arguments: str) -> None:
    sys.argv = [f"recsys.{name}", *arguments]
    importlib.import_module(f"recsys.{name}").main()


def cut_off(folder: Path, settings: Iterable[str], epoch: int) -> None:
    """Train, and press Ctrl-C at the start of an epoch."""
    from recsys.callbacks import EpochRecord  # of the old code

    start = EpochRecord.on_train_epoch_start

    def interrupt(self: Any, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == epoch:
            raise KeyboardInterrupt
        start(self, trainer, module)

    EpochRecord.on_train_epoch_start = interrupt
    try:
        call("train", *SETTINGS, *settings, f"hydra.run.dir={folder}")
    except SystemExit as end:
        assert end.code == 130, end.code  # noqa: PT017
    finally:
        EpochRecord.on_train_epoch_start = start


def kept(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    if "checkpoints" in parts:
        return path.name == "selection.json" or parts[1] in CUT or (parts[1] in RUNS and path.name == "best.ckpt")
    return path.suffix != ".png" and path.name != ".lock"


def pack(files: Iterable[Path], archive: Path) -> None:
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for file in files:
            info = tarfile.TarInfo(str(file.relative_to(ROOT)))
            content = file.read_bytes()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert commit.startswith(COMMIT), f"the code in {Path.cwd()} is not {COMMIT}"
    shutil.rmtree(ROOT, ignore_errors=True)
    write_data(ROOT / "data")
    import torch

    torch.set_num_threads(1)
    for name, settings in RUNS.items():
        call("train", *SETTINGS, *settings, f"hydra.run.dir={ROOT}/runs/{name}")
    sweep = ["model=mf", "model.embedding_dim=2,3", "trainer.max_epochs=2", "model.learning_rate=0.05"]
    call("train", "-m", *SETTINGS, *sweep, f"hydra.sweep.dir={ROOT}/runs/sweep")
    for name, (run, epoch) in CUT.items():
        cut_off(ROOT / "runs" / name, RUNS[run], epoch)
    pack(sorted(file for file in ROOT.rglob("*") if file.is_file() and kept(file)), HERE / "runs.tar.xz")

    from recsys.bundle import Bundle

    expected: dict[str, Any] = {"bundles": {}, "checkpoints": {}, "resumed": {}}
    for folder in [*(Path(name) for name in RUNS), Path("sweep/0"), Path("sweep/1")]:
        bundle = Bundle.load(ROOT / "runs" / folder / "bundle")
        asked = questions(bundle)
        expected["bundles"][str(folder)] = {"asked": asked, "answers": answers(bundle, asked)}
    for name in RUNS:
        checkpoint, model = ROOT / "runs" / name / "checkpoints" / "best.ckpt", MODEL_OF.get(name, name)
        expected["checkpoints"][name] = checkpoint_answers(checkpoint, model, Path.cwd() / "conf")
    for name, (run, _) in CUT.items():
        call("train", f"resume={ROOT}/runs/{name}")
        ended, whole = (json.loads((ROOT / "runs" / n / "metrics.json").read_text()) for n in (name, run))
        assert ended["test/rmse"] == whole["test/rmse"], "resuming must end as if nothing had happened"
        expected["resumed"][name] = {key: ended[key] for key in ("val/rmse", "test/rmse", "test/mae", "epochs")}
    lines = json.dumps(expected, ensure_ascii=False, separators=(",", ":")).replace('},"', '},\n"')
    (HERE / "expected.json").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
