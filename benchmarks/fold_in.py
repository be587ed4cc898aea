"""Fold-in of new users: how near to training, how fast, and what it brings to people never seen.

    python benchmarks/fold_in.py [RUN ...] [--unseen] [--ml-100k-root DIR]

For each run's folder (or a bundle's): the correlation, user by user, between the scores of a fitted user and those of
the fold-in of the very ratings that they were fitted on, over the fitted items that are not among these; and, in one
thread, the time of a fold-in and of a top 10 with and without reasons; with item weights also that of adding up the
rows of the history, the least that a top 10 can take.

With `--unseen`: both models are trained on ML-100K up to a point in time (`data.split=global_time`), by the real
command. Of everyone who came later, a random half of the ratings is predicted: as the average user, with the user's
bias alone, and with more and more of the other half folded in.

Figures are kept in `results/fold_in-<device>.json`, a row replaced when it is measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.ratings import LAST_PART
from recsys.evaluation.baselines import fit_biases, fit_item_means
from serve.models.pointer import bundle_folder

RESULTS = Path(__file__).parent / "results"
DEVICE = f"cpu-{os.cpu_count()}core"
USER_PRIOR = 15.0  # ratings' worth of pull on a user's bias, as in recsys.evaluation.baselines
FOLDED = (1, 5, 20, 1000)  # ratings folded in of an unseen user, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder of a run, or of a bundle")
    parser.add_argument("--unseen", action="store_true", help="train on ML-100K and measure people never seen")
    parser.add_argument("--ml-100k-root", metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for folder in arguments.runs:
        bundle = Bundle.load(bundle_folder(folder))
        keep(measured(bundle, arguments.seed), "runs")
    for model in ("mf", "svdpp") if arguments.unseen else ():
        keep(unseen(model, arguments.ml_100k_root, arguments.seed), "unseen")


def measured(bundle: Bundle, seed: int) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": f"{manifest['data']} {manifest['model']}",
        "embedding_dim": bundle.factors.item_factors.shape[2],
        "fitted_on": manifest["fit_on"],
        "users": bundle.n_users,
        "items": bundle.n_items,
        "git_commit": manifest["git_commit"],
        "correlation": correlations(bundle),
        "milliseconds": speed(bundle, seed),
        "load": round(os.getloadavg()[0], 2),  # processes at work in the minute before: what else was running
    }


def correlations(bundle: Bundle) -> dict[str, dict[str, float]]:
    """Median, 10th percentile and minimum over all fitted users, of scores as they are and clipped to the scale."""
    fitted = bundle.ratings.part <= LAST_PART[bundle.manifest["fit_on"]]
    linear, clipped = [], []
    for user in range(bundle.n_users):
        entries = bundle.ratings.slice_of(user)
        item, rating = (column[entries][fitted[entries]] for column in (bundle.ratings.item, bundle.ratings.rating))
        folded = bundle.fold_in_rows(item, rating)
        scores = np.stack([bundle.scores_of(np.array([user]), fitted)[0], bundle.factors.scores(folded.vector)])
        others = np.delete(scores, item, axis=1)
        linear.append(correlation(others))
        clipped.append(correlation(others if bundle.is_ranking else others.clip(*bundle.scale)))
    return {"linear": summary(linear), "clipped": summary(clipped)}


def correlation(pair: np.ndarray) -> float:
    """Of two rows; NaN where one of them is constant, as where all is clipped to five stars."""
    return float(np.corrcoef(pair)[0, 1]) if pair.std(axis=1).all() else float("nan")


def summary(values: list[float]) -> dict[str, float]:
    found = np.array(values)
    known = found[~np.isnan(found)]
    return {
        "median": round(float(np.median(known)), 4),
        "p10": round(float(np.quantile(known, 0.1)), 4),
        "min": round(float(known.min()), 4),
        "undefined": len(found) - len(known),
    }


def speed(bundle: Bundle, seed: int, users: int = 200, repeat: int = 5) -> dict[str, float]:
    """Mean time a user, over the same users drawn at random, of the fastest of a few rounds."""
    drawn = np.random.default_rng(seed).choice(bundle.n_users, min(users, bundle.n_users), replace=False).tolist()
    factors = bundle.factors

    def top(user: int) -> np.ndarray:
        return bundle.top_n(bundle.vector(user), 10, seen=bundle.seen(user))[0]

    def gathered(user: int) -> np.ndarray:
        history = bundle.vector(user).history
        assert history is not None
        assert factors.item_weights is not None
        return np.asarray(history.weights @ factors.item_weights[history.items])

    return {
        "ratings_a_user": round(float(np.mean([len(bundle.seen(user)) for user in drawn])), 1),
        "fold_in": fastest(lambda user: bundle.fold_in_user(user).vector, drawn, repeat),
        "top10": fastest(top, drawn, repeat),
        "top10_with_reasons": fastest(lambda u: bundle.fold_in_user(u).contributions(top(u)), drawn, repeat),
        **({"gathered": fastest(gathered, drawn, repeat)} if bundle.has_histories else {}),
    }


def fastest(asked: Callable[[int], Any], users: Sequence[int], repeat: int) -> float:
    asked(users[0])  # what is computed once and kept
    rounds = []
    for _ in range(repeat):
        start = time.perf_counter()
        for user in users:
            asked(user)
        rounds.append(time.perf_counter() - start)
    return round(1000 * min(rounds) / len(users), 3)


def unseen(model: str, root: str | None, seed: int) -> dict[str, Any]:
    """RMSE in stars on half the ratings of people who came after all that was fitted."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"experiment=ml_100k_{model}", "data.split=global_time"]
        command = [sys.executable, "-m", "recsys.train", *overrides, f"hydra.run.dir={folder}/run"]
        command += [f"data.root={root}"] if root else []
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=RESULTS.parent.parent, env=environment)
        bundle = Bundle.load(f"{folder}/run/bundle")
    rated = bundle.ratings
    rows = np.flatnonzero(rated.part <= LAST_PART[bundle.manifest["fit_on"]])
    fitted = (rated.user_index()[rows], rated.item[rows].astype(np.int64), rated.rating[rows])
    means = fit_item_means(*fitted[1:], bundle.n_users, bundle.n_items)
    biases = fit_biases(*fitted, bundle.n_users, bundle.n_items)
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {}
    truth, given = [], []
    for user in range(bundle.n_users, len(bundle.user_ids)):
        entries = bundle.ratings.slice_of(user)
        item, rating = rated.item[entries].astype(np.int64), rated.rating[entries]
        order = rng.permutation(np.flatnonzero(item < bundle.n_items))
        known, asked = np.split(order, [len(order) // 2])
        if not len(known):
            continue
        truth.append(rating[asked])
        given.append(len(known))
        above = rating[known] - biases.mu - biases.item[item[known]]
        found = {
            "item mean": means.mu + means.item[item[asked]],
            "average user": bundle.factors.scores(bundle.factors.user(-1))[item[asked]],
            "biases of all": biases.mu + biases.item[item[asked]] + above.sum() / (USER_PRIOR + len(above)),
        }
        for most in FOLDED:
            folded = bundle.fold_in_rows(item[known[:most]], rating[known[:most]])
            name = f"{most} folded in" if most < max(FOLDED) else "all folded in"
            found[name] = bundle.factors.scores(folded.vector)[item[asked]]
        for name, predicted in found.items():
            parts.setdefault(name, []).append(predicted.clip(*bundle.scale))
    stars = np.concatenate(truth)
    errors = {name: np.concatenate(predicted) - stars for name, predicted in parts.items()}
    return {
        "name": f"{bundle.manifest['data']} {bundle.manifest['model']}, unseen users",
        "command": f"python -m recsys.train {' '.join(overrides)}",
        "seed": seed,
        "git_commit": bundle.manifest["git_commit"],
        "users": len(given),
        "ratings_known_a_user": round(float(np.mean(given)), 1),
        "ratings_predicted": len(stars),
        "rmse": {name: round(float(np.sqrt(np.mean(error**2))), 4) for name, error in errors.items()},
    }


def keep(row: dict[str, Any], what: str) -> None:
    """Put a row into the results file, in place of one of the same name, and show it."""
    file = RESULTS / f"fold_in-{DEVICE}.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    rows = [other for other in results.get(what, []) if other["name"] != row["name"]]
    file.write_text(json.dumps(results | {what: [*rows, row]}, indent=1) + "\n")
    print(table(row), flush=True)


def table(row: dict[str, Any]) -> str:
    """A row as Markdown."""
    if "rmse" in row:
        lines = [
            f"{row['name']} ({row['users']} users, {row['ratings_predicted']} ratings)",
            "",
            "| | RMSE |",
            "|---|---|",
        ]
        return "\n".join(lines + [f"| {name} | {value:.4f} |" for name, value in row["rmse"].items()]) + "\n"
    lines = [f"{row['name']}, {row['users']} users", "", "| correlation | median | 10th percentile | minimum |"]
    lines.append("|---|---|---|---|")
    for name, found in row["correlation"].items():
        lines.append(f"| {name} | {found['median']:.4f} | {found['p10']:.4f} | {found['min']:.4f} |")
    took = row["milliseconds"]
    lines.append(
        f"\n{took['fold_in']} ms a fold-in of {took['ratings_a_user']} ratings; top 10 {took['top10']} ms, "
        f"with reasons {took['top10_with_reasons']} ms\n"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
