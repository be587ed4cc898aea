"""Stack finished runs into one: `python -m recsys.ensemble runs=[outputs/a,outputs/b]`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from recsys.bundle import Bundle
from recsys.bundle.compression import check_compress
from recsys.cli import command
from recsys.ensemble.ensemble import MODEL, Ensemble, ensemble_bundle, predict_test_rows, stack_runs
from recsys.ensemble.members import Run, costs, load_runs
from recsys.evaluation.error_analysis import analyse
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.holdout import predict_test_set
from recsys.evaluation.registry import RMSE
from recsys.evaluation.tables import aligned, print_metrics
from recsys.experiments.run_folder import display_path, saved_config, track_status
from recsys.files import atomic_write, folder_lock, write_json
from recsys.training.plots import error_by_activity

OPTIONS = ("link", "by_activity", "non_negative", "compress")  # of `conf/ensemble.yaml`
MEMBERS = "members.json"  # in the run folder: what each member is worth, and what it costs


@command("ensemble")
def main(cfg: DictConfig) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    if (folder / "config.yaml").exists():
        raise ValueError(f"{display_path(folder)} contains a run; choose another hydra.run.dir")
    if not OmegaConf.is_list(cfg.runs):
        raise ValueError(f"runs must be a list of folders such as runs=[outputs/a,outputs/b], got {cfg.runs}")
    for name in ("by_activity", "non_negative"):
        if cfg[name] is not None and not isinstance(cfg[name], bool):
            raise ValueError(f"{name} must be true, false or null, got {cfg[name]}")
    if cfg.compress is None:
        raise ValueError("compress must be an integer >= 1, got null")
    check_compress(cfg.compress)
    runs = load_runs([Path(str(run)) for run in cfg.runs])
    with folder_lock(folder, "writes an ensemble"), track_status(folder):
        start = time.perf_counter()
        ensemble = stack_runs(runs, cfg.link, cfg.by_activity, cfg.non_negative)
        bundle = ensemble_bundle(ensemble, cfg.compress)
        spent = time.perf_counter() - start
        members, whole = ensemble.rows(), {"val/rmse": ensemble.val_rmse, **costs(bundle)}
        write_json(folder / MEMBERS, {"members": members, "ensemble": whole})
        _write_config(cfg, runs[0], folder)
        metrics = _measure(ensemble, bundle, spent, folder)
        replace(bundle, manifest=bundle.manifest | {"metrics": metrics}).save(folder / "bundle")
        write_json(folder / "metrics.json", metrics)
    print_members(ensemble, members, whole)
    print_metrics(metrics, f"{MODEL} on {metrics['data']}, split {metrics['split']}")
    print(f"stacked in {spent:.1f} s, results in {display_path(folder)}")


def _measure(ensemble: Ensemble, bundle: Bundle, spent: float, folder: Path) -> dict[str, Any]:
    """The content of `metrics.json`: test rows are looked at here, once."""
    first = ensemble.runs[0]
    test = predict_test_set(bundle)
    predicted, rating = predict_test_rows(ensemble)
    analysis = analyse(bundle, test)
    write_json(folder / "analysis.json", analysis)
    error_by_activity(analysis, folder / "error_by_activity.png")
    fits = [run.metrics.get("fit_seconds") for run in ensemble.runs]
    return {
        RMSE.validation_key: ensemble.val_rmse,
        **evaluate(bundle, test),
        "test/rmse_uncompressed": RMSE.function(predicted - rating),
        "fit_seconds": round(spent + sum(seconds for seconds in fits if isinstance(seconds, int | float)), 3),
        "epochs": 0,
        "device": first.metrics.get("device"),
        "refit": {"train": "none"}.get(bundle.manifest["fit_on"], bundle.manifest["fit_on"]),
        "test_figures_of": bundle.manifest["fit_on"],
        **{name: bundle.manifest[name] for name in ("model", "data", "split", "git_commit", "data_sha256")},
    }


def _write_config(cfg: DictConfig, first: Run, folder: Path) -> None:
    """A `config.yaml` by which a report finds the task, the data and the settings."""
    saved = saved_config(first.folder / "config.yaml", trusted=True)  # nothing of it is run here
    members = [str(run) for run in cfg.runs]
    content = {
        "data": saved.data,
        "model": {"members": members, **{name: cfg[name] for name in OPTIONS}},
        "model_name": MODEL,
        "seed": 0,
        "refit": saved.get("refit"),
        "run_dir": str(folder),
    }
    with atomic_write(folder / "config.yaml") as file:
        OmegaConf.save(OmegaConf.create(content), file)


def print_members(ensemble: Ensemble, members: Sequence[Mapping[str, Any]], whole: Mapping[str, Any]) -> None:
    """What each member is worth, and what it costs, as a table, with what the exported bundle costs."""
    form = ensemble.stack.form
    header = ("member", "weight", "val RMSE", "without it", "fit, s", "MB", "top 10, ms")
    cells = [
        (
            row.get("run", MODEL),
            "" if row is whole else f"{row['weight']:.3f}",
            f"{row['val/rmse']:.4f}",
            "" if row.get("loss_without") is None else f"{row['loss_without']:+.4f}",
            "" if row.get("fit_seconds") is None else f"{row['fit_seconds']:.0f}",
            f"{row['bytes'] / 1e6:.1f}",
            f"{row['top_10_ms']:.2f}",
        )
        for row in (*members, whole)
    ]
    print(*aligned([header, *cells]), sep="\n")
    kind = f"link {form.link}" + (", by activity" if form.by_activity else "")
    print(f"stacked on {len(ensemble.runs[0].validation.row):,} validation rows, {kind}\n")


if __name__ == "__main__":
    main()
