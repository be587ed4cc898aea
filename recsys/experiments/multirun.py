"""Many runs: one line a job while they go, what failed and why at the end."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from recsys.evaluation.protocol import REPEATS
from recsys.evaluation.registry import minimized_validation, monitor_of
from recsys.experiments.run_folder import ENDED, PrunedError, ended, one_line, read_json, shown, sweep_overrides
from recsys.report import print_summary

log = logging.getLogger(__name__)

VARIABLE = "RECSYS_SWEEP"  # what the jobs, perhaps in other processes, are told of the sweep
_held = ExitStack()  # the sweep's lock, until this process ends


def in_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


class Sweep(Callback):
    """Keeps a sweep's folder to one process, and tells at its end what came out; a failed job makes the exit status 1.

    A Hydra callback (`hydra.callbacks`).
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _held.enter_context(FileLock(folder / ".lock", timeout=0))
        except Timeout:
            sys.exit(f"error: another process runs the sweep in {shown(folder)}")
        except OSError as error:  # Hydra would make a warning of it
            sys.exit(f"error: hydra.sweep.dir: {error}")
        _refuse_another(folder, list(config.hydra.overrides.task))
        _refuse_moved(folder)
        jobs = count_jobs(config)
        fixed = [text for text in config.hydra.overrides.task if not _sweeps(text)]
        sweep = {"jobs": jobs, "started": time.time(), "fixed": fixed, "process": os.getpid()}
        os.environ[VARIABLE] = json.dumps(sweep)
        done = sum(ended(job) for job in jobs_of(folder))
        before = f", {done} done before" if done else ""
        print(f"{jobs} runs in {shown(folder)}{before}; cut short, it goes on with: "
              f"python -m recsys.train resume={shown(folder)}", flush=True)  # fmt: skip

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir).absolute()
        _held.close()
        os.environ.pop(VARIABLE, None)
        try:
            print_summary(folder)
            print(f"all of it, as a page: python -m recsys.report {shown(folder)}", flush=True)
        finally:  # Hydra makes a warning of a callback's error, and the status would be 0
            if any(_lost(job) for job in jobs_of(folder)):
                sys.exit(1)


def sweep_job(job: Callable[[], dict[str, Any]], folder: Path) -> float | None:
    """One job of a sweep: prints a line; an error is in that line, `status.json` and `train.log`, and ends no other.

    Args:
        job: Trains in `folder`; returns the figures.
        folder: Of the job, in the sweep's.

    Returns:
        The validation figure, lower being better; None where the job failed or was pruned.
    """
    _only_to_file()
    end_with_the_sweep()
    try:
        figures = job()
    except KeyboardInterrupt:
        resume = f"python -m recsys.train resume={shown(folder.parent)}"
        print(f"\ninterrupted; go on with: {resume}", file=sys.stderr)
        sys.exit(130)
    except PrunedError as error:
        _say(f"pruned: {error}", folder)
    except Exception as error:  # whatever it is, the others go on
        log.exception("failed")
        _say(f"FAILED: {one_line(error)}", folder)
    else:
        monitor = monitor_of(figures)
        test = (
            "" if figures.get("refit") == "none" else f"  test {figures[monitor.test_key]:.4f}"
        )  # a search looks away
        _say(f"validation {figures[monitor.validation_key]:.4f}{test}", folder)
        return minimized_validation(figures)
    return None


def run_name(folder: Path) -> tuple[str, str | None]:
    """How a run is called beside others, and what it belongs to: its sweep, or the setting that it repeats."""
    top = folder
    if (top.parent / REPEATS).exists():
        top = top.parent
    if in_sweep():
        top = top.parent
    return str(folder.relative_to(top.parent)), None if top == folder else top.name


def is_best(folder: Path, metrics: Mapping[str, Any]) -> bool:
    """Whether no run of the same sweep or repeats, data and model did better before on its validation rows."""
    name, group = run_name(folder)
    if group is None:
        return True
    top = folder.parents[len(Path(name).parts) - 2]
    others = [read_json(file) or {} for file in top.rglob("metrics.json") if file.parent != folder]
    same = [other for other in others if all(other.get(key) == metrics[key] for key in ("model", "data", "split"))]
    return all(minimized_validation(metrics) < minimized_validation(other) for other in same)


def count_jobs(config: DictConfig) -> int:
    """Jobs of the sweep that a multirun's configuration asks for; of a study, all of its trials."""
    sweeper = config.hydra.sweeper
    if "n_trials" in sweeper:
        return int(sweeper.n_trials)
    texts = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    by_key = {}
    for override in OverridesParser.create().parse_overrides([*texts, *config.hydra.overrides.task]):
        discrete = override.is_sweep_override() and override.is_discrete_sweep()
        by_key[override.get_key_element()] = len(list(override.sweep_string_iterator())) if discrete else 1
    count = 1
    for choices in by_key.values():
        count *= choices
    return count


def jobs_of(folder: Path) -> list[Path]:
    """Folders of a sweep's jobs, by number."""
    return sorted((job for job in folder.iterdir() if job.name.isdecimal()), key=lambda job: int(job.name))


def _lost(job: Path) -> bool:
    """Whether the job did not come to its end; one that a study has tried again did, there."""
    record = read_json(job / "status.json") or {}
    again = record.get("state") == "interrupted" and "tried again" in (record.get("message") or "")
    return record.get("state") not in ("finished", "pruned") and not again


def _refuse_another(folder: Path, asked: list[str]) -> None:
    """Jobs are told apart by their number: a folder with those of another sweep would mix the two."""
    if (folder / "multirun.yaml").exists():
        try:
            before = list(sweep_overrides(folder).task)
        except ValueError as error:
            sys.exit(f"error: {error}")
        if before != asked:
            other = "choose another hydra.sweep.dir, or for a study another hydra.sweeper.study"
            sys.exit(f"error: {shown(folder)} holds another sweep, of {' '.join(before)}; {other}")


def _refuse_moved(folder: Path) -> None:
    """Checkpoints belong where they were made; without this, each job of a moved sweep would fail by itself."""
    for job in jobs_of(folder):
        if (job / "config.yaml").exists():
            made = Path(OmegaConf.load(job / "config.yaml").run_dir)
            if made != job:
                sys.exit(f"error: {shown(folder)} was made as {shown(made.parent)}; move it back to go on with it")
            return


def _sweeps(text: str) -> bool:
    return bool(OverridesParser.create().parse_override(text).is_sweep_override())


def _only_to_file() -> None:
    """A job's log goes to its `train.log`; on the terminal it is one line."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            root.removeHandler(handler)


def end_with_the_sweep() -> None:
    """In a worker process: end when the sweep's process is gone, or a killed sweep would leave its workers behind."""
    sweep = _told().get("process", os.getpid())
    if sweep == os.getpid() or any(thread.name == VARIABLE for thread in threading.enumerate()):
        return

    def watch() -> None:
        while _lives(sweep):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name=VARIABLE, daemon=True).start()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _told() -> dict[str, Any]:
    """What this process knows of its sweep."""
    told: dict[str, Any] = json.loads(os.environ.get(VARIABLE, "{}"))
    return told


def _say(what: str, folder: Path) -> None:
    """The job's line: how many have ended, its settings, what came out, its seconds, the time the others may take."""
    sweep = _told()
    records = [read_json(job / "status.json") or {} for job in jobs_of(folder.parent)]
    through = sum(record.get("state") in ENDED for record in records)
    chosen = [text for text in HydraConfig.get().overrides.task if text not in sweep.get("fixed", [])]
    label = " ".join(_short(text) for text in chosen if not text.startswith("trial="))
    seconds = (read_json(folder / "status.json") or {}).get("seconds")
    took = "" if seconds is None else f"  {seconds:.1f} s"
    print(f"{through:>4}/{sweep.get('jobs', '?')}  {label}  {what}{took}{_left(sweep, records, through)}", flush=True)


def _left(sweep: dict[str, Any], records: list[dict[str, Any]], through: int) -> str:
    if "jobs" not in sweep or through >= sweep["jobs"]:
        return ""
    now = time.time()
    here = sum(record.get("state") in ENDED and _time(record["started"]) >= sweep["started"] - 1 for record in records)
    return f"  about {_lasting((now - sweep['started']) / max(here, 1) * (sweep['jobs'] - through))} left"


def _time(started: str) -> float:
    return datetime.fromisoformat(started).timestamp()


def _lasting(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _short(text: str) -> str:
    """An override without the path of its key: `embedding_dim=32`; floats with four digits that count."""
    key, _, value = text.partition("=")
    with suppress(ValueError):
        value = f"{float(value):.4g}" if "." in value or "e" in value else value
    return f"{key.rpartition('.')[2]}={value}"
