"""Train, refit, test and export: `python -m recsys.train data=ml_100k model=mf model.embedding_dim=32`.

What a run needs, torch and Lightning before all, is imported when one begins (`cli.load_run`): help, a mistyped key and
the process that hands jobs to workers do not wait for it.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from recsys.cli import command, load_run
from recsys.evaluation.protocol import REPEATS
from recsys.evaluation.registry import minimized_validation, monitor_of
from recsys.experiments.groups import in_sweep, run_context
from recsys.experiments.multirun import resume_hint, run_job
from recsys.experiments.repeats import plan_runs, summary
from recsys.experiments.run_folder import cli_overrides, display_path, resumed, track_status
from recsys.files import folder_lock, read_json, write_json
from recsys.report import print_summary
from recsys.training.errors import PrunedError

log = logging.getLogger(__name__)


@command("train")
def main(cfg: DictConfig) -> float | None:
    """Train what `cfg` asks for. Returns the validation figure as sweepers minimize it; None if there is none."""
    runtime = HydraConfig.get().runtime
    folder = Path(runtime.output_dir)
    os.chdir(runtime.cwd)  # hydra.job.chdir=true left it, but paths are typed, and shown, relative to it
    if in_sweep():
        return run_job(lambda: train(cfg, folder), folder)
    try:
        metrics = train(cfg, folder)
    except KeyboardInterrupt:
        print(f"\n{resume_hint(folder)}", file=sys.stderr)
        sys.exit(130)
    _report(metrics, folder)
    return minimized_validation(metrics)


def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """One run in `folder`, or the repeats of it in sub-folders. Returns its figures, or their means.

    Raises:
        ValueError: What is asked for cannot be, as repeats under `wandb agent`, which has one W&B run for all of them.
    """
    if "WANDB_SWEEP_ID" in os.environ and (cfg.seeds is not None or cfg.folds is not None or in_sweep()):
        raise ValueError("wandb agent has one W&B run for this command: leave out -m, seeds and folds")
    if "hparams_search" in cfg:
        raise ValueError("wandb.yaml is W&B's own: wandb sweep conf/hparams_search/wandb.yaml, then wandb agent <id>")
    if cfg.trust is not None and not isinstance(cfg.trust, bool):
        raise ValueError(f"trust must be true, false or null, got {cfg.trust}")
    # A mistake here is no failure of that run.
    runs = resumed(folder, cli_overrides(), trusted=bool(cfg.trust)) if cfg.resume else None
    with folder_lock(folder, "trains"), track_status(folder):
        runs = runs or plan_runs(cfg, folder)
        results: dict[str, dict[str, Any]] = {}
        errors: list[Exception] = []
        for name, run_cfg in runs.items():
            if name != ".":
                log.info("%s", name)
            try:
                with track_status(folder / name) if name != "." else nullcontext():
                    results[name] = _finished(folder / name) or load_run().run(
                        run_cfg, folder / name, run_context(folder / name)
                    )
            except PrunedError:
                raise
            except Exception as error:  # the other repeats are run all the same
                errors.append(error)
        if errors:
            raise errors[0]
        if list(results) == ["."]:
            return results["."]
        combined = summary(results)
        write_json(folder / REPEATS, combined)
        return {"refit": cfg.refit, **combined["mean"]}


def _finished(folder: Path) -> dict[str, Any] | None:
    """The metrics of a finished run; None if there are none, or damaged ones, which a resumed run writes again."""
    metrics = read_json(folder / "metrics.json")
    if metrics is None:
        return None
    if not {"model", "data", "split", "epochs", "fit_seconds", monitor_of(metrics).validation_key} <= metrics.keys():
        log.warning("%s is damaged (metrics are missing) and written again", folder / "metrics.json")
        return None
    log.info("%s is finished already", display_path(folder))
    return metrics


def _report(metrics: dict[str, Any], folder: Path) -> None:
    if (folder / REPEATS).exists():
        print_summary(folder)
        print(f"results in {display_path(folder)}")
        return
    from recsys.evaluation.tables import print_metrics

    arguments = (read_json(folder / "bundle" / "manifest.json") or {}).get("arguments")
    print_metrics(metrics, f"{metrics['model']} on {metrics['data']}, split {metrics['split']}", arguments)
    epochs = "1 epoch" if metrics["epochs"] == 1 else f"{metrics['epochs']} epochs"
    print(f"{epochs}, fitted in {metrics['fit_seconds']:.1f} s, results in {display_path(folder)}")


if __name__ == "__main__":
    main()
