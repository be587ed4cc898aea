"""Hydra launcher that runs jobs in worker processes; a killed worker fails only its own job."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from recsys.experiments.job_lines import print_line
from recsys.experiments.multirun import count_jobs, resume_hint
from recsys.experiments.run_folder import as_typed, has_ended, write_status
from recsys.experiments.worker import JobSpec, TaskReference, work
from recsys.training.parent import handled
from recsys.training.threads import available_cores

log = logging.getLogger(__name__)

PRELOADED = ["recsys.training.run"]  # modules preloaded in the fork server: imports torch and Lightning only once
STOP_SECONDS = 10  # for interrupted workers to write their status before they are killed


class Job(NamedTuple):
    number: int
    overrides: Sequence[str]


class ParallelLauncher(Launcher):
    """Runs up to `n_jobs` jobs in parallel, each in a worker process.

    When the OS kills a worker, for example when memory runs out, its job is retried once, alone, after the others. On
    Linux, workers are forked from a fork server that has imported torch but runs no computation, so that no OpenMP or
    CUDA threads exist at the fork. On other systems fork is unsafe, and each worker does its own imports.

    Args:
        n_jobs: Number of workers; negative numbers count back from the number of cores (-1: all cores).
    """

    def __init__(self, n_jobs: int = -1) -> None:
        if n_jobs == 0:
            sys.exit("error: hydra.launcher.n_jobs must be >= 1, or negative (-1: one worker per core), got 0")
        self.n_jobs = n_jobs
        self.idle: list[_Worker] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.task = TaskReference.of(task_function)
        cores = available_cores()
        asked = self.n_jobs if self.n_jobs > 0 else max(cores + 1 + self.n_jobs, 1)
        self.n_workers = max(1, min(asked, count_jobs(config)))
        self.threads = max(cores // self.n_workers, 1)
        self.context = _start_method(self.threads)
        atexit.register(self.stop)  # runs before multiprocessing's own handler, which waits for all processes

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        jobs = [Job(initial_job_idx + place, overrides) for place, overrides in enumerate(job_overrides)]
        try:
            killed = self._run(jobs, self.n_workers)
            if killed:
                log.warning("worker killed; retrying its jobs sequentially")
            for job in killed:
                if self._run([job], 1):
                    self._fail(job, "killed by the OS (out of memory?)")
        except BaseException as error:  # also a full disk: this process does not end before its workers
            self.interrupt()
            if isinstance(error, KeyboardInterrupt):
                print(f"\n{resume_hint(Path(self.config.hydra.sweep.dir).absolute())}", file=sys.stderr)
            raise
        # Results are in the jobs' folders; a sweeper only checks these for errors, which jobs handle themselves.
        return [JobReturn(status=JobStatus.COMPLETED) for _ in jobs]

    def stop(self) -> None:
        """End the idle workers."""
        while self.idle:
            self.idle.pop().stop()

    def interrupt(self) -> None:
        """Forward Ctrl-C to the workers, and kill those that do not stop."""
        for worker in self.busy.values():
            worker.interrupt()
        for worker in self.busy.values():
            worker.stop()
        self.stop()

    def _run(self, jobs: Sequence[Job], n_workers: int) -> list[Job]:
        """Run the jobs, `n_workers` at a time. Returns those whose worker was killed."""
        waiting, killed = deque(jobs), []
        running: dict[connection.Connection, Job] = {}
        self.busy: dict[connection.Connection, _Worker] = {}
        while waiting or running:
            while waiting and len(running) < n_workers:
                job = waiting.popleft()
                worker = self.idle.pop() if self.idle else _Worker(self.context, self.task, self.threads)
                self.busy[worker.connection], running[worker.connection] = worker, job
                worker.send(JobSpec(self._compose(job), self.hydra_context))
            for ready in connection.wait(list(running)):
                assert isinstance(ready, connection.Connection)
                job, worker = running.pop(ready), self.busy.pop(ready)
                try:
                    error = ready.recv()
                except (EOFError, OSError):
                    worker.stop()
                    killed.append(job)
                    continue
                self.idle.append(worker)
                if error and not has_ended(self._folder(self._compose(job))):
                    self._fail(job, error)
        return [job for job in killed if not has_ended(self._folder(self._compose(job)))]

    def _fail(self, job: Job, reason: str) -> None:
        """Do what a job does that fails, for one that could not do so."""
        folder = self._folder(self._compose(job))
        write_status(folder, "failed", reason)
        print_line(folder, as_typed(job.overrides), f"FAILED: {reason}")

    def _compose(self, job: Job) -> DictConfig:
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(job.overrides))
        with open_dict(cfg):
            cfg.hydra.job.id = f"{cfg.hydra.job.name}_{job.number}"
            cfg.hydra.job.num = job.number
        return cfg

    def _folder(self, cfg: DictConfig) -> Path:
        return Path(cfg.hydra.sweep.dir).absolute() / str(OmegaConf.select(cfg, "hydra.sweep.subdir"))


class _Worker:
    """Launcher-side handle of a worker process: send jobs, receive one reply per job."""

    def __init__(self, context: BaseContext, task: TaskReference, threads: int) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, task))  # type: ignore[attr-defined]
        with _thread_limit(threads):
            self.process.start()
        theirs.close()  # so that reading from a dead worker raises EOFError

    def send(self, spec: JobSpec) -> None:
        with suppress(OSError):  # a dead worker is detected when its reply is read
            self.connection.send(spec)

    def interrupt(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGINT)

    def stop(self) -> None:
        """Stop the worker: wait briefly for its exit, then kill it."""
        self.connection.close()
        self.process.join(STOP_SECONDS)
        self.process.kill()
        self.process.join()


def _start_method(threads: int) -> BaseContext:
    """The multiprocessing context; on Linux the fork server starts importing now, while jobs are composed."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    from multiprocessing.forkserver import ensure_running

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # Inherited, so that Ctrl-C does not interrupt its imports.
    with handled(signal.SIGINT, signal.SIG_IGN), _thread_limit(threads):
        ensure_running()
    return context


@contextmanager
def _thread_limit(threads: int) -> Iterator[None]:
    """Limit the threads of processes started inside, unless OMP_THREAD_LIMIT is already set."""
    if "OMP_THREAD_LIMIT" in os.environ:
        yield
        return
    os.environ["OMP_THREAD_LIMIT"] = str(threads)
    try:
        yield
    finally:
        del os.environ["OMP_THREAD_LIMIT"]
