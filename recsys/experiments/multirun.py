"""Sweeps: one progress line per job, and a summary with all failures at the end."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from recsys.evaluation.registry import minimized_validation, monitor_of
from recsys.experiments.groups import in_sweep
from recsys.experiments.job_lines import begin_lines, print_line
from recsys.experiments.overrides import quote_override
from recsys.experiments.run_folder import (
    RETRIED,
    as_typed,
    cli_overrides,
    display_path,
    has_ended,
    is_finished,
    is_same_place,
    needs_trust,
    one_line,
    saved_config,
)
from recsys.experiments.sweep_folder import is_sweep, sweep_needs_trust, sweep_overrides
from recsys.experiments.targets import CONSENT
from recsys.files import foreign_names, new_folder, read_json, remove_abandoned
from recsys.progress import hidden
from recsys.training.errors import PrunedError

log = logging.getLogger(__name__)


class SingleRunFilter(logging.Filter):
    """Hides log records of sweep jobs on the terminal, where each job prints one line; they go to `train.log`."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not in_sweep()


class MultirunCallback(Callback):
    """Hydra callback: locks the sweep folder and prints a summary at the end; exit status 1 if a job failed."""

    def __init__(self) -> None:
        self.lock: FileLock | None = None

    def __reduce__(self) -> tuple[type[MultirunCallback], tuple[()]]:
        return MultirunCallback, ()  # the copy in a worker holds no lock

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the run's folder, a new one if it is named by the time: another run may start in the same second."""
        hydra = HydraConfig.instance()
        before = hydra.cfg
        hydra.set_config(config)  # for interpolations in the folder's name
        try:
            is_new = not config.get("resume") and _is_named_by_time(config.hydra.run)
            folder = _make_folder("hydra.run.dir", Path(config.hydra.run.dir), is_new=is_new)
        finally:
            hydra.cfg = before
        if is_new:
            _set(config, "hydra.run.dir", folder)
        else:
            _check_names(folder, config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        is_new = _is_named_by_time(config.hydra.sweep)
        folder = _make_folder("hydra.sweep.dir", Path(config.hydra.sweep.dir), is_new=is_new)
        if is_new:
            _set(config, "hydra.sweep.dir", folder)
            with read_write(config.hydra):  # the jobs' configurations are composed anew
                config.hydra.overrides.hydra.append(quote_override(f"hydra.sweep.dir={folder}"))
        else:
            _check_names(folder, config)
        folder = folder.absolute()
        try:
            self.lock = FileLock(folder / ".lock")
            self.lock.acquire(timeout=0)
        except Timeout:
            sys.exit(f"error: another process is running the sweep in {display_path(folder)}")
        except OSError as error:  # Hydra would turn it into a warning
            sys.exit(f"error: hydra.sweep.dir: {error}")
        remove_abandoned(folder)
        overrides = as_typed(config.hydra.overrides.task)
        _check_same_sweep(folder, overrides)
        _check_not_moved(folder)
        n_jobs = count_jobs(config)
        fixed = [text for text in overrides if not _is_sweep_override(text)]
        is_kept = has_ended if "n_trials" in config.hydra.sweeper else is_finished  # a study goes on after a failure
        n_done = sum(is_kept(job) for job in job_folders(folder))
        typed = {"task": overrides, "hydra": as_typed(config.hydra.overrides.hydra)}
        try:
            begin_lines(folder, n_jobs, n_done, typed, fixed)
        except OSError as error:
            sys.exit(f"error: {error}")
        done = f" ({n_done} done)" if n_done else ""
        print(f"{n_jobs} runs in {display_path(folder)}{done}; to resume after an interruption: "
              f"{_resume_command(folder)}", flush=True)  # fmt: skip

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir).absolute()
        if self.lock:
            self.lock.release()
        try:
            from recsys.report import print_summary  # late: all commands import this module

            print_summary(folder)
            print(f"full report: python -m recsys.report {display_path(folder)}", flush=True)
        finally:  # Hydra turns errors of callbacks into warnings, and the exit status would be 0
            if any(_is_unfinished(job) for job in job_folders(folder)):
                sys.exit(1)


def _make_folder(option: str, folder: Path, *, is_new: bool) -> Path:
    """Make the folder, under a free name if it is to be new; returns it.

    Exits if nothing can be written there, since Hydra would turn an exception into a warning.
    """
    try:
        if is_new:
            folder = new_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        sys.exit(f"error: {option}: cannot write to {folder} ({reason}); choose another folder, {option}=…")
    return folder


def _check_names(folder: Path, config: DictConfig) -> None:
    """Exit if a name in a folder that was there before stands for what is not in it, unless that is trusted."""
    problem = None if config.get("trust") else next(foreign_names(folder), None)
    if problem is not None:
        sys.exit(f"error: {problem}, which would be written to{CONSENT}")


def _is_named_by_time(node: DictConfig) -> bool:
    """Whether the node's `dir` is a new name in each second, and thus meant to be new."""
    content = OmegaConf.to_container(node, resolve=False)
    assert isinstance(content, dict)
    return "${now:" in str(content["dir"])


def _set(config: DictConfig, key: str, folder: Path) -> None:
    with read_write(config.hydra):
        OmegaConf.update(config, key, str(folder))


def run_job(job: Callable[[], dict[str, Any]], folder: Path) -> float | None:
    """Run one job of a sweep and print its line; an error is logged and does not stop the other jobs.

    Args:
        job: Trains in `folder` and returns the metrics.
        folder: Folder of the job in the sweep folder.

    Returns:
        The validation metric, lower being better; None if the job failed or was pruned.
    """

    def say(outcome: str) -> None:
        print_line(folder, cli_overrides(), outcome)

    finished = is_finished(folder)  # by an earlier session, which printed its line
    try:
        with hidden():  # the jobs share the terminal
            metrics = job()
    except KeyboardInterrupt:
        if multiprocessing.parent_process() is None:  # in a worker, the launcher prints it once for all
            print(f"\n{resume_hint(folder.parent)}", file=sys.stderr)
        raise
    except PrunedError as error:
        say(f"pruned: {error}")
    except Exception as error:  # any error: the other jobs continue
        log.exception("failed")
        say(f"FAILED: {one_line(error)}")
    else:
        monitor = monitor_of(metrics)
        is_search = metrics.get("refit") == "none"  # test metrics are not shown during a search
        test = "" if is_search else f"  test {metrics[monitor.test_key]:.4f}"
        if not finished:
            say(f"validation {metrics[monitor.validation_key]:.4f}{test}")
        return minimized_validation(metrics)
    return None


def resume_hint(folder: Path) -> str:
    """The message printed after Ctrl-C."""
    return f"interrupted; to resume: {_resume_command(folder)}"


def count_jobs(config: DictConfig) -> int:
    """Number of jobs of the configured sweep; for a study, its number of trials."""
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


def job_folders(folder: Path) -> list[Path]:
    """Job folders of a sweep, sorted by number."""
    return sorted((job for job in folder.iterdir() if job.name.isdecimal()), key=lambda job: int(job.name))


def _is_unfinished(job: Path) -> bool:
    """Whether the job neither finished, nor was pruned, nor was retried by its study as another trial."""
    record = read_json(job / "status.json") or {}
    message = record.get("message") or ""
    retried = record.get("state") == "interrupted" and (RETRIED in message or "tried again" in message)  # before 0.2
    return record.get("state") not in ("finished", "pruned") and not retried


def _check_same_sweep(folder: Path, overrides: list[str]) -> None:
    """Exit if the folder holds a different sweep: jobs are identified by number only."""
    if (folder / "multirun.yaml").exists() or job_folders(folder):
        try:
            before = sweep_overrides(folder).task
        except ValueError as error:
            sys.exit(f"error: {error}")
        if before != overrides:
            other = "choose another hydra.sweep.dir, or for a study another hydra.sweeper.study"
            sys.exit(f"error: {display_path(folder)} contains another sweep ({' '.join(before)}); {other}")


def _check_not_moved(folder: Path) -> None:
    """Exit if the sweep folder was moved: checkpoints cannot be resumed elsewhere, and every job would fail."""
    for job in job_folders(folder):
        try:
            made = Path(saved_config(job / "config.yaml", trusted=True).run_dir)
        except (FileNotFoundError, ValueError):  # the job will say so
            continue
        if not is_same_place(str(made), job):
            sys.exit(
                f"error: {display_path(folder)} was created as {display_path(made.parent)}; move it back to resume"
            )
        return


def _is_sweep_override(text: str) -> bool:
    return bool(OverridesParser.create().parse_override(text).is_sweep_override())


def _resume_command(folder: Path) -> str:
    """The command, for the user who began it: what they typed may need their trust."""
    trust = " trust=true" if (sweep_needs_trust(folder) if is_sweep(folder) else needs_trust(folder)) else ""
    return f"python -m recsys.train resume={display_path(folder)}{trust}"
